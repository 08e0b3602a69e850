"""Where the time goes: seconds by stage of the work, in all threads of a process.

A stage that begins within another one stops its clock, so that every second is counted
once::

    with stage("read"):
        pixels = ...
        with stage("resample"):
            ...
"""

from __future__ import annotations

import threading
import time

__all__ = ["stage", "take_totals"]


class _Here(threading.local):
    """What this thread is at."""

    name: str | None = None
    since: float = 0.0


_here = _Here()
_lock = threading.Lock()
_totals: dict[str, float] = {}


class stage:  # noqa: N801 - used as a statement
    """Count the seconds until the end of the block.

    Parameters
    ----------
    name : str
        Of the stage.
    """

    __slots__ = ("_name", "_outer")

    def __init__(self, name: str) -> None:
        self._name = name
        self._outer: str | None = None

    def __enter__(self) -> None:
        self._outer = _here.name
        _switch_to(self._name)

    def __exit__(self, *exc_info: object) -> None:
        _switch_to(self._outer)


def _switch_to(name: str | None) -> None:
    """Add what has passed to the stage that was on, and go on with another."""
    now = time.perf_counter()
    if _here.name is not None:
        with _lock:
            _totals[_here.name] = _totals.get(_here.name, 0.0) + now - _here.since
    _here.name, _here.since = name, now


def take_totals() -> dict[str, float]:
    """Return the seconds of all stages that have ended, and begin anew."""
    with _lock:
        totals = dict(_totals)
        _totals.clear()
    return totals
