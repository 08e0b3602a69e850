"""What workers do: open slides, and read chunks of their patches."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from dplabtools._typing import BoolArray, IntArray, Picture, Pixels
from dplabtools.engine.choose import RunOptions
from dplabtools.engine.slabs import Segment
from dplabtools.errors import (
    DplabError,
    NotEnoughMemoryError,
    SlideReadError,
    TransformError,
)
from dplabtools.extraction.inspection import InspectedSlide, InspectSlide, SlideSpec
from dplabtools.extraction.plan import ReadOptions, groups
from dplabtools.extraction.returned import ReturnedPatches
from dplabtools.geometry.resolution import Resolution
from dplabtools.output.sink import ChunkWriter, TakesQuality
from dplabtools.readers.passthrough import stored_regions
from dplabtools.readers.regions import read_regions, reads_together
from dplabtools.readers.slide import Slide
from dplabtools.readers.workspace import release, workspace
from dplabtools.records.pixel_buffer import PixelBuffer
from dplabtools.records.quality import PIXEL_COLUMNS, QualityValues
from dplabtools.records.slide_plan import SlidePlan
from dplabtools.records.upcoming import Upcoming
from dplabtools.sources.threads import AskingThreads
from dplabtools.timing import stage, take_totals

if TYPE_CHECKING:
    from dplabtools.masks.stains import Background

__all__ = ["Chunk", "ChunkReport", "ReadChunk"]

_T = TypeVar("_T")

_OPEN_SLIDES = 8  # for each worker
_LENDING = threading.Lock()  # where the workers are threads, they share what is open


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Chunk:
    """A number of neighbouring patches of one slide.

    Attributes
    ----------
    slide_index : int
        Place of the slide among those given.
    views : tuple of Level or Mpp
        Resolutions to read each patch at.
    rows : ndarray of int64, shape (m,)
        Which patches of the slide these are.
    origins : ndarray of int64, shape (m, views, 2)
        (x, y) in level 0 pixels.
    sizes : ndarray of int64, shape (m, 2)
        (width, height) in pixels of each view.
    writer : ChunkWriter
        Where the pixels go.
    spec : SlideSpec or None
        What it takes to open the slide; None if the work says so.
    quality : ndarray of float32, shape (m, columns), or None
        What is known of the quality of each patch; the rest is to be measured.
    upcoming : Upcoming or None
        Patches of the slide that the same worker reads later, to keep parts of.
    """

    slide_index: int
    views: tuple[Resolution, ...]
    rows: IntArray
    origins: IntArray
    sizes: IntArray
    writer: ChunkWriter
    spec: SlideSpec | None = None
    quality: QualityValues | None = None
    upcoming: Upcoming | None = None

    @classmethod
    def of(
        cls,
        plan: SlidePlan,
        rows: IntArray,
        *,
        writer: ChunkWriter,
        spec: SlideSpec | None = None,
        quality: QualityValues | None = None,
        upcoming: Upcoming | None = None,
    ) -> Chunk:
        """Make a chunk of rows of a planned slide."""
        return cls(
            slide_index=plan.slide_index,
            views=plan.views,
            rows=rows,
            origins=plan.origins[rows],
            sizes=plan.table.sizes[rows],
            writer=writer,
            spec=spec,
            quality=quality,
            upcoming=upcoming,
        )

    def returning(self) -> Chunk:
        """Return the same chunk, whose patches come back in its report."""
        return replace(self, writer=ReturnedPatches())

    def take_in(self, report: ChunkReport) -> None:
        """Deliver the patches that came back in a report, if any did."""
        if report.returned is not None:
            lost = [*(row for row, _ in report.failed), *report.left_out.tolist()]
            failed = np.isin(self.rows, lost)
            report.returned.deliver(self.writer, but=set(np.flatnonzero(failed).tolist()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkReport:
    """What became of a chunk.

    Attributes
    ----------
    failed : tuple of (int, Exception)
        Row and error of each patch that was not delivered.
    seconds : mapping of str to float
        Time spent, by stage.
    tiles : tuple of ndarray of int64
        Numbers of the stored tiles that were decoded, by the native reader.
    returned : ReturnedPatches or None
        The patches themselves, if the worker does not see the memory that they go to.
    quality : ndarray of float32, shape (m, columns), or None
        Quality of each patch of the chunk, if it was measured.
    left_out : ndarray of int64
        Rows that were not delivered because they are not good enough.
    """

    failed: tuple[tuple[int, Exception], ...]
    seconds: Mapping[str, float]
    tiles: tuple[IntArray, ...] = ()
    returned: ReturnedPatches | None = None
    quality: QualityValues | None = None
    left_out: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class _StoredFirst:
    """A writer that gets stored streams instead of pixels, where there are any."""

    writer: ChunkWriter
    streams: Mapping[tuple[int, int], bytes]

    @property
    def takes_jpeg(self) -> bool:
        return True

    def buffer(
        self, items: IntArray, sizes: IntArray, /, *, views: int
    ) -> PixelBuffer | None:
        return self.writer.buffer(items, sizes, views=views)

    def put(self, item: int, pictures: Sequence[Picture], /) -> None:
        self.writer.put(
            item,
            [
                self.streams.get((item, view), picture)
                for view, picture in enumerate(pictures)
            ],
        )

    def flush(self) -> None:
        self.writer.flush()

    def commit(self) -> None:
        self.writer.commit()


@dataclass(slots=True, kw_only=True)
class ReadChunk:
    """Looks at slides, reads chunks of their patches, and puts them where they go.

    Attributes
    ----------
    slides : tuple of SlideSpec
        The slides of the run, where chunks do not say how to open theirs.
    reading : ReadOptions
        How to read them.
    options : RunOptions
        How many threads share a chunk, and the open slide; whether patches that fail are
        reported, instead of raising for the first.
    segments : tuple of Segment
        Shared memory that chunks are written to. Where it is not, patches come back in the
        reports of their chunks.
    """

    slides: tuple[SlideSpec, ...]
    reading: ReadOptions
    options: RunOptions
    segments: tuple[Segment, ...] = ()
    _open: OrderedDict[int, Slide] = field(default_factory=OrderedDict)
    _lent_to: Counter[int] = field(default_factory=Counter)
    _pool: AskingThreads | None = None

    def __call__(self, job: Chunk | SlideSpec) -> ChunkReport | InspectedSlide:
        """Deliver the patches of a chunk, or look at a slide that is to be planned.

        Raises
        ------
        Exception
            The first error, unless errors are to be skipped. Errors of the destination
            are always raised: they are not the fault of a slide. That a slide has changed
            is no error of some patches.
        """
        if isinstance(job, SlideSpec):
            return InspectSlide(reading=self.reading)(job)
        return self._read(job)

    def _read(self, chunk: Chunk) -> ChunkReport:
        if not all(segment.is_here for segment in self.segments):
            chunk = chunk.returning()
        failed: list[tuple[int, Exception]] = []
        tiles: list[IntArray] = []
        spec = self.spec_of(chunk)
        with spec.unchanged(), self.lent(chunk) as slide:
            for group in groups(chunk.sizes, views=len(chunk.views)):
                rest, left = self._pass_on(slide, chunk, group)
                if left:
                    failed += self._deliver_all(slide, rest, left, tiles=tiles)
                if chunk.quality is not None and isinstance(chunk.writer, TakesQuality):
                    chunk.writer.take_quality(chunk.quality)
                chunk.writer.flush()
        chunk.writer.commit()
        return ChunkReport(
            failed=tuple((int(chunk.rows[item]), error) for item, error in failed),
            seconds=take_totals(),
            tiles=tuple(tiles),
            returned=chunk.writer if isinstance(chunk.writer, ReturnedPatches) else None,
            quality=chunk.quality,
            left_out=chunk.rows[self._bad(chunk)],
        )

    def _bad(self, chunk: Chunk) -> BoolArray:
        """Tell which patches are not good enough to be delivered."""
        if chunk.quality is None or self.reading.quality is None:
            return np.zeros(len(chunk.rows), dtype=np.bool_)
        return self.reading.quality.fails(chunk.quality)

    def _pass_on(
        self, slide: Slide, chunk: Chunk, group: Sequence[int]
    ) -> tuple[Chunk, Sequence[int]]:
        """Deliver what is stored as it is wanted; return what is left of the group."""
        if not chunk.writer.takes_jpeg or self.reading.transform is not None:
            return chunk, group
        with stage("read"):
            part = np.array(group)
            found = stored_regions(
                slide, chunk.views, chunk.origins[part], sizes=chunk.sizes[part]
            )
        streams = {(group[place], view): data for (place, view), data in found.items()}
        rest = replace(chunk, writer=_StoredFirst(chunk.writer, streams))
        if chunk.quality is not None:  # pixels are needed to measure it
            return rest, group
        views = range(len(chunk.views))
        left = [item for item in group if any((item, v) not in streams for v in views)]

        def put(items: Sequence[int]) -> None:
            for item in items:
                chunk.writer.put(item, [streams[item, view] for view in views])

        self._share(put, sorted(set(group).difference(left)))
        return rest, left

    def _deliver_all(
        self, slide: Slide, chunk: Chunk, group: Sequence[int], *, tiles: list[IntArray]
    ) -> list[tuple[int, Exception]]:
        """Let all threads deliver a group; return the items that failed."""
        if reads_together(slide, chunk.views):
            return self._deliver_together(slide, chunk, group, tiles=tiles)
        parts = self._share(lambda items: self._deliver(slide, chunk, items), group)
        failed = [failure for part in parts for failure in part]
        return sorted(failed, key=lambda each: each[0])

    def _deliver_together(
        self, slide: Slide, chunk: Chunk, group: Sequence[int], *, tiles: list[IntArray]
    ) -> list[tuple[int, Exception]]:
        """Read all patches at once, straight to where they go if that is possible."""
        items, views = np.array(group), len(chunk.views)
        sizes = chunk.sizes[items]
        buffer = None  # with a transform, what that returns is put
        if self.reading.transform is None:
            buffer = chunk.writer.buffer(items, sizes, views=views)
        loose = buffer is None
        upcoming = chunk.upcoming
        if upcoming is not None:
            upcoming = replace(upcoming, now=chunk.rows[items])
        if buffer is None:
            memory = workspace("patches", int(sizes.prod(axis=1).sum()) * 3 * views)
            buffer = PixelBuffer.allocated(np.repeat(sizes, views, axis=0), memory=memory)
        with stage("read"):
            errors = read_regions(
                slide,
                chunk.views,
                chunk.origins[items],
                buffer=buffer,
                threads=self._threads(),
                decoded=tiles,
                upcoming=upcoming,
            )
        if errors and not self.options.skip_errors:
            raise errors[min(errors)]

        if loose or chunk.quality is not None:
            left = [place for place in range(len(group)) if place not in errors]

            def deliver(places: Sequence[int]) -> dict[int, TransformError]:
                pictures = {group[place]: buffer.picture(place * views) for place in places}
                good = self._measure(slide, chunk, pictures)
                kept = [place for place in places if loose and group[place] in good]
                return self._put(kept, slide=slide, chunk=chunk, group=group, buffer=buffer)

            for failed in self._share(deliver, left):
                errors |= failed
        return [(group[place], errors[place]) for place in sorted(errors)]

    def _measure(
        self, slide: Slide, chunk: Chunk, pictures: Mapping[int, Pixels]
    ) -> set[int]:
        """Enter the quality of patches, by item; return those that are good enough."""
        limits, background = self.reading.quality, self._background(chunk)
        if not pictures or chunk.quality is None or limits is None or background is None:
            return set(pictures)
        from dplabtools.masks.quality import measure

        items = list(pictures)
        mpp = None if slide.pyramid.mpp is None else slide.pyramid.mpp_of(chunk.views[0])
        with stage("quality"):
            chunk.quality[items, : len(PIXEL_COLUMNS)] = [
                measure(picture, mpp=mpp, background=background)
                for picture in pictures.values()
            ]
            bad = limits.fails(chunk.quality[items])
        return {item for item, out in zip(items, bad.tolist(), strict=True) if not out}

    def _background(self, chunk: Chunk) -> Background | None:
        return self.spec_of(chunk).background

    def _put(
        self,
        places: Sequence[int],
        *,
        slide: Slide,
        chunk: Chunk,
        group: Sequence[int],
        buffer: PixelBuffer,
    ) -> dict[int, TransformError]:
        """Deliver patches of a group from a buffer; return what failed.

        Raises
        ------
        TransformError
            The first error, unless errors are to be skipped.
        """
        failed: dict[int, TransformError] = {}
        views = len(chunk.views)
        for place in places:
            numbers = range(place * views, (place + 1) * views)
            try:
                pictures = self._transformed([buffer.picture(n) for n in numbers], slide)
            except TransformError as error:
                if not self.options.skip_errors:
                    raise
                failed[place] = error
            else:
                chunk.writer.put(group[place], pictures)
        return failed

    def _threads(self) -> AskingThreads | None:
        """Return the threads, if there are several."""
        with _LENDING:
            if self.options.threads > 1 and self._pool is None:
                self._pool = AskingThreads(self.options.threads, name="dplabtools")
            return self._pool

    def _share(
        self, function: Callable[[Sequence[int]], _T], items: Sequence[int]
    ) -> list[_T]:
        """Let each thread do a part of the items."""
        pool = self._threads()
        if pool is None or len(items) < 2:
            return [function(items)]
        count = self.options.threads
        shares = [items[start::count] for start in range(count)]
        return list(pool.map(function, shares))

    def close(self) -> None:
        """Close all slides, end the threads, and let go of memory."""
        release()
        if self._pool is not None:
            self._pool.give_up()
            self._pool.shutdown()
            self._pool = None
        while self._open:
            self._open.popitem()[1].close()

    def spec_of(self, chunk: Chunk) -> SlideSpec:
        """Say what it takes to open the slide of a chunk."""
        return chunk.spec or self.slides[chunk.slide_index]

    def is_open(self, chunk: Chunk) -> bool:
        """Tell whether its slide is open."""
        return chunk.slide_index in self._open

    @contextmanager
    def lent(self, chunk: Chunk) -> Generator[Slide]:
        """Lend its open slide; of those that nobody has the oldest are closed for it."""
        number = chunk.slide_index
        with _LENDING:
            if number not in self._open:
                idle = [each for each in self._open if not self._lent_to[each]]
                for each in idle[: max(0, len(self._open) + 1 - _OPEN_SLIDES)]:
                    self._open.pop(each).close()
                self._open[number] = self.spec_of(chunk).open(self.reading)
                if self.reading.stored_chroma:
                    self._open[number].keep_chroma(chunk.views)
            self._open.move_to_end(number)
            self._lent_to[number] += 1
            slide = self._open[number]
        try:
            yield slide
        finally:
            with _LENDING:
                self._lent_to[number] -= 1

    def _deliver(
        self, slide: Slide, chunk: Chunk, items: Sequence[int]
    ) -> list[tuple[int, Exception]]:
        """Read and put items one by one; return those that failed."""
        failed: list[tuple[int, Exception]] = []
        for item in items:
            try:
                with stage("read"):
                    pictures = read_views(slide, chunk, item)
                seen = pictures[0]
                pictures = self._transformed(pictures, slide)
            except Exception as error:  # whatever a decoder comes up with
                if not self.options.skip_errors:
                    raise named(error, slide) from error
                failed.append((item, named(error, slide)))
            else:
                for good in self._measure(slide, chunk, {item: seen}):
                    chunk.writer.put(good, pictures)
        return failed

    def _transformed(self, pictures: list[Pixels], slide: Slide) -> list[Pixels]:
        """Return what becomes of a patch at all its resolutions.

        Raises
        ------
        TransformError
            If the function fails.
        """
        transform = self.reading.transform
        if transform is None:
            return pictures
        with stage("transform"):
            return [transform.apply(each, slide=slide.name) for each in pictures]


def read_views(slide: Slide, chunk: Chunk, item: int) -> list[Pixels]:
    """Read one patch at all its resolutions."""
    width, height = chunk.sizes[item].tolist()
    return [
        slide.read((x, y), view, (width, height))
        for view, (x, y) in zip(chunk.views, chunk.origins[item].tolist(), strict=True)
    ]


def named(error: Exception, slide: Slide) -> Exception:
    """Return an error that names the slide."""
    if isinstance(error, DplabError):
        return error
    if isinstance(error, MemoryError):
        msg = "there is not enough memory to read it"
        return NotEnoughMemoryError(
            msg, slide=slide.name, remedy="use fewer workers, or smaller patches"
        )
    return SlideReadError(f"{type(error).__name__}: {error}", slide=slide.name)
