"""``dplabtools features``: features of the patches of slides, without images."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Final

import typer

from dplabtools.cli.console import FAILED, one_line_errors
from dplabtools.cli.grouping import grouped
from dplabtools.cli.options.encoding import EncodingOptions
from dplabtools.cli.options.placing import PlacingOptions, RunningOptions
from dplabtools.cli.options.running import CommandOptions
from dplabtools.cli.options.writing import RunOutputOptions

__all__ = ["features"]

_COMMON: Final = (
    *("out", "encoder", "encoder_args", "layout", "mpp", "mag", "patch_size"),
    *("patch_stride", "foreground_ratio", "slides_csv", "device", "batch_size"),
    *("patches", "proc_num_workers", "dry_run"),
)


@grouped(common=_COMMON)
def features(  # noqa: PLR0913 - each is a group of options
    context: typer.Context,
    *,
    placing: PlacingOptions,
    output: RunOutputOptions,
    encoding: EncodingOptions,
    running: RunningOptions,
    command: CommandOptions,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Load the encoder and place patches: say how many there are, and write "
            "nothing.",
        ),
    ] = False,
) -> None:
    """Let an encoder make features of the tissue of slides.

    Finds the tissue of each slide (masks are kept in OUT/masks), lays a grid of patches
    over it, as `extract` does, and writes a file of features for each slide, but no images:
    OUT/<slide>.h5 (--layout trident, stamp), OUT/h5_files/<slide>.h5 and
    OUT/pt_files/<slide>.pt (clam), or OUT/<slide>.zarr (zarr). The same command goes on
    with what an earlier one has left; all options are in OUT/dplabtools.toml.

    Exit code: 0, everything was written; 1, something failed; 2, the command was not
    understood; 130, 138 or 143, interrupted by Ctrl-C, SIGUSR1 or SIGTERM.
    """
    with one_line_errors():
        from dplabtools.cli.features_run import (
            FeaturesRequest,
            carry_out,
            earlier_options,
            try_out,
        )
        from dplabtools.cli.placing import parse_placing
        from dplabtools.output.run_folder.output_folder import output_folder

        stored, given = encoding.patches is not None, placing.slides
        if stored and (given.slides or given.slides_csv):
            msg = "give slides, or --patches, not both"
            raise typer.BadParameter(msg)
        place = nullcontext(output.out)
        with place if dry_run else output_folder(output.out, resume=True) as out:
            asked = parse_placing(context, placing, running, out=Path(out), placed=stored)
            asked = asked.divided(None if dry_run else running.sharing.job)
            asked = asked.repeatable(earlier_options(asked.out))
            work_on = try_out if dry_run else carry_out
            failed = work_on(
                FeaturesRequest(
                    placing=asked,
                    encoding=encoding,
                    parameters=asked.parameters(context, running.sharing),
                ),
                json_output=command.json_output,
            )
    if failed:
        raise typer.Exit(FAILED)
