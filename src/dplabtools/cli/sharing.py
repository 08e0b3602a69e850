"""What of the slides that are named is for this job."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import typer

from dplabtools.cli.locating import patches_args
from dplabtools.cli.options.locating import LocatingOptions
from dplabtools.cli.options.sharing import ShardOptions
from dplabtools.geometry.resolution import Number
from dplabtools.pipeline.sharing import divide_inputs, own_inputs
from dplabtools.records.share import Share
from dplabtools.records.slide_input import SlideInput

__all__ = ["Job", "job_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What this job does, and where.

    Attributes
    ----------
    inputs : tuple of SlideInput
        Its slides; all, if there are no other jobs.
    out : Path
        Folder to write to.
    share : Share or None
        What of the slides is its own; None if all is.
    """

    inputs: tuple[SlideInput, ...]
    out: Path
    share: Share | None = None


def job_of(
    options: ShardOptions,
    inputs: tuple[SlideInput, ...],
    out: Path,
    *,
    locating: LocatingOptions,
    level_or_mpp: Number | None,
    cut: bool,
) -> Job:
    """Return what is to be done of slides.

    Parameters
    ----------
    options : ShardOptions
        Which job it is.
    inputs : tuple of SlideInput
        All slides.
    out : Path
        Folder of all jobs.
    locating : LocatingOptions
        How patches are placed.
    level_or_mpp : int or float or None
        Their resolution.
    cut : bool
        Whether jobs may share a slide.

    Raises
    ------
    typer.BadParameter
        If there is no such job, or each would place patches elsewhere.
    """
    if options.job is None:
        return Job(inputs=inputs, out=out)
    if locating.sampler in ("random", "poisson-disk") and locating.seed is None:
        msg = (
            f"--shard with --sampler {locating.sampler} needs --seed, the same in all jobs"
        )
        raise typer.BadParameter(msg)
    share = divide_inputs(
        inputs,
        shard=options.job,
        patches_args=patches_args(locating, level_or_mpp),
        cut=cut,
    )
    return Job(inputs=own_inputs(inputs, share), out=out / share.name, share=share)
