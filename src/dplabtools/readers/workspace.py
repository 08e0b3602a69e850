"""Memory for what is on its way, used again and again.

New memory is taken from the system page by page, which can take as long as what is done
with it.
"""

from __future__ import annotations

import mmap
import sys
import threading
from functools import cache
from typing import Final

import numpy as np

from dplabtools._typing import Pixels

__all__ = [
    "BETWEEN_VECTORS",
    "decoding_memory",
    "keep_freed_memory",
    "lazy_memory",
    "release",
    "workspace",
]

BETWEEN_VECTORS: Final = 8
"""Bytes from where a vector begins to where pixels should.

Where rows begin with a vector, libjpeg-turbo stores them past the caches: decoding to there
takes 6 to 7 % longer, and what is used next has to be fetched back from memory. Where every
other row does, as in tiles of 240 pixels, decoding takes a quarter longer.
"""
_VECTOR = 64  # bytes, at most
_LARGEST = 64 << 20  # bytes; more is given back
_KEPT_BY_C: Final = (32 << 20) - (64 << 10)  # bytes, a little less than glibc's limit


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
        memory = decoding_memory(nbytes)
        if nbytes <= _LARGEST:
            _kept.memories[use] = memory
    return memory[:nbytes]


def decoding_memory(nbytes: int) -> Pixels:
    """Return new memory that pixels can be decoded to; see `BETWEEN_VECTORS`.

    Parameters
    ----------
    nbytes : int
        How much.

    Returns
    -------
    ndarray of uint8, shape (nbytes,)
        Of undefined content.
    """
    memory = np.empty(nbytes + _VECTOR, dtype=np.uint8)
    start = (BETWEEN_VECTORS - memory.ctypes.data) % _VECTOR
    return memory[start : start + nbytes]


def lazy_memory(nbytes: int) -> Pixels:
    """Return new memory of which no more is taken than is touched.

    Of memory by numpy, the system may take two megabytes at the first touch of each.

    Parameters
    ----------
    nbytes : int
        How much, at least one.

    Returns
    -------
    ndarray of uint8, shape (nbytes,)
        Zeros.
    """
    if sys.platform == "win32":
        memory = mmap.mmap(-1, nbytes)
    else:
        memory = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(memory, dtype=np.uint8)


def release() -> None:
    """Give all of this thread's memory back."""
    _kept.memories.clear()


@cache
def keep_freed_memory() -> None:
    """Have memory used again that libraries take and free, up to 64 MB of it.

    The C library of Linux gives freed memory back to the system, but for twice as much as
    the largest piece that was ever freed, if that had no more than 32 MB: the parameter
    M_MMAP_THRESHOLD of mallopt(3). So such a piece is taken, and freed untouched.
    """
    np.empty(_KEPT_BY_C, dtype=np.uint8)
