"""Threads that ask stores and web servers; what they wait for is given up with them."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any
from weakref import WeakSet

__all__ = ["AskingThreads", "note_request"]

_THIS = threading.local()


class _Requests:
    """What some threads wait for, and those that they begin."""

    def __init__(self) -> None:
        self._above: _Requests | None = getattr(_THIS, "requests", None)
        self._waited_for: WeakSet[Future[Any]] = WeakSet()
        self._lock = threading.Lock()
        self._given_up = False

    def adopt(self) -> None:
        """Have what this thread waits for be among them."""
        _THIS.requests = self

    def note(self, request: Future[Any]) -> None:
        """Note one of them; it is given up at once if all are."""
        with self._lock:
            self._waited_for.add(request)
            given_up = self._given_up
        if given_up:
            request.cancel()
        if self._above is not None:
            self._above.note(request)

    def give_up(self) -> None:
        """Give up those that are under way, and those yet to come."""
        with self._lock:
            self._given_up = True
            waited_for = list(self._waited_for)
        for each in waited_for:
            each.cancel()


class AskingThreads(ThreadPoolExecutor):
    """Threads which end with their block, however long they would wait for an answer.

    Parameters
    ----------
    count : int
        How many at most.
    name : str
        Begins their names.
    """

    def __init__(self, count: int, *, name: str) -> None:
        self._requests = _Requests()
        super().__init__(count, thread_name_prefix=name, initializer=self._requests.adopt)

    def give_up(self) -> None:
        """Give up what they wait for, now or later, and what they have not begun."""
        self.shutdown(wait=False, cancel_futures=True)
        self._requests.give_up()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool | None:
        if exc_type is not None:
            self.give_up()
        return super().__exit__(exc_type, exc_val, exc_tb)


def note_request(request: Future[Any]) -> None:
    """Have a request that this thread waits for be given up with it."""
    requests: _Requests | None = getattr(_THIS, "requests", None)
    if requests is not None:
        requests.note(request)
