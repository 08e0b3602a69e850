"""Many regions of a slide at once, for readers to which that is less work."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np

from dplabtools._typing import IntArray
from dplabtools.geometry.boxes import region_error, regions_outside
from dplabtools.geometry.pyramid import Source
from dplabtools.geometry.resolution import Resolution
from dplabtools.readers.resampling import resize_all
from dplabtools.readers.slide import Slide
from dplabtools.readers.workspace import workspace
from dplabtools.records.pixel_buffer import PixelBuffer
from dplabtools.records.upcoming import Upcoming
from dplabtools.sources.base import RangeReader
from dplabtools.timing import stage

__all__ = ["prefetch_regions", "read_regions", "reads_together"]

_UNSCALED_BYTES = (
    48 << 20
)  # of pixels that wait for being resampled; planning half costs 4 %


def reads_together(slide: Slide, resolutions: Sequence[Resolution]) -> bool:
    """Tell whether `read_regions` can read a slide at these resolutions.

    Not where the pixels have to lie on the grid of a resampled level.
    """
    if slide.batch_reader is None:
        return False
    return all(slide.source(resolution).whole is None for resolution in resolutions)


def read_regions(  # noqa: PLR0913 - as `ForeseeingReader.read_into`
    slide: Slide,
    resolutions: Sequence[Resolution],
    origins: IntArray,
    *,
    buffer: PixelBuffer,
    threads: ThreadPoolExecutor | None = None,
    decoded: list[IntArray] | None = None,
    upcoming: Upcoming | None = None,
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
    buffer : PixelBuffer
        Filled with RGB: the first region at each resolution, then the second, ...
    threads : ThreadPoolExecutor, optional
        Share the work. The caller is none of them.
    decoded : list, optional
        Gets the numbers of the tiles that were decoded; see `BatchReader.read_into`.
    upcoming : Upcoming, optional
        What is read of the slide in calls to come, if that is known.

    Returns
    -------
    dict of int to Exception
        Error of each region that cannot be read; the content of its pictures is undefined.

    Raises
    ------
    LevelOutOfRangeError, MissingMppError, ResolutionError
        If the slide cannot be read at one of the resolutions.
    ClosedSlideError
        If the slide has been closed.
    """
    sources = [slide.source(resolution) for resolution in resolutions]
    errors = _outside(slide, sources, origins, sizes=buffer.sizes)
    inside = np.ones(len(origins), dtype=np.bool_)
    inside[list(errors)] = False
    for items in _parts(sources, buffer.sizes, np.flatnonzero(inside)):
        part = _Part(slide, sources, items, buffer=buffer, upcoming=upcoming)
        errors.update(part.read(origins, threads, decoded))
    return errors


def prefetch_regions(
    slide: Slide,
    resolutions: Sequence[Resolution],
    origins: IntArray,
    *,
    sizes: IntArray,
    most: int,
) -> list[RangeReader]:
    """Begin to fetch what reading these regions is going to take.

    Parameters
    ----------
    slide : Slide
        A slide that lies elsewhere.
    resolutions : sequence of Level or Mpp
        What is going to be read of each region.
    origins : ndarray of int64, shape (n, resolutions, 2)
        (x, y) of the top-left corners, in level 0 pixels.
    sizes : ndarray of int64, shape (n, 2)
        (width, height), in pixels of each resolution.
    most : int
        Bytes to fetch of each level, the first of them.

    Returns
    -------
    list of RangeReader
        As long as there are these, nothing of it is fetched again. None where
        `read_regions` does not read, or nothing can be fetched ahead.

    Raises
    ------
    LevelOutOfRangeError, MissingMppError, ResolutionError, ClosedSlideError
        As `read_regions`.
    """
    reader = slide.prefetching_reader
    if reader is None or not reads_together(slide, resolutions):
        return []
    sources = [slide.source(resolution) for resolution in resolutions]
    return [
        reader.prefetch(
            np.concatenate([origins[:, view] for view in views]),
            level,
            sizes=np.concatenate([_sizes_read(sources[view], sizes) for view in views]),
            shrink=shrink,
            most=most,
        )
        for (level, shrink), views in _by_level(sources).items()
    ]


def _by_level(sources: Sequence[Source]) -> Mapping[tuple[int, int], list[int]]:
    """Return which views are read of each level, and of each that is shrunk."""
    views_of: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for view, source in enumerate(sources):
        views_of[source.level, source.shrink].append(view)
    return views_of


class _Part:
    """Regions that are read together: level by level, and then resampled."""

    def __init__(
        self,
        slide: Slide,
        sources: Sequence[Source],
        items: IntArray,
        *,
        buffer: PixelBuffer,
        upcoming: Upcoming | None,
    ) -> None:
        self._slide = slide
        self._upcoming = upcoming
        self._sources = sources
        self._items = items
        views = len(sources)
        self._finals = [buffer.part(items * views + view) for view in range(views)]
        self._targets = self._unscaled()

    def _unscaled(self) -> list[PixelBuffer]:
        """Return where each view is read to: where it goes, or where it is resampled."""
        targets = list(self._finals)
        for view, source in enumerate(self._sources):
            if source.factor != 1.0:
                sizes = _unscaled_sizes(source, self._finals[view].sizes)
                memory = workspace(f"unscaled {view}", _pixels(sizes) * 3)
                targets[view] = PixelBuffer.allocated(sizes, memory=memory)
        return targets

    def read(
        self,
        origins: IntArray,
        threads: ThreadPoolExecutor | None,
        decoded: list[IntArray] | None,
    ) -> Mapping[int, Exception]:
        """Fill all pictures; return the errors."""
        errors: dict[int, Exception] = {}
        slide = self._slide
        reader = slide.batch_reader
        assert reader is not None  # noqa: S101 - what `reads_together` is for
        for (level, shrink), views in _by_level(self._sources).items():
            corners = np.concatenate([origins[self._items, view] for view in views])
            buffer = PixelBuffer.joined([self._targets[view] for view in views])
            read = reader.read_into
            if self._upcoming is not None and slide.foreseeing_reader is not None:
                later = self._later(self._upcoming, views)
                read = partial(
                    slide.foreseeing_reader.read_into, shrink=shrink, upcoming=later
                )
            elif shrink > 1 and slide.shrinking_reader is not None:
                read = partial(slide.shrinking_reader.read_into, shrink=shrink)
            failed = read(corners, level, buffer, threads=threads, decoded=decoded)
            for place, error in sorted(failed.items()):
                errors.setdefault(int(self._items[place % len(self._items)]), error)
        self._resample_all(threads, failed=errors)
        return errors

    def _later(self, upcoming: Upcoming, views: Sequence[int]) -> Upcoming:
        """Return what is read later of the level that these views are made of."""
        count, now = len(self._sources), upcoming.now[self._items]
        sizes = [_sizes_read(self._sources[view], upcoming.sizes) for view in views]
        return replace(
            upcoming,
            now=np.concatenate([now * count + view for view in views]),
            numbers=np.concatenate([upcoming.numbers * count + view for view in views]),
            calls=np.tile(upcoming.calls, len(views)),
            origins=np.concatenate([upcoming.origins[:, view] for view in views]),
            sizes=np.concatenate(sizes),
        )

    def _resample_all(
        self, threads: ThreadPoolExecutor | None, *, failed: Mapping[int, Exception]
    ) -> None:
        name = self._slide.settings.resampling_filter
        for view, source in enumerate(self._sources):
            if source.factor != 1.0:
                images, results = self._targets[view], self._finals[view]
                if failed:
                    good = np.flatnonzero(~np.isin(self._items, list(failed)))
                    images, results = images.part(good), results.part(good)
                with stage("resample"):
                    resize_all(images, results, name, threads=threads)


def _sizes_read(source: Source, sizes: IntArray) -> IntArray:
    """Return the sizes of what is read of a level for regions of these sizes."""
    return sizes if source.factor == 1.0 else _unscaled_sizes(source, sizes)


def _pixels(sizes: IntArray) -> int:
    return int((sizes[:, 0] * sizes[:, 1]).sum())


def _unscaled_sizes(source: Source, sizes: IntArray) -> IntArray:
    return np.asarray(np.maximum(np.rint(sizes * source.factor), 1), dtype=np.int64)


def _outside(
    slide: Slide, sources: Sequence[Source], origins: IntArray, *, sizes: IntArray
) -> dict[int, Exception]:
    """Return an error for each region that shares no pixel with the slide, or spans it."""
    errors: dict[int, Exception] = {}
    for view, source in enumerate(sources):
        scale, extents = source.downsample, sizes[view :: len(sources)]
        lost = regions_outside(
            slide.pyramid.size, origins[:, view], extents, downsample=scale
        )
        for item in np.flatnonzero(lost).tolist():
            (x, y), (width, height) = origins[item, view].tolist(), extents[item].tolist()
            error = region_error(slide.pyramid, (x, y), (width, height), downsample=scale)
            errors.setdefault(item, error)
    return errors


def _parts(
    sources: Sequence[Source], sizes: IntArray, items: IntArray
) -> Iterator[IntArray]:
    """Cut items into even parts, so that what waits for being resampled stays small."""
    if all(source.factor == 1.0 for source in sources):
        yield from (items,) if len(items) else ()
        return
    waiting = np.zeros(len(items), dtype=np.int64)
    for view, source in enumerate(sources):
        if source.factor != 1.0:
            unscaled = _unscaled_sizes(source, sizes[items * len(sources) + view])
            waiting += unscaled.prod(axis=1) * 3
    ends = np.cumsum(waiting)
    total = int(waiting.sum())
    count = max(1, -(-total // _UNSCALED_BYTES))
    cuts = np.searchsorted(ends, total * np.arange(1, count) / count)
    yield from (part for part in np.split(items, cuts) if len(part))
