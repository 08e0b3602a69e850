"""What a run left behind in its folder: its record, manifests and masks."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dplabtools.errors import OutputError
from dplabtools.output.run_folder.slide_record import SlideRecord as StoredRecord
from dplabtools.output.run_folder.slide_record import read_records
from dplabtools.output.run_folder.stored_manifests import Manifest, find_manifests
from dplabtools.records.run_record import ErrorRecord, RunRecord, SlideRecord

__all__ = ["Run", "SlideRun", "read_run"]

_INDENT: Final = " " * 24  # of the second column of a manifest
_LOST: Final = "not every patch was written; why is known to the run only"
_REMEDY: Final = 'extract the slide again; with on_error="raise" the first error is shown'


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideRun:
    """What is known of a slide without opening it.

    Attributes
    ----------
    record : SlideRecord
        What became of it; made of the manifest, where the run itself does not tell.
    file : Path
        Where it is, also if its path is relative and this is another working directory.
    manifest : Manifest or None
        Of its patches; None if nothing was written.
    mask : Path or None
        Its mask, if it is there.
    """

    record: SlideRecord
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
        What it says of itself; pools that are used from Python say nothing.
    slides : tuple of SlideRun
        As given; those that are known from manifests only, in the order of these.
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
        From ``run.json``, and from the manifests where that is missing.

    Raises
    ------
    OutputError
        If it is no folder of a run.
    ParameterError
        If ``run.json`` is something else.
    ResumeError, StoredPatchesError
        If the record of a slide cannot be read.
    """
    record = RunRecord.load(folder)
    begun = {each.manifest_id: each for each in read_records(folder / "manifests")}
    tables = {_manifest_id(each.table): each for each in find_manifests(folder)}
    if record is None and not begun and not tables:
        msg = (
            f"{folder} is not the folder of a run: it has neither manifests nor run.json; "
            f"name the folder that was given as output_dir, or to --out"
        )
        raise OutputError(msg)
    texts = {name: _read_text(each.table) for name, each in tables.items()}
    told = () if record is None else record.slides
    slides = [(slide, tables.get(slide.manifest_id or "")) for slide in told]
    known = {slide.manifest_id for slide in told}  # others are of earlier runs
    slides += [
        (_record(table, begun.get(name), texts[name]), table)
        for name, table in tables.items()
        if name not in known
    ]
    slides += [
        (_unfinished(each), None)
        for name, each in begun.items()
        if name not in known and name not in tables
    ]
    return Run(
        folder=folder,
        record=record,
        slides=tuple(
            SlideRun(
                record=slide,
                file=_found(Path(slide.wsi_file), folder),
                manifest=table,
                mask=_mask(slide, folder),
            )
            for slide, table in slides
        ),
        params=_shared(texts.values()) if record is None else record.parameters,
    )


def _manifest_id(file: Path) -> str:
    return f"{file.stem}__".split("__")[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    """The text of a manifest, but for its list of files."""

    stated: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    complete: bool = False


def _read_text(table: Path) -> _Text:
    """Read the head of a manifest, and whether it ends as a complete one does."""
    try:
        text = table.with_suffix(".txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return _Text()
    head, _, tail = text.partition("\nSaved patches:")
    params: dict[str, str] = {}
    stated: dict[str, str] = {}
    for line in head.splitlines():
        if line.startswith(_INDENT):
            name, _, value = line[len(_INDENT) :].partition(":")
            params[name] = value.removeprefix(" ")
        else:
            stated[line[: len(_INDENT)].strip()] = line[len(_INDENT) :]
    for name in ("Patch class", "Extractor class"):
        params[name] = stated.get(f"{name}:", "")
    return _Text(stated=stated, params=params, complete="\nDisk file count:" in tail)


def _record(table: Manifest, begun: StoredRecord | None, text: _Text) -> SlideRecord:
    """Return what the manifests of a slide tell of it."""
    count = text.stated.get("Patch count:", "")
    placed = int(count) if count.isdecimal() else 0
    errors: tuple[ErrorRecord, ...] = ()
    if begun is not None:
        placed = begun.fingerprint.patches["count"]
        errors = tuple(
            ErrorRecord(row=row, error=_LOST, remedy=_REMEDY) for row in begun.missing
        )
    elif not text.complete:
        errors = (ErrorRecord(row=None, error=_LOST, remedy=_REMEDY),)
    wsi_file = text.params.get("wsi_file") or table.wsi_file
    return SlideRecord(
        wsi_file=wsi_file if begun is None else begun.wsi_file,
        status="partial" if errors else "complete" if placed else "empty",
        placed=placed,
        labels=_counts(text.stated.get("Patch labels:", "")),
        errors=errors,
    )


def _unfinished(begun: StoredRecord) -> SlideRecord:
    """Return what is known of a slide that was begun."""
    error = "the run ended before the slide was finished"
    remedy = "run it again with resume=True, or --resume"
    return SlideRecord(
        wsi_file=begun.wsi_file,
        status="interrupted",
        placed=begun.fingerprint.patches["count"],
        errors=(ErrorRecord(row=None, error=error, remedy=remedy),),
    )


def _counts(text: str) -> dict[str, int]:
    """Return the number of patches of each label, as a manifest prints the dict."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {}
    return {str(label): int(value[label]) for label in value}


def _found(file: Path, folder: Path) -> Path:
    """Return where a slide is: paths may be relative to where the run was started."""
    around = (parent / file for parent in folder.resolve().parents)
    return next((each for each in (file, *around) if each.exists()), file)


def _mask(slide: SlideRecord, folder: Path) -> Path | None:
    """Return the mask of a slide, also where the folder was moved."""
    usual = folder / "masks" / f"{Path(slide.wsi_file).stem}.png"
    named = slide.mask_file
    candidates: tuple[Path, ...] = (usual,)
    if named is not None:
        candidates = (folder / "masks" / Path(named).name, folder / named, Path(named))
    return next((file for file in candidates if file.is_file()), None)


def _shared(texts: Iterable[_Text]) -> dict[str, str]:
    """Return the parameters that all manifests agree on, by name."""
    every = [set(text.params.items()) for text in texts]
    return dict(sorted(set.intersection(*every))) if every else {}
