"""The life of a worker process.

It talks to its caller through one socket of its own, shared with nobody: a worker that is
killed can neither hold a lock nor leave half a message in the way of another. A thread
does nothing but receive, so the caller never waits for a busy worker to listen, and the
worker ends at once when the caller is gone, whatever it is doing.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import pickle
import signal
import socket
import threading
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, TextIO, TypeAlias

from dplabtools.engine.base import Outcome, Work
from dplabtools.engine.serial import perform
from dplabtools.engine.slabs import Segment
from dplabtools.errors import DplabError, DplabWarning, WorkerError

__all__ = ["THREAD_COUNTS", "receive_descriptor", "send_descriptor", "serve"]

THREAD_COUNTS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")

Message: TypeAlias = tuple[Any, ...]


def serve(connection: Connection) -> None:
    """Do what comes through a connection until it is closed.

    Messages to a worker: ``("begin", work, log level, segment keys)``, each key followed
    by its descriptor, and ``("job", index, job)``. From it: ``("ready",)``,
    ``("outcome", Outcome)``, ``("log", record)`` and ``("warning", warning)``.

    Parameters
    ----------
    connection : Connection
        Both ways, to the caller.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller ends its workers
    _hold_back_threads()
    inbox: SimpleQueue[Message] = SimpleQueue()
    outbox = _Outbox(connection)
    receiver = threading.Thread(target=_receive, args=(connection, inbox), daemon=True)
    receiver.start()
    _forward_messages(outbox)
    outbox.send("ready")
    work: Work | None = None
    while True:
        begun = time.perf_counter()
        kind, *content = inbox.get()
        waited_s = time.perf_counter() - begun
        if kind == "begin":
            if work is not None:
                work.close()
            work = _begin(*content)
        else:
            outcome = perform(work, content[0], content[1])
            outbox.send_outcome(replace(outcome, waited_s=waited_s))


def _receive(connection: Connection, inbox: SimpleQueue[Message]) -> None:
    """Receive until the other side is gone, then end the process."""
    try:
        while True:
            message = pickle.loads(connection.recv_bytes())  # noqa: S301 - from the caller
            if message[0] == "begin":
                for key in message[3]:
                    Segment.attach(key, receive_descriptor(connection))
            inbox.put(message)
    except (EOFError, OSError):
        os._exit(0)


def _begin(work: bytes, level: int, keys: Sequence[str]) -> Work:
    """Unpack the work; segments of earlier work are let go."""
    Segment.keep_only(keys)
    logging.getLogger("dplabtools").setLevel(level)
    unpacked: Work = pickle.loads(work)  # noqa: S301 - from the caller
    return unpacked


def _hold_back_threads() -> None:
    """Keep BLAS and OpenCV, if they are imported from now on, to one thread.

    The workers are the parallelism; threads below them would only be in the way.
    """
    for name in THREAD_COUNTS:
        os.environ.setdefault(name, "1")


class _Outbox:
    """Sends whole messages, from any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, *message: object) -> None:
        self._send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

    def send_outcome(self, outcome: Outcome) -> None:
        """Send an outcome, or why it cannot be sent."""
        error = outcome.error
        if error is not None:
            outcome = replace(outcome, error=_portable(error))
        try:
            data = pickle.dumps(("outcome", outcome), pickle.HIGHEST_PROTOCOL)
        except Exception as problem:  # noqa: BLE001 - pickling runs anybody's code
            failed = WorkerError(f"a result cannot be sent: {problem!r}")
            lost = replace(outcome, result=None, error=failed)
            data = pickle.dumps(("outcome", lost), pickle.HIGHEST_PROTOCOL)
        self._send_bytes(data)

    def _send_bytes(self, data: bytes) -> None:
        try:
            with self._lock:
                self._connection.send_bytes(data)
        except OSError:
            os._exit(0)  # nobody listens any more


def _portable(error: Exception) -> Exception:
    """Return an error that survives the way to the caller, with where it arose."""
    if not isinstance(error, DplabError):
        error.add_note("In the worker:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - pickling runs anybody's code
        return WorkerError(f"{type(error).__name__}: {error}")
    return error


class _Forwarder(logging.handlers.QueueHandler):
    """Sends log records to the caller, whose handlers they are meant for."""

    def __init__(self, outbox: _Outbox) -> None:
        super().__init__(SimpleQueue())
        self._outbox = outbox

    def enqueue(self, record: logging.LogRecord) -> None:
        self._outbox.send("log", record)


def _forward_messages(outbox: _Outbox) -> None:
    """Send this package's log records and warnings to the caller."""
    logger = logging.getLogger("dplabtools")
    logger.handlers = [_Forwarder(outbox)]
    logger.propagate = False
    show = warnings.showwarning

    def forward(  # noqa: PLR0917 - the signature is Python's
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if isinstance(message, DplabWarning):
            outbox.send("warning", message)
        else:
            show(message, category, filename, lineno, file, line)

    warnings.simplefilter("always", DplabWarning)
    warnings.showwarning = forward


def send_descriptor(connection: Connection, descriptor: int) -> None:
    """Send an open file descriptor to the other side."""
    with socket.fromfd(connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        socket.send_fds(sock, [b"d"], [descriptor])


def receive_descriptor(connection: Connection) -> int:
    """Receive an open file descriptor from the other side."""
    with socket.fromfd(connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        _, descriptors, _, _ = socket.recv_fds(sock, 1, 1)
    if not descriptors:
        raise EOFError
    return descriptors[0]
