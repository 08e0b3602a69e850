"""What ``dplabtools mask`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dplabtools import config
from dplabtools.annotations.opening import read_annotations
from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.cli.console import step
from dplabtools.cli.options.drawing import OverlayOptions
from dplabtools.cli.options.locating import TissueOptions
from dplabtools.cli.options.running import WorkOptions
from dplabtools.cli.outcomes import outcomes_of, print_outcomes
from dplabtools.pipeline.masking import files_named_after, for_each_slide
from dplabtools.pipeline.states import SlideStates
from dplabtools.readers.slide import Slide
from dplabtools.records.slide_input import SlideInput
from dplabtools.slides.processing import WSIPolygonMask, WSITissueMask

__all__ = ["MaskRequest", "carry_out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRequest:
    """Which masks to make.

    Attributes
    ----------
    inputs : tuple of SlideInput
        The slides; those with annotations get masks of these.
    out : Path
        Where to.
    suffix : str
        Kind of the files.
    tissue : TissueOptions
        How to find tissue, and the level of all masks.
    overlay : OverlayOptions
        Whether and how to draw them.
    work : WorkOptions
        By how many.
    """

    inputs: tuple[SlideInput, ...]
    out: Path
    suffix: str
    tissue: TissueOptions
    overlay: OverlayOptions
    work: WorkOptions


def carry_out(request: MaskRequest, *, json_output: bool) -> bool:
    """Make the masks, print what became of them, and tell whether any failed.

    Raises
    ------
    DplabError
        The first error, unless errors are to be skipped.
    OSError
        If the folder cannot be made.
    """
    request.tissue.check()
    request.out.mkdir(parents=True, exist_ok=True)
    states = SlideStates(inputs=request.inputs, skip_errors=request.work.skip_errors)
    names = [each.wsi_file for each in request.inputs]
    files = files_named_after(names, request.out, request.suffix)
    file_of = dict(zip(names, files, strict=True))
    with step("masks") as tell:
        said = for_each_slide(
            states,
            lambda each: _make(each, file_of[each.wsi_file], request),
            workers=request.work.processes,
            on_progress=tell,
        )
    made = {slide: (file_of[slide], words) for slide, words in said.items()}
    print_outcomes(outcomes_of(states, made), title="Masks", json_output=json_output)
    return bool(states.failures)


def _make(each: SlideInput, file: Path, request: MaskRequest) -> str:
    """Save a mask, and the picture of it; say how much it covers, and why nothing."""
    if each.annotation is None:
        made: WSITissueMask | WSIPolygonMask = WSITissueMask(
            wsi_file=each.wsi_file, **request.tissue.arguments
        )
    else:
        made = _polygon_mask(each.wsi_file, each.annotation, request.tissue)
    save = {".npz": made.save_array, ".geojson": made.save_geojson}
    save.get(file.suffix, made.save_png)(file)
    if request.overlay.overlay:
        picture = file.with_name(f"{file.stem}_overlay.png")
        made.save_overlay_png(picture, **request.overlay.arguments())
    words = f"{made.array.mean():.1%} of the slide"
    reason = made.reason if isinstance(made, WSITissueMask) else ""
    return f"{words}: {reason}" if reason else words


def _polygon_mask(slide: str, annotation: Path, tissue: TissueOptions) -> WSIPolygonMask:
    """Return the mask of the polygons of a slide, which are in level 0 pixels."""
    polygons = read_annotations(annotation, unclassified=True)
    with Slide(slide, settings=config.snapshot()) as opened:
        level = opened.pyramid.level_for(tissue.least_size)
        size = np.array(opened.pyramid.sizes[level])
        scale = size / np.array(opened.pyramid.size)
    scaled = [
        AnnotationPolygon(
            [(x, y) for x, y in np.clip(np.array(each.points) * scale, 0, size).tolist()],
            each.label,
        )
        for each in polygons
    ]
    return WSIPolygonMask(wsi_file=slide, level_or_minsize=level, polygon_data=scaled)
