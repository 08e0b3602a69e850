"""Patches and regions drawn on an image of their slide."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain
from typing import Self

import numpy as np
from PIL import Image, ImageDraw

from dplabtools._typing import FloatArray, Pixels, Size, StrPath
from dplabtools.errors import ParameterError
from dplabtools.geometry.pyramid import Source
from dplabtools.geometry.resolution import Level
from dplabtools.locations.locate import Placed
from dplabtools.locations.regions import Region
from dplabtools.masks.colors import Rgb, parse_color
from dplabtools.readers.slide import Slide
from dplabtools.slides._images import save_image

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

    @classmethod
    def of_names(
        cls,
        *,
        patches: str | None,
        bounds: str | None,
        outlines: str | None,
        holes: str | None,
        buffers: str | None,
        thickness: int,
        markers: bool,
        labels: tuple[str, ...],
        patch_labels: tuple[str, ...],
    ) -> Self:
        """Look up the colours.

        Raises
        ------
        UnknownColorError
            If there is no such colour.
        """
        return cls(
            patches=_color(patches),
            bounds=_color(bounds),
            outlines=_color(outlines),
            holes=_color(holes),
            buffers=_color(buffers),
            thickness=thickness,
            markers=markers,
            labels=labels,
            patch_labels=patch_labels,
        )


def draw_preview(
    image_file: StrPath,
    *,
    placed: Placed,
    slide: Slide,
    ink: Ink,
    size: Size,
    level_or_minsize: int | None,
) -> None:
    """Save an image of a slide with patches and regions drawn on it.

    Parameters
    ----------
    image_file : path
        Where to save; the extension says in which format.
    placed : Placed
        What to draw.
    slide : Slide
        What to draw on.
    ink : Ink
        How to draw.
    size : (int, int)
        Width and height of the mask, and of the image if there is no `level_or_minsize`.
    level_or_minsize : int or None
        Level to draw on.

    Raises
    ------
    LevelOutOfRangeError
        If there is no such level.
    OutputFormatError
        If the extension is of no known image format.
    OutputError
        If the file cannot be written.
    """
    pyramid = slide.pyramid
    downsample = placed.downsample
    if level_or_minsize is not None:
        level = pyramid.level_for(level_or_minsize)
        size, downsample = pyramid.sizes[level], pyramid.downsamples[level]
    image = _whole(slide, size, downsample)
    scale = placed.downsample / downsample
    if ink.patches:
        _draw_patches(ImageDraw.Draw(image), placed, ink, scale=scale)
    pixels = np.array(image)
    _draw_regions(pixels, placed, ink, scale=scale)
    save_image(Image.fromarray(pixels), image_file)


def _color(name: str | None) -> Rgb | None:
    return None if name is None else parse_color(name)


def _whole(slide: Slide, size: Size, downsample: float) -> Image.Image:
    """Return the whole slide at the size of a level, or of a mask."""
    pyramid = slide.pyramid
    if size in pyramid.sizes:
        level = pyramid.sizes.index(size)
        return Image.fromarray(slide.read((0, 0), Level(level), size))
    finer = [i for i, value in enumerate(pyramid.downsamples) if value <= downsample]
    level = max(finer, default=0)
    factor = downsample / pyramid.downsamples[level]
    return slide.image(
        Source(level=level, factor=factor, downsample=downsample, whole=size)
    )


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
