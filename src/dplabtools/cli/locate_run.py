"""What ``dplabtools locate`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dplabtools import config
from dplabtools.cli.console import steps
from dplabtools.cli.enlarging import refuse_enlarging
from dplabtools.cli.locating import annotation_args, location_pool, patches_args
from dplabtools.cli.options.drawing import PreviewOptions
from dplabtools.cli.options.locating import LocatingOptions, TissueOptions
from dplabtools.cli.options.running import WorkOptions
from dplabtools.cli.outcomes import Outcome, print_outcomes
from dplabtools.cli.preflight import check_libraries
from dplabtools.errors import DplabError
from dplabtools.interchange.formats import FORMATS
from dplabtools.output.run_folder.shards import begin_shard, end_shard
from dplabtools.pipeline.masking import files_named_after
from dplabtools.pipeline.states import SlideStates
from dplabtools.pipeline.steps import OnProgress, Pipeline
from dplabtools.records.failure import failed_slides
from dplabtools.records.share import Share
from dplabtools.records.slide_input import SlideInput
from dplabtools.slides.patches import save_locations

__all__ = ["LocateRequest", "carry_out", "save_all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocateRequest:
    """Where to place patches, and in which files to say so.

    Attributes
    ----------
    every_slide : tuple of str
        Paths of all slides, which files are named after.
    inputs : tuple of SlideInput
        Those of them that are for this job.
    out : Path
        Folder to write to.
    share : Share or None
        What of the slides that is, if there are other jobs.
    file_format : str
        Kind of the files.
    level_or_mpp : int or float or None
        Resolution of the patches.
    locations_args : mapping of str to object, or None
        How to read patches that another tool has placed.
    locating, tissue, preview, work : option groups
        The rest.
    """

    every_slide: tuple[str, ...]
    inputs: tuple[SlideInput, ...]
    out: Path
    share: Share | None
    file_format: str
    level_or_mpp: int | float | None
    locating: LocatingOptions
    tissue: TissueOptions
    locations_args: Mapping[str, Any] | None
    preview: PreviewOptions
    work: WorkOptions


def carry_out(request: LocateRequest, *, json_output: bool) -> bool:
    """Place patches, save where they are, print it, and tell whether any slide failed.

    Raises
    ------
    DplabError
        The first error, unless errors are to be skipped.
    MissingLibraryError
        If a library is not installed, before anything is done.
    OSError
        If the folder cannot be made.
    """
    check_libraries(request.file_format, (request.locations_args or {}).get("file_format"))
    request.out.mkdir(parents=True, exist_ok=True)
    if request.share is not None:
        begin_shard(request.out.parent, request.share, kind="locations")
    states = SlideStates(inputs=request.inputs, skip_errors=request.work.skip_errors)
    with steps() as on_progress:
        pipeline = _pipeline(request, on_progress)
        if request.locations_args is None:
            pipeline.make_masks(states, request.out / "masks", keep=False)
        pipeline.set_locations(states)
    saved = save_all(
        states,
        request.out,
        file_format=request.file_format,
        json_output=json_output,
        every_slide=request.every_slide,
    )
    if request.share is not None:
        files = {slide: [file.name] for slide, file in saved.items()}
        end_shard(request.out, failed=failed_slides(states.failures), files=files)
    return bool(states.failures)


def save_all(
    states: SlideStates,
    folder: Path,
    *,
    file_format: str,
    json_output: bool,
    every_slide: Sequence[str] = (),
) -> dict[str, Path]:
    """Save where the patches of all slides are, and print it.

    Parameters
    ----------
    states : SlideStates
        With patches; what fails is entered.
    folder : Path
        Where to; has to exist.
    file_format : str
        Kind of the files.
    json_output : bool
        Print JSON, not a table.
    every_slide : sequence of str
        Slides that others save beside these, and these: files are named after all.

    Returns
    -------
    dict of str to Path
        The file of each slide that has one.
    """
    names = [each.wsi_file for each in states.inputs]
    every = every_slide or names
    named = files_named_after(every, folder, FORMATS[file_format].suffix)
    files = dict(zip(every, named, strict=True))
    saved: dict[str, Path] = {}
    for slide in names:
        if slide not in states.patches:
            continue
        try:
            save_locations(
                patches=states.patches[slide], path=files[slide], file_format=file_format
            )
            saved[slide] = files[slide]
        except DplabError as error:
            states.fail(slide, error)
    outcomes = [
        Outcome(
            wsi_file=slide,
            file=str(saved[slide]) if slide in saved else None,
            words=f"{states.patches[slide].patch_count:,} patches"
            if slide in saved
            else "",
            failures=tuple(states.of_slide(slide)),
        )
        for slide in names
    ]
    print_outcomes(outcomes, title="Locations", json_output=json_output)
    return saved


def _pipeline(request: LocateRequest, on_progress: OnProgress) -> Pipeline:
    """Return the way from slides to places of patches."""
    request.tissue.check()
    locating, previews = request.locating, request.out / "previews"
    if request.preview.preview:
        previews.mkdir(exist_ok=True)
    config.set_slide_setting(polygons_overlap_threshold=locating.polygons_overlap_threshold)
    return Pipeline(
        options=request.work.run_options,
        tissue_args=request.tissue.arguments,
        location_pool=location_pool(locating),
        patches_args=patches_args(locating, request.level_or_mpp),
        annotation_args=annotation_args(locating),
        preview_args=request.preview.arguments(previews),
        locations_args=request.locations_args,
        share=request.share,
        on_progress=on_progress,
        accept=None if locating.allow_enlarging else refuse_enlarging,
    )
