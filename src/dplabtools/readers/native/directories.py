"""Where the directories of a TIFF file lie, and whether they are all there."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from dplabtools.errors import AmbiguousSlideError, DamagedSlideError, UnsupportedSlideError

__all__ = ["Directory", "find_directories"]

_MOST_DIRECTORIES: Final = 1000
_MOST_TAGS: Final = 4096
# https://www.awaresystems.be/imaging/tiff/bigtiff.html
_CLASSIC, _BIG = 42, 43
_SUB_DIRECTORIES: Final = 330
_USED_TAGS: Final = frozenset(
    {
        *(254, 256, 257, 258, 259, 262, 266, 270, 273, 277, 278, 279, 282, 283, 284),
        *(296, 317, 320, 322, 323, 324, 325, _SUB_DIRECTORIES, 338, 339, 347, 530, 32997),
    }
)
"""Of others it does not matter where they lie: some writers leave them in disorder."""
_TILES: Final = frozenset({322, 323, 324, 325})
"""Of these a picture has all or none."""
_BYTES: Final = {
    **dict.fromkeys((1, 2, 6, 7), 1),
    **dict.fromkeys((3, 8), 2),
    **dict.fromkeys((4, 9, 11, 13), 4),
    **dict.fromkeys((5, 10, 12, 16, 17, 18), 8),
}
"""Of a value of each type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """The directory of one picture.

    Attributes
    ----------
    start : int
        Its first byte in the file.
    extents : tuple of (int, int)
        First byte, and the one after the last, of the directory and of those values of
        its tags that lie elsewhere.
    """

    start: int
    extents: tuple[tuple[int, int], ...]


def find_directories(stream: BinaryIO, *, ndpi: bool = False) -> tuple[Directory, ...]:
    """Follow the chain of directories to its end.

    Parameters
    ----------
    stream : binary file
        The file.
    ndpi : bool, default False
        Offsets from one to the next have eight bytes, as Hamamatsu writes them:
        https://openslide.org/formats/hamamatsu/

    Returns
    -------
    tuple of Directory
        At least one. Those of pictures within others (SubIFDs) count to the latter.

    Raises
    ------
    UnsupportedSlideError
        If this is no TIFF.
    DamagedSlideError
        If the chain leads out of the file, or in a circle.
    AmbiguousSlideError
        If there are more than a slide can have.
    """
    return tuple(_Chain(stream, ndpi=ndpi))


class _Chain:
    """The directories of a file, one after the other."""

    def __init__(self, stream: BinaryIO, *, ndpi: bool) -> None:
        self._stream = stream
        self._nbytes = stream.seek(0, 2)
        head = self._read(0, min(16, self._nbytes)).ljust(16, b"\0")
        self._order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        version = self._number(head[2:4], "H") if self._order else 0
        if version not in {_CLASSIC, _BIG}:
            msg = "no TIFF file"
            raise UnsupportedSlideError(msg)
        big = version == _BIG
        if big and head[4:8] != struct.pack(self._order + "HH", 8, 0):
            msg = "its offsets are of an impossible size"
            raise DamagedSlideError(msg)
        self._count, self._value = ("Q", 8) if big else ("H", 4)
        self._next = "Q" if big or ndpi else "I"
        first = head[8:16] if big else head[4 : 4 + struct.calcsize(self._next)]
        self._first = self._number(first, self._next)

    def __iter__(self) -> Iterator[Directory]:
        """Yield the directories.

        Raises
        ------
        DamagedSlideError, AmbiguousSlideError
            As `find_directories`.
        """
        seen: set[int] = set()
        start = self._first
        while start or not seen:
            if start in seen:
                msg = f"directory {len(seen)} of it leads back to an earlier one"
                raise DamagedSlideError(msg)
            if len(seen) == _MOST_DIRECTORIES:
                raise _stack(len(seen) + 1)
            seen.add(start)
            extents, within, following = self._directory(start)
            for part in within:
                extents += self._directory(part)[0]
            yield Directory(start=start, extents=tuple(extents))
            start = following

    def _directory(self, start: int) -> tuple[list[tuple[int, int]], list[int], int]:
        """Return the extents of a directory, those within it, and where the next begins."""
        before, size = struct.calcsize(self._count), 4 + 2 * self._value
        tags = self._number(self._read(start, before), self._count)
        if not 0 < tags <= _MOST_TAGS:
            msg = f"one of its directories claims to have {tags} entries"
            raise DamagedSlideError(msg)
        after = struct.calcsize(self._next)
        data = self._read(start, before + tags * size + after)
        extents = [(start, start + len(data))]
        within: list[int] = []
        found: set[int] = set()
        for place in range(before, before + tags * size, size):
            entry = data[place : place + size]
            found.add(self._number(entry[:2], "H"))
            extent = self._extent(entry)
            if extent is not None:
                extents.append(extent)
            if self._number(entry[:2], "H") == _SUB_DIRECTORIES:
                within = self._sub_directories(entry, extent)
        if 0 in found or len(found & _TILES) in {1, 2, 3}:
            msg = "one of its directories has entries that cannot be, or lacks some"
            raise DamagedSlideError(msg)
        return extents, within, self._number(data[-after:], self._next)

    def _extent(self, entry: bytes) -> tuple[int, int] | None:
        """Return where the value of a tag lies; None if in the entry, or unused."""
        tag, kind = struct.unpack(self._order + "HH", entry[:4])
        if tag not in _USED_TAGS:
            return None
        if kind not in _BYTES:
            msg = f"its tag {tag} is of a type that there is not, {kind}"
            raise DamagedSlideError(msg)
        unit = "Q" if self._value == 8 else "I"
        nbytes = _BYTES[kind] * self._number(entry[4 : -self._value], unit)
        if nbytes <= self._value:
            return None
        start = self._number(entry[-self._value :], unit)
        if start + nbytes > self._nbytes:
            msg = f"the value of its tag {tag} would lie beyond its end"
            raise DamagedSlideError(msg)
        return start, start + nbytes

    def _sub_directories(self, entry: bytes, extent: tuple[int, int] | None) -> list[int]:
        """Return where the directories within one begin."""
        width = _BYTES[self._number(entry[2:4], "H")]
        count = self._number(entry[4 : -self._value], "Q" if self._value == 8 else "I")
        if count > _MOST_DIRECTORIES or width < 4:
            raise _stack(count)
        data = entry[-self._value :]
        if extent is not None:
            data = self._read(extent[0], extent[1] - extent[0])
        kind = "Q" if width == 8 else "I"
        parts = (data[place : place + width] for place in range(0, count * width, width))
        return [self._number(part, kind) for part in parts]

    def _read(self, start: int, count: int) -> bytes:
        if start + count > self._nbytes:
            msg = (
                f"it ends, after {self._nbytes:,} bytes, before its directories do (one "
                f"begins at {start:,}): levels are missing"
            )
            raise DamagedSlideError(msg)
        self._stream.seek(start)
        return self._stream.read(count)

    def _number(self, data: bytes, kind: str) -> int:
        return int(struct.unpack(self._order + kind, data)[0])


def _stack(count: int) -> AmbiguousSlideError:
    msg = f"it holds {count:,} pictures or more; which of them is wanted has to be decided"
    return AmbiguousSlideError(msg)
