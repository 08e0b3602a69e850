"""Streams of JPEG 2000: what they say of themselves, and their colours."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from dplabtools._typing import Pixels, Size

__all__ = ["Jpeg2000Header", "jpeg_2000_header", "ycbcr_to_rgb"]

_SIZ = b"\xff\x4f\xff\x51"  # https://www.itu.int/rec/T-REC-T.800
_BITS = 8


@dataclass(frozen=True, slots=True)
class Jpeg2000Header:
    """What a stream says of its samples.

    Attributes
    ----------
    size : (int, int)
        (width, height).
    samples : int
        Of a pixel.
    bits : int
        Of the deepest sample.
    plain : bool
        None is subsampled, signed or of fewer than eight bits.
    """

    size: Size
    samples: int
    bits: int
    plain: bool


def jpeg_2000_header(data: bytes) -> Jpeg2000Header:
    """Return what the header of a JPEG 2000 stream says.

    Raises
    ------
    ValueError
        If it has none.
    """
    start = data.find(_SIZ)
    fields = data[start + 8 : start + 42]
    count = int.from_bytes(fields[-2:], "big")
    components = data[start + 42 : start + 42 + 3 * count]
    if start < 0 or len(fields) < 34 or not 0 < len(components) == 3 * count:
        msg = "no JPEG 2000 stream"
        raise ValueError(msg)
    right, bottom, left, top, *_ = struct.unpack(">8IH", fields)
    return Jpeg2000Header(
        size=(right - left, bottom - top),
        samples=count,
        bits=max(depth & 0x7F for depth in components[::3]) + 1,
        plain=components == bytes((_BITS - 1, 1, 1)) * count,
    )


def ycbcr_to_rgb(pixels: Pixels) -> None:
    """Turn YCbCr (JPEG's, ITU-R BT.601, full range) into RGB, in place."""
    luma = pixels[..., 0].astype(np.int32)
    blue, red = (pixels[..., channel].astype(np.int32) - 128 for channel in (1, 2))
    half = 1 << 15
    colours = (
        luma + ((91881 * red + half) >> 16),
        luma + ((-22554 * blue - 46802 * red + half) >> 16),
        luma + ((116130 * blue + half) >> 16),
    )
    for channel, values in enumerate(colours):
        pixels[..., channel] = np.clip(values, 0, 255)
