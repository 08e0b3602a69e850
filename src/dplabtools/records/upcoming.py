"""What is read later than what is read now."""

from __future__ import annotations

from dataclasses import dataclass

from dplabtools._typing import IntArray

__all__ = ["Upcoming"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Upcoming:
    """Regions that the same process reads in calls to come.

    Regions that lie anywhere share their tiles with others that are read much later. Who
    knows these can keep what they take of a tile, and nothing else of it.

    Attributes
    ----------
    call : int
        Number of the present call; later ones have larger numbers.
    now : ndarray of int64, shape (m,)
        Numbers of the regions of the present call.
    numbers : ndarray of int64, shape (k,)
        Numbers of those that are read later, each its own.
    calls : ndarray of int64, shape (k,)
        In which call each is read, ascending.
    origins : ndarray of int64, shape (k, views, 2), or (k, 2)
        (x, y) in level 0 pixels, at each resolution, or at that of a level.
    sizes : ndarray of int64, shape (k, 2)
        (width, height) in pixels of each resolution, or of the level.
    max_bytes : int
        Memory for what is kept, beyond what the present call takes.
    """

    call: int
    now: IntArray
    numbers: IntArray
    calls: IntArray
    origins: IntArray
    sizes: IntArray
    max_bytes: int
