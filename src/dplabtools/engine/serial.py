"""The reference: every job in the caller's thread, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Self

from dplabtools.engine.base import JobResult, Work, WorkerId
from dplabtools.engine.slabs import Segment

__all__ = ["SerialEngine"]


class SerialEngine:
    """Runs each job when its outcome is taken."""

    def __init__(self) -> None:
        self._work: Work | None = None
        self._jobs: deque[tuple[int, object]] = deque()

    @property
    def capacity(self) -> int:
        """One: there is nobody else."""
        return 1

    @property
    def pending(self) -> int:
        """Number of jobs submitted, whose outcome has not been taken."""
        return len(self._jobs)

    def check_access(self, *, files: Sequence[str], folders: Sequence[str]) -> None:
        """Do nothing: workers see what the caller sees."""

    def begin(self, work: Work, *, segments: Sequence[Segment] = ()) -> None:
        """Prepare for jobs of this work."""
        self.close()
        self._work = work

    def submit(self, index: int, job: object, *, lane: int | None = None) -> None:
        """Hand over a job; there are no lanes."""
        self._jobs.append((index, job))

    def take(self) -> JobResult:
        """Run the job that was submitted first.

        Raises
        ------
        LookupError
            If nothing is pending.
        """
        index, job = self._jobs.popleft()
        return perform(self._work, index, job)

    def poll(self) -> bool:
        """Return False: jobs are done when their outcome is taken."""
        return False

    def close(self) -> None:
        """Forget all jobs, and let the work go."""
        self._jobs.clear()
        if self._work is not None:
            self._work.close()
            self._work = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def perform(work: Work | None, index: int, job: object) -> JobResult:
    """Do one job; what it raises is its outcome."""
    if work is None:
        msg = "begin a work before submitting jobs"
        raise LookupError(msg)
    worker = WorkerId.here()
    try:
        return JobResult(index=index, result=work(job), worker=worker)
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller decides
        return JobResult(index=index, error=error, worker=worker)
