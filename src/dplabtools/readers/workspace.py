"""Memory for what is on its way, used again and again.

New memory is taken from the system page by page, which can take as long as what is done
with it.
"""

from __future__ import annotations

import threading

import numpy as np

from dplabtools._typing import Pixels

__all__ = ["release", "workspace"]

_LARGEST = 64 << 20  # bytes; more is given back


class _Kept(threading.local):
    """What this thread has."""

    def __init__(self) -> None:
        self.memories: dict[str, Pixels] = {}


_kept = _Kept()


def workspace(use: str, nbytes: int) -> Pixels:
    """Return memory for one use in this thread, until it asks for the same use again.

    Parameters
    ----------
    use : str
        What for.
    nbytes : int
        How much.

    Returns
    -------
    ndarray of uint8, shape (nbytes,)
        Of undefined content.
    """
    memory = _kept.memories.get(use)
    if memory is None or len(memory) < nbytes:
        memory = np.empty(nbytes, dtype=np.uint8)
        if nbytes <= _LARGEST:
            _kept.memories[use] = memory
    return memory[:nbytes]


def release() -> None:
    """Give all of this thread's memory back."""
    _kept.memories.clear()
