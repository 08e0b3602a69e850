"""Masks out of outlines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from dplabtools._typing import BoolArray, FloatArray, Size

__all__ = ["fill_outlines", "fill_polygons"]

Outline = Sequence[tuple[float, float]]


def fill_outlines(outlines: Iterable[Outline], size: Size) -> BoolArray:
    """Return a mask of everything inside any of the outlines.

    Parameters
    ----------
    outlines : iterable of sequence of (float, float)
        (x, y) of the corners, in mask pixels.
    size : (int, int)
        Width and height of the mask.

    Returns
    -------
    ndarray of bool, shape (height, width)
        True inside and on the outlines.
    """
    import cv2

    mask = np.zeros((size[1], size[0]), dtype=np.uint8)
    for outline in outlines:
        cv2.fillPoly(mask, [np.rint(outline).astype(np.int32)], 1)
    return mask.view(bool)


def fill_polygons(polygons: Iterable[Sequence[FloatArray]], size: Size) -> BoolArray:
    """Return a mask of everything inside any of the polygons, without their holes.

    Parameters
    ----------
    polygons : iterable of sequence of ndarray, shape (n, 2)
        Outline and holes of each: (x, y) of the corners, in mask pixels.
    size : (int, int)
        Width and height of the mask.

    Returns
    -------
    ndarray of bool, shape (height, width)
        True where the middle of a pixel is inside.
    """
    width, height = size
    mask = np.zeros((height, width), dtype=bool)
    for rings in polygons:
        rows, columns = _crossings(rings, size)
        if not len(rows):
            continue
        top, left, right = int(rows.min()), int(columns.min()), int(columns.max())
        turns = np.zeros((int(rows.max()) - top + 1, right - left + 1), dtype=np.uint8)
        np.add.at(turns, (rows - top, columns - left), 1)
        # Each crossing turns inside to outside, or back.
        inside = (np.cumsum(turns, axis=1, dtype=np.uint8) & 1).astype(bool)
        mask[top : top + len(turns), left:right] |= inside[:, : right - left]
    return mask


def _crossings(
    rings: Sequence[FloatArray], size: Size
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return rows and columns of the first pixels beyond each edge that crosses a row."""
    width, height = size
    starts = np.concatenate([np.asarray(ring, dtype=np.float64) for ring in rings])
    ends = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    upper = np.where((starts[:, 1] <= ends[:, 1])[:, None], starts, ends)
    lower = np.where((starts[:, 1] <= ends[:, 1])[:, None], ends, starts)
    # Rows whose middle, at a half, lies from the upper end up to the lower one.
    first = np.clip(np.ceil(upper[:, 1] - 0.5), 0, height).astype(np.intp)
    last = np.clip(np.ceil(lower[:, 1] - 0.5), 0, height).astype(np.intp)
    counts = last - first
    edges = np.repeat(np.arange(len(counts)), counts)
    rows = np.arange(len(edges)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows += first[edges]
    (x0, y0), (x1, y1) = upper[edges].T, lower[edges].T
    x = x0 + (x1 - x0) * ((rows + 0.5 - y0) / (y1 - y0))
    return rows, np.clip(np.ceil(x - 0.5), 0, width).astype(np.intp)
