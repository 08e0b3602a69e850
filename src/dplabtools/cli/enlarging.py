"""Slides that are much coarser than the patches wanted of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dplabtools.errors import ResolutionError
from dplabtools.geometry.resolution import Number
from dplabtools.readers.info import SlideInfo

__all__ = ["refuse_enlarging"]

_MOST: Final = 1.5
"""Times that the command enlarges unasked. The scan of an overview among the slides has,
enlarged, more patches than all of them, and nothing on these is sharp."""


def refuse_enlarging(info: SlideInfo, resolutions: Sequence[Number]) -> None:
    """Raise if a slide would have to be enlarged more than 1.5 times.

    Parameters
    ----------
    info : SlideInfo
        What the slide says of itself.
    resolutions : sequence of int or float
        What is wanted of it: levels (int) and mpps (float).

    Raises
    ------
    ResolutionError
        If so.
    """
    mpp = min((each for each in resolutions if isinstance(each, float)), default=None)
    if mpp is None or info.mpp is None or info.mpp <= _MOST * mpp:
        return
    msg = (
        f"patches of {mpp:g} um/px would be its finest level of {info.mpp:g} "
        f"um/px, enlarged {info.mpp / mpp:.3g} times (mpp from {info.mpp_source})"
    )
    raise ResolutionError(
        msg,
        slide=Path(info.wsi_file).name,
        remedy=(
            "leave the slide out, correct its mpp (--override-mpp, or the "
            "mpp column of --slides-csv), or allow it with "
            "--allow-enlarging"
        ),
    )
