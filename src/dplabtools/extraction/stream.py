"""All patches, batch by batch, through slots of memory that are used again."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from dplabtools._typing import BoolArray, IntArray
from dplabtools.engine.base import Engine, JobResult
from dplabtools.engine.limits import available_memory
from dplabtools.errors import NotEnoughMemoryError, ParameterError
from dplabtools.extraction.chunk_reader import Chunk
from dplabtools.extraction.inspection import SlideSpec
from dplabtools.extraction.lane_speeds import LaneSpeeds
from dplabtools.extraction.plan import blocks, closer, is_scattered, pieces, strips
from dplabtools.extraction.progress import ProgressClock
from dplabtools.extraction.run import Extraction
from dplabtools.extraction.run_state import RunState
from dplabtools.extraction.sequence import PatchSequence
from dplabtools.extraction.slot_pool import SlotPool
from dplabtools.extraction.stream_options import StreamOptions
from dplabtools.extraction.window import OpenBatch, Piece, Window
from dplabtools.records.patch_table import PatchTable
from dplabtools.records.pixel_batch import PixelBatch

__all__ = ["BatchStream"]

_HELD_TIMEOUT_S = 60.0
_ENDLESS = 1 << 62  # patches: a run so large that nobody waits for the last chunk
_STRIP_BYTES = 48 << 20  # of a grid, read together by a worker, give or take a half
_STRIP = 128, 256  # patches that these are, at least and at most
_HELD_STRIPS = 4  # for which there is memory, at least


class BatchStream:
    """Looks at slides, and reads their patches, batch by batch.

    Parameters
    ----------
    extraction : Extraction
        The patches, and how to read them.
    state : RunState
        Plans and outcomes are entered there.
    options : StreamOptions
        Batches and their order.
    engine : Engine
        Where to read; the caller begins `Extraction.work`; both with `segments`.
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
        state: RunState,
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
        self._state = state
        self._clock = clock
        self._begun = time.monotonic()
        self._rng = np.random.default_rng(options.seed)
        self._count = sum(map(len, self._tables))
        self._slot_pool = self._make_slot_pool(self._batch_shape())
        self.segments = (self._slot_pool.segment,)
        self._sequence = self._make_sequence()
        ahead = engine.capacity // extraction.options.workers  # jobs of each worker
        self._window = Window(self._slot_pool, least=-(-self._strip // 2), groups=ahead)
        self._looks: dict[int, int] = {}  # slides, by job
        self._jobs: dict[int, tuple[Piece, Chunk]] = {}
        self._next_job = 0
        self._unread: dict[int, int] = {}  # patches of each slide that was planned
        self._unasked: dict[int, int] = {}  # of those, patches that are in no chunk yet
        self._inside: dict[int, BoolArray] = {}  # rows that there are to read
        self._told: dict[int, set[int]] = {}  # lanes that have been told of its index
        self._speeds = LaneSpeeds(extraction.options.workers)

    def close(self) -> None:
        """Let go of the memory; batches that the caller holds stay valid."""
        self._slot_pool.segment.close()

    # ----------------------------------------------------------------- order

    def _make_sequence(self) -> PatchSequence:
        """Put all patches into the order of delivery, in parts that are read together."""
        if self._options.sequence is not None:
            return PatchSequence.of(*self._options.sequence, cut=self._cut)
        if not self._options.shuffle_buffer:
            parts = (
                (slide, part)
                for slide, table in enumerate(self._tables)
                for part in self._cut(slide, self._ordered(table))
            )
            return PatchSequence(parts, range(len(self._tables)))
        around = [
            (slide, part)
            for slide, table in enumerate(self._tables)
            for part in self._neighbourhoods(table)
        ]
        around = [around[index] for index in self._rng.permutation(len(around))]
        return PatchSequence(around, dict.fromkeys(slide for slide, _ in around))

    def _ordered(self, table: PatchTable) -> IntArray:
        """Return the rows of a slide in the order of delivery."""
        if self._options.order == "table":
            return np.arange(len(table))
        x, y = table.origins.T
        return np.lexsort((x, y))

    def _neighbourhoods(self, table: PatchTable) -> Iterator[IntArray]:
        """Yield rows that lie together; a slide without any is to be looked at, too."""
        rows, views = np.arange(len(table)), self._views(table)
        if not len(rows):
            yield rows
        # Of a size that no number of workers has a say in.
        yield from blocks(table, rows, views=views, total=_ENDLESS, workers=1)

    def _cut(self, slide: int, rows: IntArray) -> Iterator[IntArray]:
        """Cut up rows of a slide, in the order of delivery, into what is read together.

        Of a grid, and near each other, these are strips. Patches that lie anywhere share
        their tiles with any other of the slide.
        """
        corners = self._tables[slide].origins[rows]
        anywhere = self._options.order == "table" and len(rows) > self._strip
        if not len(rows) or (anywhere and is_scattered(corners)):
            yield rows
            return
        half = -(-self._strip // 2)
        for part in strips(corners, least=half, most=3 * half):
            yield rows[part]

    @property
    def _strip(self) -> int:
        """Patches of a grid that are read together, give or take a half."""
        patch_bytes = self._slot_pool.patch_bytes
        held = self._options.max_memory // patch_bytes // _HELD_STRIPS
        of_worker = int(np.clip(_STRIP_BYTES // patch_bytes, *_STRIP))
        return max(1, min(self._extraction.options.workers * of_worker, held))

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

    def _make_slot_pool(self, shape: tuple[int, ...]) -> SlotPool:
        """Reserve the memory; pages that no batch reaches are never taken."""
        batch = math.prod(shape)
        least = 1 + -(-max(1, self._options.shuffle_buffer) // self._options.batch_size)
        slots = self._options.max_memory // batch
        if slots >= least:  # leave half of what is free to everybody else
            slots = max(least, min(slots, available_memory() // 2 // batch))
        if slots < least:
            msg = (
                f"max_memory={self._options.max_memory:,} holds {slots} batches of "
                f"{batch:,} bytes, and {least} are needed"
            )
            raise NotEnoughMemoryError(
                msg, remedy="raise it, or lower batch_size or shuffle_buffer"
            )
        needed = -(-self._count // self._options.batch_size) + 1
        return SlotPool(shape, min(slots, max(needed, least)))

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
            Whatever the state makes of a failure.
        NotEnoughMemoryError
            If the caller holds all batches there is memory for, for a minute.
        """
        in_turn = self._options.order != "ready" or bool(self._options.shuffle_buffer)
        self._look_ahead()
        self._take_pages()
        while True:
            self._dispatch()
            batch = self._window.complete(in_turn=in_turn)
            if batch is not None:
                found = self._delivered(batch)
                self._dispatch()
                handed = time.monotonic()
                if len(found):
                    yield found
                del found
                self._state.profile.caller += time.monotonic() - handed
                while self._engine.poll():
                    self._take()
            elif self._engine.pending:
                self._take()
            elif not self._sequence.left and not self._window.waiting:
                return
            else:
                self._wait_for_slots()

    def _take_pages(self) -> None:
        """Take the memory of the first batches as long as workers are but starting.

        Nobody has been given any of it: what is to be read there is not known yet.
        """
        for parts in self._slot_pool.first_parts(self._count):
            if self._engine.poll():
                return
            self._slot_pool.take_pages(parts)

    def _dispatch(self) -> None:
        """Hand out what can be read as long as somebody could use it."""
        self._look_ahead()
        while len(self._jobs) < self._engine.capacity:
            piece = self._next_piece()
            if piece is None:
                return
            self._submit(piece)
            self._look_ahead()

    def _look_ahead(self) -> None:
        """Have slides looked at whose turn comes soon."""
        while len(self._looks) < self._engine.capacity:
            slide = self._sequence.next_slide()
            if slide is None:
                return
            self._looks[self._next_job] = slide
            self._engine.submit(self._next_job, self._specs[slide])
            self._next_job += 1

    def _next_piece(self) -> Piece | None:
        """Return what to read next; None if nothing is ready, or nobody could use it."""
        while True:
            whole = self._window.whole()
            piece = self._choice(whole)
            if piece is not None:
                self._window.pieces.remove(piece)
                return piece
            if not self._open():
                break
        # A part of a piece is for a worker that had nothing to do otherwise.
        if whole or len(self._jobs) >= self._extraction.options.workers:
            return None
        return self._window.part({piece.lane for piece, _ in self._jobs.values()})

    def _choice(self, whole: Sequence[Piece]) -> Piece | None:
        """Choose one of the pieces of which all patches have memory.

        A worker gets those of its lane, whose tiles it has in part. One that has nothing to
        do helps another, from the end, if that has much to do.
        """
        workers = self._extraction.options.workers
        busy = Counter(piece.lane for piece, _ in self._jobs.values())
        own = [each for each in whole if busy[each.lane] * workers < self._engine.capacity]
        if own:
            return min(own, key=lambda each: busy[each.lane])
        if len(busy) == workers or len(whole) < 2 or whole[-1].call is not None:
            return None  # of what is read in order, only its own worker has the parts
        return whole[-1]

    def _open(self) -> bool:
        """Give another batch memory, if there is some, and it is known what is in it."""
        window, size = self._window, self._options.batch_size
        if not window.may_open():
            return False
        while window.waiting < size and self._plan_more():
            pass
        ready = window.waiting >= size or (window.waiting and not self._sequence.left)
        if ready:
            window.open()
        return bool(ready)

    def _plan_more(self) -> bool:
        """Take patches from the sequence, and cut them into pieces; False if that fails."""
        options = self._options
        parts = self._sequence.take(options.shuffle_buffer or 1)
        if not parts:
            return False
        slides = np.repeat([slide for slide, _ in parts], [len(rows) for _, rows in parts])
        rows = np.concatenate([rows for _, rows in parts])
        if options.shuffle_buffer and options.sequence is None:
            order = self._rng.permutation(len(rows))
            slides, rows = slides[order], rows[order]
        there = np.zeros(len(rows), dtype=np.bool_)
        found = list(self._pieces(slides, rows, there=there))
        self._window.pieces += found
        in_order = any(piece.call is not None for piece in found)
        together = self._strip if in_order else len(rows)
        self._window.plan(slides, rows, there=there, together=together)
        return True

    def _pieces(
        self, slides: IntArray, rows: IntArray, *, there: BoolArray
    ) -> Iterator[Piece]:
        """Yield what lies together, of patches that follow each other in the stream.

        In the order of a grid these often are a thin strip, and the next ones lie beside
        it. Each worker gets its part of every strip, so that it already has the tiles that
        two of them share. Small slides are not cut up, and each is for another worker.

        Parameters
        ----------
        slides, rows : ndarray of int, shape (n,)
            The patches.
        there : ndarray of bool, shape (n,)
            Set to True for those that there are to read.
        """
        workers, begin = self._extraction.options.workers, self._window.planned
        for slide in dict.fromkeys(slides.tolist()):
            here = np.flatnonzero(slides == slide)
            places = here[self._inside[slide][rows[here]]]
            there[places] = True
            self._note_asked(slide, len(here) - len(places))
            table = self._tables[slide]
            in_order = self._reads_in_order(slide, len(rows))
            found = pieces(
                table,
                rows[places],
                views=self._views(table),
                weights=[1.0] * workers if in_order else self._speeds.weights(),
                parts=max(1.0, len(rows) / self._slot_pool.patches),
                in_order=in_order,
            )
            for call, (share, part) in enumerate(found):
                yield Piece(
                    slide=slide,
                    lane=(slide + share) % workers,
                    rows=rows[places[part]],
                    places=places[part] + begin,
                    call=call if in_order else None,
                )

    def _reads_in_order(self, slide: int, count: int) -> bool:
        """Tell whether workers had better keep parts of what has no memory yet."""
        plan, held = self._state.plans[slide], self._slot_pool.patches
        return plan is not None and plan.pyramid.foreseen and count > held

    def _submit(self, piece: Piece) -> None:
        """Hand out what lies together."""
        plan = self._state.plans[piece.slide]
        assert plan is not None  # noqa: S101 - or it would have no patches here
        table, workers = self._tables[piece.slide], self._extraction.options.workers
        piece = piece.part(closer(table, piece.rows, views=self._views(table)))
        chunk = Chunk.of(
            plan,
            piece.rows,
            writer=self._window.writer(piece),
            spec=self._spec(piece.slide, piece.lane),
            upcoming=self._window.upcoming(piece, plan, workers=workers),
        )
        self._jobs[self._next_job] = (piece, chunk)
        self._engine.submit(self._next_job, chunk, lane=piece.lane)
        self._next_job += 1
        self._note_asked(piece.slide, len(piece.rows))

    def _spec(self, slide: int, lane: int) -> SlideSpec:
        """Say how to open a slide; its index goes to each lane once."""
        told = self._told.setdefault(slide, set())
        index = None if lane in told else self._state.indexes.get(slide)
        told.add(lane)
        stamp = self._state.stamps.get(slide)
        return replace(self._specs[slide], index=index, stamp=stamp)

    def _note_asked(self, slide: int, count: int) -> None:
        """Let go of the plan of a slide with the last of its patches."""
        self._unasked[slide] -= count
        if not self._unasked[slide]:
            del self._unasked[slide], self._inside[slide]
            self._told.pop(slide, None)
            self._state.forget(slide)

    def _take(self) -> None:
        """Take the outcome of a job, and count it as done; wait for it if need be."""
        outcome = self._engine.take()
        if outcome.index in self._looks:
            self._plan(self._looks.pop(outcome.index), outcome)
            return
        piece, chunk = self._jobs.pop(outcome.index)
        failed = np.isin(piece.rows, self._state.note(chunk, outcome))
        if outcome.error is None:
            chunk.take_in(outcome.result)
            seconds = sum(outcome.result.seconds.values())
            if piece.call is None:  # in order, the later ones take ever less
                self._speeds.note(piece.lane, patches=len(piece.rows), seconds=seconds)
        self._window.note_read(piece, failed=failed)
        self._advance(chunk.slide_index, len(chunk.rows))

    def _plan(self, slide: int, outcome: JobResult) -> None:
        """Plan a slide that has been looked at."""
        inside = np.zeros(len(self._tables[slide]), dtype=np.bool_)
        plan = self._extraction.enter(slide, outcome, state=self._state, clock=self._clock)
        if plan is not None:
            inside[self._state.rows_inside(plan, self._extraction.reading)] = True
            self._unread[slide] = len(plan)
            self._advance(slide, len(plan) - int(inside.sum()))
        # With a sequence, places of patches that there are not stay, and stay empty.
        asked = inside if self._options.sequence is None else np.ones_like(inside)
        self._sequence.known(slide, asked)
        if asked.any():
            self._inside[slide] = inside
            self._unasked[slide] = int(asked.sum())
        else:
            self._state.forget(slide)
        if not self._state.profile.plan:
            self._state.profile.plan = time.monotonic() - self._begun

    def _advance(self, slide: int, patches: int) -> None:
        self._unread[slide] -= patches
        finished = not self._unread[slide]
        if finished:
            del self._unread[slide]
        self._clock.advance(patches=patches, slides=int(finished))

    def _delivered(self, batch: OpenBatch) -> PixelBatch:
        """Return what is delivered of a complete batch."""
        kept = batch.delivered
        slides, rows = batch.slides[kept], batch.rows[kept]
        pixels = self._slot_pool.lend(batch.slot)[: len(kept)]
        if not kept.all():
            pixels[: len(rows)] = pixels[kept]
            pixels = pixels[: len(rows)]
        labels = np.empty(len(rows), dtype=np.object_)
        locations = np.empty((len(rows), 2), dtype=np.int64)
        for slide in set(slides.tolist()):
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
        while not self._slot_pool.free:
            if time.monotonic() > deadline:
                msg = (
                    f"all {self._options.max_memory:,} bytes of max_memory are in batches "
                    "that are still held"
                )
                raise NotEnoughMemoryError(
                    msg, remedy="let go of them, keep batch.copy(), or raise it"
                )
            time.sleep(0.002)
