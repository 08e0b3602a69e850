"""Rectangles on a slide, many at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dplabtools._typing import IntArray, Size
from dplabtools.errors import RegionOutOfBoundsError

__all__ = ["check_regions", "half_even"]


def half_even(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> IntArray:
    """Round to integers, halves to even, as Python's `round` does."""
    return np.rint(values).astype(np.int64)


def check_regions(
    size_level0: Size,
    origins: IntArray | Sequence[tuple[int, int]],
    sizes: IntArray | Sequence[Size],
    *,
    downsample: float,
    slide: str,
) -> None:
    """Raise if a region lies outside the slide, or spans it from before its start.

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
    slide : str
        Name of the slide, for the message.

    Raises
    ------
    RegionOutOfBoundsError
        If a corner lies beyond the right or lower edge (exactly on it is allowed), if
        a region ends at or before the left or upper edge, or if it begins before it
        and is longer than the slide.
    """
    corner = np.asarray(origins, dtype=np.int64).reshape(-1, 2)
    extent = half_even(np.asarray(sizes).reshape(-1, 2) * downsample)
    slide_size = np.asarray(size_level0)
    beyond = corner > slide_size
    before = (corner < 0) & (corner + extent <= 0)
    spanning = (corner < 0) & (extent > slide_size)
    wrong = np.any(beyond | before | spanning, axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        x, y = corner[row].tolist()
        width, height = extent[row].tolist()
        more = f" (and {int(wrong.sum()) - 1} more)" if wrong.sum() > 1 else ""
        msg = (
            f"the region at ({x}, {y}), {width} x {height} level 0 pixels, does not fit "
            f"the slide of {size_level0[0]} x {size_level0[1]}{more}"
        )
        raise RegionOutOfBoundsError(msg, slide=slide)
