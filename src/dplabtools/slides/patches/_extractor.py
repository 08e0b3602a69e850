"""What the extractors of one slide share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import InitVar
from typing import Any

from dplabtools import config
from dplabtools.arguments import parse_count
from dplabtools.extraction.reading import declared_views, parse_reading
from dplabtools.extraction.selection import LocationLike, Selection
from dplabtools.notebook import never_raises
from dplabtools.records.labels import LabelFilter
from dplabtools.records.patch_table import PatchRow
from dplabtools.slides._declared import Declared, declared
from dplabtools.slides.patches._html import location_html

__all__ = ["Extractor"]


@declared
class Extractor(Declared):
    """Parameters of every extractor of one slide, and what it knows of its patches.

    Parameters
    ----------
    patches : location object
        Of any location class, or `PatchesMock`.
    num_workers : int
        Threads.
    mp_chunksize : int
        Kept for the documented interface, and checked.
    resampling_mode : {None, "tile", "fast", "wsi"}
        How to get pixels at an mpp that no level has.
    included_labels, excluded_labels : collection of str
        Extract only these labels, or all but these.
    """

    patches: InitVar[LocationLike]
    num_workers: InitVar[int]
    mp_chunksize: InitVar[int] = 1
    resampling_mode: InitVar[str | None] = None
    included_labels: InitVar[Collection[str]] = ()
    excluded_labels: InitVar[Collection[str]] = ()

    def _prepare(self, arguments: Mapping[str, Any]) -> None:
        """Check the arguments, and take the patches apart."""
        views = declared_views(arguments)
        self._threads = parse_count(arguments["num_workers"], name="num_workers")
        parse_count(arguments["mp_chunksize"], name="mp_chunksize")
        labels = LabelFilter(arguments["included_labels"], arguments["excluded_labels"])
        self._selection = Selection.of(arguments["patches"], labels)
        self._table = self._selection.selected
        self._reading = parse_reading(
            views,
            arguments["resampling_mode"],
            tables=[self._table],
            settings=config.snapshot(),
        )
        self._view_count = 1 if views is None else len(views)

    @property
    def patch_data(self) -> list[PatchRow]:
        """((x, y), (width, height), label) of each patch, x and y in level 0 pixels."""
        return self._table.rows()

    @property
    def patch_labels(self) -> list[str]:
        """The distinct labels, sorted; without a filter also those no patch has."""
        return list(self._table.labels)

    @property
    def patch_count(self) -> int:
        """Number of images."""
        return len(self._table) * self._view_count

    @never_raises
    def _repr_html_(self) -> str:
        return location_html(type(self).__name__, self._table)
