"""Patches that were placed elsewhere."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from dplabtools._typing import StrPath
from dplabtools.errors import DuplicatePatchesError, InvalidLocationError
from dplabtools.geometry.resolution import Number, parse_level_or_mpp
from dplabtools.notebook import never_raises
from dplabtools.records.patch_table import PatchRow, PatchTable, Shares
from dplabtools.slides.patches._html import location_html

__all__ = ["PatchesMock", "check_locations"]


class PatchesMock:
    """Patches of one slide, placed by something else than a location class.

    It serves wherever a location object does. The slide is not opened.

    Parameters
    ----------
    patch_data : sequence of ((int, int), (int, int), str)
        Location of the top-left corner (x, y) in level 0 pixels, size (width, height) in
        pixels of the patch, label.
    wsi_file : path
        The slide.
    level_or_mpp : int or float
        Pyramid level (int) or microns per pixel (float) of the patches.
    patch_labels : sequence of str, default ()
        Labels that may occur, and are counted even if they do not; empty: those that do.
    check_location : bool, default True
        Refuse two patches at the same location, whatever their labels.
    class_name : str, default None
        Name to go by, instead of that of the class.
    class_params : mapping, default None
        Parameters to go by, instead of these.

    Raises
    ------
    InvalidLocationError
        If `patch_data` holds something else, or a label that is not in `patch_labels`.
    DuplicatePatchesError
        If two patches are at the same location.
    ResolutionTypeError
        If `level_or_mpp` is no number.
    """

    def __init__(
        self,
        *,
        patch_data: Sequence[PatchRow],
        wsi_file: StrPath,
        level_or_mpp: Number,
        patch_labels: Sequence[str] = (),
        check_location: bool = True,
        class_name: str | None = None,
        class_params: Mapping[str, Any] | None = None,
    ) -> None:
        table = PatchTable.from_rows(
            patch_data,
            slide=os.fspath(wsi_file),
            resolution=parse_level_or_mpp(level_or_mpp),
            labels=patch_labels,
        )
        unlisted = sorted(set(table.labels).difference(patch_labels))
        if patch_labels and unlisted:
            msg = f"patches have labels that patch_labels lacks: {', '.join(unlisted)}"
            raise InvalidLocationError(msg, slide=table.slide_name)
        if check_location:
            check_locations(table)
        self._table = table
        self._class_name = class_name or type(self).__name__
        self._class_params = dict(class_params or {})
        self._arguments: dict[str, Any] = {  # all but the patches, which the table has
            "wsi_file": table.slide,
            "level_or_mpp": level_or_mpp,
            "patch_labels": list(patch_labels),
            "check_location": check_location,
            "class_name": class_name,
            "class_params": {},
        }

    @classmethod
    def from_table(
        cls, table: PatchTable, *, class_name: str, class_params: Mapping[str, Any]
    ) -> Self:
        """Wrap patches that are in columns already, without checking or copying them."""
        empty = cls(
            patch_data=(),
            wsi_file=table.slide,
            level_or_mpp=table.resolution.number,
            class_name=class_name,
            class_params=class_params,
        )
        return empty.with_table(table)

    def with_table(self, table: PatchTable) -> Self:
        """Return other patches of the same slide, as if they had been placed alike."""
        mock = copy.copy(self)
        mock._table = table  # noqa: SLF001 - of this class
        return mock

    @property
    def table(self) -> PatchTable:
        """The patches, in columns."""
        return self._table

    @property
    def patch_data(self) -> list[PatchRow]:
        """((x, y), (width, height), label) of each patch; a new list each time."""
        return self._table.rows()

    @property
    def patch_coverage(self) -> Shares | None:
        """Share of foreground of each patch, from 0 to 1; None if not known. Read-only."""
        return self._table.coverage

    @property
    def patch_count(self) -> int:
        """Number of patches."""
        return len(self._table)

    @property
    def patch_info(self) -> dict[str, int]:
        """Number of patches of each label, zeros included, sorted by label."""
        return self._table.counts()

    @property
    def patch_labels(self) -> list[str]:
        """Labels that may occur, sorted."""
        return list(self._table.labels)

    @property
    def param_info(self) -> dict[str, Any]:
        """Parameters by name; a new dict each time."""
        if self._class_params:
            return dict(self._class_params)
        return {"patch_data": self.patch_data, **self._arguments}

    @property
    def level_or_mpp(self) -> int | float:
        """Level (int) or microns per pixel (float) of the patches."""
        return self._table.resolution.number

    @property
    def wsi_file(self) -> str:
        """Path of the slide."""
        return self._table.slide

    @property
    def class_name(self) -> str:
        """Name of the class that placed the patches."""
        return self._class_name

    @never_raises
    def _repr_html_(self) -> str:
        return location_html(self._class_name, self._table)


def check_locations(table: PatchTable) -> None:
    """Raise if two patches begin at the same place, whatever their labels.

    Raises
    ------
    DuplicatePatchesError
        If so.
    """
    places, counts = np.unique(table.origins, axis=0, return_counts=True)
    if len(places) < len(table):
        x, y = places[np.argmax(counts)].tolist()
        msg = (
            f"{len(table) - len(places)} patches lie where another one does, such as "
            f"({x}, {y})"
        )
        raise DuplicatePatchesError(
            msg, slide=table.slide_name, remedy="drop them, or set check_location=False"
        )
