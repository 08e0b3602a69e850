"""The jobs of an engine whose workers may end, and be replaced: who gets which."""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from dplabtools.engine.base import JobResult, Work, WorkerId
from dplabtools.errors import WorkerError

__all__ = ["NOBODY", "BaseWorker", "Job", "JobQueue"]

NOBODY: Final = WorkerId(WorkerId.here().host, 0)
"""Who has done a job that no worker has begun with."""

_ATTEMPTS = 2


@dataclass(slots=True)
class Job:
    """A job on its way.

    Attributes
    ----------
    index : int
        The number that it was submitted under.
    data : bytes
        What is sent to the worker.
    lane : int or None
        Jobs of a lane go to the same worker, if that can be.
    attempts : int
        How often a worker has ended over it.
    alone : bool
        A worker has ended that had it, so that the next is given nothing beside it: should
        that end, too, nothing else can be the reason.
    """

    index: int
    data: bytes
    lane: int | None = None
    attempts: int = 0
    alone: bool = False


@dataclass(slots=True, eq=False, kw_only=True)
class BaseWorker:
    """A worker, as far as jobs are dealt out to it.

    Attributes
    ----------
    lane : int
        Jobs of this lane are its own.
    jobs : deque of Job
        What it has been given and not finished, the one that it is at first.
    since : float
        When what it is at was begun.
    """

    lane: int
    jobs: deque[Job] = field(default_factory=deque)
    since: float = field(default_factory=time.monotonic)


_Worker = TypeVar("_Worker", bound=BaseWorker)


class JobQueue:
    """Jobs that no worker has been given, and outcomes that nobody has taken.

    Parameters
    ----------
    workers : int
        How many there are, each with a lane.
    ahead : int
        Jobs given to a worker at once.
    """

    def __init__(self, *, workers: int, ahead: int) -> None:
        self._lanes = workers
        self._ahead = ahead
        self._jobs: deque[Job] = deque()
        self._done: deque[JobResult] = deque()
        self._begun = False

    def __len__(self) -> int:
        """Return the number of jobs that no worker has been given."""
        return len(self._jobs)

    @property
    def has_outcome(self) -> bool:
        """Whether there is an outcome to be taken."""
        return bool(self._done)

    def pending(self, workers: Sequence[BaseWorker]) -> int:
        """Return the number of jobs whose outcome has not been taken."""
        held = sum(len(worker.jobs) for worker in workers)
        return held + len(self._jobs) + len(self._done)

    def begin(self, work: Work, workers: Sequence[BaseWorker]) -> bytes:
        """Return a work, pickled, whose jobs come next.

        Raises
        ------
        ValueError
            If jobs of the work before are pending.
        WorkerError
            If it cannot be pickled.
        """
        if pending := self.pending(workers):
            msg = f"{pending} jobs of the work before are pending"
            raise ValueError(msg)
        try:
            packed = pickle.dumps(work)
        except Exception as error:  # pickling runs anybody's code
            msg = f"the work cannot be sent to workers: {error}"
            raise WorkerError(msg) from error
        self._begun = True
        return packed

    def add(self, index: int, job: object, *, lane: int | None) -> None:
        """Add a job behind all others; if it does not pickle it has failed.

        Raises
        ------
        LookupError
            If no work has begun.
        """
        if not self._begun:
            msg = "begin a work before submitting jobs"
            raise LookupError(msg)
        try:
            data = pickle.dumps(job, protocol=5)
        except Exception as error:  # noqa: BLE001 - pickling runs anybody's code
            failed = WorkerError(f"a job cannot be sent to a worker: {error}")
            self._done.append(JobResult(index=index, error=failed, worker=NOBODY))
        else:
            self._jobs.append(Job(index, data, lane))

    def take(self, workers: Sequence[BaseWorker]) -> JobResult | None:
        """Return an outcome; None if there is none yet.

        Raises
        ------
        LookupError
            If none is to come.
        """
        if not self.pending(workers):
            msg = "no job is pending"
            raise LookupError(msg)
        return self._done.popleft() if self._done else None

    def clear(self) -> None:
        """Forget all jobs and outcomes, and the work."""
        self._jobs.clear()
        self._done.clear()
        self._begun = False

    def free_lane(self, workers: Sequence[BaseWorker]) -> int:
        """Return the lane for one more worker."""
        lanes = {each.lane for each in workers}
        return next(number for number in range(self._lanes) if number not in lanes)

    def deal(self, workers: Sequence[_Worker]) -> tuple[_Worker, Job] | None:
        """Enter a job with the worker that has least to do, one of its lane first.

        Parameters
        ----------
        workers : sequence of BaseWorker
            The workers that are there.

        Returns
        -------
        (BaseWorker, Job) or None
            Who is to be sent what; None if there is nothing, or nobody, left. A worker gets
            a job of another's lane when it has nothing to do.
        """
        free = sorted(
            (
                each
                for each in workers
                if len(each.jobs) < self._ahead and not any(job.alone for job in each.jobs)
            ),
            key=lambda each: len(each.jobs),
        )
        for worker in free:
            for place, job in enumerate(self._jobs):
                own = job.lane is None or job.lane % self._lanes == worker.lane
                if own and not (job.alone and worker.jobs):
                    del self._jobs[place]
                    worker.jobs.append(job)
                    return worker, job
        if self._jobs and free and not free[0].jobs:
            free[0].jobs.append(self._jobs[0])
            return free[0], self._jobs.popleft()
        return None

    def finish(self, worker: BaseWorker, outcome: JobResult) -> None:
        """Enter what became of the job that a worker was at."""
        job = worker.jobs.popleft()
        worker.since = time.monotonic()
        self._done.append(replace(outcome, index=job.index, attempts=job.attempts + 1))

    def take_back(self, worker: BaseWorker, *, who: WorkerId | None, ending: str) -> None:
        """Put the jobs of a worker that has ended before all others.

        The job that it was at has failed, if one before it has ended over that already.

        Parameters
        ----------
        worker : BaseWorker
            The worker.
        who : WorkerId or None
            Its process, if it had begun with the first of them.
        ending : str
            How it has ended.
        """
        if who is not None and worker.jobs:
            worker.jobs[0].attempts += 1
            if worker.jobs[0].attempts >= _ATTEMPTS:
                msg = f"a worker process {ending}, and so did the one that tried again"
                self._fail(worker.jobs.popleft(), WorkerError(msg), who)
            for job in worker.jobs:
                job.alone = True
        self._jobs.extendleft(reversed(worker.jobs))
        worker.jobs.clear()

    def fail_all(self, error: WorkerError) -> None:
        """Fail the jobs that no worker can be started for."""
        while self._jobs:
            self._fail(self._jobs.popleft(), error, NOBODY)

    def _fail(self, job: Job, error: WorkerError, who: WorkerId) -> None:
        attempts = max(1, job.attempts)
        self._done.append(
            JobResult(index=job.index, error=error, attempts=attempts, worker=who)
        )
