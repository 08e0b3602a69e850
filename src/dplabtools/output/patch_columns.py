"""What is known of patches beside their pixels, as containers hold it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from dplabtools._typing import IntArray
from dplabtools.geometry.resolution import Level
from dplabtools.output.stored_slide import (
    Images,
    StoredSlide,
    Views,
    parse_number,
    text_column,
)
from dplabtools.records.patch_table import coded
from dplabtools.records.quality import QUALITY_COLUMNS, QualityValues
from dplabtools.records.slide_plan import SlidePlan

__all__ = [
    "OF_VIEWS",
    "PatchColumns",
    "Value",
    "recorded_slide",
    "view_column",
]

OF_VIEWS: Final = ("x", "y", "level_or_mpp", "mpp")
"""What is known of each view of a patch; all else is the same for all of them."""

Value: TypeAlias = str | int | float | None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PatchColumns:
    """Patches of one slide, in columns.

    Attributes
    ----------
    slide : str
        Name of the slide file.
    labels : tuple of str
        Labels that may occur.
    codes : ndarray of int64, shape (n,)
        Index into `labels` of each patch.
    origins : ndarray of int64, shape (n, views, 2)
        (x, y) of the top-left corners for each view, in level 0 pixels.
    sizes : ndarray of int64, shape (n, 2)
        (width, height) of the images.
    resolutions : tuple of int or float
        Level or mpp of each view.
    mpps : tuple of float or None
        Microns per pixel of each view, where the slide states them.
    shares : tuple of float or None
        Share of foreground of each patch, if it is known.
    own : mapping of str to str
        Columns of the slide, the same for all its patches.
    quality : ndarray of float32, shape (n, columns), or None
        How good each patch is, if that is measured.
    """

    slide: str
    labels: tuple[str, ...]
    codes: IntArray
    origins: IntArray
    sizes: IntArray
    resolutions: tuple[int | float, ...]
    mpps: tuple[float | None, ...]
    shares: tuple[float | None, ...]
    own: Mapping[str, str] = field(default_factory=dict)
    quality: QualityValues | None = None

    @classmethod
    def of(cls, plan: SlidePlan, rows: IntArray) -> PatchColumns:
        """Take rows of a plan."""
        table = plan.table
        return cls(
            slide=table.slide_name,
            labels=table.labels,
            codes=table.codes[rows],
            origins=plan.origins[rows],
            sizes=table.sizes[rows],
            resolutions=tuple(
                view.index if isinstance(view, Level) else view.value for view in plan.views
            ),
            mpps=tuple(plan.mpp_of(view) for view in range(len(plan.views))),
            shares=tuple(map(table.share, rows.tolist())),
            own=dict(plan.slide_columns),
            quality=None if plan.quality is None else plan.quality.values[rows],
        )

    def __len__(self) -> int:
        return len(self.codes)

    def measured(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return how good the patches are, by column; nothing if that is not measured."""
        if self.quality is None:
            return {}
        return dict(zip(QUALITY_COLUMNS, self.quality.T, strict=True))

    def records(self, items: Sequence[int]) -> list[dict[str, Value]]:
        """Return all that is known of some of the patches, by name.

        Returns
        -------
        list of dict
            slide, label, width, height, coverage (None if unknown), and x, y, level_or_mpp
            and mpp; of several views x_0, y_0, ..., x_1 and so on; `QUALITY_COLUMNS`, if
            they were measured; at last the columns of the slide.
        """
        widths, heights = self.sizes[items].T.tolist()
        known: dict[str, Iterable[Value]] = {
            "slide": repeat(self.slide),
            "label": [self.labels[code] for code in self.codes[items].tolist()],
            "width": widths,
            "height": heights,
            "coverage": [self.shares[item] for item in items],
        }
        views = len(self.resolutions)
        for view, corners in enumerate(self.origins[items].transpose(1, 2, 0).tolist()):
            values = (*corners, repeat(self.resolutions[view]), repeat(self.mpps[view]))
            for name, column in zip(OF_VIEWS, values, strict=True):
                known[view_column(name, view, views)] = column
        if self.quality is not None:
            known.update(zip(QUALITY_COLUMNS, self.quality[items].T.tolist(), strict=True))
        known.update((name, repeat(text)) for name, text in self.own.items())
        rows = zip(*known.values(), strict=False)  # what is the same for all has no end
        return [dict(zip(known, row, strict=True)) for row in rows]


def recorded_slide(
    columns: Mapping[str, Sequence[Any]],
    *,
    wsi_file: str,
    views: int,
    images: Images,
    sets: IntArray | None = None,
    label_masks: Images | None = None,
) -> StoredSlide:
    """Return the patches whose `PatchColumns.records` are stored.

    Parameters
    ----------
    columns : mapping of str to sequence
        What the records say, by name; also as text, empty for what is not known.
    wsi_file : str
        Name of the slide, if the records have none.
    views : int
        Resolutions of each patch.
    images : Images
        Their pixels.
    sets : ndarray of int64, shape (n,), optional
        Number of each set.
    label_masks : Images, optional
        Their masks of classes.
    """
    labels, codes = coded(columns.get("label", ()))
    count = len(codes)
    of_views = {
        name: [view_column(name, view, views) for view in range(views)] for name in OF_VIEWS
    }
    ours = {"slide", "label", "width", "height", "coverage"}.union(*of_views.values())
    corners = [[columns.get(name, ()) for name in of_views[axis]] for axis in "xy"]
    sizes = [columns.get(name, ()) for name in ("width", "height")]
    shares = columns.get("coverage", [None] * count)

    def firsts(name: str) -> list[Any]:
        """Return the value of each view in the first row: the others have the same."""
        return [columns[each][0] for each in of_views[name]] if count else [0] * views

    return StoredSlide(
        wsi_file=next(iter(columns.get("slide", ())), wsi_file),
        views=Views(
            levels_or_mpps=tuple(parse_number(str(at)) for at in firsts("level_or_mpp")),
            mpps=tuple(None if at in ("", None) else float(at) for at in firsts("mpp")),
        ),
        labels=labels,
        codes=codes,
        origins=np.array(corners, dtype=np.int64).transpose(2, 1, 0),
        sizes=np.array(sizes, dtype=np.int64).T,
        coverage=np.array(
            [None if each == "" else each for each in shares], dtype=np.float32
        ),
        sets=sets,
        images=images,
        label_masks=label_masks,
        extra={
            name: _extra_column(name, values)
            for name, values in columns.items()
            if name not in ours
        },
    )


def _extra_column(name: str, values: Sequence[Any]) -> npt.NDArray[Any]:
    """Return a further column: numbers if it is of `QUALITY_COLUMNS`, else text."""
    if name not in QUALITY_COLUMNS:
        return text_column(values)
    return np.array([None if each == "" else each for each in values], dtype=np.float32)


def view_column(name: str, view: int, views: int) -> str:
    """Return the name of a column that each of so many views has its own of."""
    return name if views == 1 else f"{name}_{view}"
