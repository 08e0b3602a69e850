"""``dplabtools doctor``: what this machine has, what it lacks, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dplabtools.cli.console import FAILED, one_line_errors, print_json
from dplabtools.cli.grouping import grouped
from dplabtools.cli.options.reading import ReadingOptions
from dplabtools.cli.options.running import CommandOptions

if TYPE_CHECKING:
    from dplabtools.cli.findings import Finding

__all__ = ["doctor"]


@grouped()
def doctor(
    *,
    slides: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="SLIDE",
            help="Slides to look at, too: each is opened, and read in several places.",
            show_default=False,
        ),
    ] = None,
    reading: ReadingOptions,
    command: CommandOptions,
) -> None:
    """Look for what is wrong.

    Looks at readers, codecs, shared memory, cores, memory, folders for temporary files,
    extras and slides; compiles machine code and extracts patches of a made slide; and says
    what to do about what is wrong.

    Exit code: 0, all that is needed is there; 1, it is not; 2, the command was not
    understood.
    """
    with one_line_errors():
        from dplabtools.cli.doctor_compiled import look_at_compiled
        from dplabtools.cli.doctor_libraries import look_at_libraries
        from dplabtools.cli.doctor_machine import look_at_machine
        from dplabtools.cli.doctor_slides import look_at_slides

        reading.apply()
        findings = [
            *look_at_libraries(),
            *look_at_compiled(),
            *look_at_machine(),
            *look_at_slides(slides or []),
        ]
        if command.json_output:
            _print_json(findings)
        else:
            _print(findings)
    if any(each.state == "wrong" for each in findings):
        raise typer.Exit(FAILED)


def _print_json(findings: list[Finding]) -> None:
    from dataclasses import asdict

    good = not any(each.state == "wrong" for each in findings)
    print_json({"ok": good, "findings": [asdict(each) for each in findings]})


def _print(findings: list[Finding]) -> None:
    from rich.text import Text

    from dplabtools.cli.console import table_console

    console = table_console()
    signs = {"good": ("ok", "green"), "note": ("note", "yellow"), "wrong": ("WRONG", "red")}
    topic = ""
    for each in findings:
        if each.topic != topic:
            topic = each.topic
            console.print(Text(topic, style="bold"))
        sign, colour = signs[each.state]
        line = Text("  ").append(f"{sign:<6}", style=colour)
        console.print(line.append(f"{each.name}: {each.found}"), soft_wrap=True)
        if each.remedy:
            console.print(Text(f"         → {each.remedy}"), soft_wrap=True)
    wrong = sum(each.state == "wrong" for each in findings)
    console.print(Text(f"{wrong} wrong" if wrong else "All that is needed is there."))
