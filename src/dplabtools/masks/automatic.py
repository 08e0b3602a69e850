"""Finding tissue on slides of any kind: stained or shining, pale or all over."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from dplabtools._typing import BoolArray, Pixels
from dplabtools.masks.artefacts import find_padding, find_pen
from dplabtools.masks.components import keep_large
from dplabtools.masks.stains import (
    Background,
    find_shining,
    find_stained,
    glass_color,
    is_dark_field,
    optical_density,
)

__all__ = ["WORKING_MPP", "Found", "find_any_tissue"]

WORKING_MPP: Final = 8.0
"""Microns per pixel at which tissue is told best: nuclei blur into it, and noise away."""
_GAP: Final = 80.0  # microns: gaps up to that are closed
_HOLE: Final = 0.03  # square millimetres: smaller holes are filled, such as cells of fat
_SPECK: Final = 0.01  # square millimetres: what is smaller is no tissue


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """What has been found on a slide.

    Attributes
    ----------
    tissue : ndarray of bool, shape (height, width)
        Where there is tissue.
    reason : str
        Why there is none; empty where there is some.
    pen : ndarray of bool, shape (height, width), or None
        What strokes of pens cover; None if nobody has looked.
    background : Background or None
        Which pixels show no specimen; None if nobody has looked.
    """

    tissue: BoolArray
    reason: str = ""
    pen: BoolArray | None = None
    background: Background | None = None


def find_any_tissue(image: Pixels, *, mpp: float) -> Found:
    """Find the tissue on a small picture of a slide.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        RGB, of about 8 microns per pixel.
    mpp : float
        Microns per pixel.

    Returns
    -------
    Found
        Without padding, pens, dust and gaps in tissue.
    """
    if is_dark_field(image):
        nothing = np.zeros(image.shape[:2], bool)
        found = _judged(find_shining(image, mpp=mpp), nothing, mpp)
        background = Background.of_dark_field(image)
        return replace(found, pen=nothing, background=background)
    padding = find_padding(image)
    if padding.all():
        return Found(tissue=~padding, reason="it has one colour: nothing was scanned")
    glass = glass_color(image, ~padding)
    density = optical_density(image, glass)
    pen = find_pen(density, mpp=mpp)
    pen[padding] = False
    found = _judged(find_stained(density, ~(padding | pen)), padding | pen, mpp)
    apart = ", apart from marks of pens" if found.reason and pen.any() else ""
    return replace(
        found,
        reason=found.reason + apart,
        pen=pen,
        background=Background.of_glass(glass),
    )


def _judged(tissue: BoolArray, excluded: BoolArray, mpp: float) -> Found:
    """Close gaps, fill holes and drop specks; say why nothing is left."""
    if not tissue.any():
        return Found(tissue=tissue, reason="nothing on it stands out from the background")
    mm2 = 1e6 / mpp**2  # pixels
    tissue = _closed(tissue, round(_GAP / 2 / mpp))
    np.logical_not(tissue, out=tissue)
    keep_large(tissue, math.ceil(_HOLE * mm2))
    np.logical_not(tissue, out=tissue)
    tissue &= ~excluded
    keep_large(tissue, math.ceil(_SPECK * mm2))
    if not tissue.any():
        return Found(
            tissue=tissue, reason=f"all that is stained is smaller than {_SPECK} mm²"
        )
    return Found(tissue=tissue)


def _closed(mask: BoolArray, reach: int) -> BoolArray:
    """Return a mask with the gaps up to twice so many pixels closed."""
    import cv2

    if not reach:
        return mask
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    framed = np.pad(mask.view(np.uint8), reach, mode="edge")
    closed = cv2.morphologyEx(framed, cv2.MORPH_CLOSE, disk)
    return np.ascontiguousarray(closed[reach:-reach, reach:-reach]).view(bool)
