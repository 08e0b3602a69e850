"""Slides, and how patches come to lie on them: what several commands are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import typer

from dplabtools import config
from dplabtools.cli.config_file import effective_options
from dplabtools.cli.inputs import slide_inputs, with_files
from dplabtools.cli.locating import (
    annotation_args,
    check_locating,
    location_pool,
    locations_args,
    patches_args,
    with_seed,
)
from dplabtools.cli.options.locating import LocatingOptions, TissueOptions
from dplabtools.cli.options.placing import PlacingOptions, RunningOptions
from dplabtools.cli.options.running import WorkOptions
from dplabtools.cli.options.sharing import ShardOptions
from dplabtools.cli.resolution import chosen_resolution
from dplabtools.errors import ResolutionError
from dplabtools.geometry.resolution import Number
from dplabtools.pipeline.sharing import divide_inputs, own_inputs
from dplabtools.pipeline.states import SlideStates
from dplabtools.pipeline.steps import OnProgress, Pipeline, apply_mpps
from dplabtools.readers.info import SlideInfo
from dplabtools.records.share import Share
from dplabtools.records.slide_input import SlideInput

__all__ = ["Placing", "parse_placing"]

_MOST: Final = 1.5
"""Times that the command enlarges unasked. The scan of an overview among the slides has,
enlarged, more patches than all of them, and nothing on these is sharp."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """On which slides, and how, patches are to be placed.

    Attributes
    ----------
    every_slide : tuple of str
        Paths of all slides.
    inputs : tuple of SlideInput
        Those of them that are for this job.
    out : Path
        Folder to write to.
    share : Share or None
        What of the slides that is, if there are other jobs.
    level_or_mpp : int or float or None
        Level (int) or microns per pixel (float); None if nobody says.
    locations_args : mapping of str to object, or None
        How to read patches that another tool has placed.
    locating, tissue, work : option groups
        The rest.
    """

    every_slide: tuple[str, ...]
    inputs: tuple[SlideInput, ...]
    out: Path
    share: Share | None
    level_or_mpp: Number | None
    locations_args: Mapping[str, Any] | None
    locating: LocatingOptions
    tissue: TissueOptions
    work: WorkOptions

    @property
    def filters_patches(self) -> bool:
        """Whether label options choose among patches, not among polygons."""
        return self.locations_args is not None or self.locating.region == "whole-image"

    @property
    def may_resample(self) -> bool:
        """Whether there may be patches at an mpp that no level has."""
        return isinstance(self.level_or_mpp, float) or self.locations_args is not None

    def states(self) -> SlideStates:
        """Return what is known of the slides before anything is done."""
        return SlideStates(inputs=self.inputs, skip_errors=self.work.skip_errors)

    def pipeline(self, on_progress: OnProgress) -> Pipeline:
        """Return the way from slides to places of patches."""
        self.tissue.check()
        locating = self.locating
        config.set_slide_setting(
            polygons_overlap_threshold=locating.polygons_overlap_threshold
        )
        return Pipeline(
            options=self.work.run_options,
            tissue_args=self.tissue.arguments,
            location_pool=location_pool(locating),
            patches_args=patches_args(locating, self.level_or_mpp),
            annotation_args=annotation_args(locating),
            locations_args=self.locations_args,
            share=self.share,
            on_progress=on_progress,
            accept=None if locating.allow_enlarging else _refuse_enlarging,
        )

    def repeatable(self, earlier: Mapping[str, Any]) -> Placing:
        """Return it with a seed, if it needs one: that of the run that is gone on with."""
        return replace(self, locating=with_seed(self.locating, earlier=earlier.get("seed")))

    def parameters(self, context: typer.Context, sharing: ShardOptions) -> dict[str, Any]:
        """Return all options in effect, each under one name, for the record."""
        settled = {
            "level_or_mpp": self.level_or_mpp,
            **dict.fromkeys(("mpp", "level", "mag")),
            "seed": self.locating.seed,
            **sharing.settled(),
        }
        return effective_options(context, settled)

    def divided(self, job: tuple[int, int] | None, *, cut: bool = False) -> Placing:
        """Return what is for one of several jobs, in a folder of its own.

        Parameters
        ----------
        job : (int, int) or None
            Which job, from 1, and of how many; None if there are no others.
        cut : bool, default False
            Whether jobs may share a slide.

        Raises
        ------
        typer.BadParameter
            If each job would place patches elsewhere.
        """
        if job is None:
            return self
        locating = self.locating
        if locating.sampler in ("random", "poisson-disk") and locating.seed is None:
            msg = (
                f"--shard with --sampler {locating.sampler} needs --seed, the same in all "
                f"jobs"
            )
            raise typer.BadParameter(msg)
        share = divide_inputs(
            self.inputs,
            shard=job,
            patches_args=patches_args(locating, self.level_or_mpp),
            cut=cut,
        )
        own = own_inputs(self.inputs, share)
        return replace(self, inputs=own, out=self.out / share.name, share=share)


def parse_placing(
    context: typer.Context,
    options: PlacingOptions,
    running: RunningOptions,
    *,
    out: Path,
    placed: bool = False,
) -> Placing:
    """Return what is asked for, and set how slides are read, and who works.

    Parameters
    ----------
    context : typer.Context
        Of the command.
    options : PlacingOptions
        Which slides, and where patches lie on them.
    running : RunningOptions
        How slides are read, and who does the work.
    out : Path
        Folder to write to.
    placed : bool, default False
        Patches are stored, and there are no slides.

    Raises
    ------
    typer.BadParameter
        If options do not go together.
    """
    locating, foreign = options.locating, options.foreign
    level_or_mpp = chosen_resolution(context, locating)
    inputs = with_files(
        () if placed else slide_inputs(options.slides),
        masks=options.sources.masks,
        annotations=options.outlines.annotations,
        points=options.sources.points,
        foreign=foreign,
    )
    check_locating(locating, inputs, foreign=foreign.locations is not None)
    running.reading.apply()
    running.engine.apply()
    apply_mpps(inputs)
    return Placing(
        every_slide=tuple(each.wsi_file for each in inputs),
        inputs=inputs,
        out=out,
        share=None,
        level_or_mpp=level_or_mpp,
        locations_args=locations_args(
            context, foreign, locating, level_or_mpp=level_or_mpp
        ),
        locating=locating,
        tissue=options.tissue,
        work=running.work,
    )


def _refuse_enlarging(info: SlideInfo, resolutions: Sequence[Number]) -> None:
    """Raise if a slide would have to be enlarged more than 1.5 times.

    Raises
    ------
    ResolutionError
        If so.
    """
    mpp = min((each for each in resolutions if isinstance(each, float)), default=None)
    if mpp is None or info.mpp is None or info.mpp <= _MOST * mpp:
        return
    msg = (
        f"patches of {mpp:g} um/px would be its finest level of {info.mpp:g} "
        f"um/px, enlarged {info.mpp / mpp:.3g} times (mpp from {info.mpp_source})"
    )
    raise ResolutionError(
        msg,
        slide=Path(info.wsi_file).name,
        remedy=(
            "leave the slide out, correct its mpp (--override-mpp, or the "
            "mpp column of --slides-csv), or allow it with "
            "--allow-enlarging"
        ),
    )
