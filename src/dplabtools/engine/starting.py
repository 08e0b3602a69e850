"""How worker processes start: without the caller's script, its threads and its locks."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from multiprocessing import spawn
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Any

from dplabtools.engine.worker import THREAD_COUNTS

__all__ = ["WORKER_NAME", "callers_script_left_alone", "prepared_for", "start_context"]

WORKER_NAME = "dplabtools-worker"
_PRELOAD = "dplabtools.engine.preload"
_starting = threading.Lock()


def start_context(
    start_method: str | None, preload: Sequence[str]
) -> ForkServerContext | SpawnContext:
    """Return a way to start processes that copies no threads and no locks."""
    wanted = start_method or multiprocessing.get_start_method(allow_none=True)
    if wanted not in {"spawn", "forkserver"}:
        wanted = "forkserver" if sys.platform == "linux" else "spawn"
    if wanted == "spawn":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_PRELOAD, *preload])
    return context


@contextmanager
def callers_script_left_alone() -> Generator[None]:
    """Start our processes without the caller's ``__main__``, which they do not need.

    Spawned processes import the script that started them, so that what it defines can be
    unpickled. A script without ``if __name__ == "__main__"`` would thereby run again in
    each. Processes that others start in the meantime are told apart by their name.
    """
    with _starting:
        original = spawn.get_preparation_data

        def without_script(name: str) -> dict[str, Any]:
            data: dict[str, Any] = original(name)
            if name == WORKER_NAME:
                data.pop("init_main_from_path", None)
                data.pop("init_main_from_name", None)
            return data

        spawn.get_preparation_data = without_script
        try:
            yield
        finally:
            spawn.get_preparation_data = original


@contextmanager
def prepared_for(context: ForkServerContext | SpawnContext) -> Generator[None]:
    """Start a process with one BLAS thread, to which Ctrl-C means nothing from the first.

    A spawned process inherits the environment, and which signals are blocked. A fork server
    would hand both on to processes that others start by it, so it is left as it is: it
    imports BLAS with one thread by `dplabtools.engine.preload`, and its workers ignore
    Ctrl-C soon enough.
    """
    if not isinstance(context, SpawnContext) or sys.platform == "win32":
        yield
        return
    absent = [name for name in THREAD_COUNTS if name not in os.environ]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        os.environ.update(dict.fromkeys(absent, "1"))
        yield
    finally:
        for name in absent:
            del os.environ[name]
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
