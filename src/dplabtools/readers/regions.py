"""Many regions of a slide at once, for readers to which that is less work."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from dplabtools._typing import IntArray, Pixels, Point
from dplabtools.geometry.boxes import region_error, regions_outside
from dplabtools.geometry.pyramid import Source
from dplabtools.geometry.resolution import Resolution
from dplabtools.readers.base import BatchReader
from dplabtools.readers.resampling import resized
from dplabtools.readers.slide import Slide
from dplabtools.stages import stage

__all__ = ["read_regions", "reads_together"]

_UNSCALED_BYTES = 24 << 20  # of pixels that wait for being resampled


def reads_together(slide: Slide, resolutions: Sequence[Resolution]) -> bool:
    """Tell whether `read_regions` can read a slide at these resolutions.

    Not where the pixels have to lie on the grid of a resampled level.
    """
    if not isinstance(slide.reader, BatchReader):
        return False
    return all(slide.source(resolution).whole is None for resolution in resolutions)


def read_regions(
    slide: Slide,
    resolutions: Sequence[Resolution],
    origins: IntArray,
    *,
    outs: Sequence[Pixels],
    threads: ThreadPoolExecutor | None = None,
) -> dict[int, Exception]:
    """Read many regions, each straight to where it is needed.

    The pixels are those that `Slide.read` gives. What several regions or resolutions
    have in common is read once.

    Parameters
    ----------
    slide : Slide
        A slide for which `reads_together` holds.
    resolutions : sequence of Level or Mpp
        What to read of each region.
    origins : ndarray of int64, shape (n, resolutions, 2)
        (x, y) of the top-left corners, in level 0 pixels.
    outs : sequence of ndarray of uint8, shape (resolutions, height, width, 3)
        Filled with RGB; contiguous.
    threads : ThreadPoolExecutor, optional
        Share the work. The caller is none of them.

    Returns
    -------
    dict of int to Exception
        Error of each region that cannot be read; the content of its array is undefined.

    Raises
    ------
    LevelOutOfRangeError, MissingMppError, ResolutionError
        If the slide cannot be read at one of the resolutions.
    ClosedSlideError
        If the slide has been closed.
    """
    sources = [slide.source(resolution) for resolution in resolutions]
    errors = _outside(slide, sources, origins, outs=outs)
    inside = [item for item in range(len(outs)) if item not in errors]
    for part, waiting in _parts(sources, outs, inside):
        batch = _Batch(slide, np.empty(waiting, dtype=np.uint8))
        for item in part:
            for view, source in enumerate(sources):
                x, y = origins[item, view].tolist()
                batch.add(item, (x, y), source=source, out=outs[item][view])
        errors.update(batch.read(threads))
    return errors


@dataclass(slots=True, eq=False)
class _Level:
    """Regions to read of a level."""

    items: list[int] = field(default_factory=list)
    origins: list[Point] = field(default_factory=list)
    outs: list[Pixels] = field(default_factory=list)


class _Batch:
    """Regions that are read together: level by level, and then resampled.

    What waits for being resampled is in one piece of memory, which the allocator then
    hands out again and again; many small ones would go back to the system each time.
    """

    def __init__(self, slide: Slide, scratch: Pixels) -> None:
        self._slide = slide
        self._scratch = scratch
        self._levels: defaultdict[int, _Level] = defaultdict(_Level)
        self._unscaled: list[tuple[int, Pixels, Pixels]] = []

    def add(self, item: int, origin: Point, *, source: Source, out: Pixels) -> None:
        """Ask for a region at one resolution."""
        target = out
        if source.factor != 1.0:
            shape = _unscaled_shape(source, out)
            count = math.prod(shape)
            target = self._scratch[:count].reshape(shape)
            self._scratch = self._scratch[count:]
            self._unscaled.append((item, target, out))
        level = self._levels[source.level]
        level.items.append(item)
        level.origins.append(origin)
        level.outs.append(target)

    def read(self, threads: ThreadPoolExecutor | None) -> Mapping[int, Exception]:
        """Fill all arrays; return the errors."""
        errors: dict[int, Exception] = {}
        reader = self._slide.reader
        assert isinstance(reader, BatchReader)  # noqa: S101 - what `reads_together` is for
        for number, level in self._levels.items():
            origins = np.array(level.origins, dtype=np.int64)
            failed = reader.read_into(origins, number, level.outs, threads=threads)
            for place, error in sorted(failed.items()):
                errors.setdefault(level.items[place], error)
        whole = [entry for entry in self._unscaled if entry[0] not in errors]
        if whole:
            with stage("resample"):
                list((map if threads is None else threads.map)(self._resample, whole))
        return errors

    def _resample(self, entry: tuple[int, Pixels, Pixels]) -> None:
        _, pixels, out = entry
        height, width = out.shape[:2]
        out[:] = resized(pixels, (width, height), self._slide.settings.resampling_filter)


def _unscaled_shape(source: Source, out: Pixels) -> tuple[int, int, int]:
    height, width = (max(1, round(side * source.factor)) for side in out.shape[:2])
    return height, width, 3


def _outside(
    slide: Slide, sources: Sequence[Source], origins: IntArray, *, outs: Sequence[Pixels]
) -> dict[int, Exception]:
    """Return an error for each region that shares no pixel with the slide, or spans it."""
    errors: dict[int, Exception] = {}
    sizes = np.array([out.shape[2:0:-1] for out in outs], dtype=np.int64).reshape(-1, 2)
    for view, source in enumerate(sources):
        scale = source.downsample
        lost = regions_outside(
            slide.pyramid.size, origins[:, view], sizes, downsample=scale
        )
        for item in np.flatnonzero(lost).tolist():
            (x, y), (width, height) = origins[item, view].tolist(), sizes[item].tolist()
            error = region_error(slide.pyramid, (x, y), (width, height), downsample=scale)
            errors.setdefault(item, error)
    return errors


def _parts(
    sources: Sequence[Source], outs: Sequence[Pixels], items: Sequence[int]
) -> Iterator[tuple[Sequence[int], int]]:
    """Cut items up, so that what waits for being resampled stays small; tell its bytes."""
    part: list[int] = []
    waiting = 0
    for item in items:
        shapes = [
            _unscaled_shape(source, outs[item][view])
            for view, source in enumerate(sources)
            if source.factor != 1.0
        ]
        size = sum(map(math.prod, shapes))
        if part and waiting + size > _UNSCALED_BYTES:
            yield part, waiting
            part, waiting = [], 0
        part.append(item)
        waiting += size
    if part:
        yield part, waiting
