"""PNG files."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache

import imagecodecs

from dplabtools._typing import Pixels
from dplabtools.output.codecs.tags import Tags

__all__ = ["Png"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB = 2
_METRE = 1
_ZLIB = b"\x78\x01"  # begins a zlib stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Png:
    """Encodes PNG files.

    Attributes
    ----------
    compress_level : int
        From 0, not at all, to 9, the smallest; 1 is several times as fast as 2.

    Raises
    ------
    ValueError
        If there is no such level.
    """

    compress_level: int = 1

    def __post_init__(self) -> None:
        if self.compress_level not in range(10):
            msg = f"compress_level must be from 0 to 9, not {self.compress_level!r}"
            raise ValueError(msg)

    def encode(self, pixels: Pixels, tags: Tags, /) -> bytes:
        """Return a PNG file."""
        height, width = pixels.shape[:2]
        packed = self._packed(pixels)
        crc = imagecodecs.deflate_crc32(packed, zlib.crc32(b"IDAT"))
        return b"".join(
            (
                _head(width, height, tags),
                struct.pack(">I4s", len(packed), b"IDAT"),
                packed,
                struct.pack(">I", crc),
                _chunk(b"IEND", b""),
            )
        )

    def _packed(self, pixels: Pixels) -> bytes:
        """Return filtered rows as a zlib stream."""
        # Numba takes a while to be imported, and only those who encode need it.
        from dplabtools.output.codecs.deflate import deflated, filtered_rows

        rows = filtered_rows(pixels)
        data = rows.tobytes()
        if self.compress_level == 0:
            return zlib.compress(data, 0)
        checksum = struct.pack(">I", imagecodecs.deflate_adler32(data))
        fast = b"".join((_ZLIB, deflated(rows).data, checksum))
        if self.compress_level == 1:
            return fast
        slow = bytes(imagecodecs.deflate_encode(data, self.compress_level))
        return min(fast, slow, key=len)


@lru_cache(maxsize=64)
def _head(width: int, height: int, tags: Tags) -> bytes:
    """Return what comes before the pixels."""
    parts = [
        _SIGNATURE,
        _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _RGB, 0, 0, 0)),
    ]
    if tags.icc is not None:
        parts.append(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(tags.icc)))
    density = tags.per_metre()
    if density is not None:
        parts.append(_chunk(b"pHYs", struct.pack(">IIB", density, density, _METRE)))
    return b"".join(parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    body = name + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
