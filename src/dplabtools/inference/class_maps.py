"""What a model says of patches, averaged over the pixels of a level."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from dplabtools._typing import IntArray, Size

__all__ = ["ClassMaps", "Window", "window_weights"]

Floats: TypeAlias = npt.NDArray[np.float32]
Sums: TypeAlias = npt.NDArray[np.float64]
Window: TypeAlias = Literal["uniform", "hann"]

_IN_MEMORY: Final = 256 << 20  # bytes of sums that are held in memory, not in a file
_ROWS: Final = 256  # of the maps that are averaged at once
_LEAST_WEIGHT: Final = 1e-3  # at the rim of a window: where nothing overlaps, it counts


@dataclass(slots=True, eq=False, init=False)
class ClassMaps:
    """Values of classes over the pixels of a level, averaged where patches overlap.

    Sums are kept in double precision, in a temporary file where they are large; the file
    has no name, and goes with this object.

    Parameters
    ----------
    classes : int
        Number of classes.
    size : (int, int)
        (width, height) of the level.
    window : {"uniform", "hann"}
        How much the pixels of a patch count: all alike, or those in the middle more.
    """

    classes: int
    size: Size
    window: Window
    _sums: Sums
    _weights: Sums

    def __init__(self, classes: int, size: Size, *, window: Window = "uniform") -> None:
        self.classes, self.size, self.window = classes, size, window
        width, height = size
        self._sums = _zeros((classes, height, width))
        self._weights = _zeros((height, width))

    def add(self, values: Floats, corners: IntArray, *, side: Size) -> None:
        """Add the values of patches.

        Parameters
        ----------
        values : ndarray of float32, shape (n, classes) or (n, classes, height, width)
            One value a class and patch, or one for each pixel of `side`.
        corners : ndarray of int64, shape (n, 2)
            (x, y) of the top-left corners, in pixels of the maps; may lie outside.
        side : (int, int)
            (width, height) of the patches, in pixels of the maps. What lies outside the
            maps is left out.
        """
        weights = window_weights(self.window, side)
        for value, (x, y) in zip(values, corners.tolist(), strict=True):
            left, top = max(0, x), max(0, y)
            right, bottom = min(self.size[0], x + side[0]), min(self.size[1], y + side[1])
            if left >= right or top >= bottom:
                continue
            inside = (slice(top - y, bottom - y), slice(left - x, right - x))
            part = (slice(top, bottom), slice(left, right))
            weight = weights[inside]
            shown = value[:, None, None] if value.ndim == 1 else value[:, *inside]
            self._sums[:, *part] += shown * weight
            self._weights[part] += weight

    def mean(self) -> Floats:
        """Return the averages, shape (classes, height, width); NaN where there are none."""
        averages = np.empty(self._sums.shape, dtype=np.float32)
        for top in range(0, self.size[1], _ROWS):
            rows = slice(top, top + _ROWS)
            with np.errstate(invalid="ignore", divide="ignore"):
                averages[:, rows] = self._sums[:, rows] / self._weights[rows]
        return averages


def window_weights(window: Window, side: Size) -> Sums:
    """Return how much each pixel of a patch counts.

    Parameters
    ----------
    window : {"uniform", "hann"}
        ``"hann"``: the product of two Hann windows, sampled at the centres of the pixels,
        and nowhere less than a thousandth.
    side : (int, int)
        (width, height) of the patch.

    Returns
    -------
    ndarray of float64, shape (height, width)
        More than 0, at most 1.
    """
    width, height = side
    if window == "uniform":
        return np.ones((height, width))
    across, down = (
        np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2
        for length in (width, height)
    )
    return np.maximum(np.outer(down, across), _LEAST_WEIGHT)


def _zeros(shape: tuple[int, ...]) -> Sums:
    """Return zeros, in a file without a name where there are many."""
    length = math.prod(shape) * np.dtype(np.float64).itemsize
    if length <= _IN_MEMORY:
        return np.zeros(shape)
    with tempfile.TemporaryFile(prefix="dplabtools-") as file:
        file.truncate(length)
        mapped: npt.NDArray[Any] = np.memmap(file, dtype=np.float64, shape=shape)
    return mapped
