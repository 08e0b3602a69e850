"""Whether a square holds enough foreground, and lies far enough inside its region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dplabtools._typing import BoolArray, FloatArray
from dplabtools.errors import ParameterError
from dplabtools.locations.overlap import area_inside
from dplabtools.locations.regions import Bounds, Region
from dplabtools.masks.foreground import ForegroundMask

__all__ = ["Acceptance"]

_SHARE_DECIMALS = 10
_AREA_DECIMALS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """What makes a candidate a patch.

    Attributes
    ----------
    foreground : float
        Smallest share of its pixels that is foreground, from 0 to 1.
    overlap : float
        Smallest share of its area that lies in its region, from 0 to 1.
    """

    foreground: float
    overlap: float

    def __post_init__(self) -> None:
        for name, value in (
            ("foreground_ratio", self.foreground),
            ("overlap_ratio", self.overlap),
        ):
            if not 0 <= value <= 1:
                msg = f"{name} must be from 0 to 1, not {value}"
                raise ParameterError(msg)

    def accepts(
        self, corners: FloatArray, *, edge: float, region: Region, mask: ForegroundMask
    ) -> BoolArray:
        """Tell which candidates are patches.

        Parameters
        ----------
        corners : ndarray of float64, shape (n, 2)
            (x, y) of top-left corners, in mask pixels.
        edge : float
            Edge of a patch, in mask pixels.
        region : Region
            Where the patches have to lie.
        mask : ForegroundMask
            What they have to hold.

        Returns
        -------
        ndarray of bool, shape (n,)
            Shares are compared after rounding to 10 decimals, areas to 8.
        """
        accepted = np.round(mask.share(corners, edge), _SHARE_DECIMALS) >= self.foreground
        doubtful = accepted
        if region.loose:
            doubtful = accepted & ~_within(corners, edge, region.bounds)
        rows = np.flatnonzero(doubtful)
        areas = np.round(area_inside(corners[rows], edge, region.shape), _AREA_DECIMALS)
        accepted[rows] = areas >= round(edge * edge * self.overlap, _AREA_DECIMALS)
        return accepted


def _within(corners: FloatArray, edge: float, bounds: Bounds) -> BoolArray:
    """Tell which squares lie wholly inside a box."""
    x0, y0, x1, y1 = bounds
    inside = (corners >= (x0, y0)) & (corners + edge <= (x1, y1))
    return np.asarray(inside.all(axis=1))
