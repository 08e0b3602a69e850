"""``dplabtools features``: features of the patches of slides, without images."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from dplabtools.cli.config_file import effective_options
from dplabtools.cli.console import FAILED, one_line_errors
from dplabtools.cli.grouping import grouped
from dplabtools.cli.options.encoding import EncodingOptions
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
from dplabtools.cli.options.writing import OutputOptions

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
    slides: SlideOptions,
    output: OutputOptions,
    encoding: EncodingOptions,
    locating: LocatingOptions,
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
        from dplabtools.cli.inputs import slide_inputs, with_files
        from dplabtools.cli.locating import check_locating, locations_args, with_seed
        from dplabtools.cli.resolution import chosen_resolution
        from dplabtools.cli.sharing import job_of
        from dplabtools.pipeline.steps import apply_mpps

        if encoding.patches is not None and (slides.slides or slides.slides_csv):
            msg = "give slides, or --patches, not both"
            raise typer.BadParameter(msg)
        level_or_mpp = chosen_resolution(context, locating)
        inputs = with_files(
            () if encoding.patches is not None else slide_inputs(slides),
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
            cut=False,
        )
        locating = with_seed(locating, earlier=earlier_options(job.out).get("seed"))
        settled: dict[str, Any] = {
            "level_or_mpp": level_or_mpp,
            "mpp": None,
            "level": None,
            "mag": None,
            "seed": locating.seed,
            **sharing.settled(),
        }
        work_on = try_out if dry_run else carry_out
        failed = work_on(
            FeaturesRequest(
                inputs=job.inputs,
                out=job.out,
                share=job.share,
                level_or_mpp=level_or_mpp,
                encoding=encoding,
                locating=locating,
                tissue=tissue,
                locations_args=locations_args(
                    context, foreign, locating, level_or_mpp=level_or_mpp
                ),
                work=work,
                parameters=effective_options(context, settled),
            ),
            json_output=command.json_output,
        )
    if failed:
        raise typer.Exit(FAILED)
