"""What the extractors of one slide share."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dplabtools.geometry.resolution import Resolution
from dplabtools.notebook import never_raises
from dplabtools.records.patch_table import PatchRow
from dplabtools.slides.patches._html import location_html
from dplabtools.slides.patches._request import (
    LabelFilter,
    LocationLike,
    Selection,
    parse_count,
    reading,
)

__all__ = ["Extractor", "ExtractorOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractorOptions:
    """The parameters that all extractors share, as given."""

    patches: LocationLike
    num_workers: int
    mp_chunksize: int
    resampling_mode: str | None
    included_labels: Collection[str]
    excluded_labels: Collection[str]


class Extractor:
    """What all extractors know of their patches."""

    def __init__(
        self, options: ExtractorOptions, views: tuple[Resolution, ...] | None
    ) -> None:
        self._threads = parse_count(options.num_workers, name="num_workers")
        parse_count(options.mp_chunksize, name="mp_chunksize")
        labels = LabelFilter(options.included_labels, options.excluded_labels)
        self._selection = Selection.of(options.patches, labels)
        self._table = self._selection.selected
        self._reading = reading(views, options.resampling_mode, [self._table])
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
