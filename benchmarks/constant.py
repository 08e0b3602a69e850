"""Work that reads nothing: what is left is the engine."""

from __future__ import annotations

import numpy as np

from dplabtools.extraction.chunk_reader import Chunk, ChunkReport
from dplabtools.extraction.inspection import InspectedSlide, SlideSpec
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.readers.stamps import SlideStamp
from dplabtools.timing import take_totals

SIZE = 256


class FillConstant:
    """Fills every patch with a constant, where it goes.

    Parameters
    ----------
    side : int
        Of the slide that it says it sees, in pixels.
    """

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, job: Chunk | SlideSpec) -> ChunkReport | InspectedSlide:
        if isinstance(job, SlideSpec):
            size = (self.side, self.side)
            pyramid = Pyramid(slide=job.path, sizes=(size,), downsamples=(1.0,))
            stamp = SlideStamp.of(job.path)
            return InspectedSlide(
                pyramid=pyramid, icc_profile=None, index=None, stamp=stamp
            )
        items = np.arange(len(job.rows))
        buffer = job.writer.buffer(items, job.sizes, views=1)
        assert buffer is not None
        for item in items.tolist():
            buffer.picture(item)[:] = 127
        return ChunkReport(failed=(), seconds=take_totals())

    def close(self) -> None:
        pass


def make_array(_: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """What a pool that pickles sends for a patch."""
    return np.full((SIZE, SIZE, 3), 127, np.uint8)
