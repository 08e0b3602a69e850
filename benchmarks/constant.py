"""Work that reads nothing: what is left is the engine."""

from __future__ import annotations

import numpy as np

from dplabtools.extraction.source import Chunk, ChunkReport, SlideFacts, SlideSpec
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.readers.stamps import SlideStamp
from dplabtools.stages import drain

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

    def __call__(self, job: Chunk | SlideSpec) -> ChunkReport | SlideFacts:
        if isinstance(job, SlideSpec):
            size = (self.side, self.side)
            pyramid = Pyramid(slide=job.path, sizes=(size,), downsamples=(1.0,))
            stamp = SlideStamp.of(job.path)
            return SlideFacts(pyramid=pyramid, icc_profile=None, index=None, stamp=stamp)
        items = np.arange(len(job.rows))
        canvas = job.place.canvas(items, job.sizes, views=1)
        assert canvas is not None
        for item in items.tolist():
            canvas.picture(item)[:] = 127
        return ChunkReport(failed=(), seconds=drain())

    def close(self) -> None:
        pass


def make_array(_: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """What a pool that pickles sends for a patch."""
    return np.full((SIZE, SIZE, 3), 127, np.uint8)
