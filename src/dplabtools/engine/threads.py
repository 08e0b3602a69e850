"""Threads of the caller's own process."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Self

from dplabtools.engine.base import JobResult, Work
from dplabtools.engine.serial import perform
from dplabtools.engine.slabs import Segment
from dplabtools.sources.threads import AskingThreads

__all__ = ["ThreadEngine"]


class ThreadEngine:
    """Runs jobs in threads, which share one copy of the work.

    Parameters
    ----------
    workers : int
        Number of threads.
    """

    def __init__(self, *, workers: int) -> None:
        self._count = workers
        self._threads: AskingThreads | None = None
        self._work: Work | None = None
        self._outcomes: SimpleQueue[JobResult] = SimpleQueue()
        self._pending = 0

    @property
    def capacity(self) -> int:
        """Number of jobs that keep all threads busy."""
        return self._count * 2

    @property
    def pending(self) -> int:
        """Number of jobs submitted, whose outcome has not been taken."""
        return self._pending

    def check_access(self, *, files: Sequence[str], folders: Sequence[str]) -> None:
        """Do nothing: workers see what the caller sees."""

    def begin(self, work: Work, *, segments: Sequence[Segment] = ()) -> None:
        """Prepare for jobs of this work; threads see all memory anyway."""
        self.close()
        self._work = work
        self._threads = AskingThreads(self._count, name="dplabtools")

    def submit(self, index: int, job: object, *, lane: int | None = None) -> None:
        """Hand over a job; there are no lanes."""
        if self._threads is None:
            msg = "begin a work before submitting jobs"
            raise LookupError(msg)
        self._pending += 1
        future = self._threads.submit(perform, self._work, index, job)
        future.add_done_callback(self._collect)

    def _collect(self, future: Future[JobResult]) -> None:
        if not future.cancelled():
            self._outcomes.put(future.result())

    def take(self) -> JobResult:
        """Wait for the next outcome.

        Raises
        ------
        LookupError
            If nothing is pending.
        """
        if not self._pending:
            msg = "no job is pending"
            raise LookupError(msg)
        outcome = self._outcomes.get()
        self._pending -= 1
        return outcome

    def poll(self) -> bool:
        """Return whether a job is done; all have been given out."""
        return not self._outcomes.empty()

    def close(self) -> None:
        """Cancel what has not begun, wait for what has, and let the work go."""
        if self._threads is not None:
            self._threads.give_up()
            self._threads.shutdown()
            self._threads = None
        self._outcomes = SimpleQueue()
        self._pending = 0
        if self._work is not None:
            self._work.close()
            self._work = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
