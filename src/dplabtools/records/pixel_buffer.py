"""Where pictures go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dplabtools._typing import IntArray, Pixels

__all__ = ["PixelBuffer"]

_SAMPLES = 3


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PixelBuffer:
    """Memory for any number of pictures, each of its own size and in its own place.

    It is made by `on` or `allocated`, or out of others.

    Attributes
    ----------
    memories : tuple of ndarray of uint8, one-dimensional
        Pieces of memory; whoever holds the buffer keeps them alive.
    owners : ndarray of int64, shape (n,)
        In which of them each picture lies.
    starts : ndarray of int64, shape (n,)
        Where it begins there, in bytes. Its rows follow each other without a gap.
    sizes : ndarray of int64, shape (n, 2)
        (width, height).
    """

    memories: tuple[Pixels, ...]
    owners: IntArray
    starts: IntArray
    sizes: IntArray

    @classmethod
    def on(cls, memory: Pixels, starts: IntArray, sizes: IntArray) -> PixelBuffer:
        """Make a buffer on one piece of memory.

        Raises
        ------
        ValueError
            If a picture does not lie within it: compiled code will rely on it.
        """
        flat = memory.dtype == np.uint8 and memory.ndim == 1 and memory.flags.c_contiguous
        inside = (starts >= 0) & (starts + _lengths(sizes) <= len(memory))
        if not (flat and inside.all() and (sizes >= 0).all()):
            msg = "a buffer takes flat memory of bytes, in which all its pictures lie"
            raise ValueError(msg)
        owners = np.zeros(len(starts), dtype=np.int64)
        return cls(memories=(memory,), owners=owners, starts=starts, sizes=sizes)

    @classmethod
    def allocated(cls, sizes: IntArray, *, memory: Pixels | None = None) -> PixelBuffer:
        """Make a buffer of pictures that lie one behind the other.

        Parameters
        ----------
        sizes : ndarray of int64, shape (n, 2)
            (width, height) of each.
        memory : ndarray of uint8, optional
            Large enough; allocated if it is not given.
        """
        ends = np.cumsum(_lengths(sizes))
        if memory is None:
            memory = np.empty(int(ends[-1]) if len(ends) else 0, dtype=np.uint8)
        return cls.on(memory, ends - _lengths(sizes), sizes)

    @classmethod
    def joined(cls, buffers: Sequence[PixelBuffer]) -> PixelBuffer:
        """Return one buffer with the pictures of several; none is copied."""
        if len(buffers) == 1:
            return buffers[0]
        counts = np.cumsum([0, *(len(each.memories) for each in buffers)])
        owners = [
            each.owners + int(n) for each, n in zip(buffers, counts[:-1], strict=True)
        ]
        return cls(
            memories=tuple(memory for each in buffers for memory in each.memories),
            owners=np.concatenate(owners),
            starts=np.concatenate([each.starts for each in buffers]),
            sizes=np.concatenate([each.sizes for each in buffers]),
        )

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> IntArray:
        """Bytes of each picture."""
        return _lengths(self.sizes)

    def part(self, pictures: IntArray) -> PixelBuffer:
        """Return a buffer of some of the pictures."""
        return PixelBuffer(
            memories=self.memories,
            owners=self.owners[pictures],
            starts=self.starts[pictures],
            sizes=self.sizes[pictures],
        )

    def picture(self, number: int) -> Pixels:
        """Return the memory of one picture, shape (height, width, 3)."""
        width, height = self.sizes[number].tolist()
        start = self.starts.item(number)
        memory = self.memories[self.owners.item(number)]
        flat: Pixels = memory[start : start + height * width * _SAMPLES]
        return flat.reshape(height, width, _SAMPLES)

    def addresses(self) -> IntArray:
        """Return where each picture begins, in the memory of this process."""
        bases = [each.ctypes.data for each in self.memories]
        return np.array(bases, dtype=np.int64)[self.owners] + self.starts


def _lengths(sizes: IntArray) -> IntArray:
    return sizes[:, 0] * sizes[:, 1] * _SAMPLES
