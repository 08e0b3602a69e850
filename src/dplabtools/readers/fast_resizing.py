"""Pillow's resizing, several times as fast: the same arithmetic, compiled by numba.

Both axes are done by one kernel that takes whole rows at a time, which compilers turn
into vector instructions; for the other axis the image is transposed. It is the arithmetic
of ``src/libImaging/Resample.c`` in Pillow: weights with 22 fractional bits, and rounding to
eight bits after each axis. So the pixels are equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from dplabtools._typing import Pixels
from dplabtools.machine_code import numba
from dplabtools.readers.workspace import workspace

__all__ = ["resize_fast"]

_FRACTION: Final = 22  # bits: eight are for the pixel, two against overflow
_HALF: Final = 1 << (_FRACTION - 1)


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


_FILTERS: Final[Mapping[Image.Resampling, tuple[Callable[[float], float], float]]] = {
    Image.Resampling.BOX: (_box, 0.5),
    Image.Resampling.BILINEAR: (_bilinear, 1.0),
    Image.Resampling.HAMMING: (_hamming, 1.0),
    Image.Resampling.BICUBIC: (_bicubic, 2.0),
    Image.Resampling.LANCZOS: (_lanczos, 3.0),
}
"""Function and reach of each filter."""


def resize_fast(
    pixels: Pixels, out: Pixels, *, resample: Image.Resampling, vertical_first: bool
) -> None:
    """Resize an image as Pillow does it.

    Parameters
    ----------
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
    if width == before[1]:
        _resize_rows(near, out, resample)
    elif height == before[0]:
        _resize_columns(near, out, resample)
    elif vertical_first:
        between = _memory("between", height, before[1])
        _resize_rows(near, between, resample)
        _resize_columns(between, out, resample)
    else:
        between = _memory("between", before[0], width)
        _resize_columns(near, between, resample)
        _resize_rows(between, out, resample)


def _memory(use: str, height: int, width: int) -> Pixels:
    flat = workspace(f"resizing: {use}", height * width * 3)
    return flat.reshape(height, width, 3)


def _resize_columns(pixels: Pixels, out: Pixels, resample: Image.Resampling) -> None:
    (height, before), after = pixels.shape[:2], out.shape[1]
    turned, result = _memory("turned", before, height), _memory("result", after, height)
    cv2.transpose(pixels, turned)
    _resize_rows(turned, result, resample)
    cv2.transpose(result, out)


def _resize_rows(pixels: Pixels, out: Pixels, resample: Image.Resampling) -> None:
    (before, width), after = pixels.shape[:2], out.shape[0]
    rows, mixed = pixels.reshape(before, width * 3), out.reshape(after, width * 3)
    _mix_rows(rows, *_weights(before, after, resample), mixed)


@lru_cache(maxsize=64)
def _weights(
    before: int, after: int, resample: Image.Resampling
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Return first row, number of rows and their weights for each row of the result."""
    function, reach = _FILTERS[resample]
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
    return starts, lengths, weights


@numba.njit(  # type: ignore[untyped-decorator,unused-ignore]
    "void(uint8[:, ::1], int64[::1], int64[::1], int32[:, ::1], uint8[:, ::1])",
    nogil=True,
    cache=True,
)
def _mix_rows(  # noqa: PLR0917 - numba takes arguments by place
    rows: Any,  # noqa: ANN401 - compiled
    starts: Any,  # noqa: ANN401 - compiled
    lengths: Any,  # noqa: ANN401 - compiled
    weights: Any,  # noqa: ANN401 - compiled
    out: Any,  # noqa: ANN401 - compiled
) -> None:
    count = out.shape[1]
    total = np.empty(count, np.int32)
    for row in range(out.shape[0]):
        first, length, w = starts[row], lengths[row], weights[row]
        for j in range(count):
            total[j] = _HALF
        fours = length - length % 4
        for i in range(0, fours, 4):  # four at once: sums go to memory less often
            a, b = rows[first + i], rows[first + i + 1]
            c, d = rows[first + i + 2], rows[first + i + 3]
            for j in range(count):
                total[j] += (
                    np.int32(a[j]) * w[i]
                    + np.int32(b[j]) * w[i + 1]
                    + np.int32(c[j]) * w[i + 2]
                    + np.int32(d[j]) * w[i + 3]
                )
        for i in range(fours, length):
            a, weight = rows[first + i], w[i]
            for j in range(count):
                total[j] += np.int32(a[j]) * weight
        for j in range(count):
            out[row, j] = min(max(total[j] >> _FRACTION, 0), 255)
