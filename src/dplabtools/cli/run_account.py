"""The record of a run, made when it has ended; and what people are told of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from dplabtools import __version__
from dplabtools.cli.console import table_console
from dplabtools.cli.remedies import error_record, in_brief
from dplabtools.extraction.transform import Transform
from dplabtools.optional import installed_versions
from dplabtools.output.run_folder.history import read_history
from dplabtools.output.run_folder.output_folder import shown_path
from dplabtools.pipeline.states import SlideStates
from dplabtools.records.run_record import (
    ErrorRecord,
    RunRecord,
    SlideResult,
    slide_status,
)

if TYPE_CHECKING:
    from dplabtools.cli.request import Request
    from dplabtools.pipeline.steps import Written

__all__ = ["begun_record", "ended_record", "print_record"]

_HARDLY: Final = 0.0005  # less than 0.1 %, rounded


def begun_record(request: Request) -> RunRecord:
    """Return what is known of a run when it begins."""
    transform = request.files.transform
    return RunRecord(
        version=__version__,
        command=request.command,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=0.0,
        interrupted=True,
        parameters=request.parameters,
        versions=installed_versions(),
        slides=(),
        transform="" if transform is None else str(Transform.of(transform)),
    )


def ended_record(
    begun: RunRecord,
    states: SlideStates,
    *,
    out: Path,
    written: Written | None,
    seconds: float,
) -> RunRecord:
    """Return what became of a run.

    Parameters
    ----------
    begun : RunRecord
        What was known when it began.
    states : SlideStates
        What is known of its slides.
    out : Path
        Its folder.
    written : Written or None
        What the pool has written; None if it was interrupted before.
    seconds : float
        How long it took.
    """
    ids = _complete(out, states) if written is None else written.manifest_ids
    counts = {} if written is None else written.placed
    taken = {} if written is None else written.seconds
    return replace(
        begun,
        seconds=round(seconds, 3),
        interrupted=written is None,
        slides=tuple(
            _slide_record(
                each.wsi_file,
                states,
                chosen=_chosen_by(begun.parameters),
                manifest_id=ids.get(each.wsi_file),
                placed=counts.get(each.wsi_file),
                seconds=taken.get(each.wsi_file),
            )
            for each in states.inputs
        ),
        warnings=states.warnings_of_none(),
    )


def _complete(out: Path, states: SlideStates) -> dict[str, str]:
    """Return the manifests of slides that were complete before the run was ended."""
    ids = {
        Path(each.wsi_file).absolute(): each.manifest_id
        for each in read_history(out).checkpoints
        if each.complete
    }
    files = {Path(each.wsi_file).absolute(): each.wsi_file for each in states.inputs}
    return {files[file]: number for file, number in ids.items() if file in files}


def _slide_record(
    slide: str,
    states: SlideStates,
    *,
    chosen: str,
    manifest_id: str | None,
    placed: int | None,
    seconds: float | None,
) -> SlideResult:
    errors = tuple(map(error_record, states.of_slide(slide)))
    facts, mask = states.info.get(slide), states.masks.get(slide)
    labels = states.labels.get(slide, {})
    if placed is None:
        placed = sum(labels.values())
    status = slide_status(placed, errors)
    if manifest_id is None and status != "failed":
        status = "interrupted"
    lost = placed if status in ("failed", "interrupted") else len(errors)
    return SlideResult(
        wsi_file=slide,
        status=status,
        placed=placed,
        written=placed - lost,
        labels=labels,
        errors=errors,
        manifest_id=None if any(each.row is None for each in errors) else manifest_id,
        mask_file=None if mask is None else shown_path(mask),
        size=None if facts is None else facts.size,
        mpp=None if facts is None else facts.mpp,
        mpp_source="" if facts is None else facts.mpp_source,
        warnings=states.warnings_of(slide),
        reader="" if facts is None else facts.reader,
        seconds=None if seconds is None else round(seconds, 3),
        tissue=states.tissue.get(slide),
        reason=_empty_because(slide, states, chosen) if status == "empty" else "",
    )


def _chosen_by(parameters: Mapping[str, Any]) -> str:
    """Return why patches that were placed may be none of the run's."""
    if parameters.get("shard") is None:
        return "no patch has a label that is wanted → see --included-labels"
    return "its patches are in the shards of other jobs, or not wanted by --included-labels"


def _empty_because(slide: str, states: SlideStates, chosen: str) -> str:
    """Return why a slide has no patches though nothing failed, and what to do about it."""
    patches = states.patches.get(slide)
    share = states.tissue.get(slide)
    if patches is not None and len(patches.table):
        return chosen
    if share is None:
        return "no patch was placed on it"
    look = "look at its mask in OUT/masks; --masks takes mended ones"
    if share == 0:
        return f"{states.reasons.get(slide) or 'no tissue was found'} → {look}"
    found = f"{share:.1%} of it is tissue" if share >= _HARDLY else "hardly any tissue"
    remedy = "lower --foreground-ratio or --patch-size"
    return f"{found}, and no patch has enough → {remedy}; {look}"


def print_record(record: RunRecord, *, out: str) -> None:
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


def _words(slide: SlideResult) -> str:
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
