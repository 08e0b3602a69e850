"""Batches of patches, one after the other, through a ring of recycled memory."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dplabtools._typing import BoolArray, IntArray, Pixels
from dplabtools.engine.base import Engine
from dplabtools.engine.limits import available_memory
from dplabtools.errors import NotEnoughMemoryError, ParameterError
from dplabtools.extraction.account import Account
from dplabtools.extraction.plan import blocks, shares
from dplabtools.extraction.progress import ProgressClock
from dplabtools.extraction.ring import Ring
from dplabtools.extraction.source import Chunk
from dplabtools.output.memory import SegmentRows
from dplabtools.records.pixel_batch import PixelBatch
from dplabtools.records.slide_plan import SlidePlan

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
    workers : int
        Workers that share it.
    """

    batch_size: int
    ordered: bool
    shuffle_buffer: int
    seed: int | None
    max_memory: int
    workers: int


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """All patches of a run in one count, by which they are told apart here."""

    plans: tuple[SlidePlan, ...]
    starts: IntArray
    plan_of: IntArray
    rows: IntArray
    labels: npt.NDArray[np.object_]
    locations: IntArray

    @classmethod
    def of(cls, plans: Sequence[SlidePlan]) -> _Columns:
        counts = np.array([len(plan) for plan in plans], dtype=np.int64)
        tables = [plan.table for plan in plans]
        empty = np.zeros((0, 2), dtype=np.int64)
        labels = [np.empty(0, dtype=np.object_), *(table.row_labels() for table in tables)]
        return cls(
            plans=tuple(plans),
            starts=np.cumsum(counts) - counts,
            plan_of=np.repeat(np.arange(len(plans)), counts),
            rows=np.concatenate([empty[:, 0], *map(np.arange, counts)]),
            labels=np.concatenate(labels),
            locations=np.concatenate([empty, *(table.origins for table in tables)]),
        )


@dataclass(slots=True, eq=False)
class _Group:
    """Batches whose patches are read together."""

    patches: IntArray  # in the order of their places
    slots: list[int]
    waiting: int = 0  # chunks
    delivered: BoolArray = field(init=False)

    def __post_init__(self) -> None:
        self.delivered = np.ones(len(self.patches), dtype=np.bool_)


class BatchStream:
    """Reads the patches of planned slides, batch by batch.

    Parameters
    ----------
    account : Account
        Of slides that have been planned; outcomes are entered there.
    wanted : sequence of ndarray of int
        For each of them, the rows to read.
    options : StreamOptions
        Batches and their order.
    engine : Engine
        Where to read; the caller begins the work, with `segments`.
    clock : ProgressClock
        Told of patches that are finished.

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
        account: Account,
        wanted: Sequence[IntArray],
        *,
        options: StreamOptions,
        engine: Engine,
        clock: ProgressClock,
    ) -> None:
        self._columns = _Columns.of(account.planned())
        self._options = options
        self._engine = engine
        self._workers = options.workers
        self._account = account
        self._clock = clock
        self._rng = np.random.default_rng(options.seed)
        self._sequence = self._ordered(wanted)
        shape = self._batch_shape()
        self._batches = self._batches_of_group(shape)
        self._ring = self._make_ring(shape)
        self.segments = (self._ring.segment,)
        self._live: deque[_Group] = deque()
        self._jobs: dict[int, tuple[_Group, Chunk, IntArray]] = {}
        self._next_job = 0
        self._next_patch = 0
        self._next_batches = 1 if self._in_strips() else self._batches
        plans = self._columns.plans
        self._left = {  # patches of each slide
            plan.slide: len(rows) for plan, rows in zip(plans, wanted, strict=True)
        }
        clock.advance(slides=sum(not left for left in self._left.values()))

    def close(self) -> None:
        """Let go of the memory; batches that the caller holds stay valid."""
        self._ring.segment.close()

    # ------------------------------------------------------------------ plan

    def _ordered(self, wanted: Sequence[IntArray]) -> IntArray:
        """Return the patches in the order in which groups are made of them."""
        starts = self._columns.starts.tolist()
        none = np.zeros(0, dtype=np.int64)
        if self._in_strips():
            return np.concatenate(
                [*(start + rows for start, rows in zip(starts, wanted, strict=True)), none]
            )
        parts = [  # of a size that no number of workers has a say in
            start + rows
            for plan, start, of_slide in zip(
                self._columns.plans, starts, wanted, strict=True
            )
            for rows in blocks(plan, of_slide, total=_ENDLESS, workers=1)
        ]
        if self._options.shuffle_buffer:
            parts = [parts[index] for index in self._rng.permutation(len(parts))]
        return np.concatenate([*parts, none])

    def _batch_shape(self) -> tuple[int, ...]:
        """Return the shape of a batch: (n, levels, height, width, 3)."""
        plans = self._columns.plans
        sizes = np.concatenate(
            [plan.table.sizes for plan in plans] or [np.ones((1, 2), int)]
        )
        low, high = sizes.min(axis=0, initial=1 << 62), sizes.max(axis=0, initial=0)
        if (low < high).any():
            msg = (
                f"patches of a stream must have one size, and these have from "
                f"{tuple(low.tolist())} to {tuple(high.tolist())} pixels"
            )
            raise ParameterError(msg)
        width, height = np.maximum(high, 1).tolist()
        views = len(plans[0].views) if plans else 1
        return (self._options.batch_size, views, height, width, 3)

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
        needed = -(-len(self._sequence) // self._options.batch_size) + 1
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
            elif self._next_patch >= len(self._sequence):
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

    def _dispatch(self) -> None:
        """Hand out groups as long as there is memory, and somebody could use them."""
        while self._next_patch < len(self._sequence):
            rows = self._next_batches * self._options.batch_size
            patches = self._sequence[self._next_patch : self._next_patch + rows]
            slots = -(-len(patches) // self._options.batch_size)
            busy = self._engine.capacity
            enough = len(self._jobs) >= busy or len(self._live) >= busy
            if slots > len(self._ring.free) or (enough and len(self._live) > 1):
                return
            self._next_patch += len(patches)
            # The first batch is wanted soon; wider strips, which share fewer tiles, later.
            self._next_batches = min(2 * self._next_batches, self._batches)
            self._submit(patches, [self._ring.free.pop() for _ in range(slots)])

    def _submit(self, patches: IntArray, slots: list[int]) -> None:
        """Cut a group into chunks of neighbours, and hand them out."""
        if self._options.shuffle_buffer:
            patches = self._rng.permutation(patches)
        group = _Group(patches, slots)
        size = self._options.batch_size
        numbers = np.arange(len(patches))
        offsets = (
            np.array(slots)[numbers // size] * self._ring.slot_bytes
            + numbers % size * self._ring.patch_bytes
        )
        self._live.append(group)
        owner = self._columns.plan_of[patches]
        for index in np.unique(owner).tolist():
            here = np.flatnonzero(owner == index)
            for lane, places in enumerate(self._chunks(index, patches[here], here)):
                plan = self._columns.plans[index]
                rows = self._columns.rows[patches[places]]
                place = SegmentRows(self._ring.segment, offsets[places])
                chunk = Chunk.of(plan, rows, place=place)
                self._jobs[self._next_job] = (group, chunk, places)
                self._engine.submit(self._next_job, chunk, lane=lane)
                self._next_job += 1
                group.waiting += 1

    def _chunks(
        self, index: int, patches: IntArray, places: IntArray
    ) -> Iterator[IntArray]:
        """Yield places of a group's patches of one slide, chunk by chunk."""
        plan = self._columns.plans[index]
        rows = self._columns.rows[patches]
        order = np.argsort(rows)
        for part in self._parts(plan, rows[order]):
            yield places[order[np.searchsorted(rows[order], part)]]

    def _parts(self, plan: SlidePlan, rows: IntArray) -> Iterator[IntArray]:
        """Cut up rows of a slide.

        In the order of the table a group often is a thin strip, and the next one lies
        beside it. Each worker gets its part of every strip, so that it already has the
        tiles that two of them share.
        """
        if self._in_strips():
            return shares(plan, rows, count=self._workers)
        return blocks(plan, rows, total=len(self._sequence), workers=self._workers)

    def _take(self) -> None:
        """Wait for a chunk, and count it as done."""
        outcome = self._engine.take()
        group, chunk, places = self._jobs.pop(outcome.index)
        failed = self._account.note(chunk, outcome)
        group.waiting -= 1
        group.delivered[places[np.isin(chunk.rows, failed)]] = False
        self._left[chunk.slide] -= len(chunk.rows)
        finished = not self._left[chunk.slide]
        self._clock.advance(patches=len(chunk.rows), slides=int(finished))

    def _deliver(self, group: _Group) -> Iterator[PixelBatch]:
        """Yield the batches of a complete group."""
        size = self._options.batch_size
        for number, slot in enumerate(group.slots):
            part = slice(number * size, (number + 1) * size)
            kept = group.delivered[part]
            patches = group.patches[part][kept]
            pixels = self._ring.lend(slot)[: len(kept)]
            if not kept.all():
                pixels[: len(patches)] = pixels[kept]
                pixels = pixels[: len(patches)]
            if len(patches):
                yield self._batch(patches, pixels)
            del pixels

    def _batch(self, patches: IntArray, pixels: Pixels) -> PixelBatch:
        columns = self._columns
        numbers = np.array([plan.slide for plan in columns.plans])
        return PixelBatch(
            pixels=pixels,
            labels=columns.labels[patches],
            locations=columns.locations[patches],
            slides=numbers[columns.plan_of[patches]],
            rows=columns.rows[patches],
        )

    def _wait_for_slots(self) -> None:
        """Wait until the caller lets go of batches.

        Raises
        ------
        NotEnoughMemoryError
            If it holds all of them for a minute.
        """
        deadline = time.monotonic() + _HELD_TIMEOUT_S
        needed = min(
            self._next_batches,
            -(-(len(self._sequence) - self._next_patch) // self._options.batch_size),
        )
        while len(self._ring.free) < needed:
            if time.monotonic() > deadline:
                msg = (
                    f"all {self._options.max_memory:,} bytes of max_memory are in batches "
                    f"that are still held; let go of them, keep batch.copy(), or raise it"
                )
                raise NotEnoughMemoryError(msg)
            time.sleep(0.002)
