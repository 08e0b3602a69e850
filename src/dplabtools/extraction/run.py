"""A run: inspect the slides, plan, read, deliver."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dplabtools._typing import IntArray
from dplabtools.engine.base import Engine, Outcome, run
from dplabtools.engine.choose import RunOptions
from dplabtools.extraction.account import Account
from dplabtools.extraction.plan import Reading, blocks, plan_slide, runs
from dplabtools.extraction.progress import ProgressClock
from dplabtools.extraction.source import (
    Chunk,
    InspectSlide,
    ReadChunk,
    SlideFacts,
    SlideSpec,
)
from dplabtools.output.comparison import DifferentPatchError
from dplabtools.output.sink import Measuring, Recording, Sink, Verifying
from dplabtools.records.patch_table import PatchTable
from dplabtools.records.slide_plan import SlidePlan

__all__ = ["Extraction"]

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What is to be extracted, and how errors are met.

    Attributes
    ----------
    tables : sequence of PatchTable
        The patches, one table a slide.
    reading : Reading
        How to read them.
    options : RunOptions
        How to go about it.
    """

    tables: Sequence[PatchTable]
    reading: Reading
    options: RunOptions

    def run(self, engine: Engine, sink: Sink, clock: ProgressClock) -> Account:
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
        Account
            What was delivered, and what was not.

        Raises
        ------
        Exception
            The first error, if errors are not skipped. Errors of the sink always.
        """
        account = Account(self.tables, self.options)
        begun = time.monotonic()
        try:
            self.plan(engine, account, clock)
            sink.prepare(account.planned())
            if isinstance(sink, Verifying):
                self._verify(engine, sink, account)
            for slide, plan in enumerate(account.plans):
                if plan is None and isinstance(sink, Recording):
                    sink.record(slide, account.result(slide))
            chunks = list(self._chunks(sink, account, clock))
            account.profile.plan = time.monotonic() - begun
            self._read(chunks, engine=engine, sink=sink, account=account, clock=clock)
            sink.close()
        except BaseException:
            engine.close()  # nobody may go on writing what is being removed
            sink.abort()
            raise
        account.profile.total = time.monotonic() - begun
        return account

    def plan(self, engine: Engine, account: Account, clock: ProgressClock) -> None:
        """Open every slide once, and enter its plan into the account.

        Raises
        ------
        Exception
            If a slide cannot be read as asked for, and errors are not to be skipped.
        """
        for outcome in run(engine, InspectSlide(reading=self.reading), self.specs()):
            self.enter(outcome.index, outcome, account=account, clock=clock)

    def enter(
        self, slide: int, outcome: Outcome, *, account: Account, clock: ProgressClock
    ) -> SlidePlan | None:
        """Plan a slide that has been looked at, and enter the plan into the account.

        Parameters
        ----------
        slide : int
            Its place among those given.
        outcome : Outcome
            What `InspectSlide` found.
        account : Account
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
        account.pids[slide] = outcome.pid
        try:
            facts: SlideFacts = outcome.value()
            plan = plan_slide(
                slide,
                table,
                pyramid=facts.pyramid,
                reading=self.reading,
                icc_profile=account.kept_once(facts.icc_profile),
            )
        except Exception as error:  # noqa: BLE001 - raised or entered
            account.fail_slide(slide, error, attempts=outcome.attempts)
            clock.advance(patches=len(table), slides=1)
            return None
        account.note_facts(slide, facts)
        if self.reading.quality is not None and facts.quality is not None:
            quality = facts.quality.of_patches(plan, self.reading.quality)
            plan = replace(plan, quality=quality)
        return account.enter_plan(plan, facts.quality)

    def work(self, account: Account | None = None) -> ReadChunk:
        """Return what workers do with chunks.

        Parameters
        ----------
        account : Account, optional
            Of the slides that have been planned. Without it chunks say how to open theirs.

        Returns
        -------
        ReadChunk
            For chunks of these slides.
        """
        specs = [
            replace(
                spec,
                index=account.indexes.get(slide),
                stamp=account.stamps.get(slide),
                background=account.backgrounds.get(slide),
            )
            for slide, spec in enumerate(self.specs())
            if account is not None
        ]
        return ReadChunk(
            slides=tuple(specs),
            reading=self.reading,
            options=self.options,
        )

    def specs(self) -> tuple[SlideSpec, ...]:
        """Return what it takes to open each slide."""
        return tuple(
            SlideSpec(path=table.slide, extra_mpps=self.reading.extra_mpps(table))
            for table in self.tables
        )

    def _verify(self, engine: Engine, sink: Verifying, account: Account) -> None:
        """Compare some of what is there with the slides; where it differs, trust nothing.

        Patches that cannot be read now are no reason to do so: they could be before.

        Raises
        ------
        Exception
            If a slide cannot be read, and errors are not to be skipped.
        """
        plans = [plan for plan in account.planned() if len(sink.sample(plan))]
        chunks = [
            Chunk.of(plan, rows := sink.sample(plan), place=sink.comparison(plan, rows))
            for plan in plans
        ]
        for outcome in run(engine, self.work(account), chunks):
            plan = plans[outcome.index]
            if isinstance(outcome.error, DifferentPatchError):
                _LOGGER.warning(
                    "%s: %s; it is done again", plan.table.slide_name, outcome.error
                )
                sink.invalidate(plan)
            elif outcome.error is not None and not self.options.skip_errors:
                raise account.named(outcome.error, plan.slide)

    def _chunks(
        self, sink: Sink, account: Account, clock: ProgressClock
    ) -> Iterator[Chunk]:
        """Cut up all slides, those with most patches first."""
        plans = account.planned()
        rows = {plan.slide: self._rows(plan, sink, account) for plan in plans}
        total = sum(map(len, rows.values()))
        for plan in sorted(plans, key=lambda each: len(rows[each.slide]), reverse=True):
            wanted = rows[plan.slide]
            clock.advance(patches=len(plan) - len(wanted))
            count = sink.chunk_rows(plan)
            parts = (
                blocks(
                    plan.table,
                    wanted,
                    views=len(plan.views),
                    total=total,
                    workers=self.options.workers,
                )
                if count is None
                else runs(plan.table, wanted, views=len(plan.views), count=count)
            )
            for part in parts:
                with account.naming(plan.slide):
                    place = sink.place(plan, part)
                if place is None:
                    account.delivered[plan.slide][part] = True
                    account.leave_out(plan.slide, np.intersect1d(part, plan.left_out))
                    clock.advance(patches=len(part))
                else:
                    quality = None if plan.quality is None else plan.quality.values[part]
                    yield Chunk.of(plan, part, place=place, quality=quality)

    def _rows(self, plan: SlidePlan, sink: Sink, account: Account) -> IntArray:
        """Return the rows of a slide to read; what is there already counts as delivered."""
        inside = account.rows_inside(plan, self.reading)
        wanted = sink.wanted(plan)
        account.delivered[plan.slide][:] = True
        account.delivered[plan.slide][wanted] = False
        account.leave_out(plan.slide, plan.left_out)
        return np.intersect1d(inside, wanted)

    def _read(
        self,
        chunks: Sequence[Chunk],
        *,
        engine: Engine,
        sink: Sink,
        account: Account,
        clock: ProgressClock,
    ) -> None:
        """Read all chunks; a slide is finished with the last of its own."""
        left = np.bincount([chunk.slide for chunk in chunks], minlength=len(self.tables))
        plans = {plan.slide: plan for plan in account.planned()}
        for slide, plan in plans.items():
            if not left[slide]:
                _finish(sink, plan, account)
                clock.advance(slides=1)
        segments, sent = sink.segments, chunks
        if segments and not engine.shares_memory:
            segments, sent = (), [chunk.returning() for chunk in chunks]
        outcomes = run(
            engine,
            self.work(account),
            sent,
            segments=segments,
            lanes=self.options.workers,  # neighbouring chunks share tiles
        )
        for outcome in outcomes:
            chunk = chunks[outcome.index]
            account.note(chunk, outcome)
            plan = plans[chunk.slide]
            if plan.quality is not None and isinstance(sink, Measuring):
                sink.measured(plan, chunk.rows)
            if outcome.error is None:
                chunk.take_in(outcome.result)
            left[chunk.slide] -= 1
            finished = not left[chunk.slide]
            if finished:
                _finish(sink, plans[chunk.slide], account)
            clock.advance(patches=len(chunk.rows), slides=int(finished))


def _finish(sink: Sink, plan: SlidePlan, account: Account) -> None:
    """Complete a slide, of which everything was delivered that can be."""
    with account.naming(plan.slide):
        sink.finish(plan, account.delivered[plan.slide])
    if isinstance(sink, Recording):
        sink.record(plan.slide, account.result(plan.slide))
