"""What a run left behind in its folder: its record, manifests and masks."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dplabtools.errors import OutputError
from dplabtools.records.run_record import ErrorRecord, RunRecord, SlideRecord, SlideStatus

__all__ = ["Run", "SlideRun", "read_run"]

_INDENT: Final = " " * 24  # of the second column of a manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideRun:
    """What is known of a slide without opening it.

    Attributes
    ----------
    record : SlideRecord
        What became of it; made of the manifest, where the run itself does not tell.
    table : Path or None
        CSV manifest of its patches; None if nothing was written.
    mask : Path or None
        Its mask, if it is there.
    """

    record: SlideRecord
    table: Path | None = None
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
    """
    record = RunRecord.load(folder)
    manifests = _manifests(folder / "manifests")
    if record is None and not manifests:
        msg = (
            f"{folder} is not the folder of a run: it has neither manifests nor run.json; "
            f"name the folder that was given as output_dir, or to --out"
        )
        raise OutputError(msg)
    told = () if record is None else record.slides
    tables = {each.manifest_id: each.table for each in manifests}
    slides = [
        SlideRun(
            record=slide,
            table=tables.pop(slide.manifest_id or "", None),
            mask=_mask(slide, folder),
        )
        for slide in told
    ]
    slides += [
        SlideRun(record=each.record, table=each.table, mask=_mask(each.record, folder))
        for each in manifests
        if each.manifest_id in tables  # of an earlier run, or there is no record
    ]
    params = _shared(manifests) if record is None else record.parameters
    return Run(folder=folder, record=record, slides=tuple(slides), params=params)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manifest:
    """A manifest, but for its list of files."""

    manifest_id: str
    table: Path
    record: SlideRecord
    params: Mapping[str, str] = field(default_factory=dict)


def _manifests(folder: Path) -> list[_Manifest]:
    """Return the manifests, oldest first."""
    files = sorted(folder.glob("manifest__*.txt"), key=lambda each: each.stat().st_mtime)
    return [_read_manifest(file) for file in files]


def _read_manifest(file: Path) -> _Manifest:
    """Read the head of a manifest, and whether it ends as a complete one does."""
    text = file.read_text(encoding="utf-8", errors="replace")
    head, _, tail = text.partition("\nSaved patches:")
    lines = head.splitlines()
    params: dict[str, str] = {}
    for line in lines:
        if line.startswith(_INDENT):
            name, _, value = line.strip().partition(": ")
            params[name] = value
    stated = {
        line[: len(_INDENT)].strip(): line[len(_INDENT) :]
        for line in lines
        if not line.startswith(" ")
    }
    for name in ("Patch class", "Extractor class"):
        params[name] = stated.get(f"{name}:", "")
    _, manifest_id, stem = f"{file.stem}____".split("__", 2)
    count = stated.get("Patch count:", "")
    record = _record(
        params.get("wsi_file") or stem.removesuffix("____"),
        asked=int(count) if count.isdecimal() else 0,
        labels=_counts(stated.get("Patch labels:", "")),
        complete="\nDisk file count:" in tail,
        written=tail.count(f"\n{_INDENT}"),
    )
    return _Manifest(
        manifest_id=manifest_id,
        table=file.with_suffix(".csv"),
        record=record,
        params=params,
    )


def _record(
    wsi_file: str, *, asked: int, labels: Mapping[str, int], complete: bool, written: int
) -> SlideRecord:
    """Return what a manifest tells of a slide."""
    status: SlideStatus = "partial"
    errors: tuple[ErrorRecord, ...] = ()
    if complete:
        status = "complete" if written else "empty"
    else:
        status = "partial" if written else "failed"
        remedy = 'extract it again; with on_error="raise" the first error is shown'
        errors = (ErrorRecord(row=None, error="not all patches exist", remedy=remedy),)
    return SlideRecord(
        wsi_file=wsi_file,
        status=status,
        placed=asked,
        written=written,
        labels=labels,
        errors=errors,
    )


def _counts(text: str) -> dict[str, int]:
    """Return the number of patches of each label, as a manifest prints the dict."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {}
    return {str(label): int(value[label]) for label in value}


def _mask(slide: SlideRecord, folder: Path) -> Path | None:
    """Return the mask of a slide, also where the folder was moved."""
    usual = folder / "masks" / f"{Path(slide.wsi_file).stem}.png"
    named = slide.mask_file
    candidates: tuple[Path, ...] = (usual,)
    if named is not None:
        candidates = (folder / "masks" / Path(named).name, folder / named, Path(named))
    return next((file for file in candidates if file.is_file()), None)


def _shared(manifests: Sequence[_Manifest]) -> dict[str, str]:
    """Return the parameters that all manifests agree on, by name."""
    shared = set.intersection(*(set(each.params.items()) for each in manifests))
    return dict(sorted(shared))
