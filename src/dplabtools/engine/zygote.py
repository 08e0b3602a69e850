"""The process that workers are forked from.

It belongs to one caller, is started by it with an environment of its own, imports what
workers need, and does nothing else: it has one thread, so that a fork copies no lock that
another thread holds. It ends with its caller, or when it was not needed for a while.
"""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import select
import socket
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Final, NoReturn

from dplabtools.engine.channel import Channel, Message
from dplabtools.engine.worker import THREAD_COUNTS, ignore_signals, serve

__all__ = ["ENDED", "REFUSED", "Surroundings", "main"]

# What is sent to the caller, beside the number of a process:
ENDED: Final = "ended"  # and its exit code
REFUSED: Final = "refused"  # and why no worker was forked

_IDLE_S = 60.0  # without workers and requests; then it ends
_TASKS = Path("/proc/self/task")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a worker has in common with its caller, as that is now.

    Attributes
    ----------
    environment : mapping of str to str
        Of the process.
    path : tuple of str
        Where modules are looked for.
    umask : int or None
        Permissions that new files do not get.
    cores : frozenset of int
        On which it may run.
    modules : tuple of str
        What it needs; imported before the fork, once for all workers. What is named as
        ``module:function`` is called, too, and had better do nothing the second time.
    """

    environment: Mapping[str, str]
    path: tuple[str, ...]
    umask: int | None
    cores: frozenset[int]
    modules: tuple[str, ...]

    @classmethod
    def present(cls, modules: tuple[str, ...]) -> Surroundings:
        """Return those of this process."""
        return cls(
            environment=dict(os.environ),
            path=tuple(map(str, sys.path)),
            umask=_umask(),
            cores=frozenset(os.sched_getaffinity(0)),
            modules=modules,
        )

    def adopt(self) -> None:
        """Make them those of this process."""
        os.environ.clear()
        os.environ.update(dict.fromkeys(THREAD_COUNTS, "1") | dict(self.environment))
        sys.path[:] = self.path
        if self.umask is not None:
            os.umask(self.umask)
        if self.cores != os.sched_getaffinity(0):
            os.sched_setaffinity(0, self.cores)


def _umask() -> int | None:
    """Return the mask without changing it, which other threads would notice."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return None


def main(descriptor: int, caller: int) -> NoReturn:
    """Fork workers on request: the whole of a process that was started for it.

    A request is a pickled `Surroundings`, and comes with the worker's end of its socket
    and the working folder; without them, modules are only imported.

    Parameters
    ----------
    descriptor : int
        The socket to the caller.
    caller : int
        Descriptor of the caller's process, which tells when it ends.
    """
    ignore_signals()
    zygote = _Zygote(Channel(socket.socket(fileno=descriptor)), caller)
    while zygote.attend():
        pass
    os._exit(0)


class _Zygote:
    def __init__(self, control: Channel, caller: int) -> None:
        self._control = control
        self._caller = caller
        self._workers: dict[int, int] = {}  # by descriptor of the process, its number

    def attend(self) -> bool:
        """Do what there is to do; return False if nobody will need it any more."""
        poller = select.poll()
        room = select.POLLOUT if self._control.unsent else 0
        poller.register(self._control.fileno(), select.POLLIN | room)
        for watched in (self._caller, *self._workers):
            poller.register(watched, select.POLLIN)
        ready = [source for source, _ in poller.poll(self._patience_ms())]
        if self._caller in ready or not ready:
            return False
        for ended in self._workers.keys() & ready:
            self._reap(ended)
        self._control.flush()
        for message in self._control.receive():
            self._answer(message)
        return not self._control.ended

    def _patience_ms(self) -> float | None:
        return None if self._workers else _IDLE_S * 1000

    def _reap(self, descriptor: int) -> None:
        pid = self._workers.pop(descriptor)
        os.close(descriptor)
        _, status = os.waitpid(pid, 0)
        self._tell(ENDED, pid, os.waitstatus_to_exitcode(status))

    def _tell(self, *note: object) -> None:
        if not self._control.unsent:  # else nobody has been interested for very long
            self._control.send(pickle.dumps(note))

    def _answer(self, message: Message) -> None:
        wanted: Surroundings = pickle.loads(message.data)  # noqa: S301 - from the caller
        sys.path[:] = wanted.path
        for name in wanted.modules:
            _prepare(name)
        if message.files:
            end, folder = message.files
            try:
                self._fork(wanted, socket.socket(fileno=end), folder)
            except (OSError, RuntimeError) as error:
                self._tell(REFUSED, str(error))
            os.close(folder)

    def _fork(self, wanted: Surroundings, end: socket.socket, folder: int) -> None:
        """Fork a worker.

        Raises
        ------
        RuntimeError
            If there are several threads.
        OSError
            If there may be no more processes.
        """
        with end:
            if _hung_up(end):
                return
            threads = len(list(_TASKS.iterdir()))
            if threads != 1:
                msg = f"what is imported for workers starts threads ({threads} run)"
                raise RuntimeError(msg)
            # The collector of a worker need not touch, and copy, these pages:
            # https://docs.python.org/3/library/gc.html#gc.freeze
            gc.freeze()
            pid = os.fork()
            if not pid:
                self._become_worker(wanted, end, folder)
            # Unlike a number, it is never that of another process later:
            # https://man7.org/linux/man-pages/man2/pidfd_open.2.html
            self._workers[os.pidfd_open(pid)] = pid

    def _become_worker(
        self, wanted: Surroundings, end: socket.socket, folder: int
    ) -> NoReturn:
        try:
            self._control.close(hang_up=False)
            for descriptor in self._workers:
                os.close(descriptor)
            os.fchdir(folder)
            os.close(folder)
            wanted.adopt()
            serve(end, self._caller)
        except BaseException:  # noqa: BLE001 - it must never return to be a zygote
            traceback.print_exc()
        os._exit(1)


def _hung_up(end: socket.socket) -> bool:
    """Whether the caller no longer wants what it has asked for."""
    poller = select.poll()
    poller.register(end, select.POLLRDHUP)
    return bool(poller.poll(0))


def _prepare(name: str) -> None:
    """Import what a worker will need, or call it; what fails is for the worker to say."""
    module, _, function = name.partition(":")
    try:
        found = importlib.import_module(module)
        if function:
            attrgetter(function)(found)()
    except Exception:  # noqa: BLE001 - it runs anybody's code
        return
