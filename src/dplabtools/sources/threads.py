"""Threads that ask stores and web servers; what they wait for is given up with them."""

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

__all__ = ["asking_threads", "note_request"]

_THIS = threading.local()


class _Group:
    """Threads whose requests are given up together, with those of threads they begin."""

    def __init__(self) -> None:
        self._above: _Group | None = getattr(_THIS, "group", None)
        self._requests: WeakSet[Future[Any]] = WeakSet()
        self._lock = threading.Lock()
        self._ended = False

    def adopt(self) -> None:
        """Have this thread belong to it."""
        _THIS.group = self

    def note(self, request: Future[Any]) -> None:
        """Note a request of one of the threads; given up at once if they have ended."""
        with self._lock:
            self._requests.add(request)
            ended = self._ended
        if ended:
            request.cancel()
        if self._above is not None:
            self._above.note(request)

    def end(self) -> None:
        """Give up what is under way, and what is yet to come."""
        with self._lock:
            self._ended = True
            requests = list(self._requests)
        for each in requests:
            each.cancel()


@contextmanager
def asking_threads(count: int, *, name: str) -> Generator[ThreadPoolExecutor]:
    """Yield threads which end with the block, however long they would wait for an answer.

    Parameters
    ----------
    count : int
        How many at most.
    name : str
        Begins their names.
    """
    group = _Group()
    with ThreadPoolExecutor(
        count, thread_name_prefix=name, initializer=group.adopt
    ) as threads:
        try:
            yield threads
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            group.end()
            raise


def note_request(request: Future[Any]) -> None:
    """Have a request of this thread be given up with it."""
    group: _Group | None = getattr(_THIS, "group", None)
    if group is not None:
        group.note(request)
