"""Masks of the tissue of many slides."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

import numpy as np
from PIL import Image

from dplabtools import config
from dplabtools.cli.console import step
from dplabtools.cli.inputs import SlideInput
from dplabtools.cli.ledger import Ledger
from dplabtools.cli.options.placing import TissueOptions
from dplabtools.cli.slide_facts import SlideFacts, slide_facts
from dplabtools.errors import DplabError, MissingMaskError
from dplabtools.readers.slide import Slide
from dplabtools.slides._images import save_image
from dplabtools.slides.patches._given import has_outlines, read_mask
from dplabtools.slides.processing import WSITissueMask

__all__ = ["files_named_after", "make_masks", "tissue_mask"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Examined:
    """What a slide says of itself, and its mask.

    Attributes
    ----------
    facts : SlideFacts
        About the slide.
    mask : Path
        An image or array; may be missing where it was given.
    reason : str
        Why no tissue was found; empty where some was.
    """

    facts: SlideFacts
    mask: Path
    reason: str = ""


def make_masks(
    ledger: Ledger, folder: Path, *, tissue: TissueOptions, workers: int, keep: bool
) -> None:
    """Find the tissue of each slide, and enter what the slide says about itself.

    Parameters
    ----------
    ledger : Ledger
        Its masks are the files given, or those made.
    folder : Path
        Where those made go; made if missing.
    tissue : TissueOptions
        How to find it.
    workers : int
        Threads.
    keep : bool
        Use masks that are in the folder.
    """
    tissue.check()
    folder.mkdir(parents=True, exist_ok=True)
    names = [each.wsi_file for each in ledger.inputs]
    made = dict(zip(names, files_named_after(names, folder, ".png"), strict=True))

    def examine(each: SlideInput) -> _Examined | DplabError:
        file = made[each.wsi_file]
        try:
            facts = slide_facts(each.wsi_file)
            if each.mask is not None:
                return _Examined(facts=facts, mask=_as_image(each, file))
            if keep and file.exists():
                return _Examined(facts=facts, mask=file)
            mask = tissue_mask(each.wsi_file, tissue)
            mask.save_png(file)
        except DplabError as error:
            return error
        return _Examined(facts=facts, mask=file, reason=mask.reason)

    left = ledger.left()
    pool = ThreadPoolExecutor(workers)
    try:
        with step("masks") as tell:
            results = pool.map(examine, left)
            slides = zip(left, results, strict=True)
            for done, (each, result) in enumerate(slides, 1):
                _enter(ledger, each, result)
                tell(done, len(left))
    finally:
        pool.shutdown(cancel_futures=True)


def _as_image(each: SlideInput, file: Path) -> Path:
    """Return the mask that was given; outlines as an image, which is saved as `file`."""
    mask = each.mask or file
    if not (has_outlines(mask) and mask.exists()):
        return mask
    with Slide(each.wsi_file, settings=config.snapshot()) as slide:
        pixels = read_mask(mask, slide.pyramid)
    save_image(Image.fromarray(np.ascontiguousarray(pixels.T)), file)
    return file


def tissue_mask(wsi_file: str, tissue: TissueOptions) -> WSITissueMask:
    """Return the mask of a slide."""
    return WSITissueMask(
        wsi_file=wsi_file,
        level_or_minsize=tissue.size,
        mode=tissue.how,
        color_threshold=tissue.color_threshold,
        remove_small_holes_ratio=tissue.remove_small_holes_ratio,
        remove_small_objects_ratio=tissue.remove_small_objects_ratio,
        remove_all_holes=tissue.remove_all_holes,
        close_fill_kernel_size=tissue.close_fill_kernel_size,
    )


def files_named_after(slides: Iterable[str], folder: Path, suffix: str) -> list[Path]:
    """Return a file for each slide, also where slides of several folders share a name."""
    files: dict[Path, None] = {}
    for slide in slides:
        stem = Path(slide).stem
        names = chain([stem], (f"{stem}-{number}" for number in count(2)))
        free = (folder / f"{name}{suffix}" for name in names)
        files[next(file for file in free if file not in files)] = None
    return list(files)


def _enter(ledger: Ledger, each: SlideInput, result: _Examined | DplabError) -> None:
    """Enter what has become of the mask of a slide."""
    if isinstance(result, DplabError):
        ledger.fail(each.wsi_file, result)
        return
    ledger.facts[each.wsi_file] = result.facts
    if result.reason:
        ledger.reasons[each.wsi_file] = result.reason
    if result.mask.exists():
        ledger.masks[each.wsi_file] = str(result.mask)
        return
    msg = f"there is no mask {result.mask}"
    ledger.fail(each.wsi_file, MissingMaskError(msg, slide=Path(each.wsi_file).name))
