"""Log records and warnings of a worker, handled where the user sees them.

Any engine can use this: one whose workers can speak at any time forwards each as it comes,
another keeps those of a job and sends them along with its outcome.
"""

from __future__ import annotations

import logging
import logging.handlers
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TextIO, TypeAlias

from dplabtools.errors import DplabWarning

__all__ = ["Notice", "deliver", "forwarded", "kept", "log_level"]

Notice: TypeAlias = logging.LogRecord | Warning
"""A log record, or a warning, of this package; both pickle."""

_LOGGER = logging.getLogger("dplabtools")


def log_level() -> int:
    """Return from which level on the caller wants log records."""
    return _LOGGER.getEffectiveLevel()


def deliver(notice: Notice) -> None:
    """Handle what a worker has sent as if it had arisen here."""
    if isinstance(notice, logging.LogRecord):
        logging.getLogger(notice.name).handle(notice)
    else:
        warnings.warn(notice, stacklevel=2)


@contextmanager
def forwarded(send: Callable[[Notice], object], *, level: int) -> Generator[None]:
    """Send this package's log records and warnings away, instead of handling them here.

    Parameters
    ----------
    send : callable
        Gets each; called from any thread.
    level : int
        Log records below it are dropped; see `log_level`.
    """
    handlers, propagate, before = _LOGGER.handlers, _LOGGER.propagate, _LOGGER.level
    _LOGGER.handlers, _LOGGER.propagate = [_Forwarder(send)], False
    _LOGGER.setLevel(level)
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
            send(message)
        else:
            show(message, category, filename, lineno, file, line)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", DplabWarning)
            warnings.showwarning = forward
            yield
    finally:
        _LOGGER.handlers, _LOGGER.propagate = handlers, propagate
        _LOGGER.setLevel(before)


@contextmanager
def kept(level: int) -> Generator[list[Notice]]:
    """Keep log records and warnings in a list, to be sent along with a result."""
    notices: list[Notice] = []
    with forwarded(notices.append, level=level):
        yield notices


class _Forwarder(logging.handlers.QueueHandler):
    """Makes log records fit to be sent."""

    def __init__(self, send: Callable[[Notice], object]) -> None:
        super().__init__(SimpleQueue())
        self._send = send

    def enqueue(self, record: logging.LogRecord) -> None:
        self._send(record)
