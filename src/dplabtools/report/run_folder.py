"""What a run left behind in its folder: its record, manifests and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dplabtools.errors import OutputError
from dplabtools.output.run_folder.history import Checkpoint, read_history
from dplabtools.output.stored_manifests import Manifest, find_manifests
from dplabtools.records.run_record import (
    ErrorRecord,
    RunRecord,
    SlideResult,
    slide_status,
)

__all__ = ["Run", "SlideRun", "read_run"]

_LOST: Final = "not every patch was written; why is known to the run only"
_REMEDY: Final = 'extract the slide again; with on_error="raise" the first error is shown'


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideRun:
    """What is known of a slide without opening it.

    Attributes
    ----------
    record : SlideResult
        What became of it; made of the manifest, where no run tells.
    file : Path
        Where it is, also if its path is relative and this is another working directory.
    manifest : Manifest or None
        Of its patches; None if nothing was written.
    mask : Path or None
        Its mask, if it is there.
    """

    record: SlideResult
    file: Path
    manifest: Manifest | None = None
    mask: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run, as its folder tells of it.

    Attributes
    ----------
    folder : Path
        Where it wrote to.
    record : RunRecord or None
        What the last run says of itself; None if there are manifests only.
    slides : tuple of SlideRun
        Those of the last run as given, then others.
    params : mapping of str to object
        Parameters that hold for all slides.
    """

    folder: Path
    record: RunRecord | None
    slides: tuple[SlideRun, ...]
    params: Mapping[str, object]

    def labels(self) -> list[str]:
        """Return the labels that there were patches for, sorted."""
        return sorted({label for slide in self.slides for label in slide.record.labels})


def read_run(folder: Path) -> Run:
    """Read what a run left in a folder.

    Parameters
    ----------
    folder : Path
        The folder of the run.

    Returns
    -------
    Run
        From its journals; where there are none, from ``run.json`` and the manifests.

    Raises
    ------
    OutputError
        If it is no folder of a run.
    ParameterError
        If ``run.json`` is something else.
    StoredPatchesError
        If its record is damaged.
    """
    history = read_history(folder)
    runs = history.runs
    if not runs and (earlier := RunRecord.load(folder)) is not None:
        runs = (earlier,)
    tables = {_manifest_id(each.table): each for each in find_manifests(folder, history)}
    if not runs and not history.checkpoints and not tables:
        msg = f"{folder} is not the folder of a run: it has no manifests"
        raise OutputError(
            msg, remedy="name the folder that was given as output_dir, or to --out"
        )
    return Run(
        folder=folder,
        record=runs[-1] if runs else None,
        slides=tuple(
            SlideRun(
                record=result,
                file=_found(Path(result.wsi_file), folder),
                manifest=tables.get(result.manifest_id or ""),
                mask=_mask(result, folder),
            )
            for result in _results(runs, history.checkpoints, tables)
        ),
        params=_params(runs, history.checkpoints),
    )


def _results(
    runs: Sequence[RunRecord],
    checkpoints: Sequence[Checkpoint],
    tables: Mapping[str, Manifest],
) -> list[SlideResult]:
    """Return what became of every slide: what the last run tells, then what others left."""
    results = list(runs[-1].slides) if runs else []
    told = {each.manifest_id for each in results}
    slides = {each.wsi_file for each in results}
    earlier = [each for run in runs[:-1] for each in run.slides]
    of_manifest = {each.manifest_id: each for each in earlier}
    begun = {each.manifest_id: each for each in checkpoints}
    for number in dict.fromkeys((*begun, *tables)):
        if number in told:
            continue
        if number not in tables:
            results.append(_unfinished(begun[number]))
        else:
            believed = _believed(tables[number], begun.get(number))
            results.append(of_manifest.get(number, believed))
    slides |= {each.wsi_file for each in results}
    failed = {each.wsi_file: each for each in earlier if each.manifest_id is None}
    return [*results, *(failed[name] for name in failed if name not in slides)]


def _manifest_id(file: Path) -> str:
    return f"{file.stem}__".split("__")[1]


def _believed(table: Manifest, begun: Checkpoint | None) -> SlideResult:
    """Return what is known of a slide that has a table, and no run tells of."""
    number = _manifest_id(table.table)
    if begun is None:
        return SlideResult(wsi_file=table.wsi_file, status="complete", manifest_id=number)
    errors = tuple(
        ErrorRecord(row=row, error=_LOST, remedy=_REMEDY) for row in begun.missing
    )
    return SlideResult(
        wsi_file=begun.wsi_file,
        status=slide_status(begun.count, errors),
        placed=begun.count,
        labels=begun.labels,
        errors=errors,
        manifest_id=number,
    )


def _unfinished(begun: Checkpoint) -> SlideResult:
    """Return what is known of a slide that was begun."""
    error = "the run ended before the slide was finished"
    remedy = "run it again with resume=True, or --resume"
    return SlideResult(
        wsi_file=begun.wsi_file,
        status="interrupted",
        placed=begun.count,
        labels=begun.labels,
        errors=(ErrorRecord(row=None, error=error, remedy=remedy),),
    )


def _params(
    runs: Sequence[RunRecord], checkpoints: Sequence[Checkpoint]
) -> Mapping[str, object]:
    """Return the parameters of the last run, and those that all locations have."""
    parameters = runs[-1].parameters if runs else {}
    if runs and runs[-1].command:
        return parameters
    every = [
        {("patch_class", each.patch_class), *each.patch_params.items()}
        for each in checkpoints
    ]
    shared = dict(set.intersection(*every)) if every else {}
    return dict(sorted({**shared, **parameters}.items()))


def _found(file: Path, folder: Path) -> Path:
    """Return where a slide is: paths may be relative to where the run was started."""
    around = (parent / file for parent in folder.resolve().parents)
    return next((each for each in (file, *around) if each.exists()), file)


def _mask(slide: SlideResult, folder: Path) -> Path | None:
    """Return the mask of a slide, also where the folder was moved."""
    usual = folder / "masks" / f"{Path(slide.wsi_file).stem}.png"
    named = slide.mask_file
    candidates: tuple[Path, ...] = (usual,)
    if named is not None:
        candidates = (folder / "masks" / Path(named).name, folder / named, Path(named))
    return next((file for file in candidates if file.is_file()), None)
