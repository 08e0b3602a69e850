"""A run: inspect the slides, plan, read, deliver."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dplabtools._typing import IntArray
from dplabtools.engine.base import Engine, JobResult, run
from dplabtools.engine.choose import RunOptions
from dplabtools.engine.slabs import Segment
from dplabtools.extraction.chunk_reader import Chunk, ReadChunk
from dplabtools.extraction.inspection import InspectedSlide, SlideSpec
from dplabtools.extraction.plan import (
    CHUNK_ROWS,
    ReadOptions,
    blocks,
    plan_slide,
    runs,
)
from dplabtools.extraction.progress import ProgressClock
from dplabtools.extraction.read_ahead import ReadAhead
from dplabtools.extraction.run_state import RunState
from dplabtools.output.comparison import DifferentPatchError
from dplabtools.output.sink import Measuring, Recording, Sink, Verifying
from dplabtools.records.patch_table import PatchTable
from dplabtools.records.share import Share
from dplabtools.records.slide_plan import SlidePlan
from dplabtools.sources.urls import is_url

__all__ = ["Extraction"]

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What is to be extracted, and how errors are met.

    Attributes
    ----------
    tables : sequence of PatchTable
        The patches, one table a slide.
    reading : ReadOptions
        How to read them.
    options : RunOptions
        How to go about it.
    share : Share or None
        What of it is to be done by this job, if there are others: a part of each slide.
    """

    tables: Sequence[PatchTable]
    reading: ReadOptions
    options: RunOptions
    share: Share | None = None

    def run(self, engine: Engine, sink: Sink, clock: ProgressClock) -> RunState:
        """Deliver the patches to a sink.

        Parameters
        ----------
        engine : Engine
            Where to run.
        sink : Sink
            Where to deliver; completed if this returns, else aborted.
        clock : ProgressClock
            Told of what is finished.

        Returns
        -------
        RunState
            What was delivered, and what was not.

        Raises
        ------
        Exception
            The first error, if errors are not skipped. Errors of the sink always.
        """
        state = RunState(self.tables, self.options)
        begun = time.monotonic()
        try:
            self.plan(engine, state, clock)
            sink.prepare(state.planned())
            if isinstance(sink, Verifying):
                self._verify(engine, sink, state)
            for slide, plan in enumerate(state.plans):
                if plan is None and isinstance(sink, Recording):
                    sink.record(slide, state.result(slide))
            chunks = list(self._chunks(sink, state, clock))
            state.profile.plan = time.monotonic() - begun
            self._read(chunks, engine=engine, sink=sink, state=state, clock=clock)
            sink.close()
        except BaseException:
            engine.close()  # nobody may go on writing what is being removed
            sink.abort()
            raise
        state.profile.total = time.monotonic() - begun
        return state

    def plan(self, engine: Engine, state: RunState, clock: ProgressClock) -> None:
        """Open every slide once, and enter its plan into the state.

        Raises
        ------
        Exception
            If a slide cannot be read as asked for, and errors are not to be skipped.
        """
        for outcome in run(engine, self.work(), self.specs()):
            self.enter(outcome.index, outcome, state=state, clock=clock)

    def enter(
        self, slide: int, outcome: JobResult, *, state: RunState, clock: ProgressClock
    ) -> SlidePlan | None:
        """Plan a slide that has been looked at, and enter the plan into the state.

        Parameters
        ----------
        slide : int
            Its place among those given.
        outcome : JobResult
            What was found.
        state : RunState
            Of the run.
        clock : ProgressClock
            Told of a slide that fails.

        Returns
        -------
        SlidePlan or None
            None if the slide cannot be read as asked for.

        Raises
        ------
        Exception
            That it cannot, if errors are not to be skipped.
        """
        table = self.tables[slide]
        state.pids[slide] = outcome.pid
        try:
            facts: InspectedSlide = outcome.value()
            plan = plan_slide(
                slide,
                table,
                pyramid=facts.pyramid,
                reading=self.reading,
                icc_profile=state.kept_once(facts.icc_profile),
            )
        except Exception as error:  # noqa: BLE001 - raised or entered
            state.fail_slide(slide, error, attempts=outcome.attempts)
            clock.advance(patches=len(table), slides=1)
            return None
        state.note_facts(slide, facts)
        if self.reading.quality is not None and facts.quality is not None:
            quality = facts.quality.of_patches(plan, self.reading.quality)
            plan = replace(plan, quality=quality)
        return state.enter_plan(plan, facts.quality)

    def work(
        self, state: RunState | None = None, *, segments: Sequence[Segment] = ()
    ) -> ReadChunk | ReadAhead:
        """Return what workers do with chunks.

        Parameters
        ----------
        state : RunState, optional
            Of the slides that have been planned. Without it chunks say how to open theirs.
        segments : sequence of Segment, optional
            Shared memory that the chunks are written to.

        Returns
        -------
        ReadChunk or ReadAhead
            For chunks of these slides.
        """
        specs = [
            replace(
                spec,
                index=state.indexes.get(slide),
                stamp=state.stamps.get(slide),
                background=state.backgrounds.get(slide),
            )
            for slide, spec in enumerate(self.specs())
            if state is not None
        ]
        work = ReadChunk(
            slides=tuple(specs),
            reading=self.reading,
            options=self.options,
            segments=tuple(segments),
        )
        elsewhere = any(is_url(table.slide) for table in self.tables)
        return ReadAhead(work=work) if elsewhere else work

    def specs(self) -> tuple[SlideSpec, ...]:
        """Return what it takes to open each slide."""
        return tuple(
            SlideSpec(path=table.slide, extra_mpps=self.reading.extra_mpps(table))
            for table in self.tables
        )

    def _verify(self, engine: Engine, sink: Verifying, state: RunState) -> None:
        """Compare some of what is there with the slides; where it differs, trust nothing.

        Patches that cannot be read now are no reason to do so: they could be before.

        Raises
        ------
        Exception
            If a slide cannot be read, and errors are not to be skipped.
        """
        plans = [plan for plan in state.planned() if len(sink.sample(plan))]
        chunks = [
            Chunk.of(plan, rows := sink.sample(plan), writer=sink.comparison(plan, rows))
            for plan in plans
        ]
        for outcome in run(engine, self.work(state), chunks):
            plan = plans[outcome.index]
            if isinstance(outcome.error, DifferentPatchError):
                _LOGGER.warning(
                    "%s: %s; it is done again", plan.table.slide_name, outcome.error
                )
                sink.invalidate(plan)
            elif outcome.error is not None and not self.options.skip_errors:
                raise state.named(outcome.error, plan.slide_index)

    def _chunks(self, sink: Sink, state: RunState, clock: ProgressClock) -> Iterator[Chunk]:
        """Cut up all slides, those with most patches first."""
        plans = state.planned()
        rows = {plan.slide_index: self._rows(plan, sink, state) for plan in plans}
        total = sum(map(len, rows.values()))
        for plan in sorted(
            plans, key=lambda each: len(rows[each.slide_index]), reverse=True
        ):
            wanted = rows[plan.slide_index]
            clock.advance(patches=len(plan) - len(wanted))
            count = sink.chunk_rows(plan)
            parts = list(
                blocks(
                    plan.table,
                    wanted,
                    views=len(plan.views),
                    total=total,
                    workers=self.options.workers,
                    banded=plan.pyramid.banded,
                )
                if count is None
                else runs(plan.table, wanted, views=len(plan.views), count=count)
            )
            own = range(len(parts)) if count is None else self._own(plan, len(parts))
            for number, part in enumerate(parts):
                with state.naming(plan.slide_index):
                    writer = sink.writer(plan, part)  # others' count, too
                if number not in own:
                    state.leave_to_others(plan.slide_index, part)
                    clock.advance(patches=len(part))
                elif writer is None:
                    state.delivered[plan.slide_index][part] = True
                    state.leave_out(plan.slide_index, np.intersect1d(part, plan.left_out))
                    clock.advance(patches=len(part))
                else:
                    quality = None if plan.quality is None else plan.quality.values[part]
                    yield Chunk.of(plan, part, writer=writer, quality=quality)

    def _rows(self, plan: SlidePlan, sink: Sink, state: RunState) -> IntArray:
        """Return the rows of a slide to read; what is there already counts as delivered."""
        inside = state.rows_inside(plan, self.reading)
        wanted = sink.wanted(plan)
        if sink.chunk_rows(plan) is None and self._cuts(plan):
            cells = list(runs(plan.table, inside, views=len(plan.views), count=CHUNK_ROWS))
            kept = [cells[number] for number in self._own(plan, len(cells))]
            own = np.concatenate([inside[:0], *kept])
            left = np.setdiff1d(inside, own, assume_unique=True)
            state.leave_to_others(plan.slide_index, left)
            inside = np.sort(own)
        state.delivered[plan.slide_index][:] = True
        state.delivered[plan.slide_index][wanted] = False
        state.leave_out(plan.slide_index, plan.left_out)
        return np.intersect1d(inside, wanted, assume_unique=True)

    def _cuts(self, plan: SlidePlan) -> bool:
        """Tell whether other jobs do a part of a slide."""
        return self.share is not None and not self.share.parts[plan.slide_index].is_whole

    def _own(self, plan: SlidePlan, count: int) -> range:
        """Return which chunks of a slide are to be read, of so many."""
        if self.share is None:
            return range(count)
        return self.share.parts[plan.slide_index].chunks(count)

    def _read(
        self,
        chunks: Sequence[Chunk],
        *,
        engine: Engine,
        sink: Sink,
        state: RunState,
        clock: ProgressClock,
    ) -> None:
        """Read all chunks; a slide is finished with the last of its own."""
        left = np.bincount(
            [chunk.slide_index for chunk in chunks], minlength=len(self.tables)
        )
        plans = {plan.slide_index: plan for plan in state.planned()}
        for slide, plan in plans.items():
            if not left[slide]:
                _finish(sink, plan, state)
                clock.advance(slides=1)
        outcomes = run(
            engine,
            self.work(state, segments=sink.segments),
            chunks,
            segments=sink.segments,
            lanes=self.options.workers,  # neighbouring chunks share tiles
        )
        for outcome in outcomes:
            chunk = chunks[outcome.index]
            state.note(chunk, outcome)
            plan = plans[chunk.slide_index]
            if plan.quality is not None and isinstance(sink, Measuring):
                sink.measured(plan, chunk.rows)
            if outcome.error is None:
                chunk.take_in(outcome.result)
            left[chunk.slide_index] -= 1
            finished = not left[chunk.slide_index]
            if finished:
                _finish(sink, plans[chunk.slide_index], state)
            clock.advance(patches=len(chunk.rows), slides=int(finished))


def _finish(sink: Sink, plan: SlidePlan, state: RunState) -> None:
    """Complete a slide, of which everything was delivered that can be."""
    with state.naming(plan.slide_index):
        sink.finish(plan, state.delivered[plan.slide_index])
    if isinstance(sink, Recording):
        sink.record(plan.slide_index, state.result(plan.slide_index))
