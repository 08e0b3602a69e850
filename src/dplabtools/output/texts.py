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
        msg = "its name is not UTF-8, as what is written has to be; rename the file"
        raise ParameterError(msg, slide=slide)
    for code in np.unique(plan.table.codes).tolist():
        label = plan.table.labels[code]
        if not _is_writable(label, holds_nul=holds_nul):
            row = int(np.argmax(plan.table.codes == code))
            msg = (
                f"the label {label!a} of the patch in row {row} cannot be written: "
                f"{_reason(label)}; give it another label"
            )
            raise ParameterError(msg, slide=slide)
    for name, text in plan.slide_columns:
        for each in (name, text):
            if not _is_writable(each, holds_nul=holds_nul):
                msg = (
                    f"{each!a} in the column {name!a} cannot be written: {_reason(each)}; "
                    f"change it"
                )
                raise ParameterError(msg, slide=slide)


def _is_writable(text: str, *, holds_nul: bool) -> bool:
    return is_unicode(text) and (holds_nul or "\0" not in text)


def _reason(text: str) -> str:
    return "HDF5 holds no NUL" if is_unicode(text) else "it is no Unicode text"
