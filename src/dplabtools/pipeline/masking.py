"""Tissue masks of many slides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from dplabtools import config
from dplabtools.errors import DplabError, MissingMaskError
from dplabtools.locations.inputs import has_outlines, read_mask
from dplabtools.masks.files import foreground_of, load_mask
from dplabtools.pipeline.states import SlideStates
from dplabtools.readers.slide import Slide
from dplabtools.records.slide_input import SlideInput
from dplabtools.slides._images import save_image
from dplabtools.slides.processing import WSITissueMask
from dplabtools.sources.threads import AskingThreads

__all__ = ["files_named_after", "for_each_slide", "mask_file", "measure_tissue"]

ResultT = TypeVar("ResultT")


def for_each_slide(
    states: SlideStates,
    work: Callable[[SlideInput], ResultT],
    *,
    workers: int,
    on_progress: Callable[[int, int], object],
) -> dict[str, ResultT]:
    """Do something with each slide that has not failed, in threads.

    Parameters
    ----------
    states : SlideStates
        What fails is entered.
    work : callable
        Given a slide.
    workers : int
        Threads.
    on_progress : callable
        Told how many slides are done, and how many there are.

    Returns
    -------
    dict
        What it returned, by path of the slide.
    """

    def attempt(each: SlideInput) -> ResultT | DplabError:
        try:
            return work(each)
        except DplabError as error:
            return error

    left = states.left()
    results: dict[str, ResultT] = {}
    with AskingThreads(workers, name="dplabtools-slides") as threads:
        done = zip(left, threads.map(attempt, left), strict=True)
        for number, (each, result) in enumerate(done, 1):
            if isinstance(result, DplabError):
                states.fail(each.wsi_file, result)
            else:
                results[each.wsi_file] = result
            on_progress(number, len(left))
    return results


def mask_file(
    each: SlideInput, file: Path, *, tissue_args: Mapping[str, Any], keep: bool
) -> tuple[Path, str]:
    """Return the mask of a slide, and why no tissue was found; "" where some was.

    Parameters
    ----------
    each : SlideInput
        The slide. A mask that was given is used as it is; outlines become an image.
    file : Path
        Where to save what is made.
    tissue_args : mapping of str to object
        Arguments of `WSITissueMask`.
    keep : bool
        Use the file if it is there.

    Raises
    ------
    MissingMaskError
        If there is no such mask.
    SlideError
        If the slide cannot be read.
    """
    if each.mask is not None:
        if not each.mask.exists():
            msg = f"there is no mask {each.mask}"
            raise MissingMaskError(msg, slide=Path(each.wsi_file).name)
        if not has_outlines(each.mask):
            return each.mask, ""
        with Slide(each.wsi_file, settings=config.snapshot()) as slide:
            pixels = read_mask(each.mask, slide.pyramid)
        save_image(Image.fromarray(np.ascontiguousarray(pixels.T)), file)
        return file, ""
    if keep and file.exists():
        return file, ""
    mask = WSITissueMask(wsi_file=each.wsi_file, **tissue_args)
    mask.save_png(file)
    return file, mask.reason


def measure_tissue(states: SlideStates, *, workers: int) -> None:
    """Enter the share of each mask that is tissue, where it can be read."""

    def share(mask: str) -> float | None:
        try:
            return float(np.mean(foreground_of(load_mask(mask)).pixels))
        except DplabError:
            return None  # placing patches on it has said why

    with ThreadPoolExecutor(workers) as threads:
        shares = threads.map(share, states.masks.values())
        for slide, found in zip(states.masks, shares, strict=True):
            if found is not None:
                states.tissue[slide] = found


def files_named_after(
    slides: Iterable[str] | Sequence[str], folder: Path, suffix: str
) -> list[Path]:
    """Return a file for each slide, also where slides of several folders share a name."""
    files: dict[Path, None] = {}
    for slide in slides:
        stem = Path(slide).stem
        names = chain([stem], (f"{stem}-{number}" for number in count(2)))
        free = (folder / f"{name}{suffix}" for name in names)
        files[next(file for file in free if file not in files)] = None
    return list(files)
