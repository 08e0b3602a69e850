"""No patch is written twice, and none is written over another."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dplabtools.atomic import folds_names
from dplabtools.errors import DuplicatePatchesError, ParameterError
from dplabtools.records.slide_plan import SlidePlan

__all__ = ["check_distinct", "check_labels_apart", "folded"]


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
            f"the patch at ({x}, {y}) with label {label!r} is there twice, the first "
            f"time in row {row}"
        )
        raise DuplicatePatchesError(msg, slide=plan.table.slide_name, remedy="drop one")


def folded(name: str) -> str:
    """Return what is the same for names that some file systems take for one.

    https://unicode.org/reports/tr15/
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def check_labels_apart(
    plans: Sequence[SlidePlan], *, folder: Path, as_folders: bool
) -> None:
    """Raise if labels differ by no more than a file system does not keep apart.

    Files of patches at one place would have one name there; and folders of labels would
    be one, of all slides.

    Parameters
    ----------
    plans : sequence of SlidePlan
        The slides.
    folder : Path
        One on the disk that files go to; it is asked only where such labels are.
    as_folders : bool
        Whether each label has a folder.

    Raises
    ------
    ParameterError
        It names the row, and says what to rename.
    """
    labels = {label for plan in plans for label in plan.table.labels}
    if len(set(map(folded, labels))) == len(labels) or not folds_names(folder):
        return
    of_all: dict[tuple[object, ...], str] = {}
    for plan in plans:
        seen = of_all if as_folders else {}
        for row, (place, _, label) in enumerate(plan.table.rows()):
            at = () if as_folders else place
            other = seen.setdefault((folded(label), *at), label)
            if other != label:
                msg = (
                    f"the label {label!a} of the patch in row {row} and the label "
                    f"{other!a} are one name on that disk, which does not tell them apart"
                )
                raise ParameterError(
                    msg,
                    slide=plan.table.slide_name,
                    remedy="rename one of them, or write to another disk",
                )
