"""Location objects, taken apart: which patches there are, and which are wanted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

from dplabtools.errors import ParameterTypeError
from dplabtools.geometry.resolution import Number, parse_level_or_mpp
from dplabtools.records.labels import LabelFilter
from dplabtools.records.patch_table import PatchRow, PatchTable

__all__ = ["LocationLike", "Selection"]


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
    params : callable
        Returns its parameters; they may take much memory, as patches may be among them.
    """

    table: PatchTable
    selected: PatchTable
    class_name: str
    params: Callable[[], Mapping[str, object]]

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
            class_name, params = patches.class_name, _params(patches, table)
        except AttributeError as error:
            msg = f"{type(patches).__name__} is no location object: {error}"
            raise ParameterTypeError(
                msg,
                remedy=(
                    "use a location class, or PatchesMock for locations from elsewhere"
                ),
            ) from error
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


def _params(patches: LocationLike, table: PatchTable) -> Callable[[], Mapping[str, object]]:
    """Return what returns the parameters; those of a foreign location object are kept.

    One of this package has the table, and little else: it may stay as long as that.
    """
    if isinstance(patches, _HasTable):
        return partial(getattr, patches, "param_info")  # which pickles
    found: object = patches.param_info
    if not isinstance(found, Mapping):
        msg = f"param_info must be a mapping, not {found!r}"
        raise ParameterTypeError(msg, slide=table.slide_name)
    return partial(dict, found)
