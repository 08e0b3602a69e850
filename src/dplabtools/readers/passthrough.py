"""Regions of a slide that need not be decoded: they are stored as they are wanted."""

from __future__ import annotations

from collections.abc import Sequence

from dplabtools._typing import IntArray
from dplabtools.geometry.resolution import Resolution
from dplabtools.readers.base import StoredReader
from dplabtools.readers.slide import Slide

__all__ = ["stored_regions"]


def stored_regions(
    slide: Slide, resolutions: Sequence[Resolution], origins: IntArray, *, sizes: IntArray
) -> dict[tuple[int, int], bytes]:
    """Find the regions that are each exactly one stored JPEG tile.

    Parameters
    ----------
    slide : Slide
        Where.
    resolutions : sequence of Level or Mpp
        What is wanted of each region.
    origins : ndarray of int64, shape (n, resolutions, 2)
        (x, y) of the top-left corners, in level 0 pixels.
    sizes : ndarray of int64, shape (n, 2)
        (width, height), in pixels of each resolution.

    Returns
    -------
    dict of (int, int) to bytes
        JPEG streams by region and resolution. Decoded they are the pixels that
        `Slide.read` gives; of damaged tiles there is none.
    """
    found: dict[tuple[int, int], bytes] = {}
    if not isinstance(slide.reader, StoredReader):
        return found
    for view, resolution in enumerate(resolutions):
        source = slide.source(resolution)
        if source.factor == source.shrink == 1:
            streams = slide.reader.stored_jpegs(origins[:, view], source.level, sizes=sizes)
            found |= {(item, view): stream for item, stream in streams.items()}
    return found
