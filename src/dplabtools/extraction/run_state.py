"""What became of every slide and every patch of a run."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dplabtools._typing import BoolArray, IntArray
from dplabtools.engine.base import JobResult
from dplabtools.engine.choose import RunOptions
from dplabtools.errors import OutputError, SlideError, SystemLimitError, WorkerError
from dplabtools.extraction.chunk_reader import Chunk
from dplabtools.extraction.inspection import InspectedSlide
from dplabtools.extraction.plan import ReadOptions, rows_outside
from dplabtools.readers.stamps import SlideStamp
from dplabtools.records.failure import Failure
from dplabtools.records.patch_table import PatchTable
from dplabtools.records.profile import Profile
from dplabtools.records.quality import (
    QUALITY_COLUMNS,
    QualityValues,
)
from dplabtools.records.run_record import ErrorRecord, SlideResult, slide_status
from dplabtools.records.slide_plan import SlidePlan

if TYPE_CHECKING:
    from dplabtools.extraction.slide_tissue import SlideQuality
    from dplabtools.masks.stains import Background

__all__ = ["RunState"]

_INDEX_BYTES = 64 << 20


class RunState:
    """The state of a run; errors are raised here, or entered.

    Parameters
    ----------
    tables : sequence of PatchTable
        The patches asked for, one table a slide.
    options : RunOptions
        Whether what fails is entered, instead of raising the first error.

    Attributes
    ----------
    plans : list of SlidePlan or None
        One for each slide as given; None for slides that could not be planned.
    delivered : list of ndarray of bool, shape (n,)
        For each slide, which of its rows were delivered.
    pids : list of int
        For each slide, the process that was last at it.
    left_out : list of ndarray of int64
        For each slide, the rows that are not good enough to be delivered.
    seconds : list of float
        For each slide, how long workers were at it, all together.
    indexes : dict of int to bytes
        What workers need not find out again of each slide: up to 64 MB of it, as every
        worker gets all.
    stamps : dict of int to SlideStamp
        What tells whether a slide is still the one that was planned.
    backgrounds : dict of int to Background
        Which pixels of each slide show no specimen, if quality is measured.
    profile : Profile
        Where the time went.
    placed : list of int
        For each slide, its patches, but for those that other jobs do.
    """

    def __init__(self, tables: Sequence[PatchTable], options: RunOptions) -> None:
        self.plans: list[SlidePlan | None] = [None] * len(tables)
        self.delivered: list[BoolArray] = [
            np.zeros(len(table), dtype=np.bool_) for table in tables
        ]
        self.pids = [0] * len(tables)
        self.left_out: list[IntArray] = [np.zeros(0, dtype=np.int64) for _ in tables]
        self.seconds = [0.0] * len(tables)
        self.indexes: dict[int, bytes] = {}
        self.stamps: dict[int, SlideStamp] = {}
        self.backgrounds: dict[int, Background] = {}
        self._index_bytes = 0
        self._profiles: dict[bytes | None, bytes | None] = {}
        self.profile = Profile()
        self.placed = list(map(len, tables))
        self._tables = tables
        self._skip_errors = options.skip_errors
        self._failures: list[list[Failure]] = [[] for _ in tables]

    def note_facts(self, slide: int, facts: InspectedSlide) -> None:
        """Keep what was found out about a slide; its index, if there is room."""
        self.stamps[slide] = facts.stamp
        index = facts.index
        if index is not None and self._index_bytes + len(index) <= _INDEX_BYTES:
            self.indexes[slide] = index
            self._index_bytes += len(index)

    def enter_plan(self, plan: SlidePlan, found: SlideQuality | None) -> SlidePlan:
        """Enter how a slide is to be read; return that, with what was found out of it."""
        if found is not None:
            self.backgrounds[plan.slide_index] = found.background
            share = ("tissue_share", f"{found.tissue_share:.4f}")
            plan = replace(plan, found_columns=(*plan.found_columns, share))
        self.plans[plan.slide_index] = plan
        return plan

    def leave_out(self, slide: int, rows: IntArray) -> None:
        """Enter patches that are not good enough."""
        if len(rows):
            self.left_out[slide] = np.union1d(self.left_out[slide], rows)
            self.delivered[slide][rows] = False

    def leave_to_others(self, slide: int, rows: IntArray) -> None:
        """Enter patches that another job does."""
        self.delivered[slide][rows] = False
        self.placed[slide] -= len(rows)

    def all_left_out(self) -> BoolArray:
        """Tell of the patches of all slides which are not good enough."""
        every = [np.zeros(len(table), dtype=np.bool_) for table in self._tables]
        for of_slide, rows in zip(every, self.left_out, strict=True):
            of_slide[rows] = True
        return np.concatenate([*every, np.zeros(0, dtype=np.bool_)])

    def all_quality(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the quality of all patches, by column; nothing if it was not measured."""
        measured = {
            plan.slide_index: plan.quality for plan in self.planned() if plan.quality
        }
        if not measured:
            return {}
        every = [
            measured[slide].values
            if slide in measured
            else np.full((len(table), len(QUALITY_COLUMNS)), np.nan, dtype=np.float32)
            for slide, table in enumerate(self._tables)
        ]
        return dict(zip(QUALITY_COLUMNS, np.concatenate(every).T, strict=True))

    def forget(self, slide: int) -> None:
        """Let go of what is known of a slide that nobody will ask for again."""
        self.plans[slide] = None
        for known in (self.stamps, self.backgrounds):
            known.pop(slide, None)
        self._index_bytes -= len(self.indexes.pop(slide, b""))

    def kept_once(self, icc_profile: bytes | None) -> bytes | None:
        """Return a colour profile; slides that have the same share its memory."""
        return self._profiles.setdefault(icc_profile, icc_profile)

    def planned(self) -> list[SlidePlan]:
        """Return the plans of the slides that could be planned."""
        return [plan for plan in self.plans if plan is not None]

    def errors_by_slide(self) -> list[list[Failure]]:
        """Return what was skipped of each slide as given, by row."""
        return [sorted(each, key=lambda one: one.row or 0) for each in self._failures]

    def errors(self) -> list[Failure]:
        """Return what was skipped, by slide as given, then by row."""
        return [failure for each in self.errors_by_slide() for failure in each]

    def result(self, slide: int) -> SlideResult:
        """Return what became of a slide that nothing is read of any more."""
        table, plan = self._tables[slide], self.plans[slide]
        errors = tuple(map(ErrorRecord.of, self._failures[slide]))
        pyramid = None if plan is None else plan.pyramid
        return SlideResult(
            wsi_file=table.slide,
            status=slide_status(self.placed[slide], errors),
            placed=self.placed[slide],
            written=int(self.delivered[slide].sum()),
            labels=table.counts(),
            errors=errors,
            size=None if pyramid is None else pyramid.sizes[0],
            mpp=None if pyramid is None else pyramid.mpp,
            mpp_source="" if pyramid is None else pyramid.mpp_source,
            seconds=round(self.seconds[slide], 3),
        )

    def fail_slide(self, slide: int, error: Exception, *, attempts: int) -> None:
        """Raise an error that concerns a whole slide, or enter it.

        Raises
        ------
        Exception
            The error, unless errors are to be skipped; a limit of the system, which is no
            fault of the slide, always.
        """
        named = self.named(error, slide)
        if not self._skip_errors or isinstance(named, SystemLimitError):
            raise named
        self._enter(slide, [None], named, attempts=attempts)

    def rows_inside(self, plan: SlidePlan, reading: ReadOptions) -> IntArray:
        """Return the rows that fit the slide; the others raise, or are entered.

        Raises
        ------
        RegionOutOfBoundsError
            If there are any, and errors are not to be skipped.
        """
        inside = np.ones(len(plan), dtype=np.bool_)
        for row, error in rows_outside(plan, reading):
            if not self._skip_errors:
                raise error
            self._enter(plan.slide_index, [row], error)
            inside[row] = False
        return np.flatnonzero(inside)

    def note(self, chunk: Chunk, outcome: JobResult) -> IntArray:
        """Enter what became of a chunk.

        Returns
        -------
        ndarray of int64
            The rows that failed, and those that are not good enough.

        Raises
        ------
        Exception
            What went wrong, unless errors are to be skipped. Errors that are not the fault
            of a slide or a worker always.
        """
        self.pids[chunk.slide_index] = outcome.pid
        self.profile.add(outcome.worker, {"wait": outcome.waited_s})
        rows = chunk.rows.tolist()
        failed: list[tuple[int, Exception]]
        left_out = chunk.rows[:0]
        if outcome.error is None:
            failed = list(outcome.result.failed)
            self.profile.add(outcome.worker, outcome.result.seconds)
            self.profile.add_tiles(chunk.slide_index, outcome.result.tiles)
            self.seconds[chunk.slide_index] += sum(outcome.result.seconds.values())
            self._note_quality(chunk, outcome.result.quality)
            left_out = outcome.result.left_out
        else:
            error = self.named(outcome.error, chunk.slide_index)
            if not self._skip_errors or not isinstance(error, (SlideError, WorkerError)):
                raise error
            failed = [(row, error) for row in rows]
        for row, error in failed:
            self._enter(chunk.slide_index, [row], error, attempts=outcome.attempts)
        lost = np.array([*(row for row, _ in failed), *left_out], dtype=np.int64)
        self.delivered[chunk.slide_index][chunk.rows] = True
        self.delivered[chunk.slide_index][lost] = False
        self.leave_out(chunk.slide_index, left_out)
        return lost

    def _note_quality(self, chunk: Chunk, values: QualityValues | None) -> None:
        plan = self.plans[chunk.slide_index]
        if values is not None and plan is not None and plan.quality is not None:
            plan.quality.values[chunk.rows] = values

    def _enter(
        self,
        slide: int,
        rows: Sequence[int | None],
        error: Exception,
        *,
        attempts: int = 1,
    ) -> None:
        path = self._tables[slide].slide
        self._failures[slide] += [
            Failure(wsi_file=path, row=row, error=error, attempts=attempts) for row in rows
        ]

    @contextmanager
    def naming(self, slide: int) -> Generator[None]:
        """Name the slide in what cannot be written meanwhile."""
        try:
            yield
        except OutputError as error:
            if error.slide is not None:
                raise
            raise error.of_slide(self._tables[slide].slide_name) from error

    def named(self, error: Exception, slide: int) -> Exception:
        """Return an error whose message begins with the name of the slide."""
        if isinstance(error, (SlideError, WorkerError)) and error.slide is None:
            return error.of_slide(self._tables[slide].slide_name)
        return error
