"""Patches in shared memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dplabtools._typing import BoolArray, IntArray, Picture
from dplabtools.engine.slabs import Segment
from dplabtools.output.sink import ChunkWriter
from dplabtools.records.pixel_buffer import PixelBuffer
from dplabtools.records.slide_plan import SlidePlan
from dplabtools.timing import stage

__all__ = ["MemorySink", "SegmentRows", "UntouchedRows"]


@dataclass(frozen=True, slots=True, eq=False)
class SegmentRows(ChunkWriter):
    """Places of a chunk's patches in a segment.

    Attributes
    ----------
    segment : Segment
        Shared memory.
    offsets : ndarray of int64, shape (m,)
        Where each patch begins, in bytes; its resolutions lie one behind the other.
    """

    segment: Segment
    offsets: IntArray

    def buffer(self, items: IntArray, sizes: IntArray, /, *, views: int) -> PixelBuffer:
        """Return the memory of patches."""
        offsets, lengths = self.offsets[items], sizes[:, 0] * sizes[:, 1] * 3
        self.segment.take_pages(offsets, lengths * views)
        starts = offsets[:, np.newaxis] + lengths[:, np.newaxis] * np.arange(views)
        sizes = np.repeat(sizes, views, axis=0)
        return PixelBuffer.on(self.segment.memory(), starts.reshape(-1), sizes)

    def put(self, item: int, pictures: Sequence[Picture], /) -> None:
        """Copy a patch to its place."""
        with stage("copy"):
            offset = int(self.offsets[item])
            for picture in map(np.asarray, pictures):
                self.segment.array(picture.shape, offset=offset)[:] = picture
                offset += picture.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class UntouchedRows(ChunkWriter):
    """Places of a chunk's patches in a segment that nobody has touched yet.

    They are copied there, which takes less time than to decode them there: see
    `Segment.write`.

    Attributes
    ----------
    segment, offsets
        As those of `SegmentRows`.
    """

    segment: Segment
    offsets: IntArray

    def put(self, item: int, pictures: Sequence[Picture], /) -> None:
        """Copy a patch to its place."""
        with stage("copy"):
            offset = int(self.offsets[item])
            for picture in map(np.ascontiguousarray, pictures):
                self.segment.write(picture, offset=offset)
                offset += picture.nbytes


class MemorySink:
    """One allocation for all patches of a run; each worker fills its own part.

    Patches lie one behind the other: slides as given, rows as in their tables, the
    resolutions of a row together.
    """

    def __init__(self) -> None:
        self._segment: Segment | None = None
        self._offsets: dict[int, IntArray] = {}
        self._lengths: dict[int, IntArray] = {}
        self._delivered: dict[int, BoolArray] = {}

    @property
    def segments(self) -> Sequence[Segment]:
        """The allocation."""
        return () if self._segment is None else (self._segment,)

    def prepare(self, plans: Sequence[SlidePlan]) -> None:
        """Allocate the memory.

        Raises
        ------
        NotEnoughMemoryError
            If there is not enough.
        """
        begin = 0
        for plan in plans:
            lengths = plan.table.sizes.prod(axis=1) * 3 * len(plan.views)
            ends = begin + np.cumsum(lengths)
            self._lengths[plan.slide_index] = lengths
            self._offsets[plan.slide_index] = ends - lengths
            self._delivered[plan.slide_index] = np.zeros(len(plan), dtype=np.bool_)
            begin = int(ends[-1]) if len(plan) else begin
        self._segment = Segment.create(begin)

    def chunk_rows(self, plan: SlidePlan) -> None:
        """Return None: any number of patches will do."""

    def wanted(self, plan: SlidePlan) -> IntArray:
        """Return all rows: nothing is there yet."""
        return np.arange(len(plan))

    def writer(self, plan: SlidePlan, rows: IntArray) -> UntouchedRows:
        """Return where a chunk of rows of a slide goes."""
        return UntouchedRows(self.segments[0], self._offsets[plan.slide_index][rows])

    def finish(self, plan: SlidePlan, delivered: BoolArray) -> None:
        """Note which rows of a slide were delivered."""
        self._delivered[plan.slide_index] = delivered

    def close(self) -> None:
        """Close the gaps that patches left which were not delivered.

        Everybody has finished, and nobody has a view yet, so rows may still move.
        """
        data = self.segments[0].array((self._bytes(),))
        end = 0
        for slide, delivered in self._delivered.items():
            if delivered.all() and self._starts_at(slide, end):
                end += int(self._lengths[slide].sum())
                continue
            for row in np.flatnonzero(delivered).tolist():
                start = int(self._offsets[slide][row])
                length = int(self._lengths[slide][row])
                data[end : end + length] = data[start : start + length]
                self._offsets[slide][row] = end
                end += length

    def _bytes(self) -> int:
        return sum(int(lengths.sum()) for lengths in self._lengths.values())

    def _starts_at(self, slide: int, end: int) -> bool:
        offsets = self._offsets[slide]
        return not len(offsets) or int(offsets[0]) == end

    def abort(self) -> None:
        """Give the memory back."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def delivered_offsets(self) -> IntArray:
        """Return where each delivered patch begins, in bytes, in order."""
        parts = [
            self._offsets[slide][delivered] for slide, delivered in self._delivered.items()
        ]
        return np.concatenate([*parts, np.zeros(0, dtype=np.int64)])
