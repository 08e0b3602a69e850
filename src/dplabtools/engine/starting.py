"""How worker processes start: without the caller's script, its threads and its locks.

On Linux they are forked from a `zygote`, one for all engines of a process, which stays warm
between them. Elsewhere, and where that is not possible, each is started afresh. Neither
needs a path, changes this process, or has to do with what `multiprocessing` starts.
"""

from __future__ import annotations

import atexit
import logging
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress

from dplabtools.engine.base import WorkerId
from dplabtools.engine.channel import Channel
from dplabtools.engine.worker import THREAD_COUNTS
from dplabtools.engine.zygote import ENDED, REFUSED, Surroundings

__all__ = [
    "StartedWorker",
    "can_fork",
    "end_all",
    "prepare_zygote",
    "release_zygote",
    "start_worker",
    "zygote_refusal",
]

_LOGGER = logging.getLogger(__name__)
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
_AT_START = ("LD_", "PYTHON", "MALLOC_", "GLIBC_", "OMP_", "MKL_", "OPENBLAS_", "NUMBA_")
_EXIT_CODE_S = 0.5
_TRIES = 3


def can_fork() -> bool:
    """Return whether there is all that a zygote takes."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open")


class StartedWorker:
    """A process that has been asked for, as its caller knows it.

    Attributes
    ----------
    channel : Channel
        Leads to it.
    identity : WorkerId or None
        Known when it has said so, or when it is a child of this process.
    """

    def __init__(
        self, channel: Channel, *, process: subprocess.Popen[bytes] | None
    ) -> None:
        self.channel = channel
        self.identity: WorkerId | None = None
        self._process = process
        self._descriptor = -1
        if process is not None:
            self.identity = WorkerId(WorkerId.here().host, process.pid)

    def identify(self, identity: WorkerId, descriptors: Sequence[int]) -> None:
        """Note who it is, with a descriptor of its process where there are such."""
        self.identity = identity
        for descriptor in descriptors:
            self._descriptor = descriptor

    @property
    def known(self) -> bool:
        """Whether it can be killed."""
        return self._process is not None or self._descriptor >= 0

    @property
    def descriptor(self) -> int:
        """Becomes readable when it ends; -1 if it has not been identified."""
        return self._descriptor

    def kill(self) -> None:
        """End it; returns at once."""
        with suppress(ProcessLookupError):
            if self._descriptor >= 0:
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
            elif self._process is not None:
                self._process.kill()

    def has_ended(self) -> bool:
        """Return whether it has; False as long as nothing is known of it."""
        if self._process is not None:
            return self._process.poll() is not None
        return self._descriptor >= 0 and bool(_readable([self._descriptor], 0.0))

    def exit_code(self) -> int | None:
        """Return how it ended, if that can be found out soon."""
        if self._process is not None:
            return self._process.poll()
        if self.identity is None:
            return None
        return _exit_code(self.identity.pid)

    def let_go(self, *, hang_up: bool = True) -> None:
        """Close what leads to it; a forked child does not hang up for its parent."""
        self.channel.close(hang_up=hang_up)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._process is not None and not hang_up:
            self._process.returncode = 0  # it is no child of this process


def start_worker(modules: Sequence[str], *, fork: bool) -> StartedWorker:
    """Ask for a process; it begins by telling who it is.

    Parameters
    ----------
    modules : sequence of str
        What it needs; a zygote imports them before the fork.
    fork : bool
        From the zygote; else it is started afresh.

    Raises
    ------
    OSError
        If processes cannot be started.
    """
    channel, theirs = Channel.pair()
    with theirs:
        try:
            if not fork:
                process = _start_python("worker", theirs.fileno(), _environment())
                return StartedWorker(channel, process=process)
            folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
            try:
                _ask_zygote(modules, files=(theirs.fileno(), folder))
            finally:
                os.close(folder)
        except BaseException:
            channel.close()
            raise
    return StartedWorker(channel, process=None)


def prepare_zygote(modules: Sequence[str]) -> None:
    """Let modules be imported, so that they are there when workers are asked for."""
    with suppress(OSError):  # it will show when they are
        _ask_zygote(modules, files=())


def end_all(workers: Iterable[StartedWorker], *, within_s: float) -> list[StartedWorker]:
    """Kill workers, and wait until they are gone.

    Parameters
    ----------
    workers : iterable of StartedWorker
        Whatever they do.
    within_s : float
        How long to wait at most.

    Returns
    -------
    list of StartedWorker
        Those that the kernel has not ended by then: they wait for a device that does not
        answer, will never do anything else again, and are gone as soon as it does.
    """
    left = list(workers)
    for worker in left:
        worker.channel.stop_sending()  # one that is just starting ends by that
        worker.kill()
    deadline = time.monotonic() + within_s
    while left and time.monotonic() < deadline:
        _wait_for_any(left, deadline)
        left = [worker for worker in left if not _is_gone(worker)]
    return left


def _is_gone(worker: StartedWorker) -> bool:
    """Return whether a worker that was told to end has ended."""
    if worker.known:
        return worker.has_ended()
    for message in worker.channel.receive():
        if message.files:
            worker.identify(pickle.loads(message.data[1:]), message.files)  # noqa: S301
            worker.kill()
    return worker.channel.ended and not worker.known


def _wait_for_any(workers: Sequence[StartedWorker], deadline: float) -> None:
    sources = [
        worker.descriptor if worker.descriptor >= 0 else worker.channel.fileno()
        for worker in workers
        if worker.descriptor >= 0 or not worker.channel.ended
    ]
    remaining = max(0.0, deadline - time.monotonic())
    if not sources:
        time.sleep(min(0.005, remaining))
    _readable(sources, min(0.05, remaining))


def _readable(descriptors: Sequence[int], within_s: float) -> list[int]:
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    return [found for found, _ in poller.poll(within_s * 1000)] if descriptors else []


# ------------------------------------------------------------------ a process of ours


def _start_python(
    module: str, descriptor: int, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start this Python with a module of this package, whose `main` gets a socket.

    It does not look for garbage, of which importing leaves hardly any, until it serves.
    """
    path = list(map(str, sys.path))
    own = os.pidfd_open(os.getpid()) if hasattr(os, "pidfd_open") else -1
    code = (
        f"import gc, sys; gc.disable(); sys.path[:] = {path!a}; "
        f"from dplabtools.engine.{module} import main; main({descriptor}, {own})"
    )
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001
    try:
        with _signals_held_back():
            return subprocess.Popen(  # noqa: S603 - this Python, and our own code
                [sys.executable, *flags, "-c", code],
                stdin=subprocess.DEVNULL,
                pass_fds=[descriptor] if own < 0 else [descriptor, own],
                env=environment,
            )
    finally:
        if own >= 0:
            os.close(own)


def _environment() -> dict[str, str]:
    return dict.fromkeys(THREAD_COUNTS, "1") | dict(os.environ)


@contextmanager
def _signals_held_back() -> Generator[None]:
    """Start a process that no signal can end before it has begun to ignore them."""
    signals = {getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ------------------------------------------------------------------------ the zygote


class _Zygote:
    """The process that workers of this process are forked from."""

    def __init__(self) -> None:
        self._at_start = _settled_at_start()
        self._control, theirs = Channel.pair()
        environment = dict(os.environ) | dict.fromkeys(THREAD_COUNTS, "1")
        with theirs:
            self._process = _start_python("zygote", theirs.fileno(), environment)
        self._exit_codes: dict[int, int] = {}
        self.refusal: str | None = None

    def is_of_use(self) -> bool:
        """Return whether it is there, and as it would be if it were started now."""
        self.listen()
        return (
            not self._control.ended
            and self._process.poll() is None
            and self._at_start == _settled_at_start()
        )

    def ask(self, request: bytes, files: Sequence[int]) -> None:
        self.refusal = None
        self._control.send(request, files=files)

    def listen(self) -> None:
        """Take in what it has sent."""
        for message in self._control.receive():
            match pickle.loads(message.data):  # noqa: S301 - our own process
                case (kind, int() as pid, int() as code) if kind == ENDED:
                    self._exit_codes[pid] = code
                case (kind, str() as reason) if kind == REFUSED:
                    self.refusal = reason
                case _:
                    pass

    def exit_code(self, pid: int) -> int | None:
        """Return how a worker ended, if it says so soon."""
        deadline = time.monotonic() + _EXIT_CODE_S
        self.listen()
        while pid not in self._exit_codes and not self._control.ended:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            _readable([self._control.fileno()], remaining)
            self.listen()
        return self._exit_codes.pop(pid, None)

    def release(self) -> None:
        """End it; workers that are left do not depend on it."""
        self._control.close()
        try:
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.5)

    def leave_to_parent(self) -> None:
        """In a forked child: it is that of another process."""
        self._control.close(hang_up=False)
        self._process.returncode = 0


class _Warm:
    """The zygote of this process, if there is one, and the lock of it."""

    zygote: _Zygote | None = None
    lock = threading.RLock()


def _settled_at_start() -> tuple[object, ...]:
    """Return what a process cannot change any more once it runs."""
    environment = {
        name: value for name, value in os.environ.items() if name.startswith(_AT_START)
    }
    return sys.executable, environment


def _ask_zygote(modules: Sequence[str], *, files: Sequence[int]) -> None:
    """Send a request to the zygote, which is started if need be.

    Raises
    ------
    OSError
        If it cannot be started.
    """
    request = pickle.dumps(Surroundings.present(tuple(modules)))
    with _Warm.lock:
        if _Warm.zygote is not None and not _Warm.zygote.is_of_use():
            release_zygote()
        if _Warm.zygote is None:
            _Warm.zygote = _Zygote()
        _Warm.zygote.ask(request, files)


def _exit_code(pid: int) -> int | None:
    with _Warm.lock:
        return None if _Warm.zygote is None else _Warm.zygote.exit_code(pid)


def zygote_refusal() -> str | None:
    """Return why the zygote forked no worker, if it has said so."""
    with _Warm.lock:
        if _Warm.zygote is None:
            return None
        _Warm.zygote.listen()
        return _Warm.zygote.refusal


def release_zygote() -> None:
    """End the zygote of this process, if there is one; the next worker begins another."""
    with _Warm.lock:
        zygote, _Warm.zygote = _Warm.zygote, None
        if zygote is not None:
            zygote.release()


def _begin_anew() -> None:
    """Forget the zygote of the parent, in a child that was forked."""
    _Warm.lock = threading.RLock()
    zygote, _Warm.zygote = _Warm.zygote, None
    if zygote is not None:
        zygote.leave_to_parent()


atexit.register(release_zygote)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
