"""Tissue of a slide, found on a picture of it that is as fine as it takes and no finer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from dplabtools._typing import BoolArray, FloatArray, Size
from dplabtools.errors import MaskError
from dplabtools.masks.automatic import WORKING_MPP, Found, find_any_tissue
from dplabtools.masks.quality import shares_in_boxes
from dplabtools.masks.segmenters import Segmenter, segment
from dplabtools.masks.stains import Background
from dplabtools.masks.strips import row_blocks
from dplabtools.readers.slide import Slide
from dplabtools.records.quality import QUALITY_COLUMNS, PatchQuality, QualityLimits
from dplabtools.records.slide_plan import SlidePlan

__all__ = ["SlideQuality", "enlarged", "find_on"]

_MOST_PIXELS: Final = 1 << 22
"""Of the picture: whole-mount slides are looked at more coarsely."""
_USUAL_POWER_MPP: Final = 10.0  # microns per pixel times objective power
_USUAL_MPP: Final = 0.5  # of slides that say nothing about themselves


def find_on(slide: Slide, segmenter: Segmenter | None) -> Found:
    """Find the tissue of a slide.

    Parameters
    ----------
    slide : Slide
        Read at 8 microns per pixel, or at what makes four megapixels of it, if that is
        coarser; a slide that says neither its mpp nor its objective power is taken to have
        0.5 microns per pixel.
    segmenter : callable or None
        What finds it; by default `find_any_tissue`.

    Returns
    -------
    Found
        In the shape of the slide.

    Raises
    ------
    SlideReadError
        If the file is damaged.
    MaskError
        If the segmenter fails.
    """
    width, height = slide.pyramid.size
    mpp = slide.pyramid.mpp or _guessed_mpp(slide.pyramid.power)
    shrink = max(WORKING_MPP / mpp, math.sqrt(width * height / _MOST_PIXELS), 1.0)
    image = np.asarray(slide.picture(max(1, round(max(width, height) / shrink))))
    # What is small is rounded to whole pixels: so much it has been shrunk.
    working_mpp = mpp * max(width, height) / max(image.shape[:2])
    if segmenter is None:
        return find_any_tissue(image, mpp=working_mpp)
    try:
        return segment(segmenter, image, mpp=working_mpp)
    except MaskError as error:
        raise MaskError(str(error), slide=slide.name) from error


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SlideQuality:
    """What the quality of the patches of a slide is measured by.

    Attributes
    ----------
    tissue_share : float
        Share of the slide that is tissue, 0 to 1.
    background : Background
        Which pixels show no specimen.
    pen : ndarray of bool, shape (height, width), or None
        What strokes of pens cover, of the whole slide made small; None if nothing.
    """

    tissue_share: float
    background: Background
    pen: BoolArray | None

    @classmethod
    def of(cls, slide: Slide) -> SlideQuality:
        """Look at a slide; it takes as long as finding tissue with ``"auto"``.

        Raises
        ------
        SlideReadError
            If the file is damaged.
        """
        found = find_on(slide, None)
        return cls(
            tissue_share=float(found.tissue.mean()),
            background=found.background or Background.of_glass(np.full(3, np.float32(255))),
            pen=None if found.pen is None or not found.pen.any() else found.pen,
        )

    def of_patches(self, plan: SlidePlan, limits: QualityLimits) -> PatchQuality:
        """Return what is known of the patches of the slide before they are read."""
        quality = PatchQuality.unknown(limits, len(plan))
        column = QUALITY_COLUMNS.index("pen_share")
        quality.values[:, column] = self._pen_shares(plan)
        return quality

    def _pen_shares(self, plan: SlidePlan) -> FloatArray:
        """Return how much of each patch, at its first resolution, is pen: 0 to 1."""
        if self.pen is None:
            return np.zeros(len(plan))
        extents = plan.table.sizes * plan.pyramid.downsample(plan.views[0])
        corners = plan.origins[:, 0]
        scale = np.array(self.pen.shape[::-1]) / plan.pyramid.size
        boxes = np.concatenate([corners * scale, (corners + extents) * scale], axis=1)
        return shares_in_boxes(self.pen, boxes)


def _guessed_mpp(power: float | None) -> float:
    return _USUAL_POWER_MPP / power if power else _USUAL_MPP


def enlarged(mask: BoolArray, size: Size) -> BoolArray:
    """Return a mask with another (width, height), each pixel that of the same place."""
    width, height = size
    columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(np.intp)
    result = np.empty((height, width), dtype=bool)
    for rows in row_blocks(height, width=width):
        lines = np.arange(rows.start, rows.stop) + 0.5
        lines = (lines * mask.shape[0] / height).astype(np.intp)
        result[rows] = mask[lines][:, columns]
    return result
