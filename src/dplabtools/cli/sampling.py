"""Some patches of a run, written to be measured; and whether all of them fit."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from dplabtools.errors import OutputError
from dplabtools.output.run_folder.output_folder import remote_folder
from dplabtools.pipeline.states import SlideStates
from dplabtools.pipeline.steps import Pipeline
from dplabtools.slides.patches import PatchesMock

if TYPE_CHECKING:
    from dplabtools.cli.request import Request

__all__ = ["Sample", "check_room", "measure", "size_in_words"]

_SLIDES: Final = 4  # that are sampled
_PATCHES: Final = 128  # of each of them: neighbours, which share tiles, as in the run
_BYTES: Final = 3.2  # a pixel at most: RGB, and what goes around it
_CLEARLY: Final = 0.9  # of the estimate: slides differ from those that were measured
_PIXELS: Final = 1 << 25  # of each of them at most, where patches are large


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What some patches take.

    Attributes
    ----------
    patches : int
        How many they are; of sets, how many sets. May be 0.
    nbytes : int
        Bytes of their files.
    seconds : float
        Time that workers were at them, together.
    """

    patches: int
    nbytes: int
    seconds: float


def measure(pipeline: Pipeline, states: SlideStates) -> Sample:
    """Write some of the patches to a temporary folder.

    Parameters
    ----------
    pipeline : Pipeline
        How to write them.
    states : SlideStates
        With the patches that are placed; what fails is entered.

    Returns
    -------
    Sample
        Of up to 128 neighbours (fewer, of large patches) of up to 4 slides, evenly spread.

    Raises
    ------
    DplabError
        As the run would raise.
    """
    some = _spread([each for each in states.patches.values() if each.table])
    with tempfile.TemporaryDirectory(prefix="dplabtools-") as folder:
        written = pipeline.write(
            states,
            Path(folder),
            patches=[_neighbours(each) for each in some],
            step="sample",
        )
        nbytes = _bytes_of_patches(Path(folder))
    return Sample(
        patches=written.patches, nbytes=nbytes, seconds=sum(written.seconds.values())
    )


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
    if remote_folder(request.placing.out) is not None:
        return  # slides that are complete are taken away from here
    free = shutil.disk_usage(request.placing.out).free
    if pixels * max(1, len(request.views)) * _BYTES <= free:
        return
    scratch = SlideStates(inputs=states.inputs, skip_errors=True, patches=states.patches)
    sample = measure(pipeline, scratch)
    count = sum(sum(labels.values()) for labels in states.labels.values())
    needed = sample.nbytes * count / max(1, sample.patches)
    if request.files.resume:
        needed -= _bytes_of_patches(request.placing.out)
    if free < needed * _CLEARLY:
        msg = (
            f"{count:,} patches take about {size_in_words(needed)}, and there are "
            f"only {size_in_words(free)} free in {request.placing.out}"
        )
        raise OutputError(
            msg,
            remedy=(
                "name another --out, or see --image-type jpg, --mpp, --foreground-ratio"
            ),
        )


def _bytes_of_patches(folder: Path) -> int:
    """Return the bytes of all files in a folder, but for manifests."""
    return sum(file.stat().st_size for file in folder.rglob("*") if _is_patch(file))


def size_in_words(nbytes: float) -> str:
    """Return a number of bytes as people say it."""
    for unit in ("B", "KB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:,.0f} {unit}"
        nbytes /= 1000
    return f"{nbytes:,.1f} TB"


def _spread(patches: Sequence[PatchesMock]) -> list[PatchesMock]:
    """Return some of the slides, evenly spread."""
    count = min(_SLIDES, len(patches))
    return [patches[(2 * i + 1) * len(patches) // (2 * count)] for i in range(count)]


def _neighbours(patches: PatchesMock) -> PatchesMock:
    """Return some patches in a row, from the middle."""
    table = patches.table
    largest = int(table.sizes.prod(axis=1).max())
    count = max(1, min(_PATCHES, _PIXELS // largest))
    first = max(0, (len(table) - count) // 2)
    return patches.with_table(table.take(np.arange(first, min(first + count, len(table)))))


def _is_patch(file: Path) -> bool:
    return file.is_file() and file.parent.name != "manifests"
