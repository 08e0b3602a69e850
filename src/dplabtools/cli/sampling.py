"""Some patches of a run, written to be measured."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from dplabtools.pipeline.states import SlideStates
from dplabtools.pipeline.steps import Pipeline
from dplabtools.records.patch_table import PatchTable
from dplabtools.slides.patches import PatchesMock

__all__ = ["Sample", "bytes_of_patches", "measure", "size_in_words"]

_SLIDES: Final = 4  # that are sampled
_PATCHES: Final = 128  # of each of them: neighbours, which share tiles, as in the run
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
        nbytes = bytes_of_patches(Path(folder))
    return Sample(
        patches=written.patches, nbytes=nbytes, seconds=sum(written.seconds.values())
    )


def bytes_of_patches(folder: Path) -> int:
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
    part = slice(first, first + count)
    return PatchesMock.from_table(
        _part(table, part), class_name=patches.class_name, class_params=patches.param_info
    )


def _part(table: PatchTable, part: slice) -> PatchTable:
    return replace(
        table,
        origins=np.ascontiguousarray(table.origins[part]),
        sizes=np.ascontiguousarray(table.sizes[part]),
        codes=np.ascontiguousarray(table.codes[part]),
        coverage=None if table.coverage is None else table.coverage[part].copy(),
    )


def _is_patch(file: Path) -> bool:
    return file.is_file() and file.parent.name != "manifests"
