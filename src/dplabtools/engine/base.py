"""What every engine can do: run one kind of work on many jobs.

An engine knows nothing of slides. It takes jobs one by one, runs them somewhere, and hands
outcomes back as they come; how many are under way at once is for the caller to say, who
thereby bounds the memory.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, Self, TypeAlias, runtime_checkable

from dplabtools.engine.slabs import Segment

__all__ = [
    "Engine",
    "EngineLike",
    "JobResult",
    "PreparingWork",
    "Work",
    "WorkerId",
    "boot",
    "lent",
    "run",
    "run_in_order",
]

# https://man7.org/linux/man-pages/man5/proc_sys_kernel.5.html
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


class Work(Protocol):
    """What is done with each job; picklable, sent to each worker once.

    Whatever a worker keeps between jobs (open files, threads) lives in its own copy of
    the work, and is let go by `close`.
    """

    def __call__(self, job: Any, /) -> Any:  # noqa: ANN401 - jobs and results are the work's own
        """Do one job and return its result; both pickle."""
        ...

    def close(self) -> None:
        """Let go of what is kept between jobs; called once in each worker."""
        ...


@runtime_checkable
class PreparingWork(Work, Protocol):
    """A work that can begin with jobs before their turn, where they wait for others."""

    def prepare(self, job: Any, /) -> None:  # noqa: ANN401 - jobs are the work's own
        """Begin with a job that is going to be done here; returns soon.

        Jobs come in the order in which they will be done. Not every engine does this, and
        none that does need be told of an error: the job has it.
        """
        ...


class WorkerId(NamedTuple):
    """A process, among those of several machines.

    Attributes
    ----------
    host : str
        Name of the machine.
    pid : int
        Number of the process there; 0 if it never was one.
    """

    host: str
    pid: int

    @classmethod
    def here(cls) -> Self:
        """Return that of this process."""
        return cls(socket.gethostname(), os.getpid())


def boot() -> str:
    """Return what changes when the machine is started again; empty if that is not known."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What became of one job.

    Attributes
    ----------
    index : int
        The number that the job was submitted under.
    result : object
        What the work returned; None if it failed.
    error : Exception or None
        What it raised, or a `WorkerError` if its workers died.
    attempts : int
        How often it was begun.
    worker : WorkerId
        The process that ran it last.
    waited_s : float
        Seconds that the worker had nothing to do before it.
    """

    index: int
    result: Any = None
    error: Exception | None = None
    attempts: int = 1
    worker: WorkerId
    waited_s: float = 0.0

    @property
    def pid(self) -> int:
        """Number of the process that ran it last, on its machine."""
        return self.worker.pid

    def value(self) -> Any:  # noqa: ANN401 - as above
        """Return the result, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.result


@runtime_checkable
class Engine(Protocol):
    """Runs jobs somewhere; an implementation passes `dplabtools.testing.EngineContract`."""

    @property
    def capacity(self) -> int:
        """Number of jobs that keep all workers busy, as many as there are now."""
        ...

    @property
    def pending(self) -> int:
        """Number of jobs submitted, whose outcome has not been taken."""
        ...

    def check_access(self, *, files: Sequence[str], folders: Sequence[str]) -> None:
        """Make sure that workers can read these files, and write to these folders.

        Where they see all that the caller sees, there is nothing to do.

        Raises
        ------
        ClusterError
            If one of them cannot.
        """
        ...

    def begin(self, work: Work, *, segments: Sequence[Segment] = ()) -> None:
        """Prepare for jobs of this work, which use this shared memory.

        Workers on other machines do not see it, and return what they make in their results:
        see ``Segment.is_here``. The work before it must have nothing pending.
        """
        ...

    def submit(self, index: int, job: object, *, lane: int | None = None) -> None:
        """Hand over a job; returns at once.

        Jobs of the same lane go to the same worker, as long as no other has nothing to do:
        what it kept from one may serve the next.
        """
        ...

    def take(self) -> JobResult:
        """Wait for the next outcome, in no particular order.

        Raises
        ------
        LookupError
            If nothing is pending.
        """
        ...

    def poll(self) -> bool:
        """Keep workers busy with what was submitted; returns at once.

        For callers that are busy themselves between one `take` and the next.

        Returns
        -------
        bool
            Whether `take` would return at once, with the outcome of a job done elsewhere.
        """
        ...

    def close(self) -> None:
        """End all workers at once, whatever they do; a second call does nothing.

        Another `begin` has others start.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...


EngineLike: TypeAlias = str | Engine
"""An engine, or the name of one."""


@contextmanager
def lent(engine: Engine) -> Generator[Engine]:
    """Lend an engine whose owner goes on using it.

    Parameters
    ----------
    engine : Engine
        Its workers stay, unless there is something left for them to do.
    """
    try:
        yield engine
    finally:
        if engine.pending:
            engine.close()


def run(
    engine: Engine,
    work: Work,
    jobs: Sequence[object],
    *,
    segments: Sequence[Segment] = (),
    lanes: int = 1,
) -> Iterator[JobResult]:
    """Run all jobs, and yield their outcomes as they come.

    Parameters
    ----------
    engine : Engine
        Where to run them.
    work : Work
        What to do with each.
    jobs : sequence
        Their numbers are their places in it.
    segments : sequence of Segment
        Shared memory that the jobs use.
    lanes : int
        Into how many parts to cut the jobs, each of them for one worker, where a job can
        use what is left of the one before. A worker that has finished its part takes from
        the end of another's.

    Yields
    ------
    JobResult
        One a job, in no particular order.
    """
    if not jobs:
        return
    engine.begin(work, segments=segments)
    ends = [len(jobs) * lane // lanes for lane in range(lanes + 1)]
    parts = [deque(range(*bounds)) for bounds in pairwise(ends)]
    lane_of: dict[int, int] = {}

    def submit(lane: int) -> None:
        longest = max(parts, key=len)
        if longest:
            index = parts[lane].popleft() if parts[lane] else longest.pop()
            lane_of[index] = lane
            engine.submit(index, jobs[index], lane=lane if lanes > 1 else None)

    def fill(lane: int) -> None:
        """Keep all workers busy, as many as there are now: they may come and go."""
        while any(parts) and engine.pending < max(1, engine.capacity):
            submit(lane % lanes)
            lane += 1

    fill(0)
    while engine.pending:
        outcome = engine.take()
        fill(lane_of.pop(outcome.index))
        yield outcome


def run_in_order(
    engine: Engine, work: Work, jobs: Sequence[object], *, ahead: int
) -> Iterator[JobResult]:
    """Run all jobs, and yield their outcomes in the order of the jobs.

    Parameters
    ----------
    engine : Engine
        Where to run them.
    work : Work
        What to do with each.
    jobs : sequence
        Their numbers are their places in it.
    ahead : int
        Number of jobs begun whose outcome the caller has not yet asked for: what a slow
        caller makes wait, and what bounds the memory of results.

    Yields
    ------
    JobResult
        One a job, in order.
    """
    early: dict[int, JobResult] = {}
    submitted = 0
    engine.begin(work)
    for wanted in range(len(jobs)):
        while submitted < min(len(jobs), wanted + ahead):
            engine.submit(submitted, jobs[submitted])
            submitted += 1
        while wanted not in early:
            outcome = engine.take()
            early[outcome.index] = outcome
        yield early.pop(wanted)
