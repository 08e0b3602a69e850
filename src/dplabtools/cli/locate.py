"""``dplabtools locate``: where patches lie, without their pixels."""

from __future__ import annotations

import typer

from dplabtools.cli.console import FAILED, one_line_errors
from dplabtools.cli.grouping import grouped
from dplabtools.cli.options.drawing import PreviewOptions
from dplabtools.cli.options.placing import PlacingOptions, RunningOptions
from dplabtools.cli.options.running import CommandOptions
from dplabtools.cli.options.writing import ExchangeOptions, OutputOptions

__all__ = ["locate"]


@grouped()
def locate(  # noqa: PLR0913 - each is a group of options
    context: typer.Context,
    *,
    placing: PlacingOptions,
    output: OutputOptions,
    exchange: ExchangeOptions,
    preview: PreviewOptions,
    running: RunningOptions,
    command: CommandOptions,
) -> None:
    """Place patches on slides, and save where they lie.

    Writes OUT/<slide>.csv, or the file of another tool (--to), with level 0 coordinates.
    With --locations it translates the files of one tool to those of another.

    Exit code: 0, all were placed; 1, some slides failed; 2, the command was not understood.
    """
    with one_line_errors():
        from dplabtools.cli.locate_run import LocateRequest, carry_out
        from dplabtools.cli.placing import parse_placing

        asked = parse_placing(context, placing, running, out=output.out)
        failed = carry_out(
            LocateRequest(
                placing=asked.divided(running.sharing.job),
                file_format=exchange.to,
                preview=preview,
            ),
            json_output=command.json_output,
        )
    if failed:
        raise typer.Exit(FAILED)
