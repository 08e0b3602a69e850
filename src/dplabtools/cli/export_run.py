"""What ``dplabtools export`` does: manifests read, and written as other tools have them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from dplabtools.cli.locate_run import save_all
from dplabtools.errors import DplabError, InvalidLocationError, MissingLocationsError
from dplabtools.geometry.resolution import Number
from dplabtools.output.run_folder.history import Checkpoint, read_history
from dplabtools.pipeline.states import SlideStates
from dplabtools.records.patch_table import PatchRow
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
    file = run_dir / "manifests" / f"{record.file_stem}.csv"
    name = Path(record.wsi_file).name
    try:
        with file.open(newline="", encoding="utf-8") as text:
            rows = list(csv.DictReader(text))
        wanted = rows[0]["level_or_mpp"] if view is None and rows else str(view)
        chosen = [row for row in rows if row["level_or_mpp"] == wanted]
        patch_data: list[PatchRow] = [
            (
                (int(row["x"]), int(row["y"])),
                (int(row["width"]), int(row["height"])),
                row["label"],
            )
            for row in chosen
        ]
        shares = [float(row["coverage"]) for row in chosen if row.get("coverage")]
    except (OSError, ValueError, KeyError, csv.Error) as error:
        msg = f"its manifest {file} cannot be read: {error!r}"
        raise InvalidLocationError(msg, slide=name) from error
    if rows and not chosen:
        there = ", ".join(sorted({row["level_or_mpp"] for row in rows}))
        msg = f"it has no patches at {view}; there are {there}"
        raise InvalidLocationError(msg, slide=name)
    resolution: Number = float(wanted) if "." in wanted else int(wanted if rows else 0)
    patches = PatchesMock(
        patch_data=patch_data,
        wsi_file=record.wsi_file,
        level_or_mpp=resolution,
        check_location=False,
    )
    if not shares or len(shares) != len(chosen):
        return patches
    table = replace(patches.table, coverage=np.array(shares, dtype=np.float32))
    return PatchesMock.from_table(
        table, class_name=record.patch_class, class_params=dict(record.patch_params)
    )
