"""The command and its options."""

from __future__ import annotations

from typing import Annotated

import typer

from dplabtools import __version__
from dplabtools.cli.demo import demo
from dplabtools.cli.doctor import doctor
from dplabtools.cli.export import export
from dplabtools.cli.extract import extract
from dplabtools.cli.features import features
from dplabtools.cli.info import info
from dplabtools.cli.locate import locate
from dplabtools.cli.mask import mask
from dplabtools.cli.merge import merge
from dplabtools.cli.report import report

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for each in (info, mask, locate, extract, features, merge, export, report):
    app.command(no_args_is_help=True)(each)
app.command()(doctor)
app.command()(demo)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - called by typer
    if wanted:
        typer.echo(f"dplabtools {__version__}")
        raise typer.Exit


@app.callback()
def dplabtools(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and leave.",
        ),
    ] = False,
) -> None:
    """Patches out of whole-slide images."""
