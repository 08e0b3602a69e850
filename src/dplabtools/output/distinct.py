"""No patch is written twice."""

from __future__ import annotations

import numpy as np

from dplabtools.errors import DuplicatePatchesError
from dplabtools.records.slide_plan import SlidePlan

__all__ = ["check_distinct"]


def check_distinct(plan: SlidePlan) -> None:
    """Raise if a patch is there twice, and would be called as the other.

    Raises
    ------
    DuplicatePatchesError
        If two have the same location and label, or a resolution is named twice.
    """
    if len(set(plan.views)) < len(plan.views):
        views = [view.number for view in plan.views]
        msg = f"levels_or_mpps {views} names a resolution twice"
        raise DuplicatePatchesError(msg, slide=plan.table.slide_name)
    patches = np.column_stack([plan.table.origins, plan.table.codes])
    different, first, counts = np.unique(
        patches, axis=0, return_index=True, return_counts=True
    )
    if len(different) < len(plan):
        row = int(first[counts > 1].min())
        (x, y), _, label = plan.table.rows()[row]
        msg = (
            f"the patch at ({x}, {y}) with label {label!r} is there twice, the first time "
            f"in row {row}; drop one"
        )
        raise DuplicatePatchesError(msg, slide=plan.table.slide_name)
