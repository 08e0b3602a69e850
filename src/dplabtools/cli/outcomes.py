"""What became of each slide, where each has one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from dplabtools.cli.console import print_json, table_console
from dplabtools.cli.remedies import error_record, in_brief
from dplabtools.pipeline.states import SlideStates
from dplabtools.records.failure import Failure

__all__ = ["Outcome", "outcomes_of", "print_outcomes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A slide, and the file that was made of it.

    Attributes
    ----------
    wsi_file : str
        Path of the slide.
    file : str or None
        What was made; None if nothing was.
    words : str
        What there is to say of it.
    failures : tuple of Failure
        What went wrong.
    """

    wsi_file: str
    file: str | None
    words: str
    failures: tuple[Failure, ...]


def outcomes_of(states: SlideStates, made: Mapping[str, tuple[Path, str]]) -> list[Outcome]:
    """Return what became of each slide.

    Parameters
    ----------
    states : SlideStates
        The slides, and what failed.
    made : mapping of str to (Path, str)
        The file that was made of a slide, and what there is to say of it, by path.
    """
    found: list[Outcome] = []
    for slide in (each.wsi_file for each in states.inputs):
        file, words = made.get(slide, (None, ""))
        found.append(
            Outcome(
                wsi_file=slide,
                file=None if file is None else str(file),
                words=words,
                failures=tuple(states.of_slide(slide)),
            )
        )
    return found


def print_outcomes(outcomes: Sequence[Outcome], *, title: str, json_output: bool) -> None:
    """Print them as a table, or as JSON."""
    records = [tuple(map(error_record, each.failures)) for each in outcomes]
    if json_output:
        slides = [
            {
                "wsi_file": each.wsi_file,
                "file": each.file,
                "note": each.words,
                "errors": [asdict(error) for error in errors],
            }
            for each, errors in zip(outcomes, records, strict=True)
        ]
        print_json({"slides": slides})
        return
    table = Table(title=title, title_justify="left")
    for name in ("slide", "file", "status"):
        table.add_column(name, overflow="fold")
    for each, errors in zip(outcomes, records, strict=True):
        failed = "; ".join(f"failed: {in_brief(error)}" for error in errors)
        table.add_row(
            *map(Text, (Path(each.wsi_file).name, each.file or "", failed or each.words))
        )
    table_console().print(table)
