"""Rectangles on a slide, many at once."""

from __future__ import annotations

import numpy as np

from dplabtools._typing import BoolArray, FloatArray, IntArray, Point, Size
from dplabtools.errors import RegionOutOfBoundsError
from dplabtools.geometry.pyramid import Pyramid

__all__ = ["check_region", "half_even", "region_error", "regions_outside"]


def half_even(values: FloatArray) -> IntArray:
    """Round to integers, halves to even, as Python's `round` does."""
    return np.rint(values).astype(np.int64)


def regions_outside(
    size_level0: Size, origins: IntArray, sizes: IntArray, *, downsample: float
) -> BoolArray:
    """Tell which regions lie outside the slide, or span it from before its start.

    Parameters
    ----------
    size_level0 : (int, int)
        Width and height of level 0.
    origins : ndarray of int, shape (n, 2)
        (x, y) of top-left corners, in level 0 pixels.
    sizes : ndarray of int, shape (n, 2)
        (width, height), in pixels of the resolution.
    downsample : float
        Level 0 pixels per pixel of the resolution.

    Returns
    -------
    ndarray of bool, shape (n,)
        True where a corner lies beyond the right or lower edge (exactly on it is
        allowed), where a region ends at or before the left or upper edge, or where it
        begins before it and is longer than the slide.
    """
    slide = np.asarray(size_level0)
    outside: BoolArray = origins > slide
    early = origins < 0
    if early.any():
        extents = half_even(np.multiply(sizes, downsample, dtype=np.float64))
        outside |= early & ((origins + extents <= 0) | (extents > slide))
    return outside[:, 0] | outside[:, 1]


def check_region(pyramid: Pyramid, origin: Point, size: Size, *, downsample: float) -> None:
    """Raise if a region lies outside the slide, or spans it from before its start.

    Parameters
    ----------
    pyramid : Pyramid
        The slide.
    origin : (int, int)
        (x, y) of the top-left corner, in level 0 pixels.
    size : (int, int)
        (width, height), in pixels of the resolution.
    downsample : float
        Level 0 pixels per pixel of the resolution.

    Raises
    ------
    RegionOutOfBoundsError
        By the rules of `regions_outside`.
    """
    corners, sizes = np.array([origin]), np.array([size])
    if regions_outside(pyramid.size, corners, sizes, downsample=downsample).any():
        raise region_error(pyramid, origin, size, downsample=downsample)


def region_error(
    pyramid: Pyramid, origin: Point, size: Size, *, downsample: float
) -> RegionOutOfBoundsError:
    """Return the error that tells of a region which does not fit its slide."""
    width, height = (round(length * downsample) for length in size)
    slide_width, slide_height = pyramid.size
    msg = (
        f"the region at {tuple(origin)} of {width} x {height} level 0 pixels "
        f"lies outside the slide of {slide_width} x {slide_height}, or spans it"
    )
    return RegionOutOfBoundsError(msg, slide=pyramid.slide, remedy="move or drop the patch")
