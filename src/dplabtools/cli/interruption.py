"""Ctrl-C, and what clusters send: SIGTERM and SIGUSR1; all end the command alike."""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

__all__ = ["ending_when_interrupted", "exit_code", "raise_if_interrupted"]

_SIGNALS: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGUSR1")
    if hasattr(signal, name)
)
# https://www.gnu.org/software/bash/manual/html_node/Exit-Status.html
_CODE_OF_SIGNALS: Final = 128  # as shells have it
_INTERRUPTED: Final = "dplabtools: interrupted\n"
_received: list[int] = []


@contextmanager
def ending_when_interrupted(words: Sequence[str]) -> Generator[None]:
    """Let a signal end the block by `KeyboardInterrupt`, and the process with a last line.

    Parameters
    ----------
    words : sequence of str
        The command line, without the name of the command.

    Raises
    ------
    SystemExit
        With 130, 138 or 143, if a signal came, whatever became of it in the block.
    """
    try:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                signal.signal(number, _interrupt)
        yield
    except BaseException:
        _leave_alone()
        # A library that is interrupted in the middle may raise whatever it likes.
        if not _received:
            raise
    _leave_alone()
    if _received:
        sys.stderr.write(_last_lines(words))
        sys.stderr.flush()
        raise SystemExit(exit_code())


def raise_if_interrupted() -> None:
    """Raise `KeyboardInterrupt` if a signal came, and its exception was lost.

    Python drops what is raised in a finalizer or a callback of a library.
    """
    if _received:
        raise KeyboardInterrupt


def exit_code() -> int:
    """Return the exit code of a process that the signal ended."""
    return _CODE_OF_SIGNALS + (_received[0] if _received else signal.SIGINT)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _received.append(number)
    raise KeyboardInterrupt


def _leave_alone() -> None:
    """Ignore signals from now on: what is left to do is quick."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _last_lines(words: Sequence[str]) -> str:
    """Return how to go on; the same at any moment, for no file need be there for it."""
    import shlex

    if words[:1] not in (["extract"], ["features"]) or "--dry-run" in words:
        return _INTERRUPTED
    resume = [] if "--resume" in words or words[0] == "features" else ["--resume"]
    return f"{_INTERRUPTED}To go on: {shlex.join(['dplabtools', *words, *resume])}\n"
