"""Pillow's resizing, several times as fast: the same arithmetic in other machine code.

Both axes are done by one function, ``mix_rows.ll``, that takes many pixels of a row at a
time; for the other axis the image is transposed. It is the arithmetic of Pillow
(https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Resample.c): weights with
22 fractional bits, and rounding to eight bits after each axis. So the pixels are equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from dplabtools._typing import Pixels
from dplabtools.readers.workspace import workspace

__all__ = ["FILTERS", "NARROWEST", "resize_fast"]

NARROWEST: Final = 11  # pixels; 32 bytes are taken at a time
"""Width and height that an image must have, before and after, to be resized here."""

_MixRows: TypeAlias = Callable[..., None]
"""``mix_rows``, compiled."""

_FRACTION: Final = 22  # bits: eight are for the pixel, two against overflow


def _sinc(x: float) -> float:
    return 1.0 if x == 0 else math.sin(x * math.pi) / (x * math.pi)


def _box(x: float) -> float:
    return 1.0 if -0.5 < x <= 0.5 else 0.0


def _bilinear(x: float) -> float:
    return max(1.0 - abs(x), 0.0)


def _hamming(x: float) -> float:
    if x == 0 or abs(x) >= 1:
        return float(x == 0)
    return _sinc(x) * (0.54 + 0.46 * math.cos(abs(x) * math.pi))


def _bicubic(x: float) -> float:
    x, a = abs(x), -0.5
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / 3) if -3 <= x < 3 else 0.0


FILTERS: Final[Mapping[Image.Resampling, tuple[Callable[[float], float], float]]] = {
    Image.Resampling.BOX: (_box, 0.5),
    Image.Resampling.BILINEAR: (_bilinear, 1.0),
    Image.Resampling.HAMMING: (_hamming, 1.0),
    Image.Resampling.BICUBIC: (_bicubic, 2.0),
    Image.Resampling.LANCZOS: (_lanczos, 3.0),
}
"""Function and reach of each filter that can be used here."""


def resize_fast(
    mix_rows: _MixRows,
    pixels: Pixels,
    *,
    out: Pixels,
    resample: Image.Resampling,
    vertical_first: bool,
) -> None:
    """Resize an image as Pillow does it.

    Parameters
    ----------
    mix_rows : callable
        The function of that name, compiled.
    pixels : ndarray of uint8, shape (height, width, 3)
        The image.
    out : ndarray of uint8, shape (height, width, 3)
        Filled with the image at another size; contiguous.
    resample : PIL.Image.Resampling
        BOX, BILINEAR, HAMMING, BICUBIC or LANCZOS.
    vertical_first : bool
        Which axis Pillow would begin with.
    """
    (height, width), before = out.shape[:2], pixels.shape[:2]
    # Brought into the caches first, row by row: turning takes pixels from all over.
    near = _memory("near", *before)
    np.copyto(near, pixels)
    axes = _Axes(mix_rows, resample)
    if width == before[1]:
        axes.resize_rows(near, out)
    elif height == before[0]:
        axes.resize_columns(near, out)
    elif vertical_first:
        between = _memory("between", height, before[1])
        axes.resize_rows(near, between)
        axes.resize_columns(between, out)
    else:
        between = _memory("between", before[0], width)
        axes.resize_columns(near, between)
        axes.resize_rows(between, out)


def _memory(use: str, height: int, width: int) -> Pixels:
    flat = workspace(f"resizing: {use}", height * width * 3)
    return flat.reshape(height, width, 3)


@dataclass(frozen=True, slots=True)
class _Axes:
    """Resizes one axis of an image at a time, into contiguous memory."""

    mix_rows: _MixRows
    resample: Image.Resampling

    def resize_columns(self, pixels: Pixels, out: Pixels) -> None:
        import cv2

        (height, before), after = pixels.shape[:2], out.shape[1]
        turned = _memory("turned", before, height)
        result = _memory("result", after, height)
        cv2.transpose(pixels, turned)
        self.resize_rows(turned, result)
        cv2.transpose(result, out)

    def resize_rows(self, pixels: Pixels, out: Pixels) -> None:
        (before, width), after = pixels.shape[:2], out.shape[0]
        weights = _weights(before, after, self.resample)
        self.mix_rows(
            pixels.ctypes.data,
            *weights.addresses,
            weights.taps,
            out.ctypes.data,
            after,
            width * 3,
        )


class _Weights:
    """First row, number of rows and their weights for each row of a result.

    The addresses are looked up once: it takes longer than anything else there is in Python.
    """

    def __init__(
        self,
        starts: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.int64],
        weights: npt.NDArray[np.int32],
    ) -> None:
        self.starts, self.lengths, self.weights = starts, lengths, weights
        self.addresses = starts.ctypes.data, lengths.ctypes.data, weights.ctypes.data
        self.taps = weights.shape[1]


@lru_cache(maxsize=64)
def _weights(before: int, after: int, resample: Image.Resampling) -> _Weights:
    """Return the weights that Pillow gives to rows."""
    function, reach = FILTERS[resample]
    scale = before / after
    stretch = max(scale, 1.0)
    reach *= stretch
    starts = np.zeros(after, dtype=np.int64)
    lengths = np.zeros(after, dtype=np.int64)
    weights = np.zeros((after, math.ceil(reach) * 2 + 1), dtype=np.int32)
    inverse = 1.0 / stretch
    for row in range(after):
        centre = (row + 0.5) * scale
        first = max(int(centre - reach + 0.5), 0)
        last = min(int(centre + reach + 0.5), before)
        shares = [
            function((i + first - centre + 0.5) * inverse) for i in range(last - first)
        ]
        total = 0.0
        for share in shares:  # one by one, as Pillow does: the order decides the last bit
            total += share
        starts[row], lengths[row] = first, last - first
        for i, share in enumerate(shares):
            exact = (share / total if total else share) * (1 << _FRACTION)
            weights[row, i] = int(exact + math.copysign(0.5, exact))
    return _Weights(starts, lengths, weights)
