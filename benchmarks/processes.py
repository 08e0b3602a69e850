"""What a process and all those below it take; needs nothing but Linux."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")


def family_seconds() -> float:
    """Return the processor time of this process and of all below it, ended ones too.

    Those that have ended count with whoever has waited for them.
    """
    family = _family()
    return sum(sum(map(int, fields[11:15])) for fields in family.values()) / _TICKS


class ChildrenMemory(threading.Thread):
    """Looks every 50 ms at the memory of all processes below this one, while it is entered.

    Attributes
    ----------
    peak : int
        The most of the looks, in bytes: the sum of proportional set sizes, in which a page
        that n processes share counts as an n-th in each.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._ended = threading.Event()

    def run(self) -> None:
        """Look until it is left."""
        while not self._ended.wait(0.05):
            now = sum(map(_proportional_set_size, set(_family()) - {os.getpid()}))
            self.peak = max(self.peak, now)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


def _family() -> dict[int, list[str]]:
    """Return /proc/PID/stat behind the name of this process and of all below it, by PID."""
    every: dict[int, list[str]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            fields = stat.read_text().rpartition(")")[2].split()
            every[int(stat.parent.name)] = fields
    family = {os.getpid()}
    while more := {pid for pid, of in every.items() if int(of[1]) in family} - family:
        family |= more
    return {pid: every[pid] for pid in family}


def _proportional_set_size(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
