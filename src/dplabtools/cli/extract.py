"""``dplabtools extract``: patches of the tissue of slides."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dplabtools.cli.console import FAILED, one_line_errors, print_json
from dplabtools.cli.grouping import grouped
from dplabtools.cli.interruption import exit_code
from dplabtools.cli.options.placing import PlacingOptions, RunningOptions
from dplabtools.cli.options.running import CommandOptions
from dplabtools.cli.options.writing import FileOptions, RunOutputOptions
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
    placing: PlacingOptions,
    output: RunOutputOptions,
    files: FileOptions,
    running: RunningOptions,
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
        from dplabtools.cli.placing import parse_placing
        from dplabtools.cli.request import Request
        from dplabtools.output.run_folder.resume import earlier_options
        from dplabtools.slides.patches._sharing import may_cut

        def request(out: Path) -> Request:
            asked = parse_placing(context, placing, running, out=out)
            job = None if dry_run else running.sharing.job
            asked = asked.divided(job, cut=may_cut(files.container))
            asked = asked.repeatable(earlier_options(asked.out) if files.resume else {})
            return Request(
                placing=asked,
                files=files,
                parameters=asked.parameters(context, running.sharing),
                command=("dplabtools", *sys.argv[1:]),
            )

        if dry_run:
            _estimate(request(output.out), json_output=command.json_output)
        else:
            record = _extract(request, out=output.out, resume=files.resume, report=report)
            _tell(record, out=output.out, report=report, json_output=command.json_output)


def _extract(
    request: Callable[[Path], Request], *, out: Path, resume: bool, report: bool
) -> RunRecord:
    """Extract, and return the record of it."""
    from dplabtools.cli.extraction_run import carry_out
    from dplabtools.output.run_folder.output_folder import output_folder
    from dplabtools.sources.urls import is_url

    if report and is_url(out):
        msg = "--report makes a page about a folder of this machine"
        raise typer.BadParameter(msg)
    with output_folder(out, resume=resume) as folder:
        return carry_out(request(Path(folder)))


def _tell(record: RunRecord, *, out: Path, report: bool, json_output: bool) -> None:
    """Print the summary, and leave with 1 or 130 if not all went well."""
    from dplabtools.cli.run_account import print_record
    from dplabtools.output.run_folder.output_folder import shown_path
    from dplabtools.sources.urls import is_url

    if json_output:
        typer.echo(record.to_json(), nl=False)
    elif not record.interrupted:
        print_record(record, out=shown_path(out))
    if report and not record.interrupted:
        page = make_report(out)
        typer.echo(f"The report is {page}", err=json_output)
    if record.interrupted:
        complete = [each for each in record.slides if each.status in ("complete", "empty")]
        kept = "" if is_url(out) else "; what is whole of the others is kept"
        typer.echo(
            f"dplabtools: {len(complete)} of {len(record.slides)} slides are complete, "
            f"with a manifest in {shown_path(out)}{kept}",
            err=True,
        )
        raise typer.Exit(exit_code())
    if record.failed:
        raise typer.Exit(FAILED)


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
