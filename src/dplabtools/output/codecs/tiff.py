"""TIFF files of plain pixels, and the directories of tags that other formats borrow."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from dplabtools._typing import Pixels
from dplabtools.output.codecs.tags import Tags

__all__ = ["Tiff", "directory", "resolution"]

_SHORT, _LONG, _RATIONAL, _UNDEFINED = 3, 4, 5, 7
_BYTES_EACH = {_SHORT: 2, _LONG: 4, _RATIONAL: 8, _UNDEFINED: 1}
_CENTIMETRE = 3
_RGB = 2

Entry: TypeAlias = tuple[int, int, bytes]
"""Tag, type and value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiff:
    """Encodes TIFF files, not compressed."""

    def encode(self, pixels: Pixels, tags: Tags, /) -> bytes:
        """Return a TIFF file."""
        height, width = pixels.shape[:2]
        return b"".join((_head(width, height, tags), pixels.data))


@lru_cache(maxsize=64)
def _head(width: int, height: int, tags: Tags) -> bytes:
    """Return what comes before the pixels."""
    entries: list[Entry] = [
        (256, _LONG, struct.pack("<I", width)),
        (257, _LONG, struct.pack("<I", height)),
        (258, _SHORT, struct.pack("<HHH", 8, 8, 8)),
        (259, _SHORT, struct.pack("<H", 1)),
        (262, _SHORT, struct.pack("<H", _RGB)),
        (273, _LONG, struct.pack("<I", 0)),  # known below
        (277, _SHORT, struct.pack("<H", 3)),
        (278, _LONG, struct.pack("<I", height)),
        (279, _LONG, struct.pack("<I", height * width * 3)),
        (284, _SHORT, struct.pack("<H", 1)),
    ]
    if tags.mpp is not None:
        entries += resolution(tags.mpp)
    if tags.icc is not None:
        entries.append((34675, _UNDEFINED, tags.icc))
    length = len(directory(entries))
    entries[5] = (273, _LONG, struct.pack("<I", length))
    return directory(entries)


def resolution(mpp: float) -> list[Entry]:
    """Return the tags that state pixels per centimetre."""
    value = struct.pack("<II", round(1e7 / mpp), 1000)
    return [
        (282, _RATIONAL, value),
        (283, _RATIONAL, value),
        (296, _SHORT, struct.pack("<H", _CENTIMETRE)),
    ]


def directory(entries: Iterable[Entry]) -> bytes:
    """Return a TIFF header and its one directory of tags, of an even number of bytes."""
    ordered = sorted(entries)
    begin = 8 + 2 + 12 * len(ordered) + 4
    fields, values = b"", b""
    for tag, kind, value in ordered:
        count = len(value) // _BYTES_EACH[kind]
        if len(value) > 4:
            place = struct.pack("<I", begin + len(values))
            values += value + b"\0" * (len(value) % 2)
        else:
            place = value.ljust(4, b"\0")
        fields += struct.pack("<HHI", tag, kind, count) + place
    head = struct.pack("<2sHIH", b"II", 42, 8, len(ordered))
    return head + fields + struct.pack("<I", 0) + values
