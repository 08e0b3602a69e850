"""A mask that answers how much of a square is foreground, for many squares at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dplabtools._typing import BoolArray, FloatArray, IntArray, Size
from dplabtools.errors import MaskError
from dplabtools.geometry.pyramid import Pyramid

__all__ = ["ForegroundMask", "fit_downsample"]

_INT32_COUNTS = 2**31
_BLOCK = 2**14  # squares at a time
_ALWAYS_A_PIXEL = 1.5  # an edge that, wherever it begins, rounds to a pixel or more


@dataclass(frozen=True, slots=True, eq=False)
class ForegroundMask:
    """Foreground of one slide.

    Attributes
    ----------
    pixels : ndarray of bool, shape (height, width)
        True where there is foreground.
    """

    pixels: BoolArray
    _sums: IntArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.pixels.ndim != 2 or not self.pixels.size:
            msg = f"a mask has two axes and some pixels, not shape {self.pixels.shape}"
            raise MaskError(msg)
        height, width = self.pixels.shape
        kind = np.int32 if self.pixels.size < _INT32_COUNTS else np.int64
        sums = np.zeros((height + 1, width + 1), dtype=kind)
        inner = sums[1:, 1:]
        np.cumsum(self.pixels, axis=0, dtype=kind, out=inner)
        np.cumsum(inner, axis=1, out=inner)
        object.__setattr__(self, "_sums", sums)

    @property
    def size(self) -> Size:
        """(width, height)."""
        height, width = self.pixels.shape
        return width, height

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1) around the foreground; (0, 0, 1, 1) if there is none."""
        columns = np.flatnonzero(self.pixels.any(axis=0))
        rows = np.flatnonzero(self.pixels.any(axis=1))
        if not len(columns):
            return 0, 0, 1, 1
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

    def share(self, corners: FloatArray, edge: float) -> FloatArray:
        """Return how much of each square is foreground.

        A square stands for the pixels from ``round(corner)`` up to, without,
        ``round(corner + edge)``, halves to even; where that is none, for the one pixel
        that holds the corner.

        Parameters
        ----------
        corners : ndarray of float64, shape (n, 2)
            (x, y) of top-left corners, in mask pixels.
        edge : float
            Edge of the squares, in mask pixels.

        Returns
        -------
        ndarray of float64, shape (n,)
            From 0 to 1; pixels outside the mask count as background.
        """
        shares = np.empty(len(corners))
        for start in range(0, len(corners), _BLOCK):
            rows = slice(start, start + _BLOCK)
            shares[rows] = self._share(corners[rows], edge)
        return shares

    def _share(self, corners: FloatArray, edge: float) -> FloatArray:
        """Return the shares of so few squares that the processor's cache holds them."""
        width, height = self.size
        left, right, columns = _span(np.ascontiguousarray(corners[:, 0]), edge, width)
        top, bottom, rows = _span(np.ascontiguousarray(corners[:, 1]), edge, height)
        sums = self._sums.reshape(-1)
        top *= width + 1
        bottom *= width + 1
        found = sums[bottom + right].astype(np.int64)
        found -= sums[top + right]
        found -= sums[bottom + left]
        found += sums[top + left]
        return np.asarray(found / (columns * rows), dtype=np.float64)


def _span(
    start: FloatArray, edge: float, size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], FloatArray]:
    """Return first pixels, the ones after the last, and how many there would be.

    Pixels are within the mask; their number is not limited by it.
    """
    low, high = np.rint(start), np.rint(start + edge)
    if edge < _ALWAYS_A_PIXEL:
        empty = high <= low
        low = np.where(empty, np.floor(start), low)
        high = np.where(empty, low + 1, high)
    count = high - low
    first = np.clip(low, 0, size).astype(np.int64)
    return first, np.clip(high, 0, size).astype(np.int64), count


def fit_downsample(size: Size, pyramid: Pyramid) -> float:
    """Return the level 0 pixels per pixel of a mask of this size.

    Parameters
    ----------
    size : (int, int)
        Width and height of the mask.
    pyramid : Pyramid
        Levels of the slide.

    Returns
    -------
    float
        The downsample of the coarsest level of that size; of other masks the mean of
        the ratios of widths and heights.

    Raises
    ------
    MaskError
        If the mask has another aspect than the slide, by more than one mask pixel.
    """
    for level in reversed(range(len(pyramid.sizes))):
        if pyramid.sizes[level] == size:
            return pyramid.downsamples[level]
    width, height = pyramid.size
    downsample = (width / size[0] + height / size[1]) / 2
    off = max(abs(width / downsample - size[0]), abs(height / downsample - size[1]))
    if off > 1:
        levels = ", ".join(f"{w} x {h}" for w, h in pyramid.sizes)
        msg = (
            f"a mask of {size[0]} x {size[1]} (width x height) does not fit this slide; "
            f"its levels are {levels}. Mask arrays are indexed [x, y], mask images are "
            f"images as usual"
        )
        raise MaskError(msg, slide=pyramid.slide)
    return downsample
