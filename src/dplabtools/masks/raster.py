"""Masks out of outlines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

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
        True inside and on the outlines.
    """
    import cv2

    mask = np.zeros((size[1], size[0]), dtype=np.uint8)
    for rings in polygons:
        cv2.fillPoly(mask, [np.rint(ring).astype(np.int32) for ring in rings], 1)
    return mask.view(bool)
