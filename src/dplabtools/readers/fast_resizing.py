"""Pillow's resizing, many times as fast: the same arithmetic in other machine code.

The machine code is that of ``resize_images.ll``, or of ``resize_by_quads.ll`` where the
processor can do what that takes. The arithmetic is that of Pillow
(https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Resample.c): weights with
22 fractional bits, and rounding to eight bits after each axis. So the pixels are equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from dplabtools._typing import IntArray, Size
from dplabtools.readers.workspace import workspace

__all__ = ["FILTERS", "NARROWEST", "ResizingPlan", "resizing_plan"]

NARROWEST: Final = 22  # pixels; 64 bytes are taken at a time
"""Width that an image must have to be resized here."""

_FRACTION: Final = 22  # bits: eight are for the pixel, two against overflow
_LOW: Final = 12  # bits of a weight in its lower half
_STRIP: Final = 32  # rows on their way
_QUADS_STRIP: Final = 16  # the same, of quads
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
        columns, rows = (
            _weights(*lengths, resample) for lengths in zip(before, after, strict=True)
        )
        pairs = _Pairs(before, columns, rows)
        quads = _Quads(before, columns, rows)
        self._numbers = np.array([*before, *pairs.numbers, *quads.numbers], np.int64)
        self._address: int = self._numbers.ctypes.data
        self._tables = pairs, quads  # which it points to
        self._vectors = max(pairs.vectors, quads.vectors)

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


class _Weights(NamedTuple):
    """What Pillow makes each pixel of along one axis."""

    first: IntArray  # pixel of the original
    counts: IntArray  # of pixels
    weights: IntArray  # a row of them for each pixel of the result


class _Axis:
    """Weights along one axis, of some neighbours at a time.

    Parameters
    ----------
    before : int
        Pixels of the original.
    weights : _Weights
        Of each pixel of the result.
    together : int
        Neighbours that are summed up at a time: 2 or 4.
    whole : int
        Pixels that are looked at together.

    Attributes
    ----------
    lead : int
        How many pixels before the first one pairs begin: 0, or 1 if that makes sums fewer.
    taps : int
        How many such sums make a pixel of the result.
    pixels : int
        How many are looked at, the lead and what fills up the last of them included.
    starts : ndarray of int64, shape (after,)
        The number of the first pair for each pixel of the result.
    weights : ndarray of int64, shape (after, taps, together)
        From there.
    """

    def __init__(
        self, before: int, weights: _Weights, *, together: int, whole: int
    ) -> None:
        first, counts, values = weights
        self.taps, self.lead = min(
            (int((-(-((first + lead) % 2 + counts) // together)).max()), lead)
            for lead in (0, 1)
        )
        length = self.taps * together
        self.pixels = -(-(before + self.lead) // whole) * whole
        self.starts = np.minimum((first + self.lead) // 2, (self.pixels - length) // 2)
        spread = np.zeros((len(first), length), dtype=np.int64)
        for row, shift in enumerate((first + self.lead - 2 * self.starts).tolist()):
            spread[row, shift : shift + counts[row]] = values[row, : counts[row]]
        self.weights = spread.reshape(-1, self.taps, together)


class _Pairs:
    """What ``resize_images.ll`` has to know.

    Attributes
    ----------
    numbers : list of int
        Its plan, without the size of an image.
    vectors : int
        How many it takes memory for.
    """

    def __init__(self, before: Size, columns: _Weights, rows: _Weights) -> None:
        across = _Axis(before[0], columns, together=2, whole=4)
        down = _Axis(before[1], rows, together=2, whole=_STRIP)
        axes = across, down
        kept = 1 << (_STRIP // 2 + down.taps - 2).bit_length()
        self._tables = [self._table(axis) for axis in axes]
        numbers = [axis.lead for axis in axes] + [axis.taps for axis in axes]
        numbers += [len(axis.starts) for axis in axes]
        self.numbers = [*numbers, *(table.ctypes.data for table in self._tables), kept]
        edge = (before[0] * 3 + 95) // _VECTOR
        blocks = -(-len(across.starts) * 3 // _VECTOR) * 4
        self.vectors = 2 * edge + 3 * across.pixels + blocks * (16 + kept)

    @staticmethod
    def _table(axis: _Axis) -> IntArray:
        parts = (axis.weights >> _LOW, axis.weights & (1 << _LOW) - 1)
        packed = np.stack(parts, axis=2).astype(np.int16).reshape(len(axis.starts), -1)
        return np.column_stack((axis.starts, packed.view(np.int64)))


class _Quads:
    """What ``resize_by_quads.ll`` has to know; its attributes are those of `_Pairs`."""

    def __init__(self, before: Size, columns: _Weights, rows: _Weights) -> None:
        down = _Axis(before[1], rows, together=4, whole=_QUADS_STRIP)
        kept = 1 << (_QUADS_STRIP // 2 + 2 * down.taps - 1).bit_length()
        digits = np.moveaxis(_digits(down.weights), 0, 2).reshape(len(down.starts), -1)
        weights = np.column_stack((down.starts.astype(np.int32), digits.view(np.int32)))
        choices = (_windows(before[0] * 3, columns, count=count) for count in range(1, 5))
        places, tables = min(choices, key=lambda each: (each[1].shape[1], each[0].shape[1]))
        groups, windows = places.shape
        memory = np.empty(tables.nbytes + _VECTOR, dtype=np.int8)
        aligned = memory[-memory.ctypes.data % _VECTOR :][: tables.size]
        aligned[:] = tables.reshape(-1)
        self._tables = places, aligned, weights
        numbers = [groups, windows, tables.shape[1] // windows, down.taps, down.lead]
        self.numbers = [*numbers, *(table.ctypes.data for table in self._tables), kept]
        self.vectors = groups * kept


def _windows(
    nbytes: int, columns: _Weights, *, count: int
) -> tuple[IntArray, npt.NDArray[np.int8]]:
    """Find windows that 16 bytes of the result at a time are made of.

    Parameters
    ----------
    nbytes : int
        Of a row of the original.
    columns : _Weights
        Of each pixel of the result.
    count : int
        Tables of each window: each has four pixels for each byte of the result, at most.

    Returns
    -------
    places : ndarray of int64, shape (groups, windows)
        Where each window begins in the row.
    tables : ndarray of int8, shape (groups, windows * count, 4, 16, 4)
        As ``resize_by_quads.ll`` takes them.
    """
    first, counts, weights = columns
    groups = -(-len(first) * 3 // _VECTOR) * 4
    pixels, colours = np.divmod(np.arange(groups * 16), 3)
    pixels = np.minimum(pixels, len(first) - 1)  # what fills up the last vector
    left, at = counts[pixels], first[pixels] * 3 + colours
    weights, nth = np.pad(weights, ((0, 0), (0, 4)))[pixels], np.arange(4)
    places, tables = list[IntArray](), list[npt.NDArray[np.int8]]()
    while left.any():
        wanted = np.where(left, at, nbytes - _VECTOR).reshape(groups, 16)
        places.append(np.minimum(wanted.min(axis=1), nbytes - _VECTOR))
        for _ in range(count):
            inside = at - np.repeat(places[-1], 16)
            taken = np.clip((_VECTOR + 2 - inside) // 3, 0, np.minimum(left, 4))
            picks = np.minimum(inside[:, np.newaxis] + 3 * nth, _VECTOR - 1)
            done = (counts[pixels] - left)[:, np.newaxis]
            four = np.take_along_axis(weights, done + nth, axis=1)
            digits = _digits(np.where(nth < taken[:, np.newaxis], four, 0))
            tables.append(np.stack((picks.astype(np.int8), *digits)))
            left, at = left - taken, at + 3 * taken
    table = np.stack(tables).reshape(-1, 4, groups, 16, 4)
    return np.stack(places, axis=1), np.moveaxis(table, 2, 0)


def _digits(weights: IntArray) -> npt.NDArray[np.int8]:
    """Return the high, the middle and the low digit of each, from -128 to 127."""
    low = weights.astype(np.int8)
    rest = (weights - low) >> 8
    middle = rest.astype(np.int8)
    high = ((rest - middle) >> 8).astype(np.int8)
    return np.stack((high, middle, low))


def _weights(before: int, after: int, resample: Image.Resampling) -> _Weights:
    """Return what Pillow makes each pixel of along one axis, by a filter."""
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
    return _Weights(starts, counts, weights)
