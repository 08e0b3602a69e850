"""What ``dplabtools locate`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dplabtools.cli.console import steps
from dplabtools.cli.options.drawing import PreviewOptions
from dplabtools.cli.outcomes import outcomes_of, print_outcomes
from dplabtools.cli.placing import Placing
from dplabtools.cli.preflight import check_libraries
from dplabtools.errors import DplabError
from dplabtools.interchange.formats import FORMATS
from dplabtools.output.run_folder.shards import begin_shard, end_shard
from dplabtools.pipeline.masking import files_named_after
from dplabtools.pipeline.states import SlideStates
from dplabtools.pipeline.steps import OnProgress, Pipeline
from dplabtools.records.failure import failed_slides
from dplabtools.slides.patches import save_locations

__all__ = ["LocateRequest", "carry_out", "save_all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocateRequest:
    """Where to place patches, and in which files to say so.

    Attributes
    ----------
    placing : Placing
        On which slides, and where.
    file_format : str
        Kind of the files.
    preview : PreviewOptions
        Whether and how to draw the patches.
    """

    placing: Placing
    file_format: str
    preview: PreviewOptions


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
    check_libraries(
        request.file_format, (request.placing.locations_args or {}).get("file_format")
    )
    request.placing.out.mkdir(parents=True, exist_ok=True)
    if request.placing.share is not None:
        begin_shard(request.placing.out.parent, request.placing.share, kind="locations")
    states = request.placing.states()
    with steps() as on_progress:
        masks = request.placing.out / "masks"
        _pipeline(request, on_progress).place(states, masks=masks)
    saved = save_all(
        states,
        request.placing.out,
        file_format=request.file_format,
        json_output=json_output,
        every_slide=request.placing.every_slide,
    )
    if request.placing.share is not None:
        files = {slide: [file.name] for slide, file in saved.items()}
        end_shard(request.placing.out, failed=failed_slides(states.failures), files=files)
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
    made = {
        slide: (file, f"{states.patches[slide].patch_count:,} patches")
        for slide, file in saved.items()
    }
    outcomes = outcomes_of(states, made)
    print_outcomes(outcomes, title="Locations", json_output=json_output)
    return saved


def _pipeline(request: LocateRequest, on_progress: OnProgress) -> Pipeline:
    """Return the way from slides to places of patches."""
    previews = request.placing.out / "previews"
    if request.preview.preview:
        previews.mkdir(exist_ok=True)
    return replace(
        request.placing.pipeline(on_progress),
        preview_args=request.preview.arguments(previews),
    )
