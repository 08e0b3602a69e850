"""Workers of a Ray cluster (https://docs.ray.io), on as many machines as it has.

Each worker is an actor, which keeps what the work keeps between jobs. Works, jobs and
results are pickled as for processes of this machine. Workers on the caller's own machine
share its memory, too. What others return is none of the pickle if it is large, but lies
beside it in Ray's object store, and reaches the caller as it lies there
(https://peps.python.org/pep-0574/).
"""

from __future__ import annotations

import logging
import os
import pickle
import select
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from dplabtools.engine.base import JobResult, Work, WorkerId, boot
from dplabtools.engine.cluster import check_nodes, join, wait_until_gone, what_is_missing
from dplabtools.engine.dealing import NOBODY, BaseWorker, JobQueue
from dplabtools.engine.forwarding import Notice, deliver, kept, log_level
from dplabtools.engine.slabs import Segment, SegmentAddress
from dplabtools.engine.worker import THREAD_COUNTS, perform_packed, portable, unfit
from dplabtools.errors import WorkerError

__all__ = ["RayEngine"]

_MEMORY: Final = 512 << 20  # bytes that Ray sets aside for a worker: decoded tiles, a chunk
_AHEAD = 2
_FALSE_STARTS = 3
_SAY_S = 30.0  # without any worker, until the caller is told what it waits for
_GRACE_S = 0.5  # of a process that Ray has told to end, until this one kills it
_KILL_S = 10.0  # Ray kills a process that does not end by itself in 5
_LOOK_S = 1.0  # how often to look for workers that hang
_LOGGER = logging.getLogger(__name__)


class _Actor:
    """A worker, where it works."""

    def __init__(self) -> None:
        os.environ.update(dict.fromkeys(THREAD_COUNTS, "1"))
        self._work: Work | None = None
        self._unfit: Exception | None = None
        self._idle_since = time.perf_counter()

    @staticmethod
    def what_is_missing(files: Sequence[str], marks: Sequence[str], version: str) -> str:
        """Say what its node lacks; see `cluster.what_is_missing`."""
        return what_is_missing(files, marks, version)

    def begin(
        self, packed: bytes, machine: str, memory: Sequence[SegmentAddress]
    ) -> tuple[WorkerId, str, str]:
        """Unpack a work; if that fails, all its jobs have.

        Parameters
        ----------
        packed : bytes
            The work.
        machine : str
            That of the caller.
        memory : sequence of SegmentAddress
            What the work uses there.

        Returns
        -------
        (WorkerId, str, str)
            Who the worker is, and on which node and machine.
        """
        if self._work is not None:
            self._work.close()
        self._work, self._unfit = None, None
        Segment.keep_only(())
        here = _machine()
        if here and here == machine:
            _attach(memory)
        try:
            self._work = pickle.loads(packed)  # noqa: S301 - from the caller
        except Exception as error:  # noqa: BLE001 - unpickling runs anybody's code
            self._unfit = unfit("the work", error)
        self._idle_since = time.perf_counter()
        return WorkerId.here(), ray.get_runtime_context().get_node_id(), here

    def do(self, data: bytes, level: int) -> tuple[bytes, list[pickle.PickleBuffer]]:
        """Do a job; return its result, pickled without what is large, and that beside."""
        waited_s = time.perf_counter() - self._idle_since
        with kept(level) as notices:
            done = perform_packed(self._work, data, unusable=self._unfit)
            outcome = replace(done, waited_s=waited_s)
        packed = _packed(outcome, notices)
        self._idle_since = time.perf_counter()
        return packed


@dataclass(slots=True, eq=False, kw_only=True)
class _Worker(BaseWorker):
    """A worker, as the caller sees it."""

    actor: Any
    begun: Any  # the answer to `begin`, to come
    identity: WorkerId | None = None
    node: str = ""
    process: int = -1  # a descriptor of it, if it works on this machine
    answers: deque[Any] = field(default_factory=deque)  # to come, one a job


class RayEngine:
    """Runs jobs in actors of a Ray cluster.

    That is the cluster that ``ray.init`` has joined; else the one that the environment
    variable ``RAY_ADDRESS`` names; else one of this machine, which ends with the engine.
    A worker that dies, by itself or with its node, is replaced, and the job that it was at
    is run once more.

    Parameters
    ----------
    workers : int
        Number of actors. While the cluster has no room for all of them, those that there
        are do the work.
    threads : int
        Cores that each of them takes.
    ahead : int
        Jobs given to a worker at once.
    timeout_s : float
        A job that takes longer counts as hanging, and its worker is killed.

    Raises
    ------
    ClusterError
        If the cluster does not answer, has another version of Ray or Python, or no node
        with so many cores.
    """

    def __init__(
        self,
        *,
        workers: int,
        threads: int = 1,
        ahead: int = _AHEAD,
        timeout_s: float = 900.0,
    ) -> None:
        self._needs: Mapping[str, float] = {"num_cpus": threads, "memory": _MEMORY}
        self._count = workers
        self._ahead = ahead
        self._timeout_s = timeout_s
        self._workers: list[_Worker] = []
        self._queue = JobQueue(workers=workers, ahead=ahead)
        self._segments: tuple[Segment, ...] = ()
        self._begin: tuple[object, ...] = ()
        self._level = 0
        self._false_starts = 0
        self._waiting_since = 0.0
        self._joined = False
        self._join()

    def _join(self) -> None:
        self._joined = (
            join(cores=self._count * int(self._needs["num_cpus"])) or self._joined
        )

    @property
    def capacity(self) -> int:
        """Number of jobs that keep all workers busy."""
        return self._count * self._ahead

    @property
    def pending(self) -> int:
        """Number of jobs submitted, whose outcome has not been taken."""
        return self._queue.pending(self._workers)

    def check_access(self, *, files: Sequence[str], folders: Sequence[str]) -> None:
        """Make sure that each node sees these files, and can write to these folders.

        Raises
        ------
        ClusterError
            If one does not; naming it, and the file or folder.
        """
        there = {each.node: each.actor for each in self._ready()}
        try:
            check_nodes(self._needs, files=files, folders=folders, workers=there)
        except RayActorError:
            check_nodes(self._needs, files=files, folders=folders)

    def begin(self, work: Work, *, segments: Sequence[Segment] = ()) -> None:
        """Send the work to all workers, and where its memory is to those that may see it.

        Raises
        ------
        WorkerError
            If it cannot be pickled.
        """
        packed = self._queue.begin(work, self._workers)
        self._join()
        self._segments = tuple(segments)  # open as long as workers may come
        memory = tuple(segment.address() for segment in segments)
        self._begin, self._level = (ray.put(packed), _machine(), memory), log_level()
        self._false_starts, self._waiting_since = 0, time.monotonic()
        for worker in self._workers:
            worker.begun = worker.actor.begin.remote(*self._begin)

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
            self._listen(wait_s=_LOOK_S)
        return outcome

    def poll(self) -> bool:
        """Give out jobs to workers that have finished others; see `Engine.poll`."""
        if self.pending:
            self._listen(wait_s=0.0)
        return self._queue.has_outcome

    def close(self) -> None:
        """End all workers, and leave the cluster if the engine has joined it."""
        workers, self._workers = self._workers, []
        self._queue.clear()
        self._segments, self._begin = (), ()
        if ray.is_initialized():
            _end(workers)
            if self._joined:
                ray.shutdown()
        self._joined = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # ------------------------------------------------------------ giving out

    def _deal(self) -> None:
        """Start workers as long as there are jobs for them; send jobs to those at work."""
        jobs = len(self._queue) + sum(len(each.jobs) for each in self._workers)
        while len(self._workers) < min(self._count, jobs):
            self._start()
        ready = self._ready()
        while (dealt := self._queue.deal(ready)) is not None:
            worker, job = dealt
            if len(worker.jobs) == 1:
                worker.since = time.monotonic()
            worker.answers.append(worker.actor.do.remote(job.data, self._level))

    def _ready(self) -> list[_Worker]:
        return [each for each in self._workers if each.identity is not None]

    def _start(self) -> None:
        """Ask for one more worker; it comes when there is room for it."""
        actor: Any = ray.remote(_Actor).options(**self._needs).remote()
        lane = self._queue.free_lane(self._workers)
        begun = actor.begin.remote(*self._begin)
        self._workers.append(_Worker(lane=lane, actor=actor, begun=begun))

    # ------------------------------------------------------------- listening

    def _listen(self, *, wait_s: float) -> None:
        """Take in what has come, and replace workers that have died or hang."""
        awaited = {
            (each.answers[0] if each.answers else each.begun): each
            for each in self._workers
            if each.answers or each.identity is None
        }
        ready: list[Any] = ray.wait(list(awaited), timeout=wait_s)[0] if awaited else []
        for answer in ready:
            self._hear(awaited[answer], answer)
        self._end_hanging()
        self._say_what_is_missing()
        self._deal()

    def _hear(self, worker: _Worker, answer: Any) -> None:  # noqa: ANN401 - has no types
        """Take in an answer; one that is lost is to be given again."""
        try:
            found: Any = ray.get(answer)
        except RayActorError as error:
            self._bury(worker, f"died ({_first_line(error)})")
        except RayTaskError as error:
            self._fail_first(worker, WorkerError(f"a worker cannot answer: {error}"))
        except RayError as error:  # the worker is there, and its answer is not
            self._bury(worker, f"has lost a result ({_first_line(error)})")
        else:
            if worker.identity is None:
                identity, worker.node, machine = found
                worker.identity, worker.process = identity, _process(identity, machine)
                worker.since = time.monotonic()
                self._false_starts = 0
            else:
                worker.answers.popleft()
                self._queue.finish(worker, _unpacked(found, worker.identity))

    def _fail_first(self, worker: _Worker, error: WorkerError) -> None:
        """Fail the job that a worker was at, or all if it does not even begin."""
        if worker.identity is None:
            self._bury(worker, f"cannot begin ({_first_line(error)})")
            return
        worker.answers.popleft()
        self._queue.finish(worker, JobResult(index=-1, error=error, worker=worker.identity))

    def _end_hanging(self) -> None:
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.jobs and now - worker.since > self._timeout_s:
                _end([worker])
                self._bury(worker, f"took longer than {self._timeout_s:g} s")

    def _bury(self, worker: _Worker, ending: str) -> None:
        """Let go of a worker; its first job is run once more, or has failed.

        It may not be dead though Ray says so, and write to memory that others get then.
        """
        self._workers.remove(worker)
        ray.kill(worker.actor)
        _end_here([worker])
        who = worker.identity or NOBODY
        _LOGGER.warning("worker %s of %s %s", who.pid, who.host, ending)
        self._queue.take_back(worker, who=worker.identity, ending=ending)
        if worker.identity is None:
            self._false_starts += 1
        if self._false_starts >= _FALSE_STARTS and not self._ready():
            self._queue.fail_all(WorkerError(f"workers end before they begin: {ending}"))

    def _say_what_is_missing(self) -> None:
        """Tell whoever waits for the first worker what the cluster has no room for."""
        if self._ready():
            self._waiting_since = time.monotonic()
        elif time.monotonic() - self._waiting_since > _SAY_S:
            self._waiting_since = time.monotonic()
            _LOGGER.warning(
                "no worker has started yet: each takes %s, and the cluster has %s left",
                dict(self._needs),
                ray.available_resources(),
            )


def _end(workers: Sequence[_Worker]) -> None:
    """Kill workers, and wait for those at a job: others may remove or write its files."""
    for worker in workers:
        ray.kill(worker.actor)
    elsewhere = {
        each.identity: each.node
        for each in workers
        if each.identity and each.jobs and each.process < 0
    }
    _end_here(workers)
    wait_until_gone(elsewhere, within_s=_KILL_S)


def _end_here(workers: Sequence[_Worker]) -> None:
    """Be sure that workers of this machine have ended that are at a job.

    They write to memory that others get then. Ray says that they have died as soon as they
    are to, and it may be Ray itself that has.
    """
    processes = [each.process for each in workers if each.jobs and each.process >= 0]
    left = _left(processes, within_s=_GRACE_S)
    for process in left:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGKILL)
    _left(left, within_s=_KILL_S)
    for worker in workers:
        if worker.process >= 0:
            os.close(worker.process)
            worker.process = -1


def _left(processes: Sequence[int], *, within_s: float) -> list[int]:
    """Wait for processes to end; return the descriptors of those that have not."""
    deadline = time.monotonic() + within_s
    left: list[int] = []
    for process in processes:
        poller = select.poll()
        poller.register(process, select.POLLIN)
        if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            left.append(process)
    return left


def _machine() -> str:
    """Return what processes share that see and can end each other; empty if unknown."""
    try:
        os.close(os.pidfd_open(os.getpid()))
        return f"{boot()} {Path('/proc/self/ns/pid').readlink()} {os.getuid()}"
    except (AttributeError, OSError):  # nobody would know when a process is gone
        return ""


def _attach(memory: Sequence[SegmentAddress]) -> None:
    """Map the memory of a caller on this machine; none of it if not all can be."""
    try:
        for segment in memory:
            segment.attach()
    except OSError:
        Segment.keep_only(())


def _process(worker: WorkerId, machine: str) -> int:
    """Return a descriptor of a worker, if it is on this machine; else -1."""
    if machine and machine == _machine():
        with suppress(ProcessLookupError):
            return os.pidfd_open(worker.pid)
    return -1


def _packed(
    outcome: JobResult, notices: list[Notice]
) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """Pickle a result, or why it cannot be; what is large is left beside."""
    if outcome.error is not None:
        outcome = replace(outcome, error=portable(outcome.error))
    beside: list[pickle.PickleBuffer] = []
    try:
        packed = pickle.dumps((outcome, notices), 5, buffer_callback=beside.append)
    except Exception as problem:  # noqa: BLE001 - pickling runs anybody's code
        failed = WorkerError(f"a result cannot be sent: {problem!r}")
        lost = replace(outcome, result=None, error=failed)
        return pickle.dumps((lost, notices), 5), []
    return packed, beside


def _unpacked(answer: tuple[bytes, list[Any]], worker: WorkerId) -> JobResult:
    """Return a result, or an error that says why it cannot be read."""
    packed, beside = answer
    try:
        found: tuple[JobResult, list[Notice]] = pickle.loads(packed, buffers=beside)  # noqa: S301
    except Exception as error:  # noqa: BLE001 - unpickling runs anybody's code
        failed = WorkerError(f"a result cannot be read here: {error!r}")
        return JobResult(index=-1, error=failed, worker=worker)
    outcome, notices = found
    for notice in notices:
        deliver(notice)
    return outcome


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
