"""Pillow's resizing, many times as fast: the same arithmetic in other machine code.

The machine code is that of ``resize_images.ll``. The arithmetic is that of Pillow
(https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Resample.c): weights with
22 fractional bits, and rounding to eight bits after each axis. So the pixels are equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

import numpy as np
from PIL import Image

from dplabtools._typing import IntArray, Size
from dplabtools.readers.workspace import workspace

__all__ = ["FILTERS", "NARROWEST", "ResizingPlan", "resizing_plan"]

NARROWEST: Final = 5  # pixels; 16 bytes are taken at a time
"""Width that an image must have to be resized here."""

_FRACTION: Final = 22  # bits: eight are for the pixel, two against overflow
_LOW: Final = 12  # bits of a weight in its lower half
_STRIP: Final = 32  # rows on their way
_VECTOR: Final = 64  # bytes, in which there are 16 pairs
_HAMMING: Final = (float(np.float32(0.54)), float(np.float32(0.46)))  # as it is there


def _sinc(x: float) -> float:
    return 1.0 if x == 0 else math.sin(x * math.pi) / (x * math.pi)


def _box(x: float) -> float:
    return 1.0 if -0.5 < x <= 0.5 else 0.0


def _bilinear(x: float) -> float:
    return max(1.0 - abs(x), 0.0)


def _hamming(x: float) -> float:
    if x == 0 or abs(x) >= 1:
        return float(x == 0)
    return _sinc(x) * (_HAMMING[0] + _HAMMING[1] * math.cos(abs(x) * math.pi))


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


class ResizingPlan:
    """What ``resize_images`` has to know to resize images of one size to another.

    Parameters
    ----------
    before, after : (int, int)
        (width, height) of an image, and to which it is resized.
    resample : PIL.Image.Resampling
        BOX, BILINEAR, HAMMING, BICUBIC or LANCZOS.
    """

    def __init__(self, before: Size, after: Size, resample: Image.Resampling) -> None:
        across = _Axis(before[0], after[0], resample, whole=4)
        down = _Axis(before[1], after[1], resample, whole=_STRIP)
        axes = across, down
        kept = 1 << (_STRIP // 2 + down.pairs - 2).bit_length()
        weights = [axis.weights.ctypes.data for axis in axes]
        numbers = [axis.lead for axis in axes] + [axis.pairs for axis in axes]
        self._numbers = np.array([*before, *numbers, *after, *weights, kept], np.int64)
        self._address: int = self._numbers.ctypes.data
        self._axes = axes  # whose weights it points to
        edge = (before[0] * 3 + 95) // _VECTOR
        blocks = -(-after[0] * 3 // _VECTOR) * 4
        self._vectors = 2 * edge + 3 * across.pixels + blocks * (16 + kept)

    def resize(self, resize_images: Callable[..., None], images: IntArray) -> None:
        """Resize images by their addresses.

        Parameters
        ----------
        resize_images : callable
            The function of that name, compiled.
        images : ndarray of int64, shape (n, 3)
            Of each image: address of its first pixel, bytes from one row to the next, and
            address of where the result goes, row by row without a gap.
        """
        memory = workspace("resizing", (self._vectors + 1) * _VECTOR).ctypes.data
        aligned = memory + -memory % _VECTOR
        resize_images(images.ctypes.data, len(images), self._address, aligned)


@lru_cache(maxsize=64)
def resizing_plan(before: Size, after: Size, resample: Image.Resampling) -> ResizingPlan:
    """Return such a plan, made once."""
    return ResizingPlan(before, after, resample)


class _Axis:
    """Weights of pairs of neighbours along one axis.

    Parameters
    ----------
    before, after : int
        Pixels along this axis.
    resample : PIL.Image.Resampling
        Filter.
    whole : int
        Pixels that are looked at together.

    Attributes
    ----------
    lead : int
        How many pixels before the first one pairs begin: 0, or 1 if that makes them fewer.
    pairs : int
        How many are summed up for each pixel of the result.
    pixels : int
        How many are looked at, the lead and what fills up the last of them included.
    weights : ndarray of int64, shape (after, 1 + pairs)
        The number of the first pair, and four times 16 bits for each: the upper parts of
        both weights, and the lower ones.
    """

    def __init__(
        self, before: int, after: int, resample: Image.Resampling, *, whole: int
    ) -> None:
        first, counts, weights = _weights(before, after, resample)
        self.pairs, self.lead = min(
            (int((-(-(first + counts + lead) // 2) - (first + lead) // 2).max()), lead)
            for lead in (0, 1)
        )
        self.pixels = -(-(before + self.lead) // whole) * whole
        starts = np.minimum((first + self.lead) // 2, self.pixels // 2 - self.pairs)
        spread = np.zeros((after, 2 * self.pairs), dtype=np.int64)
        for row, shift in enumerate((first + self.lead - 2 * starts).tolist()):
            spread[row, shift : shift + counts[row]] = weights[row, : counts[row]]
        parts = np.stack((spread >> _LOW, spread & (1 << _LOW) - 1), axis=1)
        pairs = parts.reshape(after, 2, self.pairs, 2).swapaxes(1, 2).astype(np.int16)
        packed = pairs.reshape(after, self.pairs * 4).view(np.int64)
        self.weights = np.concatenate((starts[:, np.newaxis], packed), axis=1)


def _weights(
    before: int, after: int, resample: Image.Resampling
) -> tuple[IntArray, IntArray, IntArray]:
    """Return the first pixel, number of pixels and weights that Pillow uses for each."""
    function, reach = FILTERS[resample]
    scale = before / after
    stretch = max(scale, 1.0)
    reach *= stretch
    starts = np.zeros(after, dtype=np.int64)
    counts = np.zeros(after, dtype=np.int64)
    weights = np.zeros((after, math.ceil(reach) * 2 + 1), dtype=np.int64)
    inverse = 1.0 / stretch
    for place in range(after):
        centre = (place + 0.5) * scale
        first = max(int(centre - reach + 0.5), 0)
        last = min(int(centre + reach + 0.5), before)
        shares = [
            function((i + first - centre + 0.5) * inverse) for i in range(last - first)
        ]
        total = 0.0
        for share in shares:  # one by one, as Pillow does: the order decides the last bit
            total += share
        starts[place], counts[place] = first, last - first
        for i, share in enumerate(shares):
            exact = (share / total if total else share) * (1 << _FRACTION)
            weights[place, i] = int(exact + math.copysign(0.5, exact))
    return starts, counts, weights
