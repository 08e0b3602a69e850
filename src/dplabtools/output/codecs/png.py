"""PNG files."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache

import imagecodecs
import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from dplabtools._typing import Pixels
from dplabtools.output.codecs.tags import Tags

__all__ = ["Png", "filtered_rows"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB = 2
_METRE = 1
# https://www.w3.org/TR/png-3/#9Filter-types
_PAETH = 4
_STRIP = 200_000  # bytes; what stays in the caches
# https://github.com/pycompression/python-isal
_FAST = 1  # level of isal


@dataclass(frozen=True, slots=True, kw_only=True)
class Png:
    """Encodes PNG files.

    Attributes
    ----------
    compress_level : int
        From 0, not at all, to 9, the smallest; 1, by isal, is twice as fast as 2.

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
        rows = filtered_rows(pixels)
        if self.compress_level == 0:
            return zlib.compress(rows.data, 0)
        fast: bytes = isal_zlib.compress(rows, _FAST)
        if self.compress_level == 1:
            return fast
        slow = bytes(imagecodecs.zlib_encode(rows.tobytes(), self.compress_level))
        return min(fast, slow, key=len)


def filtered_rows(pixels: Pixels) -> Pixels:
    """Return the rows of an image, filtered by Paeth's predictor, as PNG stores them.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        The image.

    Returns
    -------
    ndarray of uint8, shape (height, 1 + width * 3)
        A 4 before each row, which names the filter.
    """
    height, width = pixels.shape[:2]
    framed = np.zeros((height + 1, 3 + width * 3), dtype=np.uint8)
    framed[1:, 3:] = pixels.reshape(height, width * 3)
    out = np.empty((height, 1 + width * 3), dtype=np.uint8)
    out[:, 0] = _PAETH
    step = max(1, _STRIP // framed.shape[1])
    for top in range(0, height, step):
        rows = framed[top : top + step + 1]
        guess = _paeth(rows[1:, :-3], rows[:-1, 3:], rows[:-1, :-3])
        np.subtract(rows[1:, 3:], guess, out=out[top : top + step, 1:])
    return out


def _paeth(left: Pixels, above: Pixels, corner: Pixels) -> Pixels:
    """Return which of three is closest to left + above - corner, in this order.

    All of it in eight bits, of which processors do many at once: the distance to the corner
    only counts where it lies between the others, and is then the difference of theirs.
    """
    to_left = _distance(above, corner)
    to_above = _distance(left, corner)
    to_corner = _distance(to_left, to_above)
    to_corner |= _mask((above > corner) == (left > corner))
    take_above = _mask(to_above <= to_corner)
    take_left = _mask(to_left <= np.minimum(to_above, to_corner))
    guess = corner ^ ((corner ^ above) & take_above)
    guess ^= (guess ^ left) & take_left
    return guess


def _distance(one: Pixels, other: Pixels) -> Pixels:
    distance = np.maximum(one, other)
    distance -= np.minimum(one, other)
    return distance


def _mask(where: npt.NDArray[np.bool_]) -> Pixels:
    """Return 255 where something is true, else 0."""
    return np.negative(where.view(np.uint8))


@lru_cache(maxsize=64)
def _head(width: int, height: int, tags: Tags) -> bytes:
    """Return what comes before the pixels."""
    parts = [
        _SIGNATURE,
        _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _RGB, 0, 0, 0)),
    ]
    if tags.icc is not None:
        # https://www.w3.org/TR/png-3/#11iCCP
        parts.append(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(tags.icc)))
    density = tags.per_metre()
    if density is not None:
        # https://www.w3.org/TR/png-3/#11pHYs
        parts.append(_chunk(b"pHYs", struct.pack(">IIB", density, density, _METRE)))
    return b"".join(parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    body = name + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
