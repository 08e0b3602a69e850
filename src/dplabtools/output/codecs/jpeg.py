"""JPEG files: made of pixels, or of streams that stand in a slide."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import imagecodecs

from dplabtools._typing import Pixels
from dplabtools.output.codecs.tags import Tags
from dplabtools.output.codecs.tiff import directory, resolution

__all__ = ["Jpeg", "tagged"]

_SUBSAMPLINGS: Final[Mapping[int | str, str]] = {
    0: "444",
    1: "422",
    2: "420",
    "4:4:4": "444",
    "4:2:2": "422",
    "4:2:0": "420",
}
"""By the names that Pillow gives them."""
_SOI, _APP0, _ADOBE = b"\xff\xd8", b"\xff\xe0", b"\xff\xee"
_PER_CENTIMETRE = 2
# https://www.color.org/technotes/ICC-Technote-ProfileEmbedding.pdf
_ICC_PART = 65535 - 2 - 14  # bytes of a profile that a segment holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Jpeg:
    """Encodes JPEG files; they are those of Pillow, byte by byte, but for tags.

    Attributes
    ----------
    quality : int
        From 1 to 100.
    subsampling : int or str
        Of the colours: 0 or ``"4:4:4"`` not at all, 1 or ``"4:2:2"``, 2 or ``"4:2:0"``.

    Raises
    ------
    ValueError
        If there is no such quality or subsampling.
    """

    quality: int = 75
    subsampling: int | str = 2

    def __post_init__(self) -> None:
        if self.quality not in range(1, 101):
            msg = f"quality must be from 1 to 100, not {self.quality!r}"
            raise ValueError(msg)
        if self.subsampling not in _SUBSAMPLINGS:
            msg = f"subsampling must be 0, 1 or 2, not {self.subsampling!r}"
            raise ValueError(msg)

    def encode(self, pixels: Pixels, tags: Tags, /) -> bytes:
        """Return a JPEG file."""
        # simplejpeg (https://gitlab.com/jfolz/simplejpeg) would be as fast, but has a
        # faster and coarser transform.
        data = imagecodecs.jpeg8_encode(
            pixels, level=self.quality, subsampling=_SUBSAMPLINGS[self.subsampling]
        )
        return tagged(bytes(data), tags)


def tagged(data: bytes, tags: Tags) -> bytes:
    """Return a JPEG stream with a header that states its colour space and its tags.

    Parameters
    ----------
    data : bytes
        A whole stream. It is RGB if it begins with an Adobe segment, and says so there;
        else it is YCbCr.
    tags : Tags
        Take the place of those it has.
    """
    start = data[2:4]
    if start == _ADOBE:
        return b"".join((_rgb_head(tags), memoryview(data)[2:]))
    begin = 4 + int.from_bytes(data[4:6], "big") if start == _APP0 else 2
    return b"".join((_head(tags), memoryview(data)[begin:]))


@lru_cache(maxsize=64)
def _head(tags: Tags) -> bytes:
    """Return the beginning of a YCbCr stream: JFIF, with dots per centimetre."""
    density = 0 if tags.mpp is None else round(1e4 / tags.mpp)
    unit = _PER_CENTIMETRE
    if not 0 < density < 1 << 16:
        unit, density = 0, 1  # nothing is said
    # https://www.w3.org/Graphics/JPEG/jfif3.pdf
    jfif = struct.pack(">5sHBHHBB", b"JFIF", 0x0101, unit, density, density, 0, 0)
    return _SOI + _segment(_APP0, jfif) + _profile(tags)


@lru_cache(maxsize=64)
def _rgb_head(tags: Tags) -> bytes:
    """Return the beginning of an RGB stream: JFIF would say that it is YCbCr."""
    if tags.mpp is None:
        return _SOI + _profile(tags)
    exif = b"Exif\0\0" + directory(resolution(tags.mpp))
    return _SOI + _segment(b"\xff\xe1", exif) + _profile(tags)


def _profile(tags: Tags) -> bytes:
    """Return the segments of a colour profile."""
    icc = tags.icc or b""
    parts = [icc[i : i + _ICC_PART] for i in range(0, len(icc), _ICC_PART)]
    return b"".join(
        _segment(b"\xff\xe2", b"ICC_PROFILE\0" + bytes((number, len(parts))) + part)
        for number, part in enumerate(parts, 1)
    )


def _segment(marker: bytes, content: bytes) -> bytes:
    return marker + struct.pack(">H", len(content) + 2) + content
