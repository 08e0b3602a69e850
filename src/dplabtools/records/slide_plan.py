"""What is to be read of one slide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dplabtools._typing import IntArray
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.geometry.resolution import Resolution
from dplabtools.records.patch_table import PatchTable
from dplabtools.records.quality import PatchQuality
from dplabtools.records.slide_columns import SlideColumns

__all__ = ["SlidePlan"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SlidePlan:
    """The patches of one slide at each of their resolutions.

    Attributes
    ----------
    slide_index : int
        Place of the slide among those given.
    table : PatchTable
        The patches, at the resolution they were placed for.
    pyramid : Pyramid
        Levels of the slide.
    views : tuple of Level or Mpp
        Resolutions to deliver; several for multi-resolution patches.
    origins : ndarray of int64, shape (n, views, 2)
        (x, y) of the top-left corners for each view, in level 0 pixels; may be negative.
    icc_profile : bytes or None
        Colour profile of the slide.
    found_columns : tuple of (str, str)
        What was found out as the slide was opened, and is written to every row of it.
    quality : PatchQuality or None
        How good the patches are, if that is measured.
    """

    slide_index: int
    table: PatchTable
    pyramid: Pyramid
    views: tuple[Resolution, ...]
    origins: IntArray
    icc_profile: bytes | None = None
    found_columns: SlideColumns = ()
    quality: PatchQuality | None = None

    def __len__(self) -> int:
        return len(self.table)

    @property
    def slide_columns(self) -> SlideColumns:
        """What is written to every row beside the columns that all patches have.

        What was found out comes first, then what came with the patches; a column of both
        is as it came.
        """
        return tuple({**dict(self.found_columns), **dict(self.table.slide_columns)}.items())

    @property
    def left_out(self) -> IntArray:
        """Rows that are known not to be good enough."""
        if self.quality is None:
            return np.zeros(0, dtype=np.int64)
        return np.flatnonzero(self.quality.left_out)

    def mpp_of(self, view: int) -> float | None:
        """Return the microns per pixel of a view; None if the slide states none."""
        if self.pyramid.mpp is None:
            return None
        return self.pyramid.mpp_of(self.views[view])
