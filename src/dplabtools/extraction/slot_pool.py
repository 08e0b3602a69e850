"""Slots of shared memory, used again and again.

Fresh shared memory costs as much as decoding what is put there; memory that has been
touched before costs nothing. So batches go through a few slots, over and over. A slot is
used again when nobody holds its pixels any more.
"""

from __future__ import annotations

import weakref

import numpy as np

from dplabtools._typing import Pixels
from dplabtools.engine.slabs import Segment
from dplabtools.readers.workspace import BETWEEN_VECTORS

__all__ = ["SlotPool"]


class SlotPool:
    """Slots of shared memory for one batch each.

    Parameters
    ----------
    shape : tuple of int
        Of a batch: (n, levels, height, width, 3).
    slots : int
        How many.
    """

    def __init__(self, shape: tuple[int, ...], slots: int) -> None:
        nbytes = int(np.prod(shape, dtype=np.int64)) * slots
        self.segment = Segment.create(BETWEEN_VECTORS + nbytes)
        self.shape = shape
        self.patches = shape[0] * slots
        self.free = list(range(slots))  # last in, first out: the warmest is used first

    @property
    def slot_bytes(self) -> int:
        """Size of a slot."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def patch_bytes(self) -> int:
        """Size of a patch at all its resolutions."""
        return self.slot_bytes // self.shape[0]

    def start(self, slot: int) -> int:
        """Return where a slot begins in the segment, in bytes."""
        return BETWEEN_VECTORS + slot * self.slot_bytes

    def lend(self, slot: int) -> Pixels:
        """Return the pixels of a slot, which becomes free when nobody holds them."""
        pixels: Pixels = self.segment.array(self.shape, offset=self.start(slot))
        # Whatever view or tensor is made of the array keeps this object alive, no other.
        weakref.finalize(pixels.base, self.free.append, slot).atexit = False
        return pixels
