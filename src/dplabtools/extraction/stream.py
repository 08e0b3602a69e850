"""All patches, one after the other, through a ring of recycled memory."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from dplabtools._typing import BoolArray, IntArray, Pixels
from dplabtools.engine.base import Engine, Outcome
from dplabtools.engine.limits import available_memory
from dplabtools.errors import NotEnoughMemoryError, ParameterError
from dplabtools.extraction.account import Account
from dplabtools.extraction.plan import blocks, shares
from dplabtools.extraction.progress import ProgressClock
from dplabtools.extraction.ring import Ring
from dplabtools.extraction.run import Extraction
from dplabtools.extraction.sequence import PatchSequence
from dplabtools.extraction.source import Chunk, SlideSpec
from dplabtools.output.memory import SegmentRows
from dplabtools.records.patch_table import PatchTable
from dplabtools.records.pixel_batch import PixelBatch

__all__ = ["BatchStream", "StreamOptions"]

_HELD_TIMEOUT_S = 60.0
_ENDLESS = 1 << 62  # patches: a run so large that nobody waits for the last chunk
_LEAST_GROUP = 256  # patches that are cut into chunks together, so that neighbours meet
_STRIP = 512  # the same in the order of the table: wider strips share fewer tiles


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """How a stream is cut up and ordered.

    Attributes
    ----------
    batch_size : int
        Patches of a batch.
    ordered : bool
        Batches come in the order of the tables, or as they are ready.
    shuffle_buffer : int
        Patches that change places with each other; 0 keeps them in place.
    seed : int or None
        Decides how they do.
    max_memory : int
        Bytes of shared memory.
    sequence : (ndarray of int, ndarray of int), optional
        Slide and row of every patch, in the order of delivery, which nothing is shuffled in
        then. A patch that is not delivered leaves its batch shorter; none takes its place.
    """

    batch_size: int
    ordered: bool
    shuffle_buffer: int
    seed: int | None
    max_memory: int
    sequence: tuple[IntArray, IntArray] | None = None


@dataclass(slots=True, eq=False)
class _Group:
    """Batches whose patches are read together."""

    slides: IntArray  # of each patch, in the order of their places
    rows: IntArray
    slots: list[int]
    waiting: int = 0  # chunks
    delivered: BoolArray = field(init=False)

    def __post_init__(self) -> None:
        self.delivered = np.ones(len(self.rows), dtype=np.bool_)


class BatchStream:
    """Looks at slides, and reads their patches, batch by batch.

    Parameters
    ----------
    extraction : Extraction
        The patches, and how to read them.
    account : Account
        Plans and outcomes are entered there.
    options : StreamOptions
        Batches and their order.
    engine : Engine
        Where to read; the caller begins `Extraction.work`, with `segments`.
    clock : ProgressClock
        Told of patches and slides that are finished.

    Attributes
    ----------
    segments : tuple of Segment
        Shared memory that the chunks use.

    Raises
    ------
    ParameterError
        If patches differ in size.
    NotEnoughMemoryError
        If `max_memory`, or what there is, does not hold the batches it takes.
    """

    def __init__(
        self,
        extraction: Extraction,
        account: Account,
        *,
        options: StreamOptions,
        engine: Engine,
        clock: ProgressClock,
    ) -> None:
        self._extraction = extraction
        self._tables = extraction.tables
        self._specs = extraction.specs()
        self._options = options
        self._engine = engine
        self._account = account
        self._clock = clock
        self._begun = time.monotonic()
        self._rng = np.random.default_rng(options.seed)
        self._count = sum(map(len, self._tables))
        shape = self._batch_shape()
        self._batches = self._batches_of_group(shape)
        self._ring = self._make_ring(shape)
        self.segments = (self._ring.segment,) if engine.shares_memory else ()
        self._sequence = self._make_sequence()
        self._next_batches = 1 if self._in_strips() else self._batches
        self._live: deque[_Group] = deque()
        self._looks: dict[int, int] = {}  # slides, by job
        self._jobs: dict[int, tuple[_Group, Chunk, IntArray]] = {}
        self._next_job = 0
        self._unread: dict[int, int] = {}  # patches of each slide that was planned
        self._unasked: dict[int, int] = {}  # of those, patches that are in no chunk yet
        self._inside: dict[int, BoolArray] = {}  # rows that there are to read
        self._told: dict[int, set[int]] = {}  # lanes that have been told of its index

    def close(self) -> None:
        """Let go of the memory; batches that the caller holds stay valid."""
        self._ring.segment.close()

    # ------------------------------------------------------------------ plan

    def _make_sequence(self) -> PatchSequence:
        """Put all patches into the order in which groups are made of them."""
        if self._options.sequence is not None:
            return PatchSequence.of(*self._options.sequence)
        if not self._options.shuffle_buffer:
            return PatchSequence(self._parts(), range(len(self._tables)))
        parts = list(self._parts())
        parts = [parts[index] for index in self._rng.permutation(len(parts))]
        return PatchSequence(parts, dict.fromkeys(slide for slide, _ in parts))

    def _parts(self) -> Iterator[tuple[int, IntArray]]:
        """Yield slides with rows that lie together."""
        for slide, table in enumerate(self._tables):
            rows = np.arange(len(table))
            if self._in_strips() or not len(rows):
                yield slide, rows
                continue
            views = self._views(table)  # of a size that no number of workers has a say in
            for part in blocks(table, rows, views=views, total=_ENDLESS, workers=1):
                yield slide, part

    def _views(self, table: PatchTable) -> int:
        return len(self._extraction.reading.views_of(table))

    def _batch_shape(self) -> tuple[int, ...]:
        """Return the shape of a batch: (n, levels, height, width, 3)."""
        tables = [table for table in self._tables if len(table)]
        if not tables:
            return (self._options.batch_size, 1, 1, 1, 3)
        low = np.min([table.sizes.min(axis=0) for table in tables], axis=0)
        high = np.max([table.sizes.max(axis=0) for table in tables], axis=0)
        if (low < high).any():
            msg = (
                f"patches of a stream must have one size, and these have from "
                f"{tuple(low.tolist())} to {tuple(high.tolist())} pixels"
            )
            raise ParameterError(msg)
        width, height = high.tolist()
        return (self._options.batch_size, self._views(tables[0]), height, width, 3)

    def _batches_of_group(self, shape: tuple[int, ...]) -> int:
        """Return how many batches are read together."""
        options = self._options
        size = max(options.batch_size, options.shuffle_buffer, _LEAST_GROUP)
        roomy = 4 * _STRIP * math.prod(shape[1:]) <= options.max_memory
        if self._in_strips() and roomy:
            size = max(size, _STRIP)
        return -(-size // options.batch_size)

    def _in_strips(self) -> bool:
        """Whether groups are runs of the table: of a grid, strips of the slide."""
        return self._options.ordered and not self._options.shuffle_buffer

    def _make_ring(self, shape: tuple[int, ...]) -> Ring:
        """Reserve the memory; pages that no batch reaches are never taken."""
        batch = math.prod(shape)
        least = self._batches + 1
        slots = self._options.max_memory // batch
        if slots >= least:  # leave half of what is free to everybody else
            slots = max(least, min(slots, available_memory() // 2 // batch))
        if slots < least:
            msg = (
                f"max_memory={self._options.max_memory:,} holds {slots} batches of "
                f"{batch:,} bytes, and {least} are needed; raise it, or lower batch_size "
                f"or shuffle_buffer"
            )
            raise NotEnoughMemoryError(msg)
        needed = -(-self._count // self._options.batch_size) + 1
        return Ring(shape, min(slots, max(needed, least)))

    # ------------------------------------------------------------------- run

    def __iter__(self) -> Iterator[PixelBatch]:
        """Yield the batches.

        Yields
        ------
        PixelBatch
            Of `batch_size` patches; fewer in the last, and where patches failed.

        Raises
        ------
        Exception
            Whatever the account makes of a failure.
        NotEnoughMemoryError
            If the caller holds all batches there is memory for, for a minute.
        """
        while True:
            self._dispatch()
            group = self._deliverable()
            if group is not None:
                for batch in self._deliver(group):
                    self._dispatch()
                    yield batch
                    del batch
                    self._engine.poll()
            elif self._engine.pending:
                self._take()
            elif not self._sequence.ready(self._group_rows):
                return
            else:
                self._wait_for_slots()

    def _deliverable(self) -> _Group | None:
        """Return a group that is complete, and whose turn it is."""
        candidates = list(self._live)[:1] if self._in_sequence() else list(self._live)
        for group in candidates:
            if not group.waiting:
                self._live.remove(group)
                return group
        return None

    def _in_sequence(self) -> bool:
        return self._options.ordered or bool(self._options.shuffle_buffer)

    @property
    def _group_rows(self) -> int:
        """Patches of the next group, if there are as many."""
        return self._next_batches * self._options.batch_size

    def _dispatch(self) -> None:
        """Hand out groups as long as there is memory, and somebody could use them."""
        while True:
            self._look_ahead()
            count = self._sequence.ready(self._group_rows)
            if not count:
                return
            slots = -(-count // self._options.batch_size)
            busy = self._engine.capacity
            enough = len(self._jobs) >= busy or len(self._live) >= busy
            if slots > len(self._ring.free) or (enough and len(self._live) > 1):
                return
            # The first batch is wanted soon; wider strips, which share fewer tiles, later.
            self._next_batches = min(2 * self._next_batches, self._batches)
            self._submit(count, [self._ring.free.pop() for _ in range(slots)])

    def _look_ahead(self) -> None:
        """Have slides looked at whose turn comes soon."""
        while len(self._looks) < self._engine.capacity:
            slide = self._sequence.next_slide()
            if slide is None:
                return
            self._looks[self._next_job] = slide
            self._engine.submit(self._next_job, self._specs[slide])
            self._next_job += 1

    def _submit(self, count: int, slots: list[int]) -> None:
        """Cut a group into chunks of neighbours, and hand them out."""
        slides, rows = self._sequence.take(count)
        if self._options.shuffle_buffer and self._options.sequence is None:
            order = self._rng.permutation(count)
            slides, rows = slides[order], rows[order]
        group = _Group(slides, rows, slots)
        for slide in np.unique(slides).tolist():
            group.delivered[slides == slide] = self._inside[slide][rows[slides == slide]]
        size = self._options.batch_size
        numbers = np.arange(count)
        offsets = (
            np.array(slots)[numbers // size] * self._ring.slot_bytes
            + numbers % size * self._ring.patch_bytes
        )
        self._live.append(group)
        for slide, lane, places in self._chunks(group):
            plan = self._account.plans[slide]
            if plan is None:
                continue  # it was planned, or it would have no patches here
            place = SegmentRows(self._ring.segment, offsets[places])
            spec = self._spec(slide, lane)
            chunk = Chunk.of(plan, rows[places], place=place, spec=spec)
            self._jobs[self._next_job] = (group, chunk, places)
            sent = chunk if self._engine.shares_memory else chunk.returning()
            self._engine.submit(self._next_job, sent, lane=lane)
            self._next_job += 1
            group.waiting += 1
        for slide, asked in zip(*np.unique(slides, return_counts=True), strict=True):
            self._forget_if_last(int(slide), int(asked))

    def _chunks(self, group: _Group) -> Iterator[tuple[int, int, IntArray]]:
        """Yield slide, lane and places of a group's patches, chunk by chunk.

        In the order of the table a group often is a thin strip, and the next one lies
        beside it. Each worker gets its part of every strip, so that it already has the
        tiles that two of them share. Small slides, many to a group, are not cut up.
        """
        workers, count = self._extraction.options.workers, len(group.rows)
        by_slide = np.lexsort((group.rows, group.slides))
        by_slide = by_slide[group.delivered[by_slide]]
        owners = group.slides[by_slide]
        starts = np.flatnonzero(np.diff(owners, prepend=-1))
        ends = [*starts, len(by_slide)][1:]  # none, where nothing is left of the group
        for start, end in zip(starts, ends, strict=True):
            slide, places = int(owners[start]), by_slide[start:end]
            first = int(start) * workers // count
            share = -(-len(places) * workers // count)
            parts = self._cut(self._tables[slide], group.rows[places], share=share)
            for lane, part in enumerate(parts, first):
                yield slide, lane, places[np.searchsorted(group.rows[places], part)]

    def _cut(self, table: PatchTable, rows: IntArray, *, share: int) -> Iterator[IntArray]:
        """Cut up rows of a slide that are in order."""
        views = self._views(table)
        if self._in_strips():
            return shares(table, rows, views=views, count=share)
        workers = self._extraction.options.workers
        return blocks(table, rows, views=views, total=self._count, workers=workers)

    def _spec(self, slide: int, lane: int) -> SlideSpec:
        """Say how to open a slide; its index goes to each lane once."""
        told = self._told.setdefault(slide, set())
        index = None if lane in told else self._account.indexes.get(slide)
        told.add(lane)
        stamp = self._account.stamps.get(slide)
        return replace(self._specs[slide], index=index, stamp=stamp)

    def _forget_if_last(self, slide: int, asked: int) -> None:
        """Let go of the plan of a slide with the last of its patches."""
        self._unasked[slide] -= asked
        if not self._unasked[slide]:
            del self._unasked[slide], self._inside[slide]
            self._told.pop(slide, None)
            self._account.forget(slide)

    def _take(self) -> None:
        """Wait for a job, and count it as done."""
        outcome = self._engine.take()
        if outcome.index in self._looks:
            self._plan(self._looks.pop(outcome.index), outcome)
            return
        group, chunk, places = self._jobs.pop(outcome.index)
        failed = self._account.note(chunk, outcome)
        if outcome.error is None:
            chunk.take_in(outcome.result)
        group.waiting -= 1
        group.delivered[places[np.isin(chunk.rows, failed)]] = False
        self._advance(chunk.slide, len(chunk.rows))

    def _plan(self, slide: int, outcome: Outcome) -> None:
        """Plan a slide that has been looked at."""
        inside = np.zeros(len(self._tables[slide]), dtype=np.bool_)
        plan = self._extraction.enter(
            slide, outcome, account=self._account, clock=self._clock
        )
        if plan is not None:
            inside[self._account.rows_inside(plan, self._extraction.reading)] = True
            self._unread[slide] = len(plan)
            self._advance(slide, len(plan) - int(inside.sum()))
        # With a sequence, places of patches that there are not stay, and stay empty.
        asked = inside if self._options.sequence is None else np.ones_like(inside)
        self._sequence.known(slide, asked)
        if asked.any():
            self._inside[slide] = inside
            self._unasked[slide] = int(asked.sum())
        else:
            self._account.forget(slide)
        if not self._account.profile.plan:
            self._account.profile.plan = time.monotonic() - self._begun

    def _advance(self, slide: int, patches: int) -> None:
        self._unread[slide] -= patches
        finished = not self._unread[slide]
        if finished:
            del self._unread[slide]
        self._clock.advance(patches=patches, slides=int(finished))

    def _deliver(self, group: _Group) -> Iterator[PixelBatch]:
        """Yield the batches of a complete group."""
        size = self._options.batch_size
        for number, slot in enumerate(group.slots):
            part = slice(number * size, (number + 1) * size)
            kept = group.delivered[part]
            slides, rows = group.slides[part][kept], group.rows[part][kept]
            pixels = self._ring.lend(slot)[: len(kept)]
            if not kept.all():
                pixels[: len(rows)] = pixels[kept]
                pixels = pixels[: len(rows)]
            if len(rows):
                yield self._batch(slides, rows, pixels)
            del pixels

    def _batch(self, slides: IntArray, rows: IntArray, pixels: Pixels) -> PixelBatch:
        labels = np.empty(len(rows), dtype=np.object_)
        locations = np.empty((len(rows), 2), dtype=np.int64)
        for slide in np.unique(slides).tolist():
            here, table = slides == slide, self._tables[slide]
            labels[here] = table.labels_of(rows[here])
            locations[here] = table.origins[rows[here]]
        return PixelBatch(
            pixels=pixels, labels=labels, locations=locations, slides=slides, rows=rows
        )

    def _wait_for_slots(self) -> None:
        """Wait until the caller lets go of batches.

        Raises
        ------
        NotEnoughMemoryError
            If it holds all of them for a minute.
        """
        deadline = time.monotonic() + _HELD_TIMEOUT_S
        count = self._sequence.ready(self._group_rows) or 0
        needed = -(-count // self._options.batch_size)
        while len(self._ring.free) < needed:
            if time.monotonic() > deadline:
                msg = (
                    f"all {self._options.max_memory:,} bytes of max_memory are in batches "
                    f"that are still held; let go of them, keep batch.copy(), or raise it"
                )
                raise NotEnoughMemoryError(msg)
            time.sleep(0.002)
