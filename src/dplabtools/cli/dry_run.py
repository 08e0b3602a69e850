"""What a run would write, and how long it would take: some patches, measured."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from dplabtools.cli.console import steps, table_console
from dplabtools.cli.preflight import look_ahead
from dplabtools.cli.remedies import error_record, in_brief
from dplabtools.cli.request import Request
from dplabtools.cli.sampling import measure, size_in_words
from dplabtools.engine.limits import usable_cores
from dplabtools.records.failure import Failure

__all__ = ["Estimate", "estimate", "print_estimate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run would write.

    Attributes
    ----------
    patches : dict of str to int
        Patches (or sets of them) of each slide, by path.
    sampled : int
        Patches that were measured.
    nbytes : int
        Bytes of all files.
    seconds : float
        Time to write them, with the workers asked for.
    locating_seconds : float
        Time that masks and locations took.
    failures : tuple of Failure
        What cannot be done.
    """

    patches: dict[str, int]
    sampled: int
    nbytes: int
    seconds: float
    locating_seconds: float
    failures: tuple[Failure, ...]

    def as_document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        errors = [(each.wsi_file, error_record(each)) for each in self.failures]
        return {
            "slides": [
                {"wsi_file": slide, "patches": count}
                for slide, count in self.patches.items()
            ],
            "patches": sum(self.patches.values()),
            "sampled": self.sampled,
            "bytes": self.nbytes,
            "seconds": round(self.seconds + self.locating_seconds, 2),
            "errors": [
                {"wsi_file": slide, "error": each.error, "remedy": each.remedy}
                for slide, each in errors
            ],
        }


def estimate(request: Request) -> Estimate:
    """Place all patches, write some of them to a temporary folder, and measure.

    Parameters
    ----------
    request : Request
        What would be extracted; its folder is neither made nor touched.

    Returns
    -------
    Estimate
        Of the whole run.

    Raises
    ------
    DplabError
        As the run would raise.
    """
    states = request.placing.states()
    look_ahead(request, states, writes=False)
    with tempfile.TemporaryDirectory(prefix="dplabtools-") as folder:
        begun = time.perf_counter()
        with steps() as on_progress:
            pipeline = request.pipeline(on_progress)
            pipeline.locate(states, masks=Path(folder, "masks"))
            locating_seconds = time.perf_counter() - begun
            sample = measure(pipeline, states)
    counts = {slide: sum(labels.values()) for slide, labels in states.labels.items()}
    share = sum(counts.values()) / sample.patches if sample.patches else 0.0
    return Estimate(
        patches={
            each.wsi_file: counts.get(each.wsi_file, 0) for each in request.placing.inputs
        },
        sampled=sample.patches,
        nbytes=round(sample.nbytes * share),
        seconds=sample.seconds
        * share
        / min(request.placing.work.processes, usable_cores()),
        locating_seconds=locating_seconds,
        failures=tuple(states.failures),
    )


def print_estimate(result: Estimate) -> None:
    """Print it on standard output."""
    failed = {
        each.wsi_file: error_record(each) for each in result.failures if each.row is None
    }
    table = Table(title="Would be written", title_justify="left", caption_justify="left")
    table.add_column("slide", overflow="fold")
    table.add_column("patches", justify="right")
    table.add_column("status", overflow="fold")
    for slide, count in result.patches.items():
        wrong = failed.get(slide)
        status = "ready" if wrong is None else f"fails: {in_brief(wrong)}"
        table.add_row(*map(Text, (Path(slide).name, f"{count:,}", status)))
    total = sum(result.patches.values())
    seconds = result.seconds + result.locating_seconds
    table.caption = Text(
        f"{total:,} patches, about {size_in_words(result.nbytes)} and {_duration(seconds)} "
        f"(from {result.sampled:,} patches measured); nothing was written"
    )
    table_console().print(table)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:,.1f} s"
    minutes = seconds / 60
    return f"{minutes:,.0f} min" if minutes < 120 else f"{minutes / 60:,.1f} h"
