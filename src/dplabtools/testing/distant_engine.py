"""An engine whose workers see no memory of the caller, as on another machine."""

from __future__ import annotations

import multiprocessing
import pickle
import uuid
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from queue import SimpleQueue
from typing import Self

from dplabtools.engine.base import JobResult, Work, WorkerId
from dplabtools.engine.forwarding import Notice, deliver, kept, log_level
from dplabtools.engine.serial import perform
from dplabtools.engine.slabs import Segment
from dplabtools.errors import WorkerError

__all__ = ["DistantEngine"]


class DistantEngine:
    """Runs jobs in processes of `concurrent.futures`, and shares nothing with them.

    What an engine for a cluster has to do, and no more: a pattern for one.

    Parameters
    ----------
    workers : int
        Number of processes.
    """

    def __init__(self, *, workers: int) -> None:
        self._count = workers
        self._workers: ProcessPoolExecutor | None = None
        self._done: SimpleQueue[tuple[int, Future[bytes]]] = SimpleQueue()
        self._work = ("", b"", 0)
        self.capacity = 2 * workers
        self.pending = 0

    def check_access(self, *, files: Sequence[str], folders: Sequence[str]) -> None:
        """Do nothing: workers see what the caller sees."""

    def begin(self, work: Work, *, segments: Sequence[Segment] = ()) -> None:
        """Prepare for jobs of this work; start workers if there are none."""
        if self._workers is None:
            context = multiprocessing.get_context("forkserver")
            self._workers = ProcessPoolExecutor(self._count, mp_context=context)
        self._work = (uuid.uuid4().hex, pickle.dumps(work), log_level())

    def submit(self, index: int, job: object, *, lane: int | None = None) -> None:
        """Hand over a job; there are no lanes."""
        if self._workers is None:
            msg = "begin a work before submitting jobs"
            raise LookupError(msg)
        future = self._workers.submit(_do, self._work, index, pickle.dumps(job))
        future.add_done_callback(lambda done: self._done.put((index, done)))
        self.pending += 1

    def take(self) -> JobResult:
        """Wait for the next outcome."""
        if not self.pending:
            msg = "no job is pending"
            raise LookupError(msg)
        index, future = self._done.get()
        self.pending -= 1
        try:
            answer: tuple[JobResult, list[Notice]] = pickle.loads(future.result())  # noqa: S301
        except Exception as error:  # noqa: BLE001 - a worker died, or did not understand
            failed = WorkerError(repr(error))
            return JobResult(index=index, error=failed, worker=WorkerId.here())
        for notice in answer[1]:
            deliver(notice)
        return answer[0]

    def poll(self) -> bool:
        """Return whether a job is done; all have been given out."""
        return not self._done.empty()

    def close(self) -> None:
        """Cancel what has not begun, and end all workers."""
        if self._workers is not None:
            self._workers.shutdown(cancel_futures=True)
            self._workers = None
        self._done = SimpleQueue()
        self.pending = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


_present: dict[str, Work] = {}  # in a worker: the work that it is at


def _do(work: tuple[str, bytes, int], index: int, job: bytes) -> bytes:
    """Do a job in a worker; return its outcome, and what is to be told beside."""
    key, packed, level = work
    with kept(level) as notices:
        if key not in _present:
            for earlier in _present.values():
                earlier.close()
            _present.clear()
            _present[key] = pickle.loads(packed)  # noqa: S301 - from the caller
        outcome = perform(_present[key], index, pickle.loads(job))  # noqa: S301
    return pickle.dumps((outcome, notices))
