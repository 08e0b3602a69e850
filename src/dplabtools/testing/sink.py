"""What is expected of every sink."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence

import numpy as np
import pytest

from dplabtools._typing import BoolArray, Pixels, Size
from dplabtools.engine.slabs import Segment
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.geometry.resolution import Level, Resolution
from dplabtools.output.sink import ChunkWriter, Sink
from dplabtools.records.patch_table import PatchTable
from dplabtools.records.pixel_buffer import PixelBuffer
from dplabtools.records.slide_plan import SlidePlan

__all__ = ["SinkContract", "plan_of"]


def plan_of(
    slide: int, sizes: Sequence[Size], *, views: Sequence[Resolution] = (Level(0),)
) -> SlidePlan:
    """Return a plan of patches of these sizes, in a row, of a slide without a file.

    Parameters
    ----------
    slide : int
        Its place; the file is called ``slide<number>.svs``.
    sizes : sequence of (int, int)
        (width, height) of each patch.
    views : sequence of Level or Mpp
        Resolutions; all begin at the same corner.

    Returns
    -------
    SlidePlan
        With labels ``a`` and ``b`` in turn, and patches at (0, 7), (100, 7), (200, 7), ...
    """
    table = PatchTable.from_rows(
        [((100 * row, 7), size, "ab"[row % 2]) for row, size in enumerate(sizes)],
        slide=f"/slides/slide{slide}.svs",
        resolution=Level(0),
    )
    return SlidePlan(
        slide_index=slide,
        table=table,
        pyramid=Pyramid(
            slide=table.slide_name,
            sizes=((4000, 4000), (1000, 1000)),
            downsamples=(1.0, 4.0),
            mpp=0.5,
        ),
        views=tuple(views),
        origins=np.repeat(table.origins[:, np.newaxis], len(views), axis=1),
    )


class SinkContract:
    """Subclass it; override `sink`, `contents`, `traces` and, if need be, attributes."""

    views: tuple[Resolution, ...] = (Level(0),)
    """Resolutions of the patches."""
    one_size: bool = False
    """Whether the patches of a slide have to be of one size."""

    @pytest.fixture
    def sink(self) -> Sink:
        """A sink for up to three slides, not prepared yet."""
        raise NotImplementedError

    def contents(self, sink: Sink, sizes: Sequence[Size]) -> list[list[Pixels]]:
        """Return what a user finds when all is done: pictures of each patch, in order.

        Parameters
        ----------
        sink : Sink
            Closed, not aborted.
        sizes : sequence of (int, int)
            (width, height) of the patches that should be there.
        """
        raise NotImplementedError

    def traces(self) -> list[str]:
        """Return what there is of memory or files at this moment."""
        raise NotImplementedError

    def test_it_is_a_sink(self, sink: Sink) -> None:
        """The protocol is met."""
        assert isinstance(sink, Sink)
        sink.abort()

    def test_what_is_put_is_found_in_order(self, sink: Sink) -> None:
        """Chunks come from anywhere, in any order; patches have an order all the same."""
        plans = [self._plan(0, 5), self._plan(1, 3)]
        sink.prepare(plans)
        self._put(sink, plans[1], [2, 0])
        self._put(sink, plans[0], [4, 1])
        self._put(sink, plans[1], [1])
        self._put(sink, plans[0], [0, 3, 2])
        for plan in plans:
            sink.finish(plan, np.ones(len(plan), dtype=np.bool_))
        sink.close()
        self._check(sink, [(0, row) for row in range(5)] + [(1, row) for row in range(3)])

    def test_what_is_written_directly_is_found_too(self, sink: Sink) -> None:
        """A writer that lends its memory needs no `put`."""
        plan = self._plan(0, 3)
        sink.prepare([plan])
        self._write(sink, plan, [2, 0, 1])
        sink.finish(plan, np.ones(3, dtype=np.bool_))
        sink.close()
        self._check(sink, [(0, 0), (0, 1), (0, 2)])

    def test_a_patch_put_twice_is_there_once(self, sink: Sink) -> None:
        """A chunk is read again when its worker died."""
        plan = self._plan(0, 2)
        sink.prepare([plan])
        writer = sink.writer(plan, np.array([0, 1]))
        for _ in range(2):
            self._fill(_sent(sink, writer), plan, [0, 1])
        sink.finish(plan, np.ones(2, dtype=np.bool_))
        sink.close()
        self._check(sink, [(0, 0), (0, 1)])

    def test_a_chunk_begun_by_a_worker_that_died_is_there_once(self, sink: Sink) -> None:
        """Some of its groups were stored, others delivered; then all come again."""
        plan = self._plan(0, 5)
        sink.prepare([plan])
        rows = [4, 2, 0, 1, 3]
        writer = sink.writer(plan, np.array(rows))
        first = _sent(sink, writer)
        self._deliver(first, plan, {0: 4, 1: 2})
        first.flush()
        self._deliver(first, plan, {2: 0})
        self._fill(_sent(sink, writer), plan, rows)
        sink.finish(plan, np.ones(5, dtype=np.bool_))
        sink.close()
        self._check(sink, [(0, row) for row in range(5)])

    def test_a_patch_that_failed_leaves_no_gap(self, sink: Sink) -> None:
        """It is never put; those of its group, and later groups, are there."""
        plan = self._plan(0, 6)
        sink.prepare([plan])
        writer = _sent(sink, sink.writer(plan, np.arange(6)))
        for group in ({0: 0, 2: 2}, {}, {4: 4, 5: 5}):
            self._deliver(writer, plan, group)
            writer.flush()
        writer.commit()
        sink.finish(plan, _only(6, [0, 2, 4, 5]))
        sink.close()
        self._check(sink, [(0, 0), (0, 2), (0, 4), (0, 5)])

    def test_what_was_not_delivered_is_not_there(self, sink: Sink) -> None:
        """Not even if it was put before its worker died; the others close ranks."""
        plans = [self._plan(0, 6), self._plan(1, 3)]
        sink.prepare(plans)
        self._put(sink, plans[0], [1, 3])
        self._put(sink, plans[0], [0, 2], commit=False)
        self._put(sink, plans[0], [5, 4])  # but nobody was told any more
        self._put(sink, plans[1], [1], commit=False)
        self._put(sink, plans[1], [2, 0])
        sink.finish(plans[0], _only(6, [1, 3]))
        sink.finish(plans[1], _only(3, [0, 2]))
        sink.close()
        self._check(sink, [(0, 1), (0, 3), (1, 0), (1, 2)])

    def test_slides_may_lack_patches_or_a_plan(self, sink: Sink) -> None:
        """The second of three slides could not be planned; the first has no patch."""
        plans = [self._plan(0, 0), self._plan(2, 2)]
        sink.prepare(plans)
        sink.finish(plans[0], _only(0, []))
        self._put(sink, plans[1], [0, 1])
        sink.finish(plans[1], _only(2, [0, 1]))
        sink.close()
        self._check(sink, [(2, 0), (2, 1)])

    def test_no_slides_at_all(self, sink: Sink) -> None:
        """There is nothing to do."""
        sink.prepare([])
        sink.close()
        assert self.contents(sink, []) == []
        sink.abort()

    def test_abort_leaves_nothing_that_is_not_complete(self, sink: Sink) -> None:
        """Everything is as it was before; a second call does nothing."""
        before = self.traces()
        plans = [self._plan(0, 3), self._plan(1, 2)]
        sink.prepare(plans)
        self._put(sink, plans[0], [2, 0])
        self._put(sink, plans[1], [1])
        assert self.traces() != before
        sink.abort()
        sink.abort()
        assert self.traces() == before

    def _plan(self, slide: int, count: int) -> SlidePlan:
        sizes = [self._size(slide, row) for row in range(count)]
        return plan_of(slide, sizes, views=self.views)

    def _put(
        self, sink: Sink, plan: SlidePlan, rows: list[int], *, commit: bool = True
    ) -> None:
        """Deliver a chunk of rows."""
        writer = _sent(sink, sink.writer(plan, np.array(rows)))
        self._fill(writer, plan, rows, commit=commit)

    def _fill(
        self, writer: ChunkWriter, plan: SlidePlan, rows: list[int], *, commit: bool = True
    ) -> None:
        """Deliver a chunk of rows, in groups of two."""
        for start in range(0, len(rows), 2):
            pair = rows[start : start + 2]
            self._deliver(writer, plan, dict(enumerate(pair, start)))
            writer.flush()
        if commit:
            writer.commit()

    def _deliver(self, writer: ChunkWriter, plan: SlidePlan, rows: dict[int, int]) -> None:
        """Deliver a group of items, last first."""
        for item, row in reversed(rows.items()):
            pictures = self._pictures(plan.slide_index, row)
            buffer = _filled(writer, [item], [pictures])
            if buffer is None or row % 2:  # either way will do
                writer.put(item, pictures)
            else:
                for number, picture in enumerate(pictures):
                    buffer.picture(number)[:] = picture

    def _write(self, sink: Sink, plan: SlidePlan, rows: list[int]) -> None:
        """Deliver rows to the memory of the writer, if it lends it."""
        writer = _sent(sink, sink.writer(plan, np.array(rows)))
        patches = [self._pictures(plan.slide_index, row) for row in rows]
        buffer = _filled(writer, range(len(rows)), patches)
        for item, pictures in enumerate(patches):
            if buffer is None:
                writer.put(item, pictures)
                continue
            for number, picture in enumerate(pictures, item * len(pictures)):
                buffer.picture(number)[:] = picture
        writer.flush()
        writer.commit()

    def _size(self, slide: int, row: int) -> Size:
        return 8 + (0 if self.one_size else row), 6 + slide

    def _pictures(self, slide: int, row: int) -> list[Pixels]:
        """Return the pixels of a patch, unlike those of any other."""
        rng = np.random.default_rng((slide, row))
        width, height = self._size(slide, row)
        shape = (len(self.views), height, width, 3)
        return list(rng.integers(0, 256, shape, dtype=np.uint8))

    def _check(self, sink: Sink, patches: list[tuple[int, int]]) -> None:
        """See that exactly these patches are there."""
        found = self.contents(sink, [self._size(*patch) for patch in patches])
        assert len(found) == len(patches)
        for pictures, (slide, row) in zip(found, patches, strict=True):
            for picture, wanted in zip(pictures, self._pictures(slide, row), strict=True):
                np.testing.assert_array_equal(picture, wanted)
        sink.abort()


def _sent(sink: Sink, writer: ChunkWriter | None) -> ChunkWriter:
    """Return the writer of a chunk, as a worker receives it."""
    assert writer is not None  # there was nothing before
    for segment in sink.segments:
        Segment.attach(segment.key, os.dup(segment.descriptor))
    received: ChunkWriter = pickle.loads(pickle.dumps(writer))  # noqa: S301
    Segment.keep_only(())
    return received


def _filled(
    writer: ChunkWriter, items: Sequence[int], patches: Sequence[Sequence[Pixels]]
) -> PixelBuffer | None:
    """Return the memory of these patches, if the writer lends it."""
    sizes = np.array([pictures[0].shape[1::-1] for pictures in patches])
    return writer.buffer(np.array(items), sizes, views=len(patches[0]))


def _only(count: int, rows: list[int]) -> BoolArray:
    delivered = np.zeros(count, dtype=np.bool_)
    delivered[rows] = True
    return delivered
