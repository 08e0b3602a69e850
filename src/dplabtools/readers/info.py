"""What a slide says about itself, and which reader reads it."""

from __future__ import annotations

from dataclasses import dataclass

from dplabtools._typing import Size
from dplabtools.readers.layout import StoredLevel, stored_levels
from dplabtools.readers.metadata import resolved_mpp
from dplabtools.readers.opening import Refusal, open_explained
from dplabtools.settings import Settings

__all__ = ["SlideInfo", "slide_info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideInfo:
    """What is known about a slide.

    Attributes
    ----------
    wsi_file : str
        Its path.
    reader : str
        Library that reads it.
    refusals : tuple of Refusal
        Of libraries that were asked before.
    vendor : str
        As the file states it; may be empty.
    levels : tuple of StoredLevel
        Finest first.
    mpp : float or None
        Microns per pixel of level 0.
    mpp_source : str
        Who states that: a property of the file, or a setting; empty if nobody.
    unequal_mpps : (float, float) or None
        Horizontal and vertical, where they are too far apart to stand for one.
    ignored_mpp : str
        What the file states that cannot be, in words; may be empty.
    power : float or None
        Objective power.
    """

    wsi_file: str
    reader: str
    refusals: tuple[Refusal, ...]
    vendor: str
    levels: tuple[StoredLevel, ...]
    mpp: float | None
    mpp_source: str
    unequal_mpps: tuple[float, float] | None
    ignored_mpp: str
    power: float | None

    @property
    def size(self) -> Size:
        """Width and height of level 0."""
        return self.levels[0].size


def slide_info(wsi_file: str, *, settings: Settings) -> SlideInfo:
    """Open a slide, and return what is known about it.

    Raises
    ------
    SlideError
        If it cannot be opened.
    """
    reader, refusals = open_explained(wsi_file, settings=settings)
    with reader:
        mpp = resolved_mpp(reader.scan, settings=settings, slide=wsi_file)
        return SlideInfo(
            wsi_file=wsi_file,
            reader=reader.library,
            refusals=refusals,
            vendor=reader.properties.get("openslide.vendor", ""),
            levels=stored_levels(wsi_file, reader),
            mpp=mpp.value,
            mpp_source=mpp.source,
            unequal_mpps=mpp.unequal,
            ignored_mpp=mpp.ignored,
            power=reader.scan.power,
        )
