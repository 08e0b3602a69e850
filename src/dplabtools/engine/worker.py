"""The life of a worker process.

It talks to its caller through one socket of its own, shared with nobody: a worker that is
killed can neither hold a lock nor leave half a message in the way of another. A thread
does nothing but receive, and send what there was no room for at once. So neither side ever
waits for the other, and the worker ends at once when its caller does, whatever it is doing.
"""

from __future__ import annotations

import gc
import os
import pickle
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Final, NoReturn

from dplabtools.engine.base import JobResult, PreparingWork, Work, WorkerId
from dplabtools.engine.channel import Channel, Message
from dplabtools.engine.forwarding import Notice, forwarded
from dplabtools.engine.serial import perform
from dplabtools.engine.slabs import Segment
from dplabtools.errors import DplabError, WorkerError

__all__ = [
    "IDENTITY",
    "JOB",
    "NOTICE",
    "OUTCOME",
    "THREAD_COUNTS",
    "WORK",
    "ignore_signals",
    "main",
    "perform_packed",
    "portable",
    "serve",
    "unfit",
]

THREAD_COUNTS: Final = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)
"""The workers are the parallelism; threads below them would only be in the way."""

# The first byte of a message says what the rest is. To a worker:
WORK: Final = b"W"  # (pickled work, log level, segment keys), with the segments as files
JOB: Final = b"J"  # the job; its number is for the caller to know, as they are done in turn
# and from it:
IDENTITY: Final = b"I"  # WorkerId, with a descriptor of the process where there are such
OUTCOME: Final = b"O"  # JobResult
NOTICE: Final = b"N"  # a log record or a warning

_WATCH_S = 1.0  # how often to look for the caller, where no descriptor tells of its end
_IGNORED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")


def ignore_signals() -> None:
    """Leave signals that go to a whole group of processes to the caller.

    It may handle them: what a cluster sends before the time of a job is over goes to all
    its processes. Workers end when their caller does.
    """
    for name in _IGNORED:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def main(descriptor: int, caller: int) -> NoReturn:
    """Be a worker: the whole of a process that was started for it.

    Parameters
    ----------
    descriptor : int
        The socket to the caller.
    caller : int
        Descriptor of the caller's process, which tells when it ends; -1 without.
    """
    ignore_signals()
    serve(socket.socket(fileno=descriptor), caller)


def serve(end: socket.socket, caller: int) -> NoReturn:
    """Do what comes through a socket until it is closed, or the caller ends.

    From here on garbage is collected.

    Parameters
    ----------
    end : socket.socket
        To the caller.
    caller : int
        Descriptor of the caller's process; -1 if there are no such.
    """
    gc.enable()
    try:
        line = _Line(Channel(end), caller)
        own = [os.pidfd_open(os.getpid())] if hasattr(os, "pidfd_open") else []
        line.send(IDENTITY, pickle.dumps(WorkerId.here()), files=own)
        desk = _Desk(line)
        while True:
            desk.do_next()
    except BaseException:  # noqa: BLE001 - the last word of this process
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(1)


class _Line:
    """The socket to the caller, and the thread that never does anything else."""

    def __init__(self, channel: Channel, caller: int) -> None:
        self.inbox: SimpleQueue[Message] = SimpleQueue()
        self._channel = channel
        self._caller = caller
        self._parent = os.getppid()
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waker, False)
        threading.Thread(target=self._attend, daemon=True).start()

    def send(self, kind: bytes, data: bytes, *, files: list[int] | None = None) -> None:
        """Send a message, from any thread; returns at once."""
        self._channel.send(kind + data, files=files or ())
        if self._channel.unsent:
            try:
                os.write(self._waker, b"!")
            except BlockingIOError:
                return  # it has not even woken up from the last time

    def _attend(self) -> None:
        try:
            while self._someone_listens():
                for message in self._channel.receive():
                    self.inbox.put(message)
                self._channel.flush()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a worker that is deaf must not stay
            traceback.print_exc()
        os._exit(1)

    def _someone_listens(self) -> bool:
        """Wait until there is something to do; return False if the caller is gone."""
        if self._channel.ended:
            return False
        poller = select.poll()
        room = select.POLLOUT if self._channel.unsent else 0
        poller.register(self._channel.fileno(), select.POLLIN | room)
        poller.register(self._woken, select.POLLIN)
        if self._caller >= 0:
            poller.register(self._caller, select.POLLIN)
        ready = dict(poller.poll(None if self._caller >= 0 else _WATCH_S * 1000))
        if self._woken in ready:
            os.read(self._woken, 1 << 10)
        return self._caller not in ready and (
            self._caller >= 0 or os.getppid() == self._parent
        )


class _Desk:
    """The present work, and the jobs that have come."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        self._work: Work | None = None
        self._unfit: Exception | None = None
        self._forwarding = ExitStack()
        self._jobs: deque[_UnpackedJob] = deque()

    def do_next(self) -> None:
        """Begin with another work, or do a job, whichever comes."""
        begun = time.perf_counter()
        if not self._jobs:
            self._take(self._line.inbox.get())
        waited_s = time.perf_counter() - begun
        if self._jobs:
            if isinstance(self._work, PreparingWork):
                while not self._line.inbox.empty():
                    self._take(self._line.inbox.get())
            done = self._jobs.popleft().perform(self._work)
            self._line.send(OUTCOME, _packed(replace(done, waited_s=waited_s)))

    def _take(self, message: Message) -> None:
        """Take a message in."""
        data = memoryview(message.data)[1:]
        if message.data[:1] == WORK:
            self._begin(data, message.files)
            return
        job = _UnpackedJob.of(data, unusable=self._unfit)
        self._jobs.append(job)
        if isinstance(self._work, PreparingWork) and job.error is None:
            with suppress(Exception):  # doing it will tell
                self._work.prepare(job.job)

    def _begin(self, data: memoryview, files: tuple[int, ...]) -> None:
        """Unpack a work; if that fails, all its jobs have."""
        if self._work is not None:
            self._work.close()
        self._work, self._unfit = None, None
        packed, level, keys = pickle.loads(data)  # noqa: S301 - from the caller
        self._forwarding.close()
        self._forwarding.enter_context(forwarded(self._notify, level=level))
        try:
            Segment.keep_only(keys)
            for key, descriptor in zip(keys, files, strict=True):
                Segment.attach(key, descriptor)
            self._work = pickle.loads(packed)  # noqa: S301 - from the caller
        except Exception as error:  # noqa: BLE001 - unpickling runs anybody's code
            self._unfit = unfit("the work", error)

    def _notify(self, notice: Notice) -> None:
        self._line.send(NOTICE, pickle.dumps(notice))


@dataclass(frozen=True, slots=True)
class _UnpackedJob:
    """A job, or why it cannot be done."""

    job: object
    error: Exception | None = None

    @classmethod
    def of(cls, data: memoryview | bytes, *, unusable: Exception | None) -> _UnpackedJob:
        """Unpack a job, unless its work is unusable."""
        if unusable is not None:
            return cls(None, unusable)
        try:
            return cls(pickle.loads(data))  # noqa: S301 - from the caller
        except Exception as problem:  # noqa: BLE001 - unpickling runs anybody's code
            return cls(None, unfit("a job", problem))

    def perform(self, work: Work | None) -> JobResult:
        """Do it; what fails is its outcome."""
        if self.error is not None:
            return JobResult(index=-1, error=self.error, worker=WorkerId.here())
        return perform(work, -1, self.job)


def perform_packed(
    work: Work | None, data: memoryview | bytes, *, unusable: Exception | None
) -> JobResult:
    """Unpack a job and do it, unless the work is unusable; what fails is its outcome."""
    return _UnpackedJob.of(data, unusable=unusable).perform(work)


def unfit(what: str, error: Exception) -> WorkerError:
    """Return an error that says why something cannot be unpacked, and what to do."""
    msg = f"{what} cannot be unpacked in a worker process: {type(error).__name__}: {error}"
    if "__main__" in str(error):
        msg += (
            "; workers never import the script or notebook that they work for, so what "
            "they are to call has to be in a module that can be imported"
        )
    return WorkerError(msg)


def _packed(outcome: JobResult) -> bytes:
    """Pickle an outcome, or why it cannot be."""
    if outcome.error is not None:
        outcome = replace(outcome, error=portable(outcome.error))
    try:
        return pickle.dumps(outcome, pickle.HIGHEST_PROTOCOL)
    except Exception as problem:  # noqa: BLE001 - pickling runs anybody's code
        failed = WorkerError(f"a result cannot be sent: {problem!r}")
        lost = replace(outcome, result=None, error=failed)
        return pickle.dumps(lost, pickle.HIGHEST_PROTOCOL)


def portable(error: Exception) -> Exception:
    """Return an error that survives the way to the caller, with where it arose."""
    if not isinstance(error, DplabError):
        error.add_note("In the worker:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - pickling runs anybody's code
        return WorkerError(f"{type(error).__name__}: {error}")
    return error
