"""Formats that imagecodecs encodes faster than Pillow, or that Pillow does not know."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import imagecodecs

from dplabtools._typing import Pixels
from dplabtools.output.codecs.tags import Tags

__all__ = ["Bmp", "JpegXl", "Qoi"]

# https://learn.microsoft.com/en-us/windows/win32/api/wingdi/ns-wingdi-bitmapinfoheader
_BMP_RESOLUTION = 38  # where it stands in the header: two numbers of four bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bmp:
    """Encodes BMP files."""

    def encode(self, pixels: Pixels, tags: Tags, /) -> bytes:
        """Return a BMP file."""
        data = memoryview(imagecodecs.bmp_encode(pixels))
        density = struct.pack("<ii", *[tags.per_metre() or 0] * 2)
        end = _BMP_RESOLUTION + len(density)
        return b"".join((data[:_BMP_RESOLUTION], density, data[end:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Qoi:
    """Encodes QOI files, which have no place for tags.

    https://qoiformat.org/qoi-specification.pdf
    """

    def encode(self, pixels: Pixels, tags: Tags, /) -> bytes:
        """Return a QOI file."""
        return bytes(imagecodecs.qoi_encode(pixels))


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegXl:
    """Encodes JPEG XL streams, which have no place for tags.

    Attributes
    ----------
    effort : int
        From 1, the fastest, to 9, the smallest.
    distance : float
        Of the pixels from those that were given: 0 is lossless, 1 is not to be seen, and
        15 is the most.

    Raises
    ------
    ValueError
        If there is no such effort or distance.
    """

    effort: int = 1
    distance: float = 0

    def __post_init__(self) -> None:
        if self.effort not in range(1, 10):
            msg = f"effort must be from 1 to 9, not {self.effort!r}"
            raise ValueError(msg)
        if not 0 <= self.distance <= 15:
            msg = f"distance must be from 0 to 15, not {self.distance!r}"
            raise ValueError(msg)

    def encode(self, pixels: Pixels, tags: Tags, /) -> bytes:
        """Return a JPEG XL stream."""
        data = imagecodecs.jpegxl_encode(
            pixels,
            effort=self.effort,
            lossless=self.distance == 0,
            distance=self.distance,
            numthreads=1,
        )
        return bytes(data)
