"""Worker processes, started so that they never import the caller's script."""

from __future__ import annotations

import logging
import pickle
import time
import warnings
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import connection as mp_connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self

from dplabtools.engine.base import Outcome, Work
from dplabtools.engine.slabs import Segment
from dplabtools.engine.starting import (
    WORKER_NAME,
    callers_script_left_alone,
    prepared_for,
    start_context,
)
from dplabtools.engine.worker import send_descriptor, serve
from dplabtools.errors import WorkerError

__all__ = ["ProcessEngine"]

_AHEAD = 2  # jobs given to a worker at once: the next one waits there, not here
_ATTEMPTS = 2
_LOGGER = logging.getLogger(__name__)


@dataclass(slots=True)
class _Job:
    index: int
    job: object
    lane: int | None = None
    attempts: int = 0


@dataclass(slots=True, eq=False)
class _Worker:
    process: BaseProcess
    connection: Connection
    lane: int
    jobs: deque[_Job] = field(default_factory=deque)
    ready: bool = False
    since: float = 0.0  # when the first of `jobs` was begun


class ProcessEngine:
    """Runs jobs in processes of their own.

    Workers start when there is something for them to do, and stay until `close`. One that
    dies or hangs is replaced, and the job that it was at is run once more.

    Parameters
    ----------
    workers : int
        Number of processes.
    ahead : int
        Jobs given to a worker at once. With 1 a worker waits for its next job; with 2 it
        has it already.
    timeout_s : float
        A job that takes longer counts as hanging, and its worker is killed.
    start_method : {None, "forkserver", "spawn"}
        How processes start. None: as set with `multiprocessing.set_start_method`, if that
        is one of the two; else forkserver on Linux and spawn elsewhere. Never fork.
    preload : sequence of str
        Modules that the work needs. With forkserver they are imported once, before the
        first worker starts; they must not start threads.
    """

    def __init__(
        self,
        *,
        workers: int,
        ahead: int = _AHEAD,
        timeout_s: float = 900.0,
        start_method: str | None = None,
        preload: Sequence[str] = (),
    ) -> None:
        self._count = workers
        self._ahead = ahead
        self._timeout_s = timeout_s
        self._context = start_context(start_method, preload)
        self._workers: list[_Worker] = []
        self._backlog: deque[_Job] = deque()
        self._done: deque[Outcome] = deque()
        self._begin: bytes | None = None
        self._segments: tuple[Segment, ...] = ()
        self._false_starts = 0

    @property
    def capacity(self) -> int:
        """Number of jobs that keep all workers busy."""
        return self._count * self._ahead

    @property
    def pending(self) -> int:
        """Number of jobs submitted, whose outcome has not been taken."""
        held = sum(len(worker.jobs) for worker in self._workers)
        return held + len(self._backlog) + len(self._done)

    def begin(self, work: Work, *, segments: Sequence[Segment] = ()) -> None:
        """Send the work, and the memory that its jobs use, to all workers."""
        if self.pending:
            msg = f"{self.pending} jobs of the work before are pending"
            raise ValueError(msg)
        level = logging.getLogger("dplabtools").getEffectiveLevel()
        keys = tuple(segment.key for segment in segments)
        self._segments = tuple(segments)
        self._begin = pickle.dumps(("begin", pickle.dumps(work), level, keys))
        for worker in list(self._workers):
            self._introduce(worker)

    def submit(self, index: int, job: object, *, lane: int | None = None) -> None:
        """Hand over a job; see `Engine.submit`."""
        self._backlog.append(_Job(index, job, lane))
        self._deal()

    def take(self) -> Outcome:
        """Wait for the next outcome.

        Raises
        ------
        LookupError
            If nothing is pending.
        WorkerError
            If workers cannot be started.
        """
        while not self._done:
            if not self.pending:
                msg = "no job is pending"
                raise LookupError(msg)
            self._listen()
        return self._done.popleft()

    def poll(self) -> None:
        """Give out jobs to workers that have finished others; returns at once."""
        if self._backlog:
            self._listen(wait=False)

    def close(self) -> None:
        """End all workers at once, whatever they do."""
        workers, self._workers = self._workers, []
        self._backlog.clear()
        self._done.clear()
        self._segments = ()
        for worker in workers:
            worker.connection.close()  # a worker ends when its caller hangs up
        for worker in workers:
            worker.process.join(1.0)
            _kill(worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    # ------------------------------------------------------------ giving out

    def _deal(self) -> None:
        """Give jobs to workers that have least to do, those of their lane first."""
        while self._backlog:
            if len(self._workers) < self._count and all(
                worker.jobs for worker in self._workers
            ):
                self._start()
            for worker in sorted(self._workers, key=lambda each: len(each.jobs)):
                job = self._job_for(worker)
                if job is not None:
                    self._give(worker, job)
                    break
            else:
                return

    def _job_for(self, worker: _Worker) -> _Job | None:
        """Take from the backlog what a worker may do now."""
        if len(worker.jobs) >= self._ahead:
            return None
        for place, job in enumerate(self._backlog):
            if job.lane is None or job.lane % self._count == worker.lane:
                del self._backlog[place]
                return job
        return None if worker.jobs else self._backlog.popleft()

    def _give(self, worker: _Worker, job: _Job) -> None:
        if not worker.jobs:
            worker.since = time.monotonic()
        worker.jobs.append(job)
        self._send(worker, pickle.dumps(("job", job.index, job.job), protocol=5))

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        with callers_script_left_alone(), prepared_for(self._context):
            process = self._context.Process(
                target=serve, args=(theirs,), name=WORKER_NAME, daemon=True
            )
            process.start()
        theirs.close()
        lanes = {each.lane for each in self._workers}
        lane = next(number for number in range(self._count) if number not in lanes)
        worker = _Worker(process, ours, lane)
        self._workers.append(worker)
        self._introduce(worker)
        return worker

    def _introduce(self, worker: _Worker) -> None:
        """Send the present work to a worker."""
        if self._begin is None:
            msg = "begin a work before submitting jobs"
            raise LookupError(msg)
        self._send(worker, self._begin)
        try:
            for segment in self._segments:
                send_descriptor(worker.connection, segment.descriptor)
        except OSError:
            return  # it died; `_listen` will find out

    def _send(self, worker: _Worker, data: bytes) -> None:
        try:
            worker.connection.send_bytes(data)
        except OSError:
            return  # it died; `_listen` will find out

    # ------------------------------------------------------------- listening

    def _listen(self, *, wait: bool = True) -> None:
        """Hear a worker that has something to say, has died, or has hung for too long."""
        by_source: dict[Any, _Worker] = {}
        for worker in self._workers:
            by_source[worker.connection] = worker
            by_source[worker.process.sentinel] = worker
        ready = mp_connection.wait(list(by_source), self._patience() if wait else 0)
        for worker in {
            id(by_source[source]): by_source[source] for source in ready
        }.values():
            self._hear(worker)
        self._end_hanging()
        self._deal()

    def _patience(self) -> float:
        """Return the seconds until the first busy worker counts as hanging."""
        begun = [worker.since for worker in self._workers if worker.jobs]
        return max(
            0.0, min(begun, default=time.monotonic()) + self._timeout_s - time.monotonic()
        )

    def _hear(self, worker: _Worker) -> None:
        """Take in all that a worker has sent."""
        try:
            while worker.connection.poll():
                self._note(worker, pickle.loads(worker.connection.recv_bytes()))  # noqa: S301
        except (EOFError, OSError):
            self._bury(worker, "died")
            return
        if not worker.process.is_alive():
            self._bury(worker, "died")

    def _note(self, worker: _Worker, message: tuple[Any, ...]) -> None:
        match message:
            case ("outcome", Outcome() as outcome):
                job = worker.jobs.popleft()
                worker.since = time.monotonic()
                self._done.append(replace(outcome, attempts=job.attempts + 1))
            case ("ready",):
                worker.ready = True
                worker.since = time.monotonic()
                self._false_starts = 0
            case ("log", logging.LogRecord() as record):
                logging.getLogger(record.name).handle(record)
            case ("warning", Warning() as warning):
                warnings.warn(warning, stacklevel=2)
            case _:
                msg = f"a worker sent {message[0]!r}"
                raise WorkerError(msg)

    def _end_hanging(self) -> None:
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.jobs and now - worker.since > self._timeout_s:
                self._bury(worker, f"took longer than {self._timeout_s:g} s")

    def _bury(self, worker: _Worker, what: str) -> None:
        """Replace a worker; its first job is run once more, or has failed."""
        self._workers.remove(worker)
        worker.connection.close()
        _kill(worker)
        code = worker.process.exitcode
        _LOGGER.warning("worker %s %s (exit code %s)", worker.process.pid, what, code)
        if not worker.ready:
            self._false_starts += 1
            if self._false_starts > _ATTEMPTS:
                msg = f"worker processes end before they begin (exit code {code})"
                raise WorkerError(msg)
        elif worker.jobs:
            culprit = worker.jobs[0]
            culprit.attempts += 1
            if culprit.attempts >= _ATTEMPTS:
                worker.jobs.popleft()
                self._done.append(_lost(culprit, what, worker.process))
        self._backlog.extendleft(reversed(worker.jobs))


def _lost(job: _Job, what: str, process: BaseProcess) -> Outcome:
    msg = (
        f"a worker process {what} (exit code {process.exitcode}), and so did the one that "
        f"tried again"
    )
    return Outcome(
        index=job.index,
        error=WorkerError(msg),
        attempts=job.attempts,
        pid=process.pid or 0,
    )


def _kill(worker: _Worker) -> None:
    """Make sure that a process is gone, and reaped."""
    if worker.process.is_alive():
        worker.process.kill()
    worker.process.join()
