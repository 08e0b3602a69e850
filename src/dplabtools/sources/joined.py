"""Several files as one source."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import BinaryIO

import numpy as np

from dplabtools._typing import IntArray
from dplabtools.sources.base import ByteSource, RangeReader, SourceState

__all__ = ["joined"]


def joined(sources: Sequence[ByteSource]) -> ByteSource:
    """Return several files as one: the bytes of each stand behind those of the one before.

    Parameters
    ----------
    sources : sequence of ByteSource
        At least one; the first gives its name.
    """
    return sources[0] if len(sources) == 1 else _Joined(sources)


class _JoinedRanges:
    """Ranges of several files, each wholly within one."""

    def __init__(self, parts: Sequence[RangeReader], starts: Sequence[int]) -> None:
        self._parts = parts
        self._starts = starts

    def read(self, count: int, offset: int) -> bytes:
        """Return bytes from anywhere in the file that the first of them lies in."""
        part = bisect_right(self._starts, offset) - 1
        return self._parts[part].read(count, offset - self._starts[part])


class _Joined(_JoinedRanges):
    """Several files as one."""

    def __init__(self, sources: Sequence[ByteSource]) -> None:
        states = tuple(source.state for source in sources)
        ends = list(accumulate(state.nbytes for state in states))
        super().__init__(sources, [0, *ends[:-1]])
        self._sources = sources
        self.name: str = sources[0].name
        self.state: SourceState = SourceState(nbytes=ends[-1], parts=states)

    def prefetch(self, offsets: IntArray, counts: IntArray) -> RangeReader:
        which = np.searchsorted(self._starts, offsets, side="right") - 1
        parts = [
            source.prefetch(offsets[which == part] - start, counts[which == part])
            for part, (source, start) in enumerate(
                zip(self._sources, self._starts, strict=True)
            )
        ]
        return _JoinedRanges(parts, self._starts)

    def stream(self) -> BinaryIO:
        return self._sources[0].stream()

    def close(self) -> None:
        for source in self._sources:
            source.close()
