"""Arguments of extractors, checked and turned into tables."""

from __future__ import annotations

import operator
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, SupportsFloat, SupportsIndex, runtime_checkable

from dplabtools import config
from dplabtools.errors import ParameterError, ParameterTypeError
from dplabtools.extraction.plan import Reading
from dplabtools.geometry.pyramid import check_resampling
from dplabtools.geometry.resolution import Mpp, Number, Resolution, parse_level_or_mpp
from dplabtools.readers.resampling import check_filter
from dplabtools.records.labels import LabelFilter
from dplabtools.records.patch_table import PatchRow, PatchTable
from dplabtools.records.quality import QualityLimits

__all__ = [
    "LocationLike",
    "Selection",
    "check_choice",
    "declared_views",
    "parse_count",
    "parse_quality",
    "parse_timeout",
    "parse_views",
    "reading",
]


class LocationLike(Protocol):
    """What extractors read of a location object, whatever its class."""

    @property
    def wsi_file(self) -> str:
        """Path of the slide."""
        ...

    @property
    def patch_data(self) -> Sequence[PatchRow]:
        """((x, y), (width, height), label) of each patch, x and y in level 0 pixels."""
        ...

    @property
    def level_or_mpp(self) -> Number:
        """Resolution of the patches."""
        ...

    @property
    def class_name(self) -> str:
        """Name of the class, for the manifest."""
        ...

    @property
    def param_info(self) -> Mapping[str, object]:
        """Its parameters, for the manifest."""
        ...


@runtime_checkable
class _HasTable(Protocol):
    """A location object of this package: the columns are there already."""

    @property
    def table(self) -> PatchTable: ...


@dataclass(frozen=True, slots=True)
class Selection:
    """A location object, taken apart.

    Attributes
    ----------
    table : PatchTable
        All of its patches.
    selected : PatchTable
        Those with the wanted labels.
    class_name : str
        Name of its class.
    params : mapping of str to object
        Its parameters.
    """

    table: PatchTable
    selected: PatchTable
    class_name: str
    params: Mapping[str, object]

    @classmethod
    def of(cls, patches: LocationLike, labels: LabelFilter) -> Selection:
        """Take a location object apart.

        Raises
        ------
        ParameterTypeError
            If it lacks what every location object has.
        InvalidLocationError
            If its patches are not in the documented form.
        """
        try:
            table = _table(patches)
            class_name, params = patches.class_name, patches.param_info
        except AttributeError as error:
            msg = (
                f"{type(patches).__name__} is no location object: {error}; use a location "
                f"class, or PatchesMock for locations from elsewhere"
            )
            raise ParameterTypeError(msg) from error
        if not isinstance(params, Mapping):
            msg = f"param_info must be a mapping, not {params!r}"
            raise ParameterTypeError(msg, slide=table.slide_name)
        return cls(table, labels.apply(table), class_name, params)

    @classmethod
    def all_of(cls, pool: Iterable[LocationLike], labels: LabelFilter) -> list[Selection]:
        """Take all location objects of a pool apart.

        Raises
        ------
        ParameterTypeError
            If it is no list of location objects.
        """
        if not isinstance(pool, Iterable):
            msg = f"patches_pool must hold location objects, not be {type(pool).__name__}"
            raise ParameterTypeError(msg)
        return [cls.of(patches, labels) for patches in pool]


def _table(patches: LocationLike) -> PatchTable:
    """Return the columns of a location object, which makes them if it is a foreign one."""
    if isinstance(patches, _HasTable) and isinstance(patches.table, PatchTable):
        return patches.table
    path: object = patches.wsi_file
    if not isinstance(path, str | os.PathLike):
        msg = f"wsi_file must be a path, not {path!r}"
        raise ParameterTypeError(msg)
    return PatchTable.from_rows(
        patches.patch_data,
        slide=os.fspath(path),
        resolution=parse_level_or_mpp(patches.level_or_mpp),
    )


def parse_count(value: SupportsIndex, *, name: str, least: int = 1) -> int:
    """Return a whole number that is large enough.

    Raises
    ------
    ParameterTypeError
        If it is no whole number.
    ParameterError
        If it is too small.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        msg = f"{name} must be an int, not {value!r}"
        raise ParameterTypeError(msg)
    if number < least:
        msg = f"{name} must be at least {least}, not {number}"
        raise ParameterError(msg)
    return number


def check_choice(value: str, choices: Collection[str], *, name: str) -> None:
    """Raise if a value is none of the choices.

    Raises
    ------
    ParameterError
        If it is not.
    """
    if value not in choices:
        allowed = " or ".join(f'"{choice}"' for choice in choices)
        msg = f"{name} must be {allowed}, not {value!r}"
        raise ParameterError(msg)


def parse_views(levels_or_mpps: Sequence[Number]) -> tuple[Resolution, ...]:
    """Return the resolutions of multi-resolution patches.

    Raises
    ------
    ParameterTypeError
        If they are no list.
    ParameterError
        If there are none, or one is neither a level nor an mpp.
    """
    given: object = levels_or_mpps
    if isinstance(given, str) or not isinstance(given, Sequence):
        msg = f"levels_or_mpps must be a list of levels and mpps, not {levels_or_mpps!r}"
        raise ParameterTypeError(msg)
    if not levels_or_mpps:
        msg = "levels_or_mpps is empty; name at least one level or mpp"
        raise ParameterError(msg)
    return tuple(map(parse_level_or_mpp, levels_or_mpps))


def declared_views(arguments: Mapping[str, Any]) -> tuple[Resolution, ...] | None:
    """Return the resolutions of a class that declares several; None for single patches."""
    if "levels_or_mpps" not in arguments:
        return None
    return parse_views(arguments["levels_or_mpps"])


def reading(
    views: tuple[Resolution, ...] | None, mode: str | None, tables: Iterable[PatchTable]
) -> Reading:
    """Return how patches are to be read, with the configuration as it stands.

    Raises
    ------
    ParameterError
        If there is no such resampling mode, or whole-slide resampling has no mpp to
        resample to, or one twice.
    ConfigError
        If a setting makes no sense.
    """
    check_resampling(mode)
    settings = config.snapshot()
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
    return Reading(views=views, mode=mode, settings=settings)


def parse_quality(quality: bool | QualityLimits) -> QualityLimits | None:
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


def parse_timeout(seconds: float) -> float:
    """Return a positive number of seconds.

    Raises
    ------
    ParameterTypeError
        If it is no number.
    ParameterError
        If it is not positive.
    """
    msg = f"chunk_timeout_s must be a number of seconds, more than 0, not {seconds!r}"
    if isinstance(seconds, bool) or not isinstance(seconds, SupportsFloat):
        raise ParameterTypeError(msg)
    value = float(seconds)
    if not value > 0:
        raise ParameterError(msg)
    return value
