"""Work that reads nothing: what is left is the engine."""

from __future__ import annotations

import numpy as np

from dplabtools.extraction.source import Chunk, ChunkReport
from dplabtools.stages import drain

SIZE = 256


class FillConstant:
    """Puts the same pixels everywhere."""

    def __init__(self) -> None:
        self._pixels = np.full((SIZE, SIZE, 3), 127, np.uint8)

    def __call__(self, chunk: Chunk) -> ChunkReport:
        for item in range(len(chunk.rows)):
            chunk.place.put(item, [self._pixels])
        return ChunkReport(failed=(), seconds=drain())

    def close(self) -> None:
        pass


def make_array(_: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """What a pool that pickles sends for a patch."""
    return np.full((SIZE, SIZE, 3), 127, np.uint8)
