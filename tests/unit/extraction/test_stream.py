"""Whatever is done first, each patch is delivered once, in order, in any memory."""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dplabtools._typing import IntArray
from dplabtools.engine.base import JobResult, Work
from dplabtools.engine.choose import RunOptions
from dplabtools.engine.serial import SerialEngine, perform
from dplabtools.engine.slabs import Segment
from dplabtools.errors import SlideReadError
from dplabtools.extraction.chunk_reader import Chunk, ChunkReport
from dplabtools.extraction.inspection import InspectedSlide, SlideSpec
from dplabtools.extraction.plan import ReadOptions
from dplabtools.extraction.progress import ProgressClock
from dplabtools.extraction.run import Extraction
from dplabtools.extraction.run_state import RunState
from dplabtools.extraction.stream import BatchStream
from dplabtools.extraction.stream_options import BatchOrder, StreamOptions
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.geometry.resolution import Level
from dplabtools.readers.stamps import SlideStamp
from dplabtools.records.patch_table import PatchTable
from dplabtools.settings import Settings

SIDE = 4000  # pixels of each slide
TILE = 64
PATCH_BYTES = 3


class AnyOrder:
    """An engine that does what it was given in random order."""

    def __init__(self, capacity: int, choose: random.Random) -> None:
        self.capacity = capacity
        self._choose = choose
        self._work: Work | None = None
        self._jobs: list[tuple[int, object]] = []

    @property
    def pending(self) -> int:
        return len(self._jobs)

    def check_access(self, *, files: Sequence[str], folders: Sequence[str]) -> None:
        pass

    def begin(self, work: Work, *, segments: Sequence[Segment] = ()) -> None:
        self._work = work

    def submit(self, index: int, job: object, *, lane: int | None = None) -> None:
        self._jobs.append((index, job))

    def take(self) -> JobResult:
        index, job = self._jobs.pop(self._choose.randrange(len(self._jobs)))
        return perform(self._work, index, job)

    def poll(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


class Mark:
    """Makes a pixel of each patch, which says who it is; every so many cannot be read."""

    def __init__(self, bad: int, *, foreseen: bool = False) -> None:
        self.bad = bad
        self.foreseen = foreseen

    def __call__(self, job: Chunk | SlideSpec) -> ChunkReport | InspectedSlide:
        if isinstance(job, SlideSpec):
            size = (SIDE, SIDE)
            pyramid = Pyramid(
                slide=job.path, sizes=(size,), downsamples=(1.0,), foreseen=self.foreseen
            )
            stamp = SlideStamp(machine="", files=())
            return InspectedSlide(
                pyramid=pyramid, icc_profile=None, index=None, stamp=stamp
            )
        buffer = job.writer.buffer(np.arange(len(job.rows)), job.sizes, views=1)
        assert buffer is not None
        failed = []
        for item, row in enumerate(job.rows.tolist()):
            buffer.picture(item)[0, 0] = (job.slide_index, row % 256, row // 256)
            if row % self.bad == 0:
                failed.append((row, SlideReadError("it is damaged")))
        return ChunkReport(failed=tuple(failed), seconds={})

    def close(self) -> None:
        pass


def table(corners: IntArray, number: int) -> PatchTable:
    return PatchTable(
        slide=f"{number}.svs",
        resolution=Level(0),
        origins=corners,
        sizes=np.ones((len(corners), 2), dtype=np.int64),
        codes=np.zeros(len(corners), np.int64),
        labels=("",),
    )


def corners(count: int, seed: int, *, grid: bool) -> IntArray:
    """Return places of patches; of those that lie anywhere, some outside the slide."""
    if grid:
        return np.stack(np.divmod(np.arange(count), 30), axis=1)[:, ::-1] * 40
    places = np.random.default_rng(seed).integers(0, SIDE, (count, 2))
    places[::19] += 2 * SIDE
    return places


@settings(max_examples=100, deadline=None)
@given(
    slides=st.lists(st.tuples(st.integers(0, 900), st.booleans()), max_size=5),
    options=st.builds(
        StreamOptions,
        order=st.sampled_from(["table", "near", "ready"]),
        shuffle_buffer=st.sampled_from([0, 0, 50, 700]),
        batch_size=st.sampled_from([1, 7, 64, 256, 1000]),
        seed=st.integers(0, 99),
        max_memory=st.just(0),
    ),
    room=st.integers(0, 6),
    workers=st.integers(1, 5),
    bad=st.sampled_from([3, 100, 10_000]),
    seed=st.integers(0, 99),
)
def test_each_patch_comes_once(
    slides: list[tuple[int, bool]],
    options: StreamOptions,
    room: int,
    workers: int,
    bad: int,
    seed: int,
) -> None:
    choose = random.Random(seed)  # noqa: S311 - no secret
    tables = [
        table(corners(count, seed + number, grid=grid), number)
        for number, (count, grid) in enumerate(slides)
    ]
    order, shuffled = options.order, bool(options.shuffle_buffer)
    batches = 1 + -(-max(1, options.shuffle_buffer) // options.batch_size) + room
    options = replace(options, max_memory=batches * options.batch_size * PATCH_BYTES)
    run = RunOptions(workers=workers, skip_errors=True)
    reading = ReadOptions(views=None, mode=None, settings=Settings())
    extraction = Extraction(tables=tables, reading=reading, options=run)
    state = RunState(tables, run)
    state.profile.caller = choose.choice([0, 1e9])  # seconds: for some nobody waits
    clock = ProgressClock(None, total=sum(map(len, tables)), slides=len(tables))
    engine = AnyOrder(workers * choose.choice([1, 2]), choose)
    engine.begin(Mark(bad, foreseen=choose.choice([True, False])))
    stream = BatchStream(extraction, state, options=options, engine=engine, clock=clock)
    found: list[tuple[int, int]] = []
    for batch in stream:
        assert 0 < len(batch) <= options.batch_size
        slide, low, high = batch.pixels[:, 0, 0, 0].T.astype(np.int64)
        assert (slide == batch.slides).all()
        assert (low + 256 * high == batch.rows).all()
        found += zip(batch.slides.tolist(), batch.rows.tolist(), strict=True)
    stream.close()
    wanted = [
        (number, row)
        for number, each in enumerate(tables)
        for row in _by_order(each, order, shuffled=shuffled)
        if row % bad and (each.origins[row] < SIDE).all()
    ]
    if order == "ready" or shuffled:
        assert sorted(found) == sorted(wanted)
    else:
        assert found == wanted
    lost = sum(map(len, tables)) - len(wanted)
    assert len([failure for failure in state.errors() if failure.row is not None]) == lost
    assert not state.planned()  # what is known of slides is let go


class Note(Mark):
    """Notes where the patches of each chunk lie."""

    def __init__(self) -> None:
        super().__init__(10_000)
        self.chunks: list[IntArray] = []

    def __call__(self, job: Chunk | SlideSpec) -> ChunkReport | InspectedSlide:
        if isinstance(job, Chunk):
            self.chunks.append(job.origins[:, 0])
        return super().__call__(job)


def test_patches_that_are_read_at_once_lie_together() -> None:
    left = np.random.default_rng(1).integers(0, SIDE // 2, (1500, 2))
    right = np.random.default_rng(2).integers(SIDE // 2, SIDE, (1500, 2))
    tables = [table(np.concatenate([left, right]), 0)]
    options = StreamOptions(
        batch_size=100, order="table", shuffle_buffer=0, seed=0, max_memory=2000 * 3
    )
    reading = ReadOptions(views=None, mode=None, settings=Settings())
    run = RunOptions(workers=1, skip_errors=True)
    extraction = Extraction(tables=tables, reading=reading, options=run)
    work, engine = Note(), SerialEngine()
    engine.begin(work)
    stream = BatchStream(
        extraction,
        RunState(tables, run),
        options=options,
        engine=engine,
        clock=ProgressClock(None, total=3000, slides=1),
    )
    assert sum(map(len, stream)) == 2999  # the first one is damaged
    stream.close()
    large = [corners for corners in work.chunks if len(corners) > 256]
    assert large
    for corners in large:
        at_once = [corners[:256], corners[256:]]
        area = sum(np.ptp(part, axis=0).prod() for part in at_once)
        assert area < 1.2 * np.ptp(corners, axis=0).prod()


class Lanes(AnyOrder):
    """Notes for which worker the chunks are."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity, random.Random(1))  # noqa: S311 - no secret
        self.lanes: list[int | None] = []

    def submit(self, index: int, job: object, *, lane: int | None = None) -> None:
        super().submit(index, job, lane=lane)
        if isinstance(job, Chunk):
            self.lanes.append(lane)


@pytest.mark.parametrize("shuffle_buffer", [0, 60, 1000])
def test_small_slides_are_shared_by_all_workers(shuffle_buffer: int) -> None:
    tables = [table(corners(20, 0, grid=True), number) for number in range(9)]
    options = StreamOptions(
        batch_size=10,
        order="table",
        shuffle_buffer=shuffle_buffer,
        seed=0,
        max_memory=1 << 20,
    )
    reading = ReadOptions(views=None, mode=None, settings=Settings())
    run = RunOptions(workers=3)
    extraction = Extraction(tables=tables, reading=reading, options=run)
    engine = Lanes(6)
    engine.begin(Mark(10_000))
    stream = BatchStream(
        extraction,
        RunState(tables, replace(run, skip_errors=True)),
        options=options,
        engine=engine,
        clock=ProgressClock(None, total=180, slides=9),
    )
    assert sum(map(len, stream)) == 171  # the first one of each is damaged
    stream.close()
    assert Counter(engine.lanes) == {0: 3, 1: 3, 2: 3}


class InTurn(AnyOrder):
    """Workers do their jobs in turn, and take as long as the tiles they have not seen."""

    def __init__(self, lanes: int) -> None:
        super().__init__(2 * lanes, random.Random(1))  # noqa: S311 - no secret
        self.now = 0
        self.worked = 0
        self._free = [0] * lanes
        self._ends: dict[int, int] = {}
        self._took: dict[int, int] = {}
        self._seen: dict[tuple[int, int], set[int]] = {}

    def submit(self, index: int, job: object, *, lane: int | None = None) -> None:
        super().submit(index, job, lane=lane)
        self._ends[index] = self.now
        if isinstance(job, Chunk):
            assert lane is not None
            seen = self._seen.setdefault((job.slide_index, lane), set())
            before = len(seen)
            around = np.stack(np.divmod(np.arange(4), 2), axis=1)[:, np.newaxis]
            tiles = job.origins[:, 0] // TILE + around
            seen.update((tiles @ [SIDE, 1]).ravel().tolist())
            took = len(seen) - before + self._choose.randrange(20)
            self.worked += took
            self._free[lane] = max(self.now, self._free[lane]) + took
            self._ends[index], self._took[index] = self._free[lane], took

    def take(self) -> JobResult:
        index, job = min(self._jobs, key=lambda each: self._ends[each[0]])
        self._jobs.remove((index, job))
        self.now = max(self.now, self._ends[index])
        outcome = perform(self._work, index, job)
        if isinstance(job, Chunk):
            report = replace(outcome.result, seconds={"read": self._took[index]})
            outcome = replace(outcome, result=report)
        return outcome


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_hardly_wait_for_each_other(workers: int) -> None:
    tables = [table(corners(6000, number, grid=False), number) for number in range(4)]
    options = StreamOptions(
        batch_size=256, order="table", shuffle_buffer=0, seed=0, max_memory=21 * 256 * 3
    )
    reading = ReadOptions(views=None, mode=None, settings=Settings())
    run = RunOptions(workers=workers, skip_errors=True)
    engine = InTurn(workers)
    engine.begin(Mark(10_000, foreseen=True))
    stream = BatchStream(
        Extraction(tables=tables, reading=reading, options=run),
        RunState(tables, run),
        options=options,
        engine=engine,
        clock=ProgressClock(None, total=24_000, slides=4),
    )
    assert sum(map(len, stream)) == 4 * (6000 - 316)
    stream.close()
    assert engine.worked > 0.97 * workers * engine.now


def _by_order(table: PatchTable, order: BatchOrder, *, shuffled: bool) -> list[int]:
    rows = list(range(len(table)))
    if order == "near" and not shuffled:
        rows.sort(key=lambda row: (*table.origins[row, ::-1].tolist(), row))
    return rows


class Eager(AnyOrder):
    """An engine whose jobs are done before anybody asks."""

    told = False

    def poll(self) -> bool:
        self.told = bool(self.pending)
        return self.told

    def take(self) -> JobResult:
        self.told = False
        return super().take()


def test_what_is_done_while_the_caller_is_busy_is_taken_between_two_batches() -> None:
    tables = [table(corners(3000, 0, grid=True), 0)]
    options = StreamOptions(
        batch_size=64, order="table", shuffle_buffer=0, seed=0, max_memory=1 << 20
    )
    reading = ReadOptions(views=None, mode=None, settings=Settings())
    run = RunOptions(workers=2, skip_errors=True)
    extraction = Extraction(tables=tables, reading=reading, options=run)
    engine = Eager(4, random.Random(0))  # noqa: S311 - no secret
    engine.begin(Mark(10_000))
    stream = BatchStream(
        extraction,
        RunState(tables, run),
        options=options,
        engine=engine,
        clock=ProgressClock(None, total=3000, slides=1),
    )
    for _ in stream:
        assert not engine.told
    stream.close()


class Starting(AnyOrder):
    """Workers that take a while to start; notes what memory there is when they have."""

    def __init__(self, polls: int) -> None:
        super().__init__(2, random.Random(1))  # noqa: S311 - no secret
        self.polls = polls
        self.segments: Sequence[Segment] = ()
        self.taken: list[int] = []

    def begin(self, work: Work, *, segments: Sequence[Segment] = ()) -> None:
        super().begin(work)
        self.segments = segments

    def poll(self) -> bool:
        self.polls -= 1
        return self.polls < 0

    def take(self) -> JobResult:
        (segment,) = self.segments
        self.taken.append(os.fstat(segment.descriptor).st_blocks * 512)
        self.polls = 0
        return super().take()


@pytest.mark.skipif(sys.platform != "linux", reason="others have no blocks of memory")
@pytest.mark.parametrize(
    ("polls", "count", "patches"),
    [(1000, 200, 40), (1000, 15, 15), (0, 200, 0), (3, 200, 6)],
)
def test_memory_is_taken_until_workers_have_started(
    polls: int, count: int, patches: int
) -> None:
    side, size = 512, 10
    sizes = np.full((count, 2), side, dtype=np.int64)
    tables = [replace(table(corners(count, 0, grid=True), 0), sizes=sizes)]
    options = StreamOptions(
        batch_size=size, order="table", shuffle_buffer=0, seed=0, max_memory=1 << 30
    )
    reading = ReadOptions(views=None, mode=None, settings=Settings())
    run = RunOptions(workers=1, skip_errors=True)
    engine = Starting(polls)
    stream = BatchStream(
        Extraction(tables=tables, reading=reading, options=run),
        RunState(tables, run),
        options=options,
        engine=engine,
        clock=ProgressClock(None, total=count, slides=1),
    )
    engine.begin(Mark(10_000), segments=stream.segments)
    next(iter(stream))
    stream.close()
    assert engine.taken[0] // (side * side * 3) == patches  # of four batches at most
