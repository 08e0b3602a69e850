"""``dplabtools locate``: where patches lie, without their pixels."""

from __future__ import annotations

import typer

from dplabtools.cli.console import FAILED, one_line_errors
from dplabtools.cli.grouping import grouped
from dplabtools.cli.options.drawing import PreviewOptions
from dplabtools.cli.options.locating import LocatingOptions, TissueOptions
from dplabtools.cli.options.reading import ReadingOptions
from dplabtools.cli.options.running import CommandOptions, EngineOptions, WorkOptions
from dplabtools.cli.options.sharing import ShardOptions
from dplabtools.cli.options.slides import (
    AnnotationOptions,
    ForeignOptions,
    SlideOptions,
    SourceOptions,
)
from dplabtools.cli.options.writing import ExchangeOptions, OutputOptions

__all__ = ["locate"]


@grouped()
def locate(  # noqa: PLR0913 - each is a group of options
    context: typer.Context,
    *,
    slides: SlideOptions,
    output: OutputOptions,
    exchange: ExchangeOptions,
    locating: LocatingOptions,
    outlines: AnnotationOptions,
    sources: SourceOptions,
    tissue: TissueOptions,
    foreign: ForeignOptions,
    preview: PreviewOptions,
    reading: ReadingOptions,
    work: WorkOptions,
    engine: EngineOptions,
    sharing: ShardOptions,
    command: CommandOptions,
) -> None:
    """Place patches on slides, and save where they lie.

    Writes OUT/<slide>.csv, or the file of another tool (--to), with level 0 coordinates.
    With --locations it translates the files of one tool to those of another.

    Exit code: 0, all were placed; 1, some slides failed; 2, the command was not understood.
    """
    with one_line_errors():
        from dplabtools.cli.inputs import slide_inputs, with_files
        from dplabtools.cli.locate_run import LocateRequest, carry_out
        from dplabtools.cli.locating import check_locating, locations_args
        from dplabtools.cli.resolution import chosen_resolution
        from dplabtools.cli.sharing import job_of
        from dplabtools.pipeline.steps import apply_mpps

        level_or_mpp = chosen_resolution(context, locating)
        inputs = with_files(
            slide_inputs(slides),
            masks=sources.masks,
            annotations=outlines.annotations,
            points=sources.points,
            foreign=foreign,
        )
        check_locating(locating, inputs, foreign=foreign.locations is not None)
        reading.apply()
        engine.apply()
        apply_mpps(inputs)
        job = job_of(
            sharing,
            inputs,
            output.out,
            locating=locating,
            level_or_mpp=level_or_mpp,
            cut=False,
        )
        failed = carry_out(
            LocateRequest(
                every_slide=tuple(each.wsi_file for each in inputs),
                inputs=job.inputs,
                out=job.out,
                share=job.share,
                file_format=exchange.to,
                level_or_mpp=level_or_mpp,
                locating=locating,
                tissue=tissue,
                locations_args=locations_args(
                    context, foreign, locating, level_or_mpp=level_or_mpp
                ),
                preview=preview,
                work=work,
            ),
            json_output=command.json_output,
        )
    if failed:
        raise typer.Exit(FAILED)
