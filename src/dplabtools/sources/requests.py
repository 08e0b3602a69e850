"""Requests to stores and web servers: one thread has all those of a process under way.

Who asks waits in Python, where signals arrive, and gives the request up then: a server
that accepts a connection and never answers holds nobody up.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import cache
from typing import Any, Final, ParamSpec, TypeVar

from dplabtools.errors import UnreachableSlideError
from dplabtools.sources.threads import note_request

__all__ = ["answer_of", "begin", "check_not_forked", "under_way"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_AT_ONCE: Final = 32
_LOCK: Final = threading.Lock()
_USED_BY: Final[set[int]] = set()
"""Numbers of the processes that have asked, with those they were forked from."""


def begin(
    ask: Callable[_P, Coroutine[Any, Any, _T]], *args: _P.args, **kwargs: _P.kwargs
) -> Future[_T]:
    """Begin to ask, and return what will be the answer.

    Parameters
    ----------
    ask : coroutine function
        What asks; it waits for its turn by `under_way`.
    *args, **kwargs
        Of it.

    Raises
    ------
    UnreachableSlideError
        In a process forked from one that has asked.
    """
    check_not_forked()
    return asyncio.run_coroutine_threadsafe(ask(*args, **kwargs), _loop())


def answer_of(request: Future[_T]) -> _T:
    """Wait for an answer; a request is given up where the waiting is interrupted.

    Raises
    ------
    CancelledError
        If somebody else who waited for it was.
    """
    note_request(request)
    try:
        return request.result()
    finally:
        request.cancel()  # nothing, once it is there
        del request  # an error would keep itself by it


@cache
def under_way() -> asyncio.Semaphore:
    """Return what has few requests under way at once."""
    return asyncio.Semaphore(_AT_ONCE)


def check_not_forked() -> None:
    """Raise in a process forked from one that has asked.

    The thread is not there, and whoever waited for it would wait for ever.

    Raises
    ------
    UnreachableSlideError
        If it is one.
    """
    _USED_BY.add(os.getpid())
    if len(_USED_BY) > 1:
        msg = "remote slides cannot be read in a process forked from one that has read some"
        raise UnreachableSlideError(
            msg,
            remedy='start processes by "spawn" or "forkserver", as multiprocessing_context '
            "of a DataLoader",
        )


def _loop() -> asyncio.AbstractEventLoop:
    with _LOCK:
        return _running_loop()


@cache
def _running_loop() -> asyncio.AbstractEventLoop:
    """Return the loop of this process, whose thread is begun with the first request."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(
        target=loop.run_forever, name="dplabtools-requests", daemon=True
    )
    thread.start()
    atexit.register(_end, loop, thread)
    return loop


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    """Give up what nobody waits for any more, before Python goes from under it."""

    async def give_up() -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        loop.stop()

    asyncio.run_coroutine_threadsafe(give_up(), loop)
    thread.join()
    loop.close()
