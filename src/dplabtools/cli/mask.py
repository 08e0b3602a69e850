"""``dplabtools mask``: where slides show tissue, or what lies inside polygons."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from dplabtools.cli.console import one_line_errors
from dplabtools.cli.grouping import grouped
from dplabtools.cli.options.drawing import OverlayOptions
from dplabtools.cli.options.locating import TissueOptions
from dplabtools.cli.options.reading import ReadingOptions
from dplabtools.cli.options.running import CommandOptions, WorkOptions
from dplabtools.cli.options.slides import AnnotationOptions, SlideOptions
from dplabtools.cli.options.writing import OutputOptions

__all__ = ["mask"]


@grouped()
def mask(  # noqa: PLR0913 - each is a group of options
    *,
    slides: SlideOptions,
    output: OutputOptions,
    tissue: TissueOptions,
    outlines: AnnotationOptions,
    overlay: OverlayOptions,
    reading: ReadingOptions,
    work: WorkOptions,
    command: CommandOptions,
    mask_format: Annotated[
        Literal["png", "npz", "geojson"],
        typer.Option(
            "--mask-format", metavar="NAME", help="png, npz or geojson: kind of the files."
        ),
    ] = "png",
) -> None:
    """Make masks of the tissue of slides, or of the polygons of annotations.

    Writes OUT/<slide>.png, in the shape of the slide, or OUT/<slide>.geojson with outlines
    for QuPath. `extract --masks OUT` takes either, after whatever was done to them.

    Exit code: 0, all were made; 1, some were not; 2, the command was not understood.
    """
    with one_line_errors():
        from dplabtools.cli.inputs import slide_inputs, with_files
        from dplabtools.cli.mask_run import MaskRequest, carry_out
        from dplabtools.pipeline.steps import apply_mpps

        reading.apply()
        inputs = with_files(
            slide_inputs(slides), masks=None, annotations=outlines.annotations, points=None
        )
        apply_mpps(inputs)
        failed = carry_out(
            MaskRequest(
                inputs=inputs,
                out=output.out,
                suffix=f".{mask_format}",
                tissue=tissue,
                overlay=overlay,
                work=work,
            ),
            json_output=command.json_output,
        )
    if failed:
        raise typer.Exit(1)
