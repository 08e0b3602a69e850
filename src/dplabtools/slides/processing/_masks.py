"""The documented classes that make masks."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dplabtools import config
from dplabtools._typing import BoolArray, Pixels, StrPath
from dplabtools.annotations.json import PolygonsGiven, parse_polygons
from dplabtools.errors import InvalidPolygonError, OutputError, memory_named
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.geometry.resolution import Level
from dplabtools.masks.cleaning import Cleaning
from dplabtools.masks.colors import parse_color
from dplabtools.masks.overlay import draw_outline, tint
from dplabtools.masks.raster import fill_outlines
from dplabtools.masks.strips import Strips
from dplabtools.masks.tissue import find_tissue
from dplabtools.readers.slide import Slide
from dplabtools.slides._images import save_image
from dplabtools.slides.utils import MaskData

__all__ = ["WSIPolygonMask", "WSITissueMask"]


class _SlideMask:
    """A mask at a level of a slide.

    Parameters
    ----------
    wsi_file : path
        The slide.
    level : int
        Level of the mask.
    pixels : ndarray of bool, shape (height, width)
        The mask.
    """

    def __init__(self, wsi_file: StrPath, *, level: int, pixels: BoolArray) -> None:
        self._wsi_file = os.fspath(wsi_file)
        self._level = level
        self._pixels = pixels

    @property
    def array(self) -> BoolArray:
        """The mask, shape (width, height), indexed [x, y]; a view."""
        return self._pixels.T

    @property
    def level(self) -> int:
        """Level of the slide that the mask has the size of."""
        return self._level

    def save_array(self, file: StrPath) -> None:
        """Save the mask as a compressed ``.npz`` file.

        The array is named as `MaskData.npz_data_key` says, ``data`` unless it was changed.

        Parameters
        ----------
        file : path
            Where to save; ``.npz`` is added if it has another extension.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        arrays: dict[str, Any] = {MaskData.npz_data_key: self.array}
        try:
            np.savez_compressed(file, **arrays)
        except OSError as error:
            msg = f"{file} cannot be written: {error}"
            raise OutputError(msg) from error

    def save_png(self, file: StrPath) -> None:
        """Save the mask as an image of one bit a pixel, as it lies on the slide.

        Parameters
        ----------
        file : path
            Where to save; the extension says in which format.

        Raises
        ------
        OutputFormatError
            If the extension is of no known image format.
        OutputError
            If the file cannot be written.
        """
        save_image(Image.fromarray(np.ascontiguousarray(self._pixels)), file)

    def save_overlay_png(
        self,
        file: StrPath,
        mask_color: str | None = "green",
        mask_alpha: float = 0.5,
        outline_color: str | None = "blue",
        outline_thickness: int = 2,
    ) -> None:
        """Save an image of the slide with the mask drawn on it.

        Parameters
        ----------
        file : path
            Where to save; the extension says in which format.
        mask_color, outline_color : str or None
            CSS names, letters and ``tab:`` names of matplotlib, or ``#rrggbb``; None
            leaves it out.
        mask_alpha : float
            How much of the colour covers the slide, from 0 to 1.
        outline_thickness : int
            Of the lines around the mask and its holes, in pixels.

        Raises
        ------
        UnknownColorError
            If there is no such colour.
        ParameterError
            If `mask_alpha` or `outline_thickness` is out of its range.
        OutputFormatError
            If the extension is of no known image format.
        OutputError
            If the file cannot be written.
        NotEnoughMemoryError
            If memory does not hold the level, and the drawing of it.
        """
        fill = None if mask_color is None else parse_color(mask_color)
        line = None if outline_color is None else parse_color(outline_color)
        name = Path(self._wsi_file).name
        with memory_named("make the mask of a coarser level", slide=name):
            with Slide(self._wsi_file, settings=config.snapshot()) as slide:
                size = slide.pyramid.sizes[self._level]
                image = slide.read((0, 0), Level(self._level), size)
            if fill is not None:
                image = tint(image, self._pixels, color=fill, alpha=mask_alpha)
            if line is not None:
                image = draw_outline(
                    image, self._pixels, color=line, thickness=outline_thickness
                )
            save_image(Image.fromarray(image), file)


class WSITissueMask(_SlideMask):
    """A mask of where a slide shows tissue, told by colour.

    Found pixels are cleaned in this order: all holes, small holes, closing, small objects.
    The level is read in strips: beside the mask itself, of one byte a pixel, it takes
    about 200 MB, whatever its size.

    Parameters
    ----------
    wsi_file : path
        The slide.
    level_or_minsize : int
        Up to 99: level of the mask. Above: the coarsest level that is at least so many
        pixels wide and high, or level 0 if none is.
    mode : {"hsv", "lab", "otsu"}, default "hsv"
        ``"hsv"``: saturation above its mean over the slide; ``"lab"``: a* (green to red)
        above its mean; ``"otsu"``: darker than Otsu's threshold of the grey values.
    color_threshold : float, default 0.1
        How far above the mean, as a fraction of it; unused by ``"otsu"``.
    remove_small_holes_ratio, remove_small_objects_ratio : float, default 0.1
        Holes up to, and objects below, this share of 256 x 256 level 0 pixels go.
    remove_all_holes : bool, default False
        Fill every hole, whatever its size.
    close_fill_kernel_size : int, default 0
        Edge of the square of a morphological closing, in mask pixels; 0 for none.

    Raises
    ------
    SlideError
        If the slide cannot be opened or read, or has no such level.
    ParameterError
        If there is no such mode, or a size is negative.
    NotEnoughMemoryError
        If there is not even memory for the mask.
    """

    def __init__(
        self,
        *,
        wsi_file: StrPath,
        level_or_minsize: int,
        mode: str = "hsv",
        color_threshold: float = 0.1,
        remove_small_holes_ratio: float = 0.1,
        remove_small_objects_ratio: float = 0.1,
        remove_all_holes: bool = False,
        close_fill_kernel_size: int = 0,
    ) -> None:
        cleaning = Cleaning(
            holes_ratio=remove_small_holes_ratio,
            objects_ratio=remove_small_objects_ratio,
            all_holes=remove_all_holes,
            close_kernel=close_fill_kernel_size,
        )
        with Slide(wsi_file, settings=config.snapshot()) as slide:
            pyramid = slide.pyramid
            level = pyramid.level_for(level_or_minsize)
            with memory_named("ask for a coarser level_or_minsize", slide=slide.name):
                pixels = find_tissue(
                    _strips(slide, level), mode=mode, color_threshold=color_threshold
                )
                cleaning.clean(pixels, pyramid.downsamples[level])
        super().__init__(wsi_file, level=level, pixels=pixels)


def _strips(slide: Slide, level: int) -> Strips:
    """Return a level of a slide, to be read strip by strip."""
    size, downsample = slide.pyramid.sizes[level], slide.pyramid.downsamples[level]

    def read(first: int, count: int) -> Pixels:
        origin = (0, math.ceil(first * downsample))
        return slide.read(origin, Level(level), (size[0], count))

    # Where a strip cannot begin at a whole pixel, OpenSlide would interpolate it.
    whole = slide.reader.library == "openslide" and not downsample.is_integer()
    return Strips(size=size, read=read, whole=whole)


class WSIPolygonMask(_SlideMask):
    """A mask of everything inside polygons.

    Parameters
    ----------
    wsi_file : path
        The slide.
    level_or_minsize : int
        Up to 99: level of the mask. Above: the coarsest level that is at least so many
        pixels wide and high, or level 0 if none is.
    polygon_data : list of AnnotationPolygon, str or path
        Polygons, JSON text, or the path of a JSON file. Unlike elsewhere, coordinates are
        pixels of the level of the mask. Holes are filled.

    Raises
    ------
    SlideError
        If the slide cannot be opened, or has no such level.
    InvalidPolygonError
        If a polygon reaches beyond the mask, or is none.
    ParameterTypeError
        If `polygon_data` is neither a list nor text nor a path.
    MissingAnnotationError
        If there is no such file.
    NotEnoughMemoryError
        If there is not even memory for the mask.
    """

    def __init__(
        self, *, wsi_file: StrPath, level_or_minsize: int, polygon_data: PolygonsGiven
    ) -> None:
        polygons = parse_polygons(polygon_data, slide=Path(wsi_file).name)
        with Slide(wsi_file, settings=config.snapshot()) as slide:
            pyramid = slide.pyramid
        level = pyramid.level_for(level_or_minsize)
        outlines = [polygon.points for polygon in polygons]
        _check_extent(outlines, level, pyramid)
        with memory_named("ask for a coarser level_or_minsize", slide=pyramid.slide):
            pixels = fill_outlines(outlines, pyramid.sizes[level])
        super().__init__(wsi_file, level=level, pixels=pixels)


def _check_extent(
    outlines: list[list[tuple[float, float]]], level: int, pyramid: Pyramid
) -> None:
    """Raise if an outline reaches beyond a level."""
    width, height = pyramid.sizes[level]
    for number, outline in enumerate(outlines):
        right, bottom = np.max(outline, axis=0)
        if right > width or bottom > height:
            msg = (
                f"polygon {number} reaches to ({right:g}, {bottom:g}), but the mask of "
                f"level {level} is {width} x {height}; give coordinates of that level, "
                f"not of level 0"
            )
            raise InvalidPolygonError(msg, slide=pyramid.slide)
