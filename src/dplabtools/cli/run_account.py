"""The record of a run, made when it has ended; and what people are told of it."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from dplabtools import __version__
from dplabtools.cli.console import table_console
from dplabtools.cli.emptiness import empty_because
from dplabtools.cli.remedies import error_record, in_brief
from dplabtools.output.run_folder.slide_record import read_records
from dplabtools.pipeline.states import SlideStates
from dplabtools.records.run_record import (
    ErrorRecord,
    RunRecord,
    SlideRecord,
    SlideStatus,
)

if TYPE_CHECKING:
    from dplabtools.pipeline.steps import Written

__all__ = ["Beginning", "library_versions", "print_record", "run_record"]

_LIBRARIES: Final = (
    *("numpy", "pillow", "shapely", "openslide-python", "openslide-bin", "tifffile"),
    *("imagecodecs", "simplejpeg", "llvmlite", "opencv-python-headless", "tiffslide"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What is known of a run when it begins.

    Attributes
    ----------
    started : str
        When, in ISO 8601.
    clock : float
        The same, by `time.perf_counter`.
    command : tuple of str
        The command line.
    parameters : mapping of str to object
        All options in effect.
    transform : str
        What patches go through, and hash of its source; empty for nothing.
    """

    started: str
    clock: float
    command: tuple[str, ...]
    parameters: Mapping[str, Any]
    transform: str = ""


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that are installed."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def run_record(
    beginning: Beginning,
    ledger: SlideStates,
    *,
    out: Path,
    written: Written | None,
    interrupted: bool,
) -> RunRecord:
    """Return what became of a run.

    Parameters
    ----------
    beginning : Beginning
        When it began.
    ledger : SlideStates
        What is known of its slides.
    out : Path
        Its folder.
    written : Written or None
        What the pool has written; None if it did not come to its end.
    interrupted : bool
        Whether it was ended before it was done.
    """
    ids = _complete(out, ledger) if written is None else written.manifest_ids
    seconds = {} if written is None else written.seconds
    return RunRecord(
        version=__version__,
        command=beginning.command,
        started=beginning.started,
        seconds=round(time.perf_counter() - beginning.clock, 3),
        interrupted=interrupted,
        parameters=beginning.parameters,
        versions=library_versions(),
        transform=beginning.transform,
        slides=tuple(
            _slide_record(
                each.wsi_file,
                ledger,
                manifest_id=ids.get(each.wsi_file),
                seconds=seconds.get(each.wsi_file),
            )
            for each in ledger.inputs
        ),
        warnings=ledger.warnings_of_none(),
    )


def _complete(out: Path, ledger: SlideStates) -> dict[str, str]:
    """Return the manifests of slides that were complete before the run was ended."""
    ids = {
        Path(each.wsi_file).absolute(): each.manifest_id
        for each in read_records(out / "manifests")
        if each.complete
    }
    files = {Path(each.wsi_file).absolute(): each.wsi_file for each in ledger.inputs}
    return {files[file]: number for file, number in ids.items() if file in files}


def _slide_record(
    slide: str, ledger: SlideStates, *, manifest_id: str | None, seconds: float | None
) -> SlideRecord:
    errors = tuple(map(error_record, ledger.of_slide(slide)))
    facts = ledger.info.get(slide)
    labels = ledger.labels.get(slide, {})
    placed = sum(labels.values())
    status = _status(placed, errors, finished=manifest_id is not None)
    lost = placed if status in ("failed", "interrupted") else len(errors)
    return SlideRecord(
        wsi_file=slide,
        status=status,
        placed=placed,
        written=placed - lost,
        labels=labels,
        errors=errors,
        manifest_id=None if status == "failed" else manifest_id,
        mask_file=ledger.masks.get(slide),
        size=None if facts is None else facts.size,
        mpp=None if facts is None else facts.mpp,
        mpp_source="" if facts is None else facts.mpp_source,
        warnings=ledger.warnings_of(slide),
        reader="" if facts is None else facts.reader,
        seconds=None if seconds is None else round(seconds, 3),
        tissue=ledger.tissue.get(slide),
        reason=empty_because(slide, ledger) if status == "empty" else "",
    )


def _status(placed: int, errors: Sequence[ErrorRecord], *, finished: bool) -> SlideStatus:
    if any(each.row is None for each in errors):
        return "failed"
    if not finished:
        return "interrupted"
    if errors:
        return "failed" if len(errors) == placed else "partial"
    return "complete" if placed else "empty"


def print_record(record: RunRecord, *, out: Path) -> None:
    """Print a table of the slides on standard output."""
    table = Table(title="Patches", title_justify="left", caption_justify="left")
    table.add_column("slide", overflow="fold")
    table.add_column("patches", justify="right")
    table.add_column("status", overflow="fold")
    for each in record.slides:
        table.add_row(*map(Text, (each.name, f"{each.written:,}", _words(each))))
    total = sum(each.written for each in record.slides)
    rate = total / record.seconds if record.seconds else 0.0
    table.caption = Text(
        f"{total:,} patches in {record.seconds:,.1f} s ({rate:,.0f}/s), in {out}"
    )
    table_console().print(table)


def _words(slide: SlideRecord) -> str:
    """Return what became of a slide, and what to do about it."""
    match slide.status:
        case "complete" | "interrupted":
            return slide.status
        case "empty":
            return f"no patch: {slide.reason}" if slide.reason else "no patch"
        case "failed":
            return f"failed: {_listed(slide.errors)}"
        case "partial":
            return f"{len(slide.errors):,} patches failed: {_listed(slide.errors)}"


def _listed(errors: Sequence[ErrorRecord]) -> str:
    """Return what went wrong, each reason once, with what to do about it."""
    reasons = Counter(map(in_brief, errors))
    return "; ".join(
        reason if times == 1 else f"{reason} ({times} times)"
        for reason, times in reasons.items()
    )
