"""The levels of a slide, and which of them serves which resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dplabtools._typing import Size
from dplabtools.errors import (
    LevelOutOfRangeError,
    MissingMppError,
    ParameterError,
    ResolutionError,
)
from dplabtools.geometry.resolution import Level, Mpp, Resolution
from dplabtools.settings import Settings

__all__ = ["Pyramid", "Source", "check_resampling", "mean_downsamples"]

_MODES = (None, "tile", "fast", "wsi")
_COARSEST_LEVEL_ASKED_FOR = 99
_ROUNDING = 10  # decimals within which the documented interface compares mpps


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """How pixels of a resolution are had from the file.

    Attributes
    ----------
    level : int
        Level to read.
    factor : float
        Pixels of `level`, once shrunk, per pixel delivered; 1.0 means that no more is done
        to it.
    downsample : float
        Level 0 pixels per pixel delivered.
    whole : Size or None
        Size of the whole image at the resolution, where pixels have to lie on its grid;
        None where each patch is resampled for itself.
    shrink : int
        By what its tiles are shrunk in being decoded; 1 means that they are not.
    """

    level: int
    factor: float
    downsample: float
    whole: Size | None = None
    shrink: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pyramid:
    """The levels of one slide.

    Attributes
    ----------
    slide : str
        Name of the slide, for messages.
    sizes : tuple of (int, int)
        (width, height) of each level, finest first.
    downsamples : tuple of float
        Level 0 pixels per pixel of each level: the mean of the ratios of widths and
        heights, not rounded.
    mpp : float or None
        Microns per pixel of level 0.
    power : float or None
        Objective power.
    mpp_source : str
        Who states the mpp: a property of the file, or a setting; empty if nobody.
    unequal_mpps : (float, float) or None
        Horizontal and vertical mpp, where they are too far apart to stand for one.
    ignored_mpp : str
        What the file states that cannot be, in words; may be empty.
    banded : bool
        Level 0 is stored in pieces as wide as it is: patches side by side are best read
        together.
    foreseen : bool
        Who reads it keeps parts of patches that are read later: see `Upcoming`.
    """

    slide: str
    sizes: tuple[Size, ...]
    downsamples: tuple[float, ...]
    mpp: float | None = None
    power: float | None = None
    mpp_source: str = ""
    unequal_mpps: tuple[float, float] | None = None
    ignored_mpp: str = ""
    banded: bool = False
    foreseen: bool = False

    @property
    def size(self) -> Size:
        """(width, height) of level 0."""
        return self.sizes[0]

    def required_mpp(self) -> float:
        """Return the microns per pixel of level 0.

        Raises
        ------
        MissingMppError
            If the slide states none.
        ResolutionError
            If it states two that are too far apart to stand for one.
        """
        if self.mpp is not None:
            return self.mpp
        if self.unequal_mpps is not None:
            x, y = self.unequal_mpps
            msg = (
                f"the file states {x:g} microns per pixel horizontally and {y:g} "
                f"vertically ({self.mpp_source}), more than 2 % apart"
            )
            raise ResolutionError(
                msg,
                slide=self.slide,
                remedy=(
                    "ask for a level (an int), or supply one value with "
                    "GenericSlide.set_external_mpp(..., override=True)"
                ),
            )
        but = f" (it has a {self.ignored_mpp}, which cannot be)" if self.ignored_mpp else ""
        msg = f"the file states no microns per pixel{but}"
        raise MissingMppError(
            msg,
            slide=self.slide,
            remedy=(
                "ask for a level (an int), or supply the value with "
                "GenericSlide.set_external_mpp"
            ),
        )

    def level_mpps(self) -> tuple[float, ...]:
        """Return the microns per pixel of each level."""
        mpp = self.required_mpp()
        return tuple(mpp * downsample for downsample in self.downsamples)

    def checked_level(self, level: int) -> int:
        """Return the level, if the slide has it.

        Raises
        ------
        LevelOutOfRangeError
            If it has not.
        """
        if not 0 <= level < len(self.sizes):
            last = len(self.sizes) - 1
            msg = f"there is no level {level}; this slide has levels 0 to {last}"
            raise LevelOutOfRangeError(msg, slide=self.slide)
        return level

    def level_for(self, level_or_minsize: int) -> int:
        """Return a level by its number, or by the size it has to have.

        Parameters
        ----------
        level_or_minsize : int
            Up to 99: the level itself. Above: the coarsest level that is at least so
            many pixels wide and high, or level 0 if none is.

        Raises
        ------
        LevelOutOfRangeError
            If there is no such level.
        """
        if isinstance(level_or_minsize, bool) or level_or_minsize != int(level_or_minsize):
            msg = f"level_or_minsize must be an int, not {level_or_minsize!r}"
            raise ParameterError(msg, slide=self.slide)
        if level_or_minsize <= _COARSEST_LEVEL_ASKED_FOR:
            return self.checked_level(int(level_or_minsize))
        enough = [i for i, size in enumerate(self.sizes) if min(size) >= level_or_minsize]
        return max(enough, default=0)

    def downsample(self, resolution: Resolution) -> float:
        """Return the level 0 pixels per pixel of a resolution.

        Raises
        ------
        LevelOutOfRangeError
            If there is no such level.
        MissingMppError
            If it takes mpp and the slide states none.
        """
        match resolution:
            case Level(index):
                return self.downsamples[self.checked_level(index)]
            case Mpp(value):
                return value / self.required_mpp()

    def mpp_of(self, resolution: Resolution) -> float:
        """Return the microns per pixel of a resolution.

        Raises
        ------
        LevelOutOfRangeError
            If there is no such level.
        MissingMppError
            If the slide states no mpp.
        """
        match resolution:
            case Level(index):
                return self.level_mpps()[self.checked_level(index)]
            case Mpp(value):
                return value

    def relative_mpp(self, resolution: Resolution) -> float:
        """Return the mpp of a resolution over that of level 0.

        It is reckoned through the mpp where the slide states one, as the documented
        interface does: that decides roundings.

        Raises
        ------
        LevelOutOfRangeError
            If there is no such level.
        MissingMppError
            If it takes mpp and the slide states none.
        """
        if self.mpp is None:
            return self.downsample(resolution)
        return self.mpp_of(resolution) / self.mpp

    def matching_level(self, mpp: float, settings: Settings) -> int | None:
        """Return the level whose mpp is within the margin of this one, if any is."""
        for level, value in enumerate(self.level_mpps()):
            if round(abs(value - mpp), _ROUNDING) < settings.mpp_level_margin:
                return level
        return None

    def enlargement(self, resolution: Resolution, settings: Settings) -> float:
        """Return how many times the finest level has to be enlarged; 1.0: not at all."""
        mpp = resolution.number
        if isinstance(resolution, Level) or self.mpp is None or mpp >= self.mpp:
            return 1.0
        same = self.matching_level(mpp, settings)
        return self.mpp / mpp if same is None else 1.0

    def check_mpp(self, mpp: float, settings: Settings) -> None:
        """Raise if an mpp is out of the range that makes sense for this slide.

        Raises
        ------
        ResolutionError
            If `mpp` is below the smallest allowed, or above that of a 1x objective.
        """
        low = settings.range_min_mpp
        high = self.required_mpp() * (self.power or settings.range_max_magnification)
        if not low <= mpp <= high:
            msg = (
                f"{mpp} microns per pixel is out of the range {low} to {high:g} of this "
                "slide"
            )
            raise ResolutionError(
                msg,
                slide=self.slide,
                remedy=(
                    "see GenericSlide.set_range_min_mpp and "
                    "GenericSlide.set_range_max_magnification"
                ),
            )

    def source(
        self, resolution: Resolution, *, mode: str | None, settings: Settings
    ) -> Source:
        """Say how pixels of a resolution are to be had.

        Parameters
        ----------
        resolution : Level or Mpp
            What is wanted.
        mode : {None, "tile", "fast", "wsi"}
            Whether, and how, resampling is allowed.
        settings : Settings
            Margins and ranges.

        Returns
        -------
        Source
            A level as it is, or a level and a factor to resample it by.

        Raises
        ------
        LevelOutOfRangeError
            If there is no such level.
        MissingMppError
            If it takes mpp and the slide states none.
        ResolutionError
            If resampling is needed and not allowed, or the mpp is out of range.
        """
        if isinstance(resolution, Level):
            level = self.checked_level(resolution.index)
            return Source(level=level, factor=1.0, downsample=self.downsamples[level])
        mpp = resolution.value
        if (same := self.matching_level(mpp, settings)) is not None:
            return Source(level=same, factor=1.0, downsample=self.downsamples[same])
        self.check_mpp(mpp, settings)
        if mode is None:
            levels = ", ".join(f"{value:g}" for value in self.level_mpps())
            msg = f"no level has {mpp} microns per pixel (the levels have {levels})"
            raise ResolutionError(
                msg,
                slide=self.slide,
                remedy='set resampling_mode="tile" (or "wsi") to resample',
            )
        base = self._base_level(mpp, settings)
        factor = mpp / self.level_mpps()[base]
        width, height = self.sizes[base]
        whole = (max(1, round(width / factor)), max(1, round(height / factor)))
        return Source(
            level=base,
            factor=factor,
            downsample=self.downsample(resolution),
            whole=whole if mode == "wsi" else None,
        )

    def _base_level(self, mpp: float, settings: Settings) -> int:
        """Return the level to resample from."""
        if settings.level_zero_resampling:
            return 0
        finer = [i for i, value in enumerate(self.level_mpps()) if value <= mpp]
        return max(finer, default=0)


def check_resampling(mode: str | None) -> None:
    """Raise if there is no such resampling mode.

    Raises
    ------
    ParameterError
        If `mode` is none of None, "tile", "fast" and "wsi".
    """
    if mode not in _MODES:
        msg = f'resampling_mode must be None, "tile", "fast" or "wsi", not {mode!r}'
        raise ParameterError(msg)


def mean_downsamples(sizes: tuple[Size, ...]) -> tuple[float, ...]:
    """Return the downsample of each level from the sizes of the levels.

    The mean of the ratios of widths and heights, as OpenSlide reckons it.
    """
    width, height = sizes[0]
    return tuple(math.fsum((width / w, height / h)) / 2 for w, h in sizes)
