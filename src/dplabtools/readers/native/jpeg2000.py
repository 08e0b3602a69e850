"""Streams of JPEG 2000: what they say of themselves, decoding to fewer pixels, colours."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image

from dplabtools._typing import Pixels, Size

__all__ = ["Jpeg2000Header", "decode_shrunk", "jpeg_2000_header", "ycbcr_to_rgb"]

# Markers: https://www.itu.int/rec/T-REC-T.800, table A.2
_SIZ = b"\xff\x4f\xff\x51"
_COD, _SOT = 0x52, 0x90
_BITS = 8
_LOBES = 3  # of the filter


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


def decode_shrunk(data: bytes, out: Pixels, *, shrink: int) -> None:
    """Decode a stream to fewer pixels, by leaving out the finest of its wavelets.

    Of what is left each sample stands on the first of the pixels that it is made of, and
    not amidst them. There it is moved, so that tiles lie where all others do.

    Parameters
    ----------
    data : bytes
        The stream.
    out : ndarray of uint8, shape (height, width[, 3])
        Filled with its samples, as they are stored; contiguous.
    shrink : int
        2, 4 or 8: pixels for each of `out`, in each direction.

    Raises
    ------
    Exception
        If the stream is damaged; of whatever type the decoder raises.
    """
    import cv2

    times = shrink.bit_length() - 1
    if not data.startswith(_SIZ) or _decompositions(data) < times:
        height, width = out.shape[:2]
        whole = np.empty((height * shrink, width * shrink, *out.shape[2:]), np.uint8)
        imagecodecs.jpeg2k_decode(data, numthreads=1, out=whole)
        cv2.resize(whole, (width, height), dst=out, interpolation=cv2.INTER_AREA)
        return
    with Image.open(io.BytesIO(data), formats=["JPEG2000"]) as image:
        reducing: Any = image  # a method of other images
        reducing.reduce = times
        samples = np.asarray(image)
    if samples.shape != out.shape:
        msg = f"a tile of {out.shape} samples has {samples.shape}"
        raise ValueError(msg)
    kernel = _moving((shrink - 1) / (2 * shrink))
    around = cv2.BORDER_REPLICATE
    out[:] = cv2.sepFilter2D(
        samples, -1, kernel, kernel, anchor=(_LOBES - 1, _LOBES - 1), borderType=around
    )


@lru_cache(maxsize=4)
def _moving(distance: float) -> npt.NDArray[np.float32]:
    """Return Lanczos's weights of the pixels around for what lies between two of them."""
    x = np.arange(1 - _LOBES, 1 + _LOBES) - distance
    weights = np.sinc(x) * np.sinc(x / _LOBES)
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def _decompositions(data: bytes) -> int:
    """Return how often a stream can be halved; 0 if it does not say."""
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1] != _SOT:
        if data[at + 1] == _COD:
            return int.from_bytes(data[at + 9 : at + 10], "big")
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0


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
