"""A run: inspect the slides, plan, read, deliver, account for everything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dplabtools._typing import BoolArray, IntArray
from dplabtools.engine.base import Engine, Outcome, run
from dplabtools.errors import DplabError, SlideError, WorkerError
from dplabtools.extraction.plan import Reading, blocks, plan_slide, rows_outside
from dplabtools.extraction.progress import ProgressClock
from dplabtools.extraction.source import (
    Chunk,
    ChunkReport,
    InspectSlide,
    ReadChunk,
    SlideSpec,
)
from dplabtools.records.failure import Failure
from dplabtools.records.patch_table import PatchTable
from dplabtools.records.slide_plan import SlidePlan
from dplabtools.sinks.base import Sink

__all__ = ["Extraction", "RunReport"]


@dataclass(slots=True, kw_only=True)
class RunReport:
    """What became of a run.

    Attributes
    ----------
    plans : list of SlidePlan or None
        One for each slide as given; None for slides that could not be planned.
    delivered : list of ndarray of bool, shape (n,)
        For each slide, which of its rows were delivered.
    failures : list of list of Failure
        For each slide, what was skipped of it.
    pids : list of int
        For each slide, the process that finished it.
    """

    plans: list[SlidePlan | None]
    delivered: list[BoolArray]
    failures: list[list[Failure]]
    pids: list[int]

    def errors(self) -> list[Failure]:
        """Return what was skipped, by slide as given, then by row."""
        return [
            failure
            for of_slide in self.failures
            for failure in sorted(of_slide, key=lambda each: each.row or 0)
        ]


@dataclass(frozen=True, slots=True)
class _State:
    """What a run changes as it goes."""

    report: RunReport
    clock: ProgressClock


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What is to be extracted, and how errors are met.

    Attributes
    ----------
    tables : sequence of PatchTable
        The patches, one table a slide.
    reading : Reading
        How to read them.
    workers : int
        Workers of the engine, among which the work is cut up.
    threads : int
        Threads in each.
    skip_errors : bool
        Record what fails and go on, instead of raising the first error.
    """

    tables: Sequence[PatchTable]
    reading: Reading
    workers: int
    threads: int
    skip_errors: bool

    def run(self, engine: Engine, sink: Sink, clock: ProgressClock) -> RunReport:
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
        RunReport
            What was delivered, and what was not.

        Raises
        ------
        Exception
            The first error, if errors are not skipped. Errors of the sink always.
        """
        report = RunReport(
            plans=[None] * len(self.tables),
            delivered=[np.zeros(len(table), dtype=np.bool_) for table in self.tables],
            failures=[[] for _ in self.tables],
            pids=[0] * len(self.tables),
        )
        try:
            self._plan(engine, _State(report, clock))
            plans = [plan for plan in report.plans if plan is not None]
            sink.prepare(plans)
            self._read(engine, sink, _State(report, clock))
            sink.close()
        except BaseException:
            engine.close()  # nobody may go on writing what is being removed
            sink.abort()
            raise
        return report

    # -------------------------------------------------------------- planning

    def _plan(self, engine: Engine, state: _State) -> None:
        """Open every slide once, and plan it."""
        report, clock = state.report, state.clock
        for outcome in run(engine, InspectSlide(reading=self.reading), self._specs()):
            slide = outcome.index
            report.pids[slide] = outcome.pid
            try:
                report.plans[slide] = plan_slide(
                    slide,
                    self.tables[slide],
                    pyramid=outcome.value(),
                    reading=self.reading,
                )
            except Exception as error:  # noqa: BLE001 - raised or recorded
                named = self._named(error, slide)
                self._fail_slide(report, slide, named, attempts=outcome.attempts)
                clock.advance(patches=len(self.tables[slide]), slides=1)

    def _specs(self) -> tuple[SlideSpec, ...]:
        return tuple(
            SlideSpec(path=table.slide, extra_mpps=self.reading.extra_mpps(table))
            for table in self.tables
        )

    # --------------------------------------------------------------- reading

    def _read(self, engine: Engine, sink: Sink, state: _State) -> None:
        """Read all chunks; a slide is finished with the last of its own."""
        work = ReadChunk(
            slides=self._specs(),
            reading=self.reading,
            threads=self.threads,
            skip_errors=self.skip_errors,
        )
        report, clock = state.report, state.clock
        chunks = list(self._chunks(sink, state))
        left = np.bincount([chunk.slide for chunk in chunks], minlength=len(self.tables))
        for plan in report.plans:
            if plan is not None and not left[plan.slide]:
                sink.finish(plan, report.delivered[plan.slide])
                clock.advance(slides=1)
        for outcome in run(engine, work, chunks, segments=sink.segments):
            chunk = chunks[outcome.index]
            self._note(report, chunk, outcome)
            left[chunk.slide] -= 1
            done = left[chunk.slide] == 0
            if done and (plan := report.plans[chunk.slide]) is not None:
                sink.finish(plan, report.delivered[chunk.slide])
            clock.advance(patches=len(chunk.rows), slides=int(done))

    def _chunks(self, sink: Sink, state: _State) -> Iterator[Chunk]:
        """Cut up all slides, those with most patches first."""
        plans = [plan for plan in state.report.plans if plan is not None]
        total = sum(len(plan) for plan in plans)
        for plan in sorted(plans, key=len, reverse=True):
            rows = self._rows_inside(plan, state.report)
            state.clock.advance(patches=len(plan) - len(rows))
            for part in blocks(plan, rows, total=total, workers=self.workers):
                yield Chunk(
                    slide=plan.slide,
                    views=plan.views,
                    rows=part,
                    origins=plan.origins[part],
                    sizes=plan.table.sizes[part],
                    place=sink.place(plan, part),
                )

    def _rows_inside(self, plan: SlidePlan, report: RunReport) -> IntArray:
        """Return the rows that fit the slide; the others raise, or are recorded."""
        outside, error = rows_outside(plan, self.reading)
        if error is not None:
            if not self.skip_errors:
                raise error
            report.failures[plan.slide] += [
                Failure(wsi_file=plan.table.slide, row=row, error=error)
                for row in np.flatnonzero(outside).tolist()
            ]
        return np.flatnonzero(~outside)

    # ---------------------------------------------------------------- errors

    def _note(self, report: RunReport, chunk: Chunk, outcome: Outcome) -> None:
        """Enter into the report what became of a chunk."""
        report.pids[chunk.slide] = outcome.pid
        path = self.tables[chunk.slide].slide
        failed: tuple[tuple[int, Exception], ...]
        if outcome.error is not None:
            error = self._named(outcome.error, chunk.slide)
            if not self.skip_errors or not isinstance(error, (SlideError, WorkerError)):
                raise error
            failed = tuple((row, error) for row in chunk.rows.tolist())
        else:
            result: ChunkReport = outcome.result
            failed = result.failed
        report.delivered[chunk.slide][chunk.rows] = True
        report.delivered[chunk.slide][[row for row, _ in failed]] = False
        report.failures[chunk.slide] += [
            Failure(wsi_file=path, row=row, error=error, attempts=outcome.attempts)
            for row, error in failed
        ]

    def _fail_slide(
        self, report: RunReport, slide: int, error: Exception, *, attempts: int
    ) -> None:
        """Raise an error that concerns a whole slide, or record it."""
        if not self.skip_errors:
            raise error
        path = self.tables[slide].slide
        report.failures[slide].append(
            Failure(wsi_file=path, row=None, error=error, attempts=attempts)
        )

    def _named(self, error: Exception, slide: int) -> Exception:
        """Return an error whose message begins with the name of the slide."""
        name = self.tables[slide].slide_name
        if isinstance(error, DplabError) and error.slide is None:
            return type(error)(str(error), slide=name)
        return error
