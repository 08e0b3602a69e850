"""Patches and regions drawn on an image of their slide."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from dplabtools._typing import FloatArray, Pixels
from dplabtools.errors import ParameterError
from dplabtools.locations.locate import Placed
from dplabtools.locations.regions import Region
from dplabtools.masks.colors import Rgb

if TYPE_CHECKING:
    from PIL import ImageDraw

__all__ = ["Ink", "draw_preview"]

_FAR = 2**20  # pixels; whatever lies beyond is out of sight


@dataclass(frozen=True, slots=True, kw_only=True)
class Ink:
    """What to draw, and how.

    Attributes
    ----------
    patches, bounds, outlines, holes, buffers : (int, int, int) or None
        RGB of the lines; None leaves their kind out.
    thickness : int
        Of the lines, in pixels.
    markers : bool
        Mark the middle of each patch.
    labels, patch_labels : tuple of str
        Labels of regions and of patches to draw; empty: all.
    """

    patches: Rgb | None
    bounds: Rgb | None
    outlines: Rgb | None
    holes: Rgb | None
    buffers: Rgb | None
    thickness: int
    markers: bool
    labels: tuple[str, ...]
    patch_labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.thickness < 1:
            msg = f"thickness must be >= 1, not {self.thickness}"
            raise ParameterError(msg)


def draw_preview(
    image: Image.Image, placed: Placed, ink: Ink, *, downsample: float
) -> Image.Image:
    """Draw patches and regions on an image of their slide.

    Parameters
    ----------
    image : PIL.Image
        The whole slide; RGB. Patches are drawn into it.
    placed : Placed
        What to draw.
    ink : Ink
        How to draw.
    downsample : float
        Level 0 pixels for each pixel of the image.

    Returns
    -------
    PIL.Image
        With all of it.
    """
    from PIL import ImageDraw

    scale = placed.downsample / downsample
    if ink.patches:
        _draw_patches(ImageDraw.Draw(image), placed, ink, scale=scale)
    pixels = np.array(image)
    _draw_regions(pixels, placed, ink, scale=scale)
    return Image.fromarray(pixels)


def _draw_regions(pixels: Pixels, placed: Placed, ink: Ink, *, scale: float) -> None:
    """Draw boxes, outlines, holes and buffers, in this order, into an image."""
    import cv2

    regions = [region for region in placed.regions if _wanted(region.label, ink.labels)]
    outlines = [region for region in placed.outlines if _wanted(region.label, ink.labels)]
    grown = [new for new, old in zip(regions, outlines, strict=True) if new is not old]
    for color, rings_of, drawn in (
        (ink.bounds, _bounds, regions),
        (ink.outlines, _exteriors, outlines),
        (ink.holes, _interiors, outlines),
        (ink.buffers, _rings, grown),
    ):
        if color is None:
            continue
        rings = [
            np.clip(np.rint(ring * scale), -_FAR, _FAR).astype(np.int32)
            for ring in chain.from_iterable(map(rings_of, drawn))
        ]
        cv2.polylines(pixels, rings, True, color, ink.thickness)


def _draw_patches(
    canvas: ImageDraw.ImageDraw, placed: Placed, ink: Ink, *, scale: float
) -> None:
    """Draw the patches, and a dot in the middle of each if wanted."""
    labels = placed.table.row_labels()
    rows = [i for i, label in enumerate(labels) if _wanted(label, ink.patch_labels)]
    low = placed.corners[rows] * scale
    high = low + placed.edge * scale
    boxes = np.rint(np.column_stack([low, np.maximum(high - 1, low)]))
    for box in boxes.tolist():
        canvas.rectangle(box, outline=ink.patches, width=ink.thickness)
    if ink.markers:
        middles = (low + high) / 2
        dots = np.column_stack([middles - ink.thickness, middles + ink.thickness])
        for dot in np.rint(dots).tolist():
            canvas.ellipse(dot, fill=ink.patches)


def _wanted(label: str, labels: Collection[str]) -> bool:
    return not labels or label in labels


def _bounds(region: Region) -> list[FloatArray]:
    x0, y0, x1, y1 = region.bounds
    return [np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)])]


def _exteriors(region: Region) -> list[FloatArray]:
    import shapely

    parts = shapely.get_parts(region.shape)
    return [shapely.get_coordinates(ring) for ring in shapely.get_exterior_ring(parts)]


def _interiors(region: Region) -> list[FloatArray]:
    import shapely

    return [
        shapely.get_coordinates(ring)
        for part in shapely.get_parts(region.shape)
        for ring in part.interiors
    ]


def _rings(region: Region) -> list[FloatArray]:
    return [*_exteriors(region), *_interiors(region)]
