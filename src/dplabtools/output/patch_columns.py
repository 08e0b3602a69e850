"""What is known of patches beside their pixels, as containers hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from dplabtools._typing import IntArray
from dplabtools.geometry.resolution import Level
from dplabtools.records.slide_plan import SlidePlan

__all__ = ["PatchColumns", "Value"]

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
        )

    def __len__(self) -> int:
        return len(self.codes)

    def record(self, item: int) -> dict[str, Value]:
        """Return all that is known of a patch, by name.

        Returns
        -------
        dict
            slide, label, width, height, coverage (None if unknown), and x, y, level_or_mpp
            and mpp; of several views x_0, y_0, ..., x_1 and so on; at last the columns of
            the slide.
        """
        width, height = self.sizes[item].tolist()
        known: dict[str, Value] = {
            "slide": self.slide,
            "label": self.labels[int(self.codes[item])],
            "width": width,
            "height": height,
            "coverage": self.shares[item],
        }
        for view, (x, y) in enumerate(self.origins[item].tolist()):
            end = "" if len(self.resolutions) == 1 else f"_{view}"
            known[f"x{end}"], known[f"y{end}"] = x, y
            known[f"level_or_mpp{end}"] = self.resolutions[view]
            known[f"mpp{end}"] = self.mpps[view]
        known.update(self.own)
        return known
