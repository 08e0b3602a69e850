"""``dplabtools report``: a page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dplabtools.cli.console import one_line_errors, step

__all__ = ["make_report", "report"]


def report(
    *,
    run_dir: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_DIR",
            help="Folder that a run wrote to.",
            show_default=False,
        ),
    ],
    seed: Annotated[
        int, typer.Option(min=0, help="Which patches are on the contact sheet.")
    ] = 0,
) -> None:
    """Write a page about a run: RUN_DIR/report.html.

    Shows the slides with masks and patches, a contact sheet, distributions, and what
    failed. It is one file that loads nothing: keep it, send it, print it.
    """
    with one_line_errors():
        typer.echo(make_report(run_dir, seed=seed))


def make_report(run_dir: Path, *, seed: int = 0) -> Path:
    """Write the page about a run, and tell how far it has come.

    Parameters
    ----------
    run_dir : Path
        Folder of the run.
    seed : int
        Which patches are on the contact sheet.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    OutputError
        If it is no folder of a run, or cannot be written to.
    ParameterError
        If its ``run.json`` is something else.
    """
    from dplabtools import config
    from dplabtools.report.write import write_report

    with step("report") as tell:
        return write_report(run_dir, settings=config.snapshot(), seed=seed, tell=tell)
