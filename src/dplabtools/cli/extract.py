"""``dplabtools extract``: image files of the tissue of slides."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dplabtools.cli.console import INTERRUPTED, one_line_errors

if TYPE_CHECKING:
    from dplabtools.cli.extraction_run import Request

__all__ = ["extract"]


class _ImageType(StrEnum):
    PNG = "png"
    JPG = "jpg"


class _OnError(StrEnum):
    RAISE = "raise"
    SKIP = "skip"


def extract(  # noqa: PLR0913 - each is an option of the command
    *,
    slides: Annotated[
        list[Path],
        typer.Argument(metavar="SLIDE", help="Slide files.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option(
            file_okay=False, help="Folder to write to; made if missing.", show_default=False
        ),
    ],
    patch_size: Annotated[
        int, typer.Option(min=1, help="Edge of a patch, in pixels.")
    ] = 256,
    mpp: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="Microns per pixel of the patches; resampled where need be."
        ),
    ] = None,
    level: Annotated[
        int | None,
        typer.Option(min=0, help="Or: pyramid level of the patches.", show_default="0"),
    ] = None,
    stride: Annotated[
        float,
        typer.Option(
            max=5, help="Distance of neighbours, in patch sizes: 0.5 overlaps by half."
        ),
    ] = 1.0,
    foreground_ratio: Annotated[
        float,
        typer.Option(min=0, max=1, help="Least share of a patch that is tissue."),
    ] = 0.95,
    image_type: Annotated[
        _ImageType, typer.Option(help="Kind of the files.")
    ] = _ImageType.PNG,
    quality: Annotated[
        int, typer.Option(min=1, max=100, help="Quality of jpg files.")
    ] = 90,
    slide_mpp: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="Microns per pixel of level 0, for slides that state none."
        ),
    ] = None,
    mpp_decimals: Annotated[
        int,
        typer.Option(
            min=0, help="Decimals to which horizontal and vertical mpp have to agree."
        ),
    ] = 5,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Worker processes.", show_default="one for each core"),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads in each of them.")] = 1,
    on_error: Annotated[
        _OnError,
        typer.Option(
            help="skip: leave out what fails, list it at the end and exit with 1; "
            "raise: stop at the first error."
        ),
    ] = _OnError.SKIP,
) -> None:
    """Cut the tissue of slides into image files.

    Finds the tissue of each slide (masks are kept in OUT/masks), lays a grid of patches
    over it, and writes files such as OUT/slide_k3j9x0ab_x1024_y2048.png, named after the
    slide, its manifest (in OUT/manifests) and the location in level 0 pixels.

    Exit code: 0, everything was written; 1, something failed; 2, the command was not
    understood; 130, interrupted.
    """
    if mpp is not None and level is not None:
        msg = "give --mpp or --level, not both"
        raise typer.BadParameter(msg)
    if stride <= 0:
        msg = f"--stride must be above 0, not {stride:g}"
        raise typer.BadParameter(msg)
    with one_line_errors():
        from dplabtools.cli.extraction_run import Request

        request = Request(
            slides=tuple(dict.fromkeys(map(str, slides))),
            out=out,
            patch_size=patch_size,
            level_or_mpp=mpp if mpp is not None else level or 0,
            stride=stride,
            foreground_ratio=foreground_ratio,
            image_type=image_type.value,
            quality=quality if image_type is _ImageType.JPG else None,
            slide_mpp=slide_mpp,
            mpp_decimals=mpp_decimals,
            workers=workers,
            threads=threads,
            skip_errors=on_error is _OnError.SKIP,
        )
        _carry_out(request)


def _carry_out(request: Request) -> None:
    """Extract, print the summary, and leave with 1 or 130 if not all went well."""
    from dplabtools.cli.extraction_run import carry_out, complete_slides

    before = complete_slides(request.out)
    try:
        report = carry_out(request)
    except KeyboardInterrupt:
        count = len(complete_slides(request.out) - before)
        typer.echo(
            f"dplabtools: interrupted; {count} of {len(request.slides)} slides are "
            f"complete, with a manifest in {request.out}; nothing is kept of the others",
            err=True,
        )
        raise typer.Exit(INTERRUPTED) from None
    report.print()
    if report.failed:
        raise typer.Exit(1)
