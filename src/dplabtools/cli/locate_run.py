"""What ``dplabtools locate`` does."""

from __future__ import annotations

from collections.abc import Mapping
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
from dplabtools.pipeline.masking import files_named_after
from dplabtools.pipeline.states import SlideStates
from dplabtools.pipeline.steps import OnProgress, Pipeline
from dplabtools.records.slide_input import SlideInput
from dplabtools.slides.patches import save_locations

__all__ = ["LocateRequest", "carry_out", "save_all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocateRequest:
    """Where to place patches, and in which files to say so.

    Attributes
    ----------
    inputs : tuple of SlideInput
        The slides.
    out : Path
        Folder to write to.
    file_format : str
        Kind of the files.
    level_or_mpp : int or float or None
        Resolution of the patches.
    locations_args : mapping of str to object, or None
        How to read patches that another tool has placed.
    locating, tissue, preview, work : option groups
        The rest.
    """

    inputs: tuple[SlideInput, ...]
    out: Path
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
    states = SlideStates(inputs=request.inputs, skip_errors=request.work.skip_errors)
    with steps() as on_progress:
        pipeline = _pipeline(request, on_progress)
        if request.locations_args is None:
            pipeline.make_masks(states, request.out / "masks", keep=False)
        pipeline.set_locations(states)
    save_all(states, request.out, file_format=request.file_format, json_output=json_output)
    return bool(states.failures)


def save_all(
    states: SlideStates, folder: Path, *, file_format: str, json_output: bool
) -> None:
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
    """
    names = [each.wsi_file for each in states.inputs]
    files = files_named_after(names, folder, FORMATS[file_format].suffix)
    saved: dict[str, Path] = {}
    for slide, file in zip(names, files, strict=True):
        if slide not in states.patches:
            continue
        try:
            save_locations(
                patches=states.patches[slide], path=file, file_format=file_format
            )
            saved[slide] = file
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
        on_progress=on_progress,
        accept=None if locating.allow_enlarging else refuse_enlarging,
    )
