"""Which slides of a run are for one of several jobs, before tissue is looked for."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from dplabtools import config
from dplabtools.errors import DplabError
from dplabtools.geometry.resolution import Number, parse_level_or_mpp
from dplabtools.output.run_folder.shards import share_of
from dplabtools.readers.slide import Slide
from dplabtools.records.share import Share
from dplabtools.records.slide_input import SlideInput
from dplabtools.settings import Settings
from dplabtools.slides.patches._located_pool import LocatedPool
from dplabtools.slides.patches._sharing import check_repeatable
from dplabtools.sources.threads import AskingThreads

__all__ = ["check_locations", "divide_inputs", "own_inputs"]

_LOOKING = 32  # threads that look at slides: those elsewhere make them wait


def divide_inputs(
    inputs: Sequence[SlideInput],
    *,
    shard: tuple[int, int],
    patches_args: Mapping[str, Any],
    cut: bool,
) -> Share:
    """Divide slides by what is known of them without looking for tissue.

    Parameters
    ----------
    inputs : sequence of SlideInput
        All slides of the run.
    shard : (int, int)
        Which job, from 1, and of how many.
    patches_args : mapping of str to object
        As the location pool takes them.
    cut : bool
        Whether jobs may share a slide.

    Returns
    -------
    Share
        By the bytes of the file that says where patches lie, or by the number of patches
        asked for; else by the pixels of the level that is read. A slide that cannot be
        opened counts as nothing: whose it is, will say why.
    """
    settings = config.snapshot()

    def work(each: SlideInput) -> float:
        try:
            return _work(each, patches_args, settings)
        except (DplabError, OSError):
            return 0.0

    with AskingThreads(_LOOKING, name="dplabtools-open") as threads:
        works = list(threads.map(work, inputs))
    slides = [each.wsi_file for each in inputs]
    return share_of(slides, works, shard=shard, cut=cut)


def _work(each: SlideInput, patches_args: Mapping[str, Any], settings: Settings) -> float:
    file = each.locations or each.points
    if file is not None:
        return file.stat().st_size
    if patches_args.get("num_patches") is not None:
        return 1.0
    resolution: Number = patches_args.get("level_or_mpp", 0)
    with Slide(each.wsi_file, settings=settings) as slide:
        pyramid = slide.pyramid
    source = pyramid.source(parse_level_or_mpp(resolution), mode="tile", settings=settings)
    width, height = pyramid.sizes[source.level]
    return float(width * height)


def own_inputs(inputs: Sequence[SlideInput], share: Share) -> tuple[SlideInput, ...]:
    """Return the slides of a share."""
    return tuple(inputs[place] for place in share.places)


def check_locations(location_pool: type[Any], patches_args: Mapping[str, Any]) -> None:
    """Raise if patches would lie elsewhere in each job.

    Raises
    ------
    ParameterError
        If they are placed at random, without a seed.
    """
    if not issubclass(location_pool, LocatedPool):
        return
    if "seed" in inspect.signature(location_pool.kind).parameters:
        check_repeatable({"seed": None, **patches_args})
