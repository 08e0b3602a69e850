"""Parts of a file that cannot all be what they are said to be."""

from __future__ import annotations

import numpy as np

from dplabtools._typing import BoolArray, IntArray

__all__ = ["contested"]

_ROUNDS = 64


def contested(starts: IntArray, stops: IntArray) -> BoolArray:
    """Return which parts share some of their bytes, but not all, with another.

    Of one that reaches into several others only itself is meant, as these are at peace
    with each other.

    Parameters
    ----------
    starts, stops : ndarray of int64, shape (n,)
        First byte of each part, and the one after its last; none is empty. Parts that are
        the same are no contradiction: writers store equal tiles once.

    Returns
    -------
    ndarray of bool, shape (n,)
        The parts that are not to be trusted.
    """
    found = np.zeros(len(starts), dtype=bool)
    order = np.lexsort((stops, starts))
    extents = np.stack((starts, stops), axis=1)[order]
    differs = (np.diff(extents, axis=0, prepend=-1) != 0).any(axis=1)
    extents = extents[differs]
    which = np.empty(len(starts), dtype=np.int64)
    which[order] = np.cumsum(differs) - 1
    left = np.arange(len(extents))
    for _ in range(_ROUNDS):
        partners = _partners(extents[left])
        most = int(partners.max(initial=0))
        if most < 2:
            break
        found |= which == left[partners.argmax()]
        left = np.delete(left, partners.argmax())
    found |= np.isin(which, left[_partners(extents[left]) > 0])
    return found


def _partners(extents: IntArray) -> IntArray:
    """Return with how many others each overlaps; they are sorted, and all differ."""
    starts, stops = extents[:, 0], extents[:, 1]
    order = np.arange(len(extents))
    later = np.searchsorted(starts, stops) - order - 1
    earlier = order - np.searchsorted(np.sort(stops), starts, side="right")
    return later + earlier
