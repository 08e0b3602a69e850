"""The documented classes that make masks."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from dplabtools import config
from dplabtools._typing import BoolArray, Pixels, StrPath
from dplabtools.annotations.geojson import write_geojson
from dplabtools.annotations.json import PolygonsGiven, parse_polygons
from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.errors import (
    InvalidPolygonError,
    OutputError,
    ParameterError,
)
from dplabtools.extraction.slide_tissue import enlarged, find_on
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.geometry.resolution import Level
from dplabtools.masks.cleaning import Cleaning
from dplabtools.masks.colors import parse_color
from dplabtools.masks.files import save_arrays
from dplabtools.masks.outlines import outlines_of
from dplabtools.masks.overlay import draw_outline, tint
from dplabtools.masks.raster import fill_outlines
from dplabtools.masks.segmenters import Segmenter, load_segmenter, segmenter_names
from dplabtools.masks.strips import Strips
from dplabtools.masks.tissue import MODES, find_tissue
from dplabtools.readers.registry import interpolates
from dplabtools.readers.slide import Slide
from dplabtools.slides._images import memory_named, save_image
from dplabtools.slides.utils import MaskData

__all__ = ["WSIPolygonMask", "WSITissueMask"]

_AUTO: Final = "auto"
_TISSUE: Final = "Tissue"  # class of outlines; one that QuPath knows


class _SlideMask:
    """A mask of a slide.

    Parameters
    ----------
    wsi_file : path
        The slide.
    level : int or None
        Level of the mask; None if it has a size of its own.
    pixels : ndarray of bool, shape (height, width)
        The mask.
    """

    def __init__(self, wsi_file: StrPath, *, level: int | None, pixels: BoolArray) -> None:
        self._wsi_file = os.fspath(wsi_file)
        self._level = level
        self._pixels = pixels

    @property
    def array(self) -> BoolArray:
        """The mask, shape (width, height), indexed [x, y]; a view."""
        return self._pixels.T

    @property
    def level(self) -> int | None:
        """Level of the slide that the mask has the size of; None if of none."""
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
        save_arrays(file, **{MaskData.npz_data_key: self.array})

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

    def save_geojson(self, file: StrPath) -> None:
        """Save the outlines of the mask, for QuPath and others that read GeoJSON.

        Each connected part is an annotation of the class ``Tissue``, in level 0 pixels,
        with its holes. What is done to them in QuPath comes back as `mask_data`, by the
        path of the file.

        Parameters
        ----------
        file : path
            Where to save; ``.geojson`` is usual.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        with Slide(self._wsi_file, settings=config.snapshot()) as slide:
            size = slide.pyramid.size
        polygons = (
            AnnotationPolygon(outline, _TISSUE, holes)
            for outline, *holes in outlines_of(self._pixels, size)
        )
        try:
            write_geojson(file, polygons)
        except OSError as error:
            msg = f"{file} cannot be written: {error}"
            raise OutputError(msg) from error

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
                image = self._picture(slide)
            if fill is not None:
                image = tint(image, self._pixels, color=fill, alpha=mask_alpha)
            if line is not None:
                image = draw_outline(
                    image, self._pixels, color=line, thickness=outline_thickness
                )
            save_image(Image.fromarray(image), file)

    def _picture(self, slide: Slide) -> Pixels:
        """Return the slide in the size of the mask."""
        if self._level is None:
            return np.array(slide.picture(max(self._pixels.shape)))
        return slide.read((0, 0), Level(self._level), slide.pyramid.sizes[self._level])


class WSITissueMask(_SlideMask):
    """A mask of where a slide shows tissue.

    The modes of the original tell it by colour, relative to the mean of the slide: they
    suit slides that are neither full of tissue nor nearly empty. ``"auto"`` suits any, and
    leaves marks of pens and what was not scanned out.

    Found pixels are cleaned in this order: all holes, small holes, closing, small objects.
    The level is read in strips: beside the mask itself, of one byte a pixel, it takes
    about 200 MB, whatever its size.

    Parameters
    ----------
    wsi_file : path
        The slide.
    level_or_minsize : int or None
        Up to 99: level of the mask. Above: the coarsest level that is at least so many
        pixels wide and high, or level 0 if none is. None, with ``"auto"`` and segmenters
        only: the mask has 8 microns per pixel, or four megapixels if these are fewer.
    mode : {"hsv", "lab", "otsu", "auto"}, str or callable, default "hsv"
        ``"hsv"``: saturation above its mean over the slide; ``"lab"``: a* (green to red)
        above its mean; ``"otsu"``: darker than Otsu's threshold of the grey values;
        ``"auto"``: coloured or, in a dark field, shining, whatever the glass looks like.
        Else a segmenter, ``"package.module:function"``, the name of an entry point of the
        group ``dplabtools.tissue``, or a function: it takes a picture of the slide at about
        8 microns per pixel, uint8 ``(height, width, 3)`` RGB, and, if it has a parameter of
        that name, its `mpp`; it returns a mask of the same height and width, non-zero on
        tissue.
    color_threshold : float, default 0.1
        How far above the mean, as a fraction of it; for ``"hsv"`` and ``"lab"``.
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
    MaskError
        If a segmenter fails, or returns no mask.
    NotEnoughMemoryError
        If there is not even memory for the mask.
    """

    def __init__(
        self,
        *,
        wsi_file: StrPath,
        level_or_minsize: int | None,
        mode: str | Segmenter = "hsv",
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
        documented = mode if isinstance(mode, str) and mode in MODES else None
        segmenter = None if documented else _segmenter_of(mode)
        if documented and level_or_minsize is None:
            msg = f"mode {mode!r} needs level_or_minsize"
            raise ParameterError(msg)
        with Slide(wsi_file, settings=config.snapshot()) as slide:
            pyramid = slide.pyramid
            level = (
                None if level_or_minsize is None else pyramid.level_for(level_or_minsize)
            )
            with memory_named("ask for a coarser level_or_minsize", slide=slide.name):
                if documented and level is not None:
                    pixels = find_tissue(
                        _strips(slide, level),
                        mode=documented,
                        color_threshold=color_threshold,
                    )
                    self._reason = "" if pixels.any() else _NOTHING
                else:
                    found = find_on(slide, segmenter)
                    self._reason = found.reason
                    pixels = found.tissue
                    if level is not None:
                        pixels = enlarged(pixels, pyramid.sizes[level])
                cleaning.clean(pixels, pyramid.size[0] / pixels.shape[1])
        if not self._reason and not pixels.any():
            self._reason = _CLEANED
        super().__init__(wsi_file, level=level, pixels=pixels)

    @property
    def reason(self) -> str:
        """Why there is no tissue; empty where there is some."""
        return self._reason


_NOTHING: Final = "nothing on it stands out from the background"
_CLEANED: Final = "all that was found is smaller than the smallest object that is kept"


def _segmenter_of(mode: str | Segmenter) -> Segmenter | None:
    """Return what finds tissue; None for ``"auto"``.

    Raises
    ------
    ParameterError
        If there is no such mode.
    """
    if callable(mode):
        return mode
    if mode == _AUTO:
        return None
    if ":" not in mode and mode not in segmenter_names():
        modes = (*MODES, _AUTO, *segmenter_names())
        msg = f"mode must be one of {modes}, or package.module:function, not {mode!r}"
        raise ParameterError(msg)
    return load_segmenter(mode)


def _strips(slide: Slide, level: int) -> Strips:
    """Return a level of a slide, to be read strip by strip."""
    size, downsample = slide.pyramid.sizes[level], slide.pyramid.downsamples[level]

    def read(first: int, count: int) -> Pixels:
        origin = (0, math.ceil(first * downsample))
        return slide.read(origin, Level(level), (size[0], count))

    # Strips that begin at no whole pixel would be other pixels.
    whole = interpolates(slide.reader.library) and not downsample.is_integer()
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
                f"level {level} is {width} x {height}"
            )
            raise InvalidPolygonError(
                msg,
                slide=pyramid.slide,
                remedy="give coordinates of that level, not of level 0",
            )
