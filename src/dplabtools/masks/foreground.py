"""A mask that answers how much of a square is foreground, for many squares at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dplabtools._typing import BoolArray, FloatArray, IntArray, Size
from dplabtools.errors import MaskError
from dplabtools.geometry.boxes import half_even
from dplabtools.geometry.pyramid import Pyramid

__all__ = ["ForegroundMask", "fit_downsample"]

_INT32_COUNTS = 2**31


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
        low = half_even(corners)
        high = half_even(corners + edge)
        empty = high <= low
        low = np.where(empty, np.floor(corners).astype(np.int64), low)
        high = np.where(empty, low + 1, high)
        area = np.prod(high - low, axis=1)
        x0, y0 = np.clip(low, 0, self.size).T
        x1, y1 = np.clip(high, 0, self.size).T
        sums = self._sums
        found = sums[y1, x1].astype(np.int64) - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
        return np.asarray(found / area, dtype=np.float64)


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
