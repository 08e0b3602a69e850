"""Slides that are much coarser than the patches wanted of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dplabtools.cli.ledger import Ledger
from dplabtools.errors import ResolutionError

__all__ = ["refuse_enlarged_patches", "refuse_enlarging"]

_MOST: Final = 1.5
"""Times that the command enlarges unasked. The scan of an overview among the slides has,
enlarged, more patches than all of them, and nothing on these is sharp."""


def refuse_enlarging(
    ledger: Ledger, resolutions: Sequence[int | float], *, allowed: bool
) -> None:
    """Enter the slides that would have to be enlarged more than 1.5 times.

    Parameters
    ----------
    ledger : Ledger
        With facts of the slides.
    resolutions : sequence of int or float
        What is wanted of all of them: levels (int) and mpps (float).
    allowed : bool
        Do nothing.

    Raises
    ------
    ResolutionError
        For the first, unless errors are to be skipped.
    """
    mpps = [each for each in resolutions if isinstance(each, float)]
    if allowed or not mpps:
        return
    for each in ledger.left():
        _refuse(ledger, each.wsi_file, min(mpps))


def refuse_enlarged_patches(ledger: Ledger, *, allowed: bool) -> None:
    """Enter the slides that would have to be so for patches placed by another tool."""
    for slide, patches in list(ledger.patches.items()):
        resolution = patches.table.resolution.number
        if isinstance(resolution, float) and not allowed:
            _refuse(ledger, slide, resolution)


def _refuse(ledger: Ledger, slide: str, mpp: float) -> None:
    """Enter a slide if it is much coarser than an mpp that is wanted of it."""
    facts = ledger.facts.get(slide)
    if facts is None or facts.mpp is None or facts.mpp <= _MOST * mpp:
        return
    msg = (
        f"patches of {mpp:g} um/px would be its finest level of {facts.mpp:g} um/px, "
        f"enlarged {facts.mpp / mpp:.3g} times (mpp from {facts.mpp_source}); leave the "
        f"slide out, correct its mpp (--override-mpp, or the mpp column of --slides-csv), "
        f"or allow it with --allow-enlarging"
    )
    ledger.fail(slide, ResolutionError(msg, slide=Path(slide).name))
    ledger.patches.pop(slide, None)
