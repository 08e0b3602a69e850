"""``dplabtools demo``: four made slides, and everything that is done with slides."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dplabtools.cli.console import one_line_errors

__all__ = ["demo"]


def demo(
    folder: Annotated[
        Path, typer.Argument(help="Folder to fill; must be new or empty.")
    ] = Path("dplabtools-demo"),
) -> None:
    """Make four slides and take patches out of them in every way.

    Writes slides, masks, previews, patches and a contact sheet, and prints what was made
    and how fast.
    """
    with one_line_errors():
        from dplabtools.cli.demo_run import carry_out

        carry_out(folder)
