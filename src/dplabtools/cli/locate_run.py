"""What ``dplabtools locate`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dplabtools.cli.inputs import SlideInput
from dplabtools.cli.ledger import Ledger
from dplabtools.cli.masking import files_named_after, make_masks
from dplabtools.cli.options.drawing import PreviewOptions
from dplabtools.cli.options.placing import PlacingOptions, TissueOptions
from dplabtools.cli.options.running import WorkOptions
from dplabtools.cli.outcomes import Outcome, print_outcomes
from dplabtools.cli.placing_run import Foreign, Placing, place, read_placed
from dplabtools.cli.preflight import check_libraries
from dplabtools.errors import DplabError
from dplabtools.interchange.formats import FORMATS
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
    foreign : Foreign or None
        Patches that another tool has placed.
    placing, tissue, preview, work : option groups
        The rest.
    """

    inputs: tuple[SlideInput, ...]
    out: Path
    file_format: str
    level_or_mpp: int | float | None
    placing: PlacingOptions
    tissue: TissueOptions
    foreign: Foreign | None
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
    foreign = None if request.foreign is None else request.foreign.file_format
    check_libraries(request.file_format, foreign)
    request.out.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(inputs=request.inputs, skip_errors=request.work.skip_errors)
    if request.foreign is not None:
        read_placed(ledger, request.foreign)
    else:
        _place(ledger, request)
    save_all(ledger, request.out, file_format=request.file_format, json_output=json_output)
    return bool(ledger.failures)


def save_all(ledger: Ledger, folder: Path, *, file_format: str, json_output: bool) -> None:
    """Save where the patches of all slides are, and print it.

    Parameters
    ----------
    ledger : Ledger
        With patches; what fails is entered.
    folder : Path
        Where to; has to exist.
    file_format : str
        Kind of the files.
    json_output : bool
        Print JSON, not a table.
    """
    names = [each.wsi_file for each in ledger.inputs]
    files = files_named_after(names, folder, FORMATS[file_format].suffix)
    saved: dict[str, Path] = {}
    for slide, file in zip(names, files, strict=True):
        if slide not in ledger.patches:
            continue
        try:
            save_locations(
                patches=ledger.patches[slide], path=file, file_format=file_format
            )
            saved[slide] = file
        except DplabError as error:
            ledger.fail(slide, error)
    outcomes = [
        Outcome(
            wsi_file=slide,
            file=str(saved[slide]) if slide in saved else None,
            words=f"{ledger.patches[slide].patch_count:,} patches"
            if slide in saved
            else "",
            failures=tuple(ledger.of_slide(slide)),
        )
        for slide in names
    ]
    print_outcomes(outcomes, title="Locations", json_output=json_output)


def _place(ledger: Ledger, request: LocateRequest) -> None:
    """Find tissue, and place patches on it."""
    previews = request.out / "previews"
    if request.preview.preview:
        previews.mkdir(exist_ok=True)
    make_masks(
        ledger,
        request.out / "masks",
        tissue=request.tissue,
        workers=request.work.processes,
        keep=False,
    )
    placing = Placing(
        options=request.placing,
        level_or_mpp=0 if request.level_or_mpp is None else request.level_or_mpp,
        work=request.work,
        preview=request.preview.arguments(previews),
    )
    place(ledger, placing)
