"""Removing specks and holes from masks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dplabtools._typing import BoolArray
from dplabtools.errors import ParameterError
from dplabtools.masks.components import keep_bordering, keep_large
from dplabtools.masks.strips import row_blocks

__all__ = ["Cleaning"]

_UNIT_AREA = 65536  # level 0 pixels: one patch of 256 x 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaning:
    """What to remove from a mask.

    Attributes
    ----------
    holes_ratio, objects_ratio : float
        Holes up to, and objects below, this share of 256 x 256 level 0 pixels go.
    all_holes : bool
        Fill every hole, whatever its size, as long as it does not touch the border.
    close_kernel : int
        Edge of the square of the morphological closing, in mask pixels; 0 for none.
    """

    holes_ratio: float
    objects_ratio: float
    all_holes: bool
    close_kernel: int

    def __post_init__(self) -> None:
        for name, value in (
            ("remove_small_holes_ratio", self.holes_ratio),
            ("remove_small_objects_ratio", self.objects_ratio),
            ("close_fill_kernel_size", self.close_kernel),
        ):
            if not 0 <= value < math.inf:
                msg = f"{name} must be >= 0, not {value}"
                raise ParameterError(msg)

    def clean(self, mask: BoolArray, downsample: float) -> None:
        """Take the specks and holes out of a mask.

        In this order: all holes, small holes, closing, small objects. Pixels touch by
        their edges, not their corners. Small background at the border is a hole, too.

        Parameters
        ----------
        mask : ndarray of bool, shape (height, width)
            Changed in place; little memory is taken beside it.
        downsample : float
            Level 0 pixels per mask pixel, in either direction.
        """
        unit = _UNIT_AREA / downsample**2
        np.logical_not(mask, out=mask)
        if self.all_holes:
            keep_bordering(mask)
        keep_large(mask, math.ceil(self.holes_ratio * unit) + 1)
        np.logical_not(mask, out=mask)
        if self.close_kernel:
            _close(mask, self.close_kernel)
        keep_large(mask, math.ceil(self.objects_ratio * unit))


def _close(mask: BoolArray, edge: int) -> None:
    """Close a mask morphologically with a square, strip by strip."""
    import cv2

    kernel = np.ones((edge, edge), dtype=np.uint8)
    height, width = mask.shape
    reach = 2 * edge  # rows that a row of the result depends on, at most, on either side
    above = mask[:0].copy()
    for rows in row_blocks(height, width=width):
        strip = np.concatenate((above, mask[rows.start : rows.stop + reach]))
        closed = cv2.morphologyEx(strip.view(np.uint8), cv2.MORPH_CLOSE, kernel)
        before, count = len(above), rows.stop - rows.start
        above = strip[max(0, before + count - reach) : before + count].copy()
        mask[rows] = closed[before : before + count]
