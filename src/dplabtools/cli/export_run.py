"""What ``dplabtools export`` does: manifests read, and written as other tools have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dplabtools.cli.locate_run import save_all
from dplabtools.errors import (
    DplabError,
    InvalidLocationError,
    MissingLocationsError,
    StoredPatchesError,
)
from dplabtools.geometry.resolution import Number, parse_level_or_mpp
from dplabtools.output.run_folder.history import Checkpoint, read_history
from dplabtools.output.stored_manifests import Manifest
from dplabtools.pipeline.states import SlideStates
from dplabtools.records.patch_table import PatchTable
from dplabtools.records.slide_input import SlideInput
from dplabtools.slides.patches import PatchesMock

__all__ = ["carry_out"]


def carry_out(
    run_dir: Path, out: Path, *, file_format: str, view: Number | None, json_output: bool
) -> bool:
    """Save where patches are, print it, and tell whether any slide failed.

    Parameters
    ----------
    run_dir : Path
        With manifests.
    out : Path
        Folder to write to.
    file_format : str
        Kind of the files.
    view : int or float or None
        Which resolution of sets; None for the first.
    json_output : bool
        Print JSON, not a table.

    Raises
    ------
    MissingLocationsError
        If there are no manifests.
    OSError
        If the folder cannot be made.
    """
    records = [each for each in read_history(run_dir).checkpoints if each.complete]
    if not records:
        msg = f"{run_dir} has no complete slides"
        raise MissingLocationsError(msg, remedy="name the folder that 'extract' wrote")
    out.mkdir(parents=True, exist_ok=True)
    inputs = tuple(SlideInput(wsi_file=each.wsi_file) for each in records)
    states = SlideStates(inputs=inputs, skip_errors=True)
    for record in records:
        try:
            states.patches[record.wsi_file] = _patches(run_dir, record, view)
        except DplabError as error:
            states.fail(record.wsi_file, error)
    save_all(states, out, file_format=file_format, json_output=json_output)
    return bool(states.failures)


def _patches(run_dir: Path, record: Checkpoint, view: Number | None) -> PatchesMock:
    """Return the patches that the manifest of a slide lists."""
    name = Path(record.wsi_file).name
    table = run_dir / "manifests" / f"{record.file_stem}.csv"
    try:
        stored = Manifest(table=table, wsi_file=record.wsi_file).stored_slide()
    except StoredPatchesError as error:
        msg = f"its manifest cannot be read: {error}"
        raise InvalidLocationError(msg, slide=name) from error
    there = list(map(str, stored.views.levels_or_mpps))  # a level 1 is no mpp of 1.0
    if view is not None and len(stored) and str(view) not in there:
        msg = f"it has no patches at {view}; there are {', '.join(sorted(there))}"
        raise InvalidLocationError(msg, slide=name)
    index = 0 if view is None or not len(stored) else there.index(str(view))
    patches = PatchTable(
        slide=record.wsi_file,
        resolution=parse_level_or_mpp(stored.views.levels_or_mpps[index]),
        origins=stored.origins[:, index],
        sizes=stored.sizes,
        codes=stored.codes,
        labels=stored.labels,
        coverage=None if np.isnan(stored.coverage).any() else stored.coverage,
    )
    return PatchesMock.from_table(
        patches, class_name=record.patch_class, class_params=record.patch_params
    )
