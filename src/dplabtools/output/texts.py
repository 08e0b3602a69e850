"""No text is met late that cannot be written."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dplabtools.errors import ParameterError
from dplabtools.records.slide_plan import SlidePlan

__all__ = ["check_texts", "is_unicode"]


def is_unicode(text: str) -> bool:
    """Tell whether text can be written at all: half a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_texts(plan: SlidePlan, *, holds_nul: bool = True) -> None:
    """Raise if a label, the name of the slide or a column of it cannot be written.

    Files hold Unicode. Half a surrogate pair is none; such text comes from file names that
    are not UTF-8, and from JSON that was cut.

    Parameters
    ----------
    plan : SlidePlan
        The slide.
    holds_nul : bool, default True
        Whether NUL can be written: HDF5 takes it for the end of a text.

    Raises
    ------
    ParameterError
        It names the row, and says what to rename.
    """
    path = Path(plan.table.slide)
    slide = ascii(path.name)[1:-1]
    if not is_unicode(path.name):
        msg = "its name is not UTF-8, as what is written has to be"
        raise ParameterError(msg, slide=slide, remedy="rename the file")
    used, first = np.unique(plan.table.codes, return_index=True)
    texts: list[tuple[str, str]] = []
    for code, row in zip(used.tolist(), first.tolist(), strict=True):
        label = plan.table.labels[code]
        texts.append((label, f"the label {label!a} of the patch in row {row}"))
    for name, text in plan.slide_columns:
        texts += [(each, f"{each!a} in the column {name!a}") for each in (name, text)]
    for text, what in texts:
        if not is_unicode(text) or (not holds_nul and "\0" in text):
            why = "HDF5 holds no NUL" if is_unicode(text) else "it is no Unicode text"
            msg = f"{what} cannot be written: {why}"
            raise ParameterError(msg, slide=slide, remedy="change it")
