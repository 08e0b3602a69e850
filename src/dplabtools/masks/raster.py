"""Masks out of outlines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from dplabtools._typing import BoolArray, Size

__all__ = ["fill_outlines"]

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
