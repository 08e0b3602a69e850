"""``dplabtools info``: what slides are, and who reads them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dplabtools.cli.console import FAILED, one_line_errors, print_json, table_console
from dplabtools.cli.grouping import grouped
from dplabtools.cli.options.reading import ReadingOptions
from dplabtools.cli.options.running import CommandOptions
from dplabtools.cli.options.slides import SlideOptions

if TYPE_CHECKING:
    from rich.table import Table

    from dplabtools.errors import DplabError
    from dplabtools.readers.info import SlideInfo

__all__ = ["info"]


@grouped()
def info(*, slides: SlideOptions, reading: ReadingOptions, command: CommandOptions) -> None:
    """Say what slides are.

    Levels, tiles, compression, microns per pixel and where they were found, objective
    power, which library reads the slide, and why those before it do not.

    Exit code: 0, all could be opened; 1, some could not; 2, the command was not understood.
    """
    with one_line_errors():
        from dplabtools import config
        from dplabtools.cli.inputs import slide_inputs
        from dplabtools.errors import DplabError
        from dplabtools.readers.info import slide_info

        reading.apply()
        found: list[tuple[str, SlideInfo | DplabError]] = []
        for each in slide_inputs(slides):
            try:
                described = slide_info(each.wsi_file, settings=config.snapshot())
                found.append((each.wsi_file, described))
            except DplabError as error:
                found.append((each.wsi_file, error))
        if command.json_output:
            print_json({"slides": [_document(*each) for each in found]})
        else:
            for slide, facts in found:
                _print(slide, facts)
    if any(isinstance(facts, DplabError) for _, facts in found):
        raise typer.Exit(FAILED)


def _document(slide: str, facts: SlideInfo | DplabError) -> dict[str, Any]:
    """Return what JSON has of a slide."""
    from dplabtools.cli.remedies import remedy_of
    from dplabtools.readers.info import SlideInfo

    if isinstance(facts, SlideInfo):
        return asdict(facts)
    return {"wsi_file": slide, "error": str(facts), "remedy": remedy_of(facts)}


def _print(slide: str, facts: SlideInfo | DplabError) -> None:
    """Print what there is to say of a slide."""
    from rich.text import Text

    from dplabtools.cli.console import with_remedy
    from dplabtools.readers.info import SlideInfo

    console = table_console()
    if not isinstance(facts, SlideInfo):
        typer.echo(f"dplabtools: {with_remedy(facts)}", err=True)
        return
    power = "unknown power" if facts.power is None else f"{facts.power:g} x"
    lines = [
        f"{Path(slide).name}",
        f"  read by {facts.reader}" + (f", of {facts.vendor}" if facts.vendor else ""),
        *(f"  not by {each.library}: {each.reason}" for each in facts.refusals),
        f"  {_mpp(facts)}, {power}",
    ]
    for line in lines:
        console.print(Text(line), soft_wrap=True)
    console.print(_levels(facts))


def _mpp(facts: SlideInfo) -> str:
    but = f"; has a {facts.ignored_mpp}, which cannot be" if facts.ignored_mpp else ""
    if facts.unequal_mpps is not None:
        x, y = facts.unequal_mpps
        where = f"(from {facts.mpp_source}; --override-mpp gives one)"
        return f"{x:g} x {y:g} um/px, too far apart for one value {where}"
    if facts.mpp is None:
        return f"states no microns per pixel (--slide-mpp supplies them){but}"
    return f"{facts.mpp:g} um/px (from {facts.mpp_source}){but}"


def _levels(facts: SlideInfo) -> Table:
    from rich.table import Table

    table = Table()
    for name in ("level", "size", "downsample", "um/px", "tiles"):
        table.add_column(name, justify="right")
    table.add_column("compression")
    for number, level in enumerate(facts.levels):
        mpp = "" if facts.mpp is None else f"{facts.mpp * level.downsample:.4g}"
        tiles = "" if level.tile is None else f"{level.tile[0]} x {level.tile[1]}"
        table.add_row(
            f"{number}",
            f"{level.size[0]:,} x {level.size[1]:,}",
            f"{level.downsample:g}",
            mpp,
            tiles,
            level.compression,
        )
    return table
