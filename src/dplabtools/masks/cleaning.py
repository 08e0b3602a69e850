"""Removing specks and holes from masks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dplabtools._typing import BoolArray
from dplabtools.errors import ParameterError

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

    def clean(self, mask: BoolArray, downsample: float) -> BoolArray:
        """Return the mask without its specks and holes.

        In this order: all holes, small holes, closing, small objects. Pixels touch by
        their edges, not their corners. Small background at the border is a hole, too.

        Parameters
        ----------
        mask : ndarray of bool, shape (height, width)
            Not changed.
        downsample : float
            Level 0 pixels per mask pixel, in either direction.

        Returns
        -------
        ndarray of bool, shape (height, width)
            A new array.
        """
        unit = _UNIT_AREA / downsample**2
        if self.all_holes:
            mask = _fill_enclosed(mask)
        mask = ~_without_small(~mask, math.ceil(self.holes_ratio * unit) + 1)
        if self.close_kernel:
            mask = _close(mask, self.close_kernel)
        return _without_small(mask, math.ceil(self.objects_ratio * unit))


def _without_small(mask: BoolArray, smallest: int) -> BoolArray:
    """Return the mask without components of fewer pixels than `smallest`."""
    import cv2

    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.view(np.uint8), connectivity=4
    )
    keep: BoolArray = stats[:, cv2.CC_STAT_AREA] >= smallest
    keep[0] = False
    return keep[np.asarray(labels, dtype=np.int32)]


def _fill_enclosed(mask: BoolArray) -> BoolArray:
    """Return the mask without background that does not reach the border."""
    import cv2

    outside = np.pad(~mask, 1, constant_values=True).view(np.uint8)
    _, components = cv2.connectedComponents(outside, connectivity=4)
    filled: BoolArray = components[1:-1, 1:-1] != components[0, 0]
    return filled


def _close(mask: BoolArray, edge: int) -> BoolArray:
    """Return the morphological closing with a square."""
    import cv2

    kernel = np.ones((edge, edge), dtype=np.uint8)
    closed = cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_CLOSE, kernel)
    return np.asarray(closed != 0)
