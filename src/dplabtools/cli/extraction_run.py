"""What ``dplabtools extract`` does: masks, locations, files, and a record of it all."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dplabtools import config
from dplabtools.cli.config_file import save_config
from dplabtools.cli.console import steps
from dplabtools.cli.enlarging import refuse_enlarging
from dplabtools.cli.locating import annotation_args, location_pool, patches_args
from dplabtools.cli.options.locating import LocatingOptions, Region, TissueOptions
from dplabtools.cli.options.running import WorkOptions
from dplabtools.cli.options.writing import FileOptions
from dplabtools.cli.preflight import look_ahead
from dplabtools.cli.resolution import parse_resolutions
from dplabtools.cli.run_account import begun_record, ended_record
from dplabtools.cli.sampling import check_room
from dplabtools.output.run_folder.history import end_run, run_event
from dplabtools.output.run_folder.journal import Journal
from dplabtools.output.run_folder.lock import check_unused
from dplabtools.pipeline.states import SlideStates
from dplabtools.pipeline.steps import OnProgress, Pipeline
from dplabtools.records.run_record import CONFIG_FILE, RUN_FILE, RunRecord
from dplabtools.records.slide_input import SlideInput

__all__ = ["Request", "carry_out"]


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
    locations_args : mapping of str to object, or None
        How to read patches that another tool has placed.
    locating, tissue, files, work : option groups
        The rest.
    parameters : mapping of str to object
        All options in effect, for the record.
    command : tuple of str
        The command line.
    """

    inputs: tuple[SlideInput, ...]
    out: Path
    level_or_mpp: int | float | None
    locating: LocatingOptions
    tissue: TissueOptions
    locations_args: Mapping[str, Any] | None
    files: FileOptions
    work: WorkOptions
    parameters: Mapping[str, Any]
    command: tuple[str, ...]

    @property
    def filters_patches(self) -> bool:
        """Whether label options choose among patches, not among polygons."""
        return self.locations_args is not None or self.locating.region is Region.WHOLE_IMAGE

    @property
    def views(self) -> tuple[int | float, ...]:
        """Resolutions of each set; empty for single patches."""
        return parse_resolutions(self.files.levels_or_mpps)

    @property
    def extractor_args(self) -> dict[str, Any]:
        """What the disk pool takes."""
        files, locating = self.files, self.locating
        chosen = self.filters_patches
        of_sets = {"levels_or_mpps": self.views, "global_counter": files.first_set}
        return {
            **(of_sets if self.views else {}),
            "container": files.container,
            "image_type": files.encoding,
            "filename_comment": files.filename_comment,
            "filename_separator": files.filename_separator,
            "create_subdirs": files.create_subdirs,
            "save_options": files.encoder_options,
            "resume": True,  # the folder is this run's own: what is whole of it is kept
            "verify": files.verify.value,
            "resampling_mode": self._resampling_mode,
            "included_labels": locating.included_labels if chosen else (),
            "excluded_labels": locating.excluded_labels if chosen else (),
            "transform": files.transform,
            "quality": files.quality_limits,
        }

    @property
    def _resampling_mode(self) -> str | None:
        """How to resample; as is said, else only where there may be something to."""
        if self.files.resampling_mode is not None:
            return self.files.resampling_mode.value
        mpps = any(isinstance(each, float) for each in (*self.views, self.level_or_mpp))
        return "tile" if mpps or self.locations_args is not None else None

    def pipeline(self, on_progress: OnProgress) -> Pipeline:
        """Return the way from slides to patches."""
        self.tissue.check()
        config.set_slide_setting(
            polygons_overlap_threshold=self.locating.polygons_overlap_threshold
        )
        return Pipeline(
            options=self.work.run_options,
            tissue_args=self.tissue.arguments,
            location_pool=location_pool(self.locating),
            patches_args=patches_args(self.locating, self.level_or_mpp),
            annotation_args=annotation_args(self.locating),
            locations_args=self.locations_args,
            extractor_args=self.extractor_args,
            on_progress=on_progress,
            accept=None if self.locating.allow_enlarging else refuse_enlarging,
        )


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
    clock = time.perf_counter()
    states = SlideStates(inputs=request.inputs, skip_errors=request.work.skip_errors)
    look_ahead(request, states)
    begun = begun_record(request)
    request.out.mkdir(parents=True, exist_ok=True)
    check_unused(request.out)  # another may have begun since everything was looked at
    (request.out / RUN_FILE).unlink(missing_ok=True)  # it tells of an earlier run
    save_config(request.out / CONFIG_FILE, request.parameters, heading="dplabtools extract")
    journal = _begun_journal(request.out, begun)
    written = None
    with (
        suppress(KeyboardInterrupt),
        states.keeping_warnings(),
        steps() as on_progress,
    ):
        pipeline = request.pipeline(on_progress)
        masks = request.out / "masks"
        pipeline.locate(states, masks=masks, keep_masks=request.files.resume)
        check_room(request, states, pipeline)
        written = pipeline.write(states, request.out)
    seconds = time.perf_counter() - clock
    record = ended_record(begun, states, out=request.out, written=written, seconds=seconds)
    end_run(journal, record)
    record.save(request.out)
    return record


def _begun_journal(out: Path, begun: RunRecord) -> Journal:
    """Write down that a run begins, and with which options."""
    manifests = out / "manifests"
    manifests.mkdir(exist_ok=True)
    journal = Journal(manifests, run_event(begun))
    journal.begin()
    journal.sync()
    return journal
