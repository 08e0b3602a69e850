"""Outlines of masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from dplabtools._typing import FloatArray, IntArray
from dplabtools.report.packing import packed
from dplabtools.slides.utils import MaskData

__all__ = ["encoded_outline", "outline_of"]

_UNITS: Final = 30_000  # of outlines, across the longer side of the slide


def outline_of(mask: Path) -> list[FloatArray]:
    """Return the lines around a mask and its holes.

    Returns
    -------
    list of ndarray of float64, shape (n, 2)
        (x, y) in shares of the width and height of the slide, longest line first.

    Raises
    ------
    MaskError, MaskTypeError, MissingMaskError
        If the file is no mask.
    """
    import cv2

    pixels = np.ascontiguousarray((MaskData(mask_data=mask).mask_array != 0).T).view(
        np.uint8
    )
    rings, _ = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    simple = [cv2.approxPolyDP(ring, 1.0, True)[:, 0] for ring in rings]
    simple.sort(key=len, reverse=True)
    height, width = pixels.shape
    return [(ring + 0.5) / (width, height) for ring in simple if len(ring) > 2]


def encoded_outline(rings: Sequence[FloatArray], limit: int) -> dict[str, object]:
    """Return lines as columns; the shortest are left out, until they keep to a limit.

    Parameters
    ----------
    rings : sequence of ndarray of float64, shape (n, 2)
        From `outline_of`.
    limit : int
        Characters.

    Returns
    -------
    dict
        ``lengths``, ``x`` and ``y`` packed, ``n`` (lines), ``points`` and ``units``.
    """
    while True:
        points = np.concatenate([*rings, np.zeros((0, 2))])
        whole: IntArray = np.rint(points * _UNITS).astype(np.int64)
        lengths = np.array([len(ring) for ring in rings], dtype=np.int64)
        columns = {
            "lengths": packed(lengths),
            "x": packed(whole[:, 0]),
            "y": packed(whole[:, 1]),
        }
        if sum(map(len, columns.values())) <= limit or not len(rings):
            return {**columns, "n": len(rings), "points": len(whole), "units": _UNITS}
        rings = rings[: len(rings) * 2 // 3]
