"""Worker processes of this machine."""

from __future__ import annotations

import logging
import os
import pickle
import select
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from dplabtools.engine.base import JobResult, Work
from dplabtools.engine.channel import Message
from dplabtools.engine.dealing import NOBODY, BaseWorker, JobQueue
from dplabtools.engine.forwarding import deliver, log_level
from dplabtools.engine.slabs import Segment
from dplabtools.engine.starting import (
    StartedWorker,
    can_fork,
    end_all,
    prepare_zygote,
    release_zygote,
    start_worker,
    zygote_refusal,
)
from dplabtools.engine.worker import IDENTITY, JOB, NOTICE, OUTCOME, WORK
from dplabtools.errors import WorkerError

__all__ = ["ProcessEngine"]

_AHEAD = 2  # jobs given to a worker at once: the next one waits there, not here
_FALSE_STARTS = 3
_PAUSE_S = 0.1  # after a worker that could not be started, times how many there were
_START_S = 60.0
_KILL_S = 2.0
_LOOK_S = 1.0  # how often to look at workers of which no descriptor tells that they end
_LOGGER = logging.getLogger(__name__)


@dataclass(slots=True, eq=False, kw_only=True)
class _Worker(BaseWorker):
    process: StartedWorker
    ready: bool = False


class ProcessEngine:
    """Runs jobs in processes of their own.

    Workers start when there is something to do, and stay until `close`. One that
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
        How processes start: forked from a process that does nothing else, or each afresh.
        None: afresh if that is what `multiprocessing.set_start_method` was told, or if
        there is no other way on this system.
    modules : sequence of str
        What the work needs. Where workers are forked they are imported once, before the
        first starts; they must not start threads.
    """

    def __init__(
        self,
        *,
        workers: int,
        ahead: int = _AHEAD,
        timeout_s: float = 900.0,
        start_method: str | None = None,
        modules: Sequence[str] = (),
    ) -> None:
        self._owner = os.getpid()
        self._workers: list[_Worker] = []
        self._count = workers
        self._ahead = ahead
        self._timeout_s = timeout_s
        self._modules = tuple(modules)
        self._fork = _forks(start_method)
        self._queue = JobQueue(workers=workers, ahead=ahead)
        self._begin = b""
        self._segments: tuple[Segment, ...] = ()
        self._false_starts = 0
        self._broken: WorkerError | None = None
        if self._fork:
            prepare_zygote(self._modules)

    @property
    def capacity(self) -> int:
        """Number of jobs that keep all workers busy."""
        return self._count * self._ahead

    @property
    def pending(self) -> int:
        """Number of jobs submitted, whose outcome has not been taken."""
        return self._queue.pending(self._workers)

    def check_access(self, *, files: Sequence[str], folders: Sequence[str]) -> None:
        """Do nothing: workers see what the caller sees."""

    def begin(self, work: Work, *, segments: Sequence[Segment] = ()) -> None:
        """Send the work, and the memory that its jobs use, to all workers.

        Raises
        ------
        WorkerError
            If the work cannot be pickled.
        """
        packed = self._queue.begin(work, self._workers)
        keys = tuple(segment.key for segment in segments)
        self._segments = tuple(segments)
        self._begin = WORK + pickle.dumps((packed, log_level(), keys))
        self._broken, self._false_starts = None, 0
        for worker in self._workers:
            self._introduce(worker)

    def submit(self, index: int, job: object, *, lane: int | None = None) -> None:
        """Hand over a job; see `Engine.submit`."""
        self._queue.add(index, job, lane=lane)
        self._deal()

    def take(self) -> JobResult:
        """Wait for the next outcome.

        Raises
        ------
        LookupError
            If nothing is pending.
        """
        while (outcome := self._queue.take(self._workers)) is None:
            self._listen()
        return outcome

    def poll(self) -> bool:
        """Give out jobs to workers that have finished others; see `Engine.poll`."""
        if self.pending:
            self._listen(wait=False)
        return self._queue.has_outcome

    def close(self) -> None:
        """End all workers at once, whatever they do."""
        workers, self._workers = self._workers, []
        self._queue.clear()
        self._segments = ()
        ours = self._owner == os.getpid()
        if ours:
            _end(workers)
        for worker in workers:
            worker.process.let_go(hang_up=ours)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    # ------------------------------------------------------------ giving out

    def _deal(self) -> None:
        """Send jobs to workers, which the first job starts, and the end of one of them.

        The first job often is to look at a slide: meanwhile the others get ready.
        """
        while self._queue:
            if not self._workers:
                for _ in range(self._count):
                    self._start()
            elif len(self._workers) < self._count and all(
                worker.jobs for worker in self._workers
            ):
                self._start()
            dealt = self._queue.deal(self._workers)
            if dealt is None:
                return
            worker, job = dealt
            if len(worker.jobs) == 1 and worker.ready:
                worker.since = time.monotonic()
            worker.process.channel.send(JOB + job.data)

    def _start(self) -> None:
        """Ask for one more worker; whether it comes shows later."""
        if self._broken is not None:
            self._fail_queue(self._broken)
            return
        try:
            process = start_worker(self._modules, fork=self._fork)
        except OSError as error:
            self._start_failed(str(error))
            return
        lane = self._queue.free_lane(self._workers)
        worker = _Worker(process=process, lane=lane)
        self._workers.append(worker)
        self._introduce(worker)

    def _introduce(self, worker: _Worker) -> None:
        """Send the present work to a worker."""
        files = [segment.descriptor for segment in self._segments]
        worker.process.channel.send(self._begin, files=files)

    # ------------------------------------------------------------- listening

    def _listen(self, *, wait: bool = True) -> None:
        """Hear workers that have something to say, have died, or hang for too long."""
        poller = select.poll()
        for worker in self._workers:
            channel = worker.process.channel
            room = select.POLLOUT if channel.unsent else 0
            poller.register(channel.fileno(), select.POLLIN | room)
            if worker.process.descriptor >= 0:
                poller.register(worker.process.descriptor, select.POLLIN)
        ready = {source for source, _ in poller.poll(self._patience_ms() if wait else 0)}
        for worker in list(self._workers):
            process = worker.process
            told = not ready.isdisjoint({process.channel.fileno(), process.descriptor})
            if told or (process.descriptor < 0 and process.has_ended()):
                self._hear(worker)
        self._end_hanging()
        self._deal()

    def _patience_ms(self) -> float:
        """Return the time until a worker counts as hanging, or is to be looked at."""
        if not self._workers:
            return 0.0
        now = time.monotonic()
        waits = [self._allowed_s(worker) - (now - worker.since) for worker in self._workers]
        if any(worker.process.descriptor < 0 for worker in self._workers):
            waits.append(_LOOK_S)
        return max(0.0, min(*waits, 3600.0)) * 1000

    def _allowed_s(self, worker: _Worker) -> float:
        if not worker.ready:
            return _START_S
        return self._timeout_s if worker.jobs else 3600.0 * 24

    def _hear(self, worker: _Worker) -> None:
        """Take in all that a worker has sent, and send what there is room for."""
        ended = worker.process.has_ended()
        worker.process.channel.flush()
        for message in worker.process.channel.receive():
            self._note(worker, message)
        if ended or worker.process.channel.ended:
            self._bury(worker, "died")

    def _note(self, worker: _Worker, message: Message) -> None:
        kind, data = message.data[:1], memoryview(message.data)[1:]
        if kind == IDENTITY:
            worker.process.identify(pickle.loads(data), message.files)  # noqa: S301
            worker.ready = True
            worker.since = time.monotonic()
            self._false_starts = 0
        elif kind == OUTCOME:
            self._queue.finish(worker, _unpacked(data, worker.process))
        elif kind == NOTICE:
            deliver(pickle.loads(data))  # noqa: S301 - from our own process

    def _end_hanging(self) -> None:
        now = time.monotonic()
        for worker in list(self._workers):
            if now - worker.since > self._allowed_s(worker):
                if not worker.ready and self._fork:
                    release_zygote()  # it may be what hangs
                self._bury(worker, f"took longer than {self._allowed_s(worker):g} s")

    def _bury(self, worker: _Worker, what: str) -> None:
        """Replace a worker; its first job is run once more, or has failed."""
        self._workers.remove(worker)
        _end([worker])
        code = worker.process.exit_code()
        who = worker.process.identity or NOBODY
        worker.process.let_go()
        ending = f"{what} (exit code {'unknown' if code is None else code})"
        _LOGGER.warning("worker %s %s", who.pid, ending)
        self._queue.take_back(worker, who=who if worker.ready else None, ending=ending)
        if not worker.ready:
            self._start_failed(ending)

    def _start_failed(self, why: str) -> None:
        """Count it; after a few there is no point in another."""
        refusal = zygote_refusal() if self._fork else None
        if refusal is not None:
            _LOGGER.warning("workers start afresh, not by a fork: %s", refusal)
            self._fork = False
        self._false_starts += 1
        if self._false_starts >= _FALSE_STARTS:
            msg = f"worker processes end before they begin: {why}"
            self._broken = WorkerError(msg)
            self._fail_queue(self._broken)
        else:
            time.sleep(_PAUSE_S * self._false_starts)

    def _fail_queue(self, error: WorkerError) -> None:
        """Fail the jobs that nobody can be started for."""
        if not self._workers:
            self._queue.fail_all(error)


def _forks(start_method: str | None) -> bool:
    """Return whether workers are forked."""
    others = sys.modules.get("multiprocessing")  # whoever told it something has it
    wanted = start_method or (others and others.get_start_method(allow_none=True))
    return can_fork() and wanted != "spawn"


def _end(workers: Sequence[_Worker]) -> None:
    """Kill workers; one that the kernel cannot end is left to it."""
    for process in end_all([each.process for each in workers], within_s=_KILL_S):
        if process.identity is not None:
            _LOGGER.warning(
                "worker %s cannot be ended, it waits for a device; the system ends it as "
                "soon as it can",
                process.identity.pid,
            )


def _unpacked(data: memoryview, process: StartedWorker) -> JobResult:
    """Return an outcome, or an error that says why it cannot be read."""
    try:
        outcome: JobResult = pickle.loads(data)  # noqa: S301 - from our own process
    except Exception as error:  # noqa: BLE001 - unpickling runs anybody's code
        failed = WorkerError(f"a result cannot be read here: {error!r}")
        return JobResult(index=-1, error=failed, worker=process.identity or NOBODY)
    return outcome
