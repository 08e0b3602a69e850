"""Which worker gets which job: for engines whose workers may end, and be replaced."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

__all__ = ["Backlog", "BaseWorker", "Job"]

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
    """

    lane: int
    jobs: deque[Job] = field(default_factory=deque)


_Worker = TypeVar("_Worker", bound=BaseWorker)


class Backlog:
    """Jobs that no worker has been given.

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

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Job) -> None:
        """Add a job behind all others."""
        self._jobs.append(job)

    def take_all(self) -> list[Job]:
        """Return all jobs, and keep none."""
        taken = list(self._jobs)
        self._jobs.clear()
        return taken

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

    def take_back(self, worker: BaseWorker, *, began: bool) -> Job | None:
        """Put the jobs of a worker that has ended before all others.

        Parameters
        ----------
        worker : BaseWorker
            The worker.
        began : bool
            Whether it had begun with the first of them.

        Returns
        -------
        Job or None
            The job that it was at, if one before it has ended over that already.
        """
        lost = None
        if began and worker.jobs:
            worker.jobs[0].attempts += 1
            if worker.jobs[0].attempts >= _ATTEMPTS:
                lost = worker.jobs.popleft()
            for job in worker.jobs:
                job.alone = True
        self._jobs.extendleft(reversed(worker.jobs))
        worker.jobs.clear()
        return lost
