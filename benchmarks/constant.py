"""Work that reads nothing: what is left is the engine."""

from __future__ import annotations

import numpy as np

from dplabtools.extraction.source import Chunk, ChunkReport
from dplabtools.stages import drain

SIZE = 256


class FillConstant:
    """Fills every patch with a constant, where it goes."""

    def __call__(self, chunk: Chunk) -> ChunkReport:
        for item in range(len(chunk.rows)):
            canvas = chunk.place.canvas(item, (1, SIZE, SIZE, 3))
            assert canvas is not None
            canvas[:] = 127
        return ChunkReport(failed=(), seconds=drain())

    def close(self) -> None:
        pass


def make_array(_: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """What a pool that pickles sends for a patch."""
    return np.full((SIZE, SIZE, 3), 127, np.uint8)
