"""``dplabtools extract``: patches of the tissue of slides."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dplabtools.cli.config_file import effective_options
from dplabtools.cli.console import FAILED, one_line_errors, print_json
from dplabtools.cli.grouping import grouped
from dplabtools.cli.interruption import exit_code
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
from dplabtools.cli.options.writing import FileOptions, OutputOptions
from dplabtools.cli.report import make_report

if TYPE_CHECKING:
    from dplabtools.cli.request import Request
    from dplabtools.records.run_record import RunRecord

__all__ = ["extract"]

_COMMON: Final = (
    *("out", "mpp", "mag", "patch_size", "patch_stride"),
    *("foreground_ratio", "slides_csv", "masks", "annotations", "image_type", "container"),
    *("proc_num_workers", "resume", "dry_run", "report"),
)


@grouped(common=_COMMON)
def extract(  # noqa: PLR0913 - each is a group of options
    context: typer.Context,
    *,
    slides: SlideOptions,
    output: OutputOptions,
    locating: LocatingOptions,
    files: FileOptions,
    outlines: AnnotationOptions,
    sources: SourceOptions,
    tissue: TissueOptions,
    foreign: ForeignOptions,
    reading: ReadingOptions,
    work: WorkOptions,
    engine: EngineOptions,
    sharing: ShardOptions,
    command: CommandOptions,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Place patches and time a few of them: say how many there are, how many "
            "bytes and how long it will take, and write nothing.",
        ),
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Write OUT/report.html, too: a page about it.")
    ] = False,
) -> None:
    """Cut the tissue of slides into patches.

    Finds the tissue of each slide (masks are kept in OUT/masks), lays a grid of patches
    over it, and writes files such as OUT/slide_k3j9x0ab_x1024_y2048.png, named after the
    slide, its manifest (in OUT/manifests) and the location in level 0 pixels. What became
    of each slide is in OUT/run.json, all options in OUT/dplabtools.toml.

    Exit code: 0, everything was written; 1, something failed; 2, the command was not
    understood; 130, 138 or 143, interrupted by Ctrl-C, SIGUSR1 or SIGTERM.
    """
    with one_line_errors():
        from dplabtools.cli.inputs import slide_inputs, with_files
        from dplabtools.cli.locating import check_locating, locations_args, with_seed
        from dplabtools.cli.request import Request
        from dplabtools.cli.resolution import chosen_resolution
        from dplabtools.cli.sharing import job_of
        from dplabtools.output.run_folder.resume import earlier_options
        from dplabtools.pipeline.steps import apply_mpps
        from dplabtools.slides.patches._sharing import may_cut

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
            ShardOptions() if dry_run else sharing,
            inputs,
            output.out,
            locating=locating,
            level_or_mpp=level_or_mpp,
            cut=may_cut(files.container),
        )
        earlier = earlier_options(job.out) if files.resume else {}
        locating = with_seed(locating, earlier=earlier.get("seed"))
        settled: dict[str, Any] = {
            "level_or_mpp": level_or_mpp,
            "mpp": None,
            "level": None,
            "mag": None,
            "seed": locating.seed,
            **sharing.settled(),
        }
        request = Request(
            inputs=job.inputs,
            out=job.out,
            share=job.share,
            level_or_mpp=level_or_mpp,
            locating=locating,
            tissue=tissue,
            locations_args=locations_args(
                context, foreign, locating, level_or_mpp=level_or_mpp
            ),
            files=files,
            work=work,
            parameters=effective_options(context, settled),
            command=("dplabtools", *sys.argv[1:]),
        )
        if dry_run:
            _estimate(request, json_output=command.json_output)
        else:
            _extract(request, report=report, json_output=command.json_output)


def _extract(request: Request, *, report: bool, json_output: bool) -> None:
    """Extract, print the summary, and leave with 1 or 130 if not all went well."""
    from dplabtools.cli.extraction_run import carry_out
    from dplabtools.cli.run_account import print_record

    record = carry_out(request)
    if json_output:
        typer.echo(record.to_json(), nl=False)
    elif not record.interrupted:
        print_record(record, out=request.out)
    if report and not record.interrupted:
        page = make_report(request.out)
        typer.echo(f"The report is {page}", err=json_output)
    if record.interrupted:
        _say_what_is_complete(request, record)
        raise typer.Exit(exit_code())
    if record.failed:
        raise typer.Exit(FAILED)


def _say_what_is_complete(request: Request, record: RunRecord) -> None:
    complete = [each for each in record.slides if each.status in ("complete", "empty")]
    typer.echo(
        f"dplabtools: {len(complete)} of {len(record.slides)} slides are complete, with a "
        f"manifest in {request.out}; what is whole of the others is kept",
        err=True,
    )


def _estimate(request: Request, *, json_output: bool) -> None:
    """Print what a run would write, and leave with 1 if not all of it can be."""
    from dplabtools.cli.dry_run import estimate, print_estimate

    result = estimate(request)
    if json_output:
        print_json(result.as_document())
    else:
        print_estimate(result)
    if result.failures:
        raise typer.Exit(FAILED)
