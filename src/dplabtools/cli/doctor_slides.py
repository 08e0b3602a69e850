"""Slides: whether they open, and whether they can be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from dplabtools import config
from dplabtools.cli.findings import Finding
from dplabtools.cli.inputs import slide_inputs
from dplabtools.cli.options.slides import SlideOptions
from dplabtools.cli.remedies import remedy_of
from dplabtools.errors import DplabError
from dplabtools.readers.info import slide_info
from dplabtools.readers.opening import open_reader

__all__ = ["look_at_slides"]

_EDGE: Final = 256


def look_at_slides(slides: Sequence[Path]) -> Iterator[Finding]:
    """Yield what there is to say of slides.

    Parameters
    ----------
    slides : sequence of Path
        Files, folders, patterns.
    """
    if not slides:
        return
    for each in slide_inputs(SlideOptions(slides=list(slides))):
        yield _look_at(each.wsi_file)


def _look_at(slide: str) -> Finding:
    """Open a slide, and read it in several places of each level."""
    name = Path(slide).name
    try:
        facts = slide_info(slide, settings=config.snapshot())
        _read(slide)
    except DplabError as error:
        return Finding(
            topic="Slides",
            name=name,
            found=error.message,
            state="wrong",
            remedy=remedy_of(error),
        )
    found = f"{facts.size[0]:,} x {facts.size[1]:,}, read by {facts.reader}"
    if facts.vendor:
        found += f", of {facts.vendor}"
    for refusal in facts.refusals:
        found += f" (not by {refusal.library}: {refusal.reason})"
    if facts.mpp is None:
        return Finding(
            topic="Slides",
            name=name,
            found=f"{found}; states no microns per pixel",
            state="note",
            remedy="supply them with --slide-mpp, or ask for levels with --level",
        )
    return Finding(topic="Slides", name=name, found=f"{found}, {facts.mpp:g} um/px")


def _read(slide: str) -> None:
    """Read the first, the middle and the last patch of each level.

    Raises
    ------
    SlideReadError
        If one cannot be read. A file that was not copied to its end lacks the last ones.
    """
    with open_reader(slide, settings=config.snapshot()) as reader:
        width, height = reader.sizes[0]
        for level, downsample in enumerate(reader.downsamples):
            edge = round(_EDGE * downsample)
            right, bottom = max(0, width - edge), max(0, height - edge)
            for origin in ((0, 0), (right // 2, bottom // 2), (right, bottom)):
                reader.read(origin, level, (_EDGE, _EDGE))
