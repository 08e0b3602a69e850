"""``dplabtools export``: where the patches of a run lie, for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dplabtools.cli.console import FAILED, one_line_errors
from dplabtools.cli.grouping import grouped
from dplabtools.cli.options.reading import ReadingOptions
from dplabtools.cli.options.running import CommandOptions
from dplabtools.cli.options.writing import ExchangeOptions, OutputOptions

__all__ = ["export"]


@grouped()
def export(
    *,
    run_dir: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_DIR",
            exists=True,
            file_okay=False,
            help="Folder that `extract` has written.",
            show_default=False,
        ),
    ],
    output: OutputOptions,
    exchange: ExchangeOptions,
    reading: ReadingOptions,
    command: CommandOptions,
    view: Annotated[
        str | None,
        typer.Option(
            "--level-or-mpp",
            metavar="LEVEL|MPP",
            help="Of sets at several resolutions, the one to export.",
            show_default="the first",
        ),
    ] = None,
) -> None:
    """Save where the patches of a run lie, in the files of another tool.

    Writes OUT/<slide>.csv, .geojson (QuPath), .parquet, .h5 (CLAM) or _patches.h5
    (TRIDENT), with level 0 coordinates. The slides have to be where they were.

    Exit code: 0, all were saved; 1, some slides failed; 2, the command was not understood.
    """
    with one_line_errors():
        from dplabtools.cli.export_run import carry_out
        from dplabtools.cli.resolution import parse_resolution

        reading.apply()
        failed = carry_out(
            run_dir,
            output.out,
            file_format=exchange.to,
            view=None if view is None else parse_resolution(view),
            json_output=command.json_output,
        )
    if failed:
        raise typer.Exit(FAILED)
