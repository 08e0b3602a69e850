"""One slide, whatever its format: the documented `GenericSlide`."""

from __future__ import annotations

import logging
import operator
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

from PIL import Image

from dplabtools import config
from dplabtools._typing import Pixels, Point, Size, StrPath
from dplabtools.errors import ClosedSlideError, ParameterError
from dplabtools.geometry.pyramid import Pyramid, Source
from dplabtools.geometry.resolution import Mpp, Number, Resolution, parse_level_or_mpp
from dplabtools.notebook import never_raises
from dplabtools.readers.pixels import with_profile
from dplabtools.readers.scale_warnings import scale_warnings
from dplabtools.readers.slide import Slide
from dplabtools.settings import Settings
from dplabtools.slides._arguments import (
    check_mpp_pair,
    checked_mpp,
    checked_pair,
    checked_size,
)
from dplabtools.slides._images import ExtraImages, memory_named
from dplabtools.slides._slide_html import slide_html
from dplabtools.slides._slide_settings import SlideSettings

__all__ = ["GenericSlide"]

_LESS = "read a smaller region, or a coarser level"

logger = logging.getLogger("dplabtools")


class GenericSlide(SlideSettings):
    """A whole-slide image, read at its levels and, resampled, at any microns per pixel.

    It is a context manager. It pickles: what arrives in another process opens the file
    there when it is first used, under the settings that held when it was pickled.

    Parameters
    ----------
    wsi_file : str or path-like
        The slide file.
    resampling_mode : {None, "tile", "fast", "wsi"}, default None
        Whether, and how, regions at mpps of no level are made. ``"tile"`` resamples each
        region for itself; ``"fast"`` does so of tiles decoded at a half, a quarter or an
        eighth of their size; ``"wsi"`` gives the pixels of resampling the whole level.
    extra_mpps : sequence of float, default ()
        With ``"wsi"``: the mpps that will be asked for.

    color : {None, "srgb"}, default None
        ``"srgb"``: pixels are converted from the slide's colour profile to sRGB. None: as
        ``config.color`` says, which leaves them as they are stored unless it is set.

    Raises
    ------
    MissingSlideError, UnsupportedSlideError
        If the file cannot be opened.
    ConfigError
        If there is no such `color`.
    ParameterError
        If the mode is unknown, or `extra_mpps` do not go with it, are no floats or hold
        a value twice.
    MissingMppError
        If a mode is given and the slide has no mpp.
    ResolutionError
        If a mode is given and the file states two mpps, more than 2 % apart, or an extra
        mpp is out of range.
    """

    def __init__(
        self,
        *,
        wsi_file: StrPath,
        resampling_mode: str | None = None,
        extra_mpps: Sequence[float] = (),
        color: Literal["srgb"] | None = None,
    ) -> None:
        super().__init__()
        config.check_color(color)
        self._color = color
        self._resampling_mode = resampling_mode
        self._extra_mpps = tuple(extra_mpps)
        self._lock = threading.Lock()
        self._closed = False
        self._warned: set[str] = set()
        self._slide: Slide | None = self._open(wsi_file)
        self._file = self._slide.path

    # -- what it is ------------------------------------------------------------------

    @property
    def slide_file(self) -> str:
        """Path of the file, as given."""
        return self._file

    @property
    def slide_name(self) -> str:
        """Name of the file."""
        return Path(self._file).name

    @property
    def slide_id(self) -> str:
        """Name of the file without its last extension."""
        return Path(self._file).stem

    @property
    def lib_name(self) -> str:
        """Name of the library that reads it."""
        return self._opened().reader.library

    @property
    def slide_object(self) -> object:
        """The library's own object; None after `close`."""
        return None if self._closed else self._opened().reader.native

    @property
    def all_properties(self) -> Mapping[str, str]:
        """Vendor properties, by the names the library gives them."""
        return self._opened().reader.properties

    def get_property(self, name: str) -> str:
        """Return a vendor property.

        Parameters
        ----------
        name : str
            One of the keys of `all_properties`.

        Raises
        ------
        ParameterError
            If there is none of that name.
        """
        properties = self.all_properties
        if name not in properties:
            msg = f"there is no property {name!r}"
            raise ParameterError(
                msg, slide=self.slide_name, remedy="see all_properties for those there are"
            )
        return properties[name]

    @property
    def icc_profile(self) -> bytes | None:
        """Colour profile of the pixels, as the file stores it.

        None if it has none, or pixels are converted to sRGB.
        """
        return self._opened().reader.icc_profile

    @property
    def thumbnail_image(self) -> Image.Image:
        """The embedded thumbnail, else one of at most 800 x 800 pixels; RGB."""
        return self._opened().thumbnail()

    @property
    def label_image(self) -> Image.Image | None:
        """The embedded picture of the label, RGB; None if there is none."""
        image = self._opened().reader.associated_image("label")
        if image is None:
            logger.info("%s: Embedded label image is not available", self.slide_name)
        return image

    # -- levels ----------------------------------------------------------------------

    @property
    def level_count(self) -> int:
        """Number of levels."""
        return len(self._pyramid.sizes)

    @property
    def level_dimensions(self) -> tuple[Size, ...]:
        """(width, height) of each level, finest first."""
        return self._pyramid.sizes

    @property
    def level_downsamples(self) -> tuple[float, ...]:
        """Level 0 pixels per pixel of each level."""
        return self._pyramid.downsamples

    @property
    def level_mpp_values(self) -> tuple[float | None, ...]:
        """Microns per pixel of each level; None for each if the slide has no mpp.

        Raises
        ------
        ResolutionError
            If the file states two mpps, more than 2 % apart.
        """
        pyramid = self._pyramid
        if pyramid.mpp is None and pyramid.unequal_mpps is None:
            return (None,) * len(pyramid.sizes)
        return pyramid.level_mpps()

    @property
    def mpp_data(self) -> tuple[float, float] | tuple[None, None]:
        """Horizontal and vertical microns per pixel of level 0.

        They are equal, unless the file states two values, more than 2 % apart.
        """
        pyramid = self._pyramid
        if pyramid.mpp is None:
            return pyramid.unequal_mpps or (None, None)
        return pyramid.mpp, pyramid.mpp

    @property
    def mpp_source(self) -> str:
        """Who states the mpp: a property of the file, or a setting; empty if nobody.

        ``"slide_mpps"`` and ``"external_mpp override"`` win over ``"ome.PhysicalSizeX"``,
        the vendor (``"openslide.mpp-x"``) and ``"tiff.XResolution"``, in this order;
        ``"external_mpp"`` stands in where the file states nothing plausible.
        """
        return self._pyramid.mpp_source

    @property
    def magnification(self) -> int | None:
        """Objective power."""
        power = self._pyramid.power
        if power is None:
            logger.info("%s: Magnification is not available", self.slide_name)
            return None
        return round(power)

    def get_basepatch_mpp(self, level_or_mpp: Number) -> float:
        """Return the microns per pixel of a level, or the mpp itself.

        Parameters
        ----------
        level_or_mpp : int or float
            Level (int) or microns per pixel (float).

        Raises
        ------
        LevelOutOfRangeError
            If there is no such level.
        MissingMppError
            If a level is given and the slide has no mpp.
        """
        return self._pyramid.mpp_of(parse_level_or_mpp(level_or_mpp))

    def check_mpp_data(self, mpp: tuple[float | None, float | None]) -> None:
        """Raise if one of a pair of mpps is missing.

        Parameters
        ----------
        mpp : (float or None, float or None)
            Horizontal and vertical microns per pixel, such as `mpp_data`.

        Raises
        ------
        MissingMppError
            If one is None.
        ParameterTypeError
            If it is no pair of numbers.
        """
        check_mpp_pair(mpp, slide=self.slide_name)

    def check_mpp_range(self, mpp: float) -> None:
        """Raise if an mpp is out of the range that may be asked for.

        The range is from `range_min_mpp` to what a 1x objective would give: the mpp of
        level 0 times `magnification`, or `range_max_magnification` if that is unknown.

        Parameters
        ----------
        mpp : float
            Microns per pixel.

        Raises
        ------
        ResolutionError
            If it is out of that range.
        MissingMppError
            If the slide has no mpp.
        ParameterTypeError
            If it is no number.
        """
        value = checked_mpp(mpp, slide=self.slide_name)
        self._pyramid.check_mpp(value, self._settings())

    # -- levels made by resampling_mode="wsi" ----------------------------------------

    @property
    def level_count_extra(self) -> int:
        """Number of extra mpps that no level has."""
        return len(self._extra_sources())

    @property
    def level_mpp_values_extra(self) -> tuple[float, ...]:
        """The extra mpps that no level has."""
        return tuple(self._extra_sources())

    @property
    def level_dimensions_extra(self) -> OrderedDict[float, Size]:
        """(width, height) of the resampled slide, by mpp."""
        sizes = ((mpp, s.whole) for mpp, s in self._extra_sources().items())
        return OrderedDict((mpp, size) for mpp, size in sizes if size is not None)

    @property
    def level_resamples_extra(self) -> OrderedDict[float, float]:
        """Pixels of the level resampled per pixel made, by mpp."""
        return OrderedDict((mpp, s.factor) for mpp, s in self._extra_sources().items())

    @property
    def level_images_extra(self) -> Mapping[float, Image.Image]:
        """The resampled slide, by mpp; each image is made when it is asked for."""
        return ExtraImages(self._current(), self._extra_sources())

    # -- pixels ----------------------------------------------------------------------

    def get_region(
        self,
        location: Point,
        level_or_mpp: Number,
        size: Size,
        skip_padding: bool = False,
    ) -> Image.Image:
        """Return a region; what lies outside the slide is background.

        Parameters
        ----------
        location : (int, int)
            (x, y) of the top-left corner, in level 0 pixels; may be negative.
        level_or_mpp : int or float
            Level (int) or microns per pixel (float).
        size : (int, int)
            (width, height) of the result, in pixels.
        skip_padding : bool, default False
            Accepted for the documented interface. What is outside is known from the
            geometry and never painted over afterwards, so there is nothing to skip.

        Returns
        -------
        PIL.Image.Image
            RGB, of exactly `size`; ``info["icc_profile"]`` is the slide's colour profile,
            if it has one and pixels are not converted.

        Raises
        ------
        RegionOutOfBoundsError
            If the region lies wholly outside, or spans the slide from before its start.
        ResolutionTypeError, ParameterError, ParameterTypeError
            If an argument is not what it has to be.
        LevelOutOfRangeError
            If there is no such level.
        MissingMppError
            If an mpp is asked for and the slide has none.
        ResolutionError
            If the mpp needs a `resampling_mode`, or is not among `extra_mpps`.
        SlideReadError
            If the file is damaged there.
        NotEnoughMemoryError
            If the region does not fit into memory.
        ClosedSlideError
            If the slide has been closed.
        """
        slide = self._current()
        origin = checked_pair(location, name="location", slide=slide.name)
        resolution = parse_level_or_mpp(level_or_mpp)
        if resolution.number < (slide.pyramid.mpp or 0) and isinstance(resolution, Mpp):
            self._warn_once(slide, [resolution])
        extent = checked_size(size, slide=slide.name)
        with memory_named(_LESS, slide=slide.name):
            image = Image.fromarray(slide.read(origin, resolution, extent))
        return with_profile(image, slide.reader.icc_profile)

    def get_region_array(self, location: Point, level: int, size: Size) -> Pixels:
        """Return a region of a level as an array, wherever it lies.

        Parameters
        ----------
        location : (int, int)
            (x, y) of the top-left corner, in level 0 pixels.
        level : int
            Level.
        size : (int, int)
            (width, height), in pixels of the level.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
            RGB; background outside the slide.

        Raises
        ------
        ParameterError, ParameterTypeError
            If an argument is not what it has to be.
        LevelOutOfRangeError
            If there is no such level.
        SlideReadError
            If the file is damaged there.
        NotEnoughMemoryError
            If the region does not fit into memory.
        ClosedSlideError
            If the slide has been closed.
        """
        slide = self._opened()
        origin = checked_pair(location, name="location", slide=slide.name)
        extent = checked_size(size, slide=slide.name)
        with memory_named(_LESS, slide=slide.name):
            return slide.reader.read(origin, operator.index(level), extent)

    # -- life ------------------------------------------------------------------------

    def close(self) -> None:
        """Release the file; a second call does nothing."""
        with self._lock:
            self._closed = True
            if self._slide is not None:
                self._slide.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @never_raises
    def _repr_html_(self) -> str:
        return slide_html(self._file, None if self._closed else self._opened())

    def __str__(self) -> str:
        return str([type(self).__name__, self.lib_name, self._file])

    def __getstate__(self) -> dict[str, Any]:
        """Return what it takes to open the slide elsewhere; no handle travels."""
        return {
            "_file": self._file,
            "_resampling_mode": self._resampling_mode,
            "_extra_mpps": self._extra_mpps,
            "_color": self._color,
            "_carried": self._settings(),
            "_closed": self._closed,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._warned = set()
        self._slide = None

    def _open(self, file: StrPath) -> Slide:
        slide = Slide(
            file,
            settings=self._settings(),
            resampling_mode=self._resampling_mode,
            extra_mpps=self._extra_mpps,
        )
        self._warn_once(slide, map(Mpp, slide.extra_mpps))
        return slide

    def _warn_once(self, slide: Slide, resolutions: Iterable[Resolution]) -> None:
        """Tell what there is to tell of the scale, unless it has been told."""
        for warning in scale_warnings(slide.pyramid, resolutions, slide.settings):
            if str(warning) not in self._warned:
                self._warned.add(str(warning))
                warnings.warn(warning, stacklevel=3)

    def _settings(self) -> Settings:
        settings = super()._settings()
        return settings if self._color is None else replace(settings, color=self._color)

    def _opened(self) -> Slide:
        """Return the slide, opened if it has not been in this process."""
        with self._lock:
            if self._slide is None:
                if self._closed:
                    msg = "the slide has been closed"
                    raise ClosedSlideError(
                        msg, slide=self.slide_name, remedy="open it again"
                    )
                self._slide = self._open(self._file)
            return self._slide

    def _current(self) -> Slide:
        """Return the slide under the settings as they stand now."""
        return self._opened().with_settings(self._settings())

    @property
    def _pyramid(self) -> Pyramid:
        return self._opened().pyramid

    def _extra_sources(self) -> OrderedDict[float, Source]:
        """Return how the extra mpps that no level has are made."""
        slide = self._current()
        sources = ((mpp, slide.source(Mpp(mpp))) for mpp in slide.extra_mpps)
        return OrderedDict((mpp, s) for mpp, s in sources if s.whole is not None)
