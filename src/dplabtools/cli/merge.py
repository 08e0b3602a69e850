"""``dplabtools merge``: what jobs that shared a run have written, joined."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dplabtools.cli.console import FAILED, one_line_errors, print_json
from dplabtools.cli.report import make_report

__all__ = ["merge"]


def merge(
    *,
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER",
            exists=True,
            file_okay=False,
            help="Folders shard-I-of-N, or the folder that they are in.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            file_okay=False,
            help="Folder to write to; made if missing.",
            show_default="FOLDER, if it is one",
        ),
    ] = None,
    report: Annotated[
        bool,
        typer.Option("--report", help="Write OUT/report.html, too: a page about patches."),
    ] = False,
    json_output: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON document instead of a line."),
    ] = False,
) -> None:
    """Join what the jobs of `--shard` have written, as if one job had done it all.

    First it is made sure that nothing is missing or there twice. Files are linked to OUT
    (copied, where the file system knows no links), and the folders of the jobs are left
    alone; they may be removed then.

    Exit code: 0, all is there; 1, something is missing, and what, or a slide had failed;
    2, the command was not understood.
    """
    with one_line_errors():
        from dplabtools.pipeline import merge_shards

        if out is None and len(folders) > 1:
            msg = "several folders need --out"
            raise typer.BadParameter(msg)
        target = folders[0] if out is None else out
        merged = merge_shards(folders, target)
        if json_output:
            print_json(
                {
                    "kind": merged.kind,
                    "shards": merged.shards,
                    "slides": list(merged.slides),
                    "failed": merged.failed,
                }
            )
        else:
            typer.echo(
                f"{merged.kind} of {len(merged.slides):,} slides, from {merged.shards:,} "
                f"shards, in {target}"
            )
        for slide, why in merged.failed.items():
            typer.echo(f"dplabtools: {Path(slide).name}: {why}", err=True)
        if report:
            typer.echo(f"The report is {make_report(target)}", err=json_output)
    if merged.failed:
        raise typer.Exit(FAILED)
