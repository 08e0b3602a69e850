"""Slots of shared memory, used again and again.

Fresh shared memory costs as much as decoding what is put there; memory that has been
touched before costs nothing. So batches go through a few slots, over and over. A slot is
used again when nobody holds its pixels any more.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator

import numpy as np

from dplabtools._typing import IntArray, Pixels
from dplabtools.engine.slabs import Segment
from dplabtools.readers.workspace import BETWEEN_VECTORS

__all__ = ["SlotPool"]

_FIRST = 4  # slots, which most streams come to use: two are read, two with the caller
_PART_BYTES = 2 << 20  # of them, at a time


class SlotPool:
    """Slots of shared memory for one batch each.

    Parameters
    ----------
    shape : tuple of int
        Of a batch: (n, levels, height, width, 3).
    slots : int
        How many.

    Attributes
    ----------
    segment : Segment
        The memory.
    shape : tuple of int
        As given.
    slot_bytes, patch_bytes : int
        Size of a slot, and of a patch at all its resolutions.
    patches : int
        How many all slots hold.
    free : list of int
        Slots that nobody uses; last in, first out: the warmest is used first.
    """

    def __init__(self, shape: tuple[int, ...], slots: int) -> None:
        self.shape = shape
        self.slot_bytes = math.prod(shape)
        self.patch_bytes = self.slot_bytes // shape[0]
        self.segment = Segment.create(BETWEEN_VECTORS + self.slot_bytes * slots)
        self.patches = shape[0] * slots
        self.free = list(range(slots))

    def starts(self, slots: IntArray) -> IntArray:
        """Return where slots begin in the segment, in bytes."""
        return BETWEEN_VECTORS + slots * self.slot_bytes

    def first_parts(self, patches: int) -> Iterator[IntArray]:
        """Yield where patches begin in the slots that are used first, some at a time.

        Parameters
        ----------
        patches : int
            How many there are at most.
        """
        size, step = self.shape[0], max(1, _PART_BYTES // self.patch_bytes)
        for nth, slot in enumerate(reversed(self.free[-_FIRST:])):
            for first in range(0, min(size, patches - nth * size), step):
                within = np.arange(first, min(first + step, size, patches - nth * size))
                yield self.starts(np.array(slot)) + within * self.patch_bytes

    def take_pages(self, starts: IntArray) -> None:
        """Have pages at hand for patches that begin there; see `Segment.take_pages`."""
        self.segment.take_pages(starts, np.full_like(starts, self.patch_bytes))

    def lend(self, slot: int) -> Pixels:
        """Return the pixels of a slot, which becomes free when nobody holds them."""
        start = int(self.starts(np.array(slot)))
        pixels: Pixels = self.segment.array(self.shape, offset=start)
        # Whatever view or tensor is made of the array keeps this object alive, no other.
        weakref.finalize(pixels.base, self.free.append, slot).atexit = False
        return pixels
