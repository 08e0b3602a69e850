"""The settings that all slides share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType

from dplabtools import config
from dplabtools._typing import StrPath
from dplabtools.errors import ConfigError
from dplabtools.settings import Settings
from dplabtools.slides._arguments import (
    checked_flag,
    checked_number,
    checked_text,
    checked_whole,
)

__all__ = ["SlideSettings"]


class SlideSettings:
    """Setters of what holds for all slides of the process, and its values as they stand.

    What is set takes effect at once, on open slides too, but for the mpp of level 0,
    which is settled when a slide is opened. An object that came from another process
    keeps the settings it left with.
    """

    def __init__(self) -> None:
        self._carried: Settings | None = None

    def _settings(self) -> Settings:
        """Return the settings of this process, or those that came with the object."""
        return self._carried or config.snapshot()

    @staticmethod
    def set_external_mpp(external_mpp: float | None, override: bool = False) -> None:
        """Set the mpp of level 0 of slides that state none; None to unset it.

        Parameters
        ----------
        external_mpp : float or None
            Microns per pixel.
        override : bool, default False
            Let it hold for slides that state another value, too.
        """
        value = external_mpp
        if value is not None:
            value = checked_number(value, name="external_mpp")
        config.set_slide_setting(
            external_mpp=value,
            external_mpp_overrides=checked_flag(override, name="override")
            and value is not None,
        )

    @staticmethod
    def set_slide_mpps(slide_mpps: Mapping[StrPath, float]) -> None:
        """Set the mpp of level 0 of single slides, whatever they state.

        Parameters
        ----------
        slide_mpps : mapping of path to float
            Microns per pixel, by slide file; replaces what was set before.
        """
        if not isinstance(slide_mpps, Mapping):
            msg = f"slide_mpps must be a mapping of path to mpp, not {slide_mpps!r}"
            raise ConfigError(msg)
        values = {
            os.path.abspath(os.fspath(path)): checked_number(mpp, name=f"the mpp of {path}")  # noqa: PTH100
            for path, mpp in slide_mpps.items()
        }
        config.set_slide_setting(slide_mpps=values)

    @staticmethod
    def set_mpp_round_decimal_places(mpp_round_decimal_places: int) -> None:
        """Set the decimals to which unequal horizontal and vertical mpp must agree."""
        name = "mpp_round_decimal_places"
        value = checked_whole(mpp_round_decimal_places, name=name, least=0)
        config.set_slide_setting(mpp_round_decimal_places=value)

    @staticmethod
    def set_range_min_mpp(range_min_mpp: float) -> None:
        """Set the smallest mpp that may be asked for."""
        value = checked_number(range_min_mpp, name="range_min_mpp")
        config.set_slide_setting(range_min_mpp=value)

    @staticmethod
    def set_range_max_magnification(range_max_magnification: int) -> None:
        """Set the objective power assumed in range checks of slides that state none."""
        name = "range_max_magnification"
        value = checked_whole(range_max_magnification, name=name, least=1)
        config.set_slide_setting(range_max_magnification=value)

    @staticmethod
    def set_resampling_filter(resampling_filter: str) -> None:
        """Set the filter, by its name in `PIL.Image.Resampling`; checked when used."""
        value = checked_text(resampling_filter, name="resampling_filter")
        config.set_slide_setting(resampling_filter=value)

    @staticmethod
    def set_mpp_level_margin(mpp_level_margin: float) -> None:
        """Set how close to that of a level an mpp must be to be read from it unscaled."""
        value = checked_number(mpp_level_margin, name="mpp_level_margin", zero=True)
        config.set_slide_setting(mpp_level_margin=value)

    @staticmethod
    def set_padding_margin_pixels(padding_margin_pixels: int) -> None:
        """Set a value of the documented interface; padding is exact and needs none."""
        name = "padding_margin_pixels"
        value = checked_whole(padding_margin_pixels, name=name, least=0)
        config.set_slide_setting(padding_margin_pixels=value)

    @staticmethod
    def set_level_zero_resampling(level_zero_resampling: bool) -> None:
        """Set whether to resample from level 0, or from the closest finer level."""
        value = checked_flag(level_zero_resampling, name="level_zero_resampling")
        config.set_slide_setting(level_zero_resampling=value)

    @property
    def external_mpp(self) -> float | None:
        """Microns per pixel of level 0 of slides that state none, or of all of them."""
        return self._settings().external_mpp

    @property
    def slide_mpps(self) -> Mapping[str, float]:
        """Microns per pixel of level 0 of single slides, by absolute path."""
        return MappingProxyType(dict(self._settings().slide_mpps))

    @property
    def mpp_round_decimal_places(self) -> int:
        """Decimals to which unequal horizontal and vertical mpp must agree."""
        return self._settings().mpp_round_decimal_places

    @property
    def range_min_mpp(self) -> float:
        """Smallest mpp that may be asked for."""
        return self._settings().range_min_mpp

    @property
    def range_max_magnification(self) -> int:
        """Objective power assumed in range checks of slides that state none."""
        return self._settings().range_max_magnification

    @property
    def resampling_filter(self) -> str:
        """Name of the filter."""
        return self._settings().resampling_filter

    @property
    def mpp_level_margin(self) -> float:
        """How close to that of a level an mpp must be to be read from it unscaled."""
        return self._settings().mpp_level_margin

    @property
    def padding_margin_pixels(self) -> int:
        """A value of the documented interface that nothing depends on."""
        return self._settings().padding_margin_pixels

    @property
    def level_zero_resampling(self) -> bool:
        """Whether to resample from level 0, or from the closest finer level."""
        return self._settings().level_zero_resampling
