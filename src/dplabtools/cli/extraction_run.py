"""What ``dplabtools extract`` does: masks, locations, files, and a record of it all."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dplabtools.cli.config_file import CONFIG_FILE, save_config
from dplabtools.cli.emptiness import tissue_shares
from dplabtools.cli.enlarging import refuse_enlarged_patches, refuse_enlarging
from dplabtools.cli.inputs import SlideInput
from dplabtools.cli.ledger import Ledger
from dplabtools.cli.masking import make_masks
from dplabtools.cli.options.placing import PlacingOptions, Region, TissueOptions
from dplabtools.cli.options.running import WorkOptions
from dplabtools.cli.options.writing import FileOptions
from dplabtools.cli.placing_run import Foreign, Placing, place, read_placed
from dplabtools.cli.preflight import look_ahead
from dplabtools.cli.resolution import parse_resolutions
from dplabtools.cli.room import check_room
from dplabtools.cli.run_account import Beginning, run_record
from dplabtools.cli.writing_run import write_files
from dplabtools.extraction.transform import Transform
from dplabtools.output.run_folder.lock import check_unused
from dplabtools.records.run_record import RUN_FILE, RunRecord
from dplabtools.slides.patches import PatchesMock

__all__ = ["Request", "carry_out", "place_all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to extract, and how.

    Attributes
    ----------
    inputs : tuple of SlideInput
        The slides.
    out : Path
        Folder to write to.
    level_or_mpp : int or float or None
        Level (int) or microns per pixel (float); None if nobody says.
    foreign : Foreign or None
        Patches that another tool has placed.
    placing, tissue, files, work : option groups
        The rest.
    parameters : mapping of str to object
        All options in effect, for the record.
    command : tuple of str
        The command line.
    """

    inputs: tuple[SlideInput, ...]
    out: Path
    level_or_mpp: int | float | None
    placing: PlacingOptions
    tissue: TissueOptions
    foreign: Foreign | None
    files: FileOptions
    work: WorkOptions
    parameters: Mapping[str, Any]
    command: tuple[str, ...]

    @property
    def filters_patches(self) -> bool:
        """Whether label options choose among patches, not among polygons."""
        return self.foreign is not None or self.placing.region is Region.WHOLE_IMAGE

    def wants(self, label: str) -> bool:
        """Tell whether patches of a label are extracted."""
        included, excluded = self.placing.included_labels, self.placing.excluded_labels
        if not self.filters_patches:
            return True
        return (label in included or not included) and label not in excluded

    @property
    def views(self) -> tuple[int | float, ...]:
        """Resolutions of each set; empty for single patches."""
        return parse_resolutions(self.files.levels_or_mpps)


def carry_out(request: Request) -> RunRecord:
    """Extract, and save the record of it.

    Parameters
    ----------
    request : Request
        What to extract.

    Returns
    -------
    RunRecord
        What became of each slide; it is in the folder, too. If it was interrupted, it
        says so.

    Raises
    ------
    DplabError
        The first error, unless errors are to be skipped; errors of the output folder
        always.
    OSError
        If the output folder cannot be made.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    ledger = Ledger(inputs=request.inputs, skip_errors=request.work.skip_errors)
    look_ahead(request, ledger)
    transform = request.files.transform
    beginning = Beginning(
        started=started.isoformat(timespec="seconds"),
        clock=clock,
        command=request.command,
        parameters=request.parameters,
        transform="" if transform is None else str(Transform.of(transform)),
    )
    request.out.mkdir(parents=True, exist_ok=True)
    check_unused(request.out)  # another may have begun since everything was looked at
    (request.out / RUN_FILE).unlink(missing_ok=True)  # it tells of an earlier run
    save_config(request.out / CONFIG_FILE, request.parameters, heading="dplabtools extract")
    written = None
    interrupted = False
    try:
        with ledger.keeping_warnings():
            place_all(
                request,
                ledger,
                masks=request.out / "masks",
                keep_masks=request.files.resume,
            )
            check_room(request, ledger)
            written = write_files(
                request, list(ledger.patches.values()), ledger, out=request.out
            )
    except KeyboardInterrupt:
        interrupted = True
    record = run_record(
        beginning, ledger, out=request.out, written=written, interrupted=interrupted
    )
    record.save(request.out)
    return record


def place_all(
    request: Request, ledger: Ledger, *, masks: Path, keep_masks: bool = False
) -> None:
    """Find the tissue of all slides, and place patches on it; or read where they are."""
    make_masks(
        ledger,
        masks,
        tissue=request.tissue,
        workers=request.work.processes,
        keep=keep_masks,
    )
    allowed = request.placing.allow_enlarging
    refuse_enlarging(ledger, request.views, allowed=allowed)
    if request.foreign is not None:
        read_placed(ledger, request.foreign)
        refuse_enlarged_patches(ledger, allowed=allowed)
    else:
        level_or_mpp = 0 if request.level_or_mpp is None else request.level_or_mpp
        placing = Placing(
            options=request.placing,
            level_or_mpp=level_or_mpp,
            work=request.work,
            preview={},
        )
        place(ledger, placing)
    shares = tissue_shares(ledger.masks.values(), workers=request.work.processes)
    for slide, share in zip(ledger.masks, shares, strict=True):
        if share is not None:
            ledger.tissue[slide] = share
    _attach_columns(ledger)
    for slide, patches in ledger.patches.items():
        counts = patches.patch_info.items()
        ledger.labels[slide] = {name: n for name, n in counts if request.wants(name)}


def _attach_columns(ledger: Ledger) -> None:
    """Let what the table of slides says beside its own columns go with the patches."""
    for each in ledger.inputs:
        patches = ledger.patches.get(each.wsi_file)
        if each.columns and patches is not None:
            ledger.patches[each.wsi_file] = PatchesMock.from_table(
                replace(patches.table, slide_columns=each.columns),
                class_name=patches.class_name,
                class_params=patches.param_info,
            )
