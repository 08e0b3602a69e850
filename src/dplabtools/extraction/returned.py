"""Patches that travel back with the report of their chunk."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from dplabtools._typing import IntArray, Picture, Pixels
from dplabtools.output.sink import ChunkWriter
from dplabtools.records.pixel_buffer import PixelBuffer

__all__ = ["ReturnedPatches"]


@dataclass(frozen=True, slots=True)
class ReturnedPatches:
    """A writer to memory of its own: of a worker that shares none, or of the caller."""

    _parts: list[tuple[IntArray, PixelBuffer]] = field(default_factory=list)

    @property
    def takes_jpeg(self) -> bool:
        """No: pixels are wanted."""
        return False

    def buffer(self, items: IntArray, sizes: IntArray, /, *, views: int) -> PixelBuffer:
        """Return new memory."""
        buffer = PixelBuffer.allocated(np.repeat(sizes, views, axis=0))
        self._parts.append((items, buffer))
        return buffer

    def put(self, item: int, pictures: Sequence[Picture], /) -> None:
        """Copy a patch."""
        arrays = [np.asarray(picture) for picture in pictures]
        sizes = np.array([(each.shape[1], each.shape[0]) for each in arrays])
        buffer = PixelBuffer.allocated(sizes)
        for number, pixels in enumerate(arrays):
            buffer.picture(number)[:] = pixels
        self._parts.append((np.array([item]), buffer))

    def flush(self) -> None:
        """Do nothing: what is there is kept."""

    def commit(self) -> None:
        """Do nothing: it counts when it has come back."""

    def take(self) -> dict[int, list[Pixels]]:
        """Return the pixels of each patch at each resolution, by its place in the chunk.

        They are the caller's from then on, and kept here no longer.
        """
        found: dict[int, list[Pixels]] = {}
        for items, buffer in self._parts:
            views = len(buffer) // len(items)
            for number, item in enumerate(items.tolist()):
                pictures = range(number * views, (number + 1) * views)
                found[item] = [buffer.picture(each) for each in pictures]
        self._parts.clear()
        return found

    def deliver(self, writer: ChunkWriter, *, but: Collection[int]) -> None:
        """Put the patches, back with the caller, where they were to go.

        Parameters
        ----------
        writer : ChunkWriter
            There.
        but : collection of int
            Places in the chunk of patches that failed.
        """
        for item, pictures in self.take().items():
            if item not in but:
                writer.put(item, pictures)
        writer.flush()
        writer.commit()
