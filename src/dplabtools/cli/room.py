"""Whether what a run will write fits where it is written."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

from dplabtools.cli.sampling import bytes_of_patches, measure, size_in_words
from dplabtools.errors import OutputError
from dplabtools.pipeline.states import SlideStates

if TYPE_CHECKING:
    from dplabtools.cli.extraction_run import Request
    from dplabtools.pipeline.steps import Pipeline

__all__ = ["check_room"]

_BYTES: Final = 3.2  # a pixel at most: RGB, and what goes around it
_CLEARLY: Final = 0.9  # of the estimate: slides differ from those that were measured


def check_room(request: Request, states: SlideStates, pipeline: Pipeline) -> None:
    """Raise if there is clearly less room than the patches that are placed will take.

    Where they would fit as they are in memory, nothing is measured. Otherwise some of
    them are written to a temporary folder, as a dry run does.

    Parameters
    ----------
    request : Request
        With the folder, which has to exist.
    states : SlideStates
        With the patches; nothing is entered.
    pipeline : Pipeline
        How to write them.

    Raises
    ------
    OutputError
        It names the estimate, and what is free.
    """
    pixels = sum(
        int(each.table.sizes.prod(axis=1).sum()) for each in states.patches.values()
    )
    free = shutil.disk_usage(request.out).free
    if pixels * max(1, len(request.views)) * _BYTES <= free:
        return
    scratch = SlideStates(inputs=states.inputs, skip_errors=True, patches=states.patches)
    sample = measure(pipeline, scratch)
    count = sum(sum(labels.values()) for labels in states.labels.values())
    needed = sample.nbytes * count / max(1, sample.patches)
    if request.files.resume:
        needed -= bytes_of_patches(request.out)
    if free < needed * _CLEARLY:
        msg = (
            f"{count:,} patches take about {size_in_words(needed)}, and there are "
            f"only {size_in_words(free)} free in {request.out}"
        )
        raise OutputError(
            msg,
            remedy=(
                "name another --out, or see --image-type jpg, --mpp, --foreground-ratio"
            ),
        )
