"""How patches are to be read, from the arguments that say so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dplabtools.errors import ParameterError, ParameterTypeError
from dplabtools.extraction.plan import ReadOptions
from dplabtools.geometry.pyramid import check_resampling
from dplabtools.geometry.resolution import Mpp, Resolution, parse_views
from dplabtools.readers.resampling import check_filter
from dplabtools.records.patch_table import PatchTable
from dplabtools.records.quality import QualityLimits
from dplabtools.settings import Settings

__all__ = ["declared_views", "parse_quality", "parse_reading"]


def declared_views(arguments: Mapping[str, Any]) -> tuple[Resolution, ...] | None:
    """Return the resolutions of a class that declares several; None for single patches."""
    if "levels_or_mpps" not in arguments:
        return None
    return parse_views(arguments["levels_or_mpps"])


def parse_reading(
    views: tuple[Resolution, ...] | None,
    mode: str | None,
    *,
    tables: Iterable[PatchTable],
    settings: Settings,
) -> ReadOptions:
    """Return how patches are to be read.

    Parameters
    ----------
    views : tuple of Level or Mpp, or None
        Resolutions of each set; None for single patches, each at its own.
    mode : {None, "tile", "fast", "wsi"}
        How to get pixels at an mpp that no level has.
    tables : iterable of PatchTable
        The patches.
    settings : Settings
        The configuration.

    Raises
    ------
    ParameterError
        If there is no such resampling mode, or whole-slide resampling has no mpp to
        resample to, or one twice.
    ConfigError
        If a setting makes no sense.
    """
    check_resampling(mode)
    if mode is not None:
        check_filter(settings.resampling_filter, mode=mode)
    if mode == "wsi":
        every = views if views is not None else {table.resolution for table in tables}
        mpps = [view.value for view in every if isinstance(view, Mpp)]
        if every and not mpps:
            msg = 'Missing MPP values: resampling_mode="wsi" needs a float to resample to'
            raise ParameterError(msg)
        if len(set(mpps)) < len(mpps):
            msg = f"levels_or_mpps names an mpp twice: {mpps}"
            raise ParameterError(msg)
    return ReadOptions(views=views, mode=mode, settings=settings)


def parse_quality(quality: bool | QualityLimits, /) -> QualityLimits | None:  # noqa: FBT001 - an argument
    """Return how good patches have to be; None if that is not to be measured.

    Raises
    ------
    ParameterTypeError
        If it is something else.
    """
    if isinstance(quality, QualityLimits):
        return quality
    if not isinstance(quality, bool):
        msg = f"quality must be True, False or QualityLimits(...), not {quality!r}"
        raise ParameterTypeError(msg)
    return QualityLimits() if quality else None
