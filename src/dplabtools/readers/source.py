"""Where the bytes of a slide come from."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from dplabtools._typing import IntArray, StrPath
from dplabtools.readers.base import slide_file

__all__ = ["ByteSource", "RangeReader", "SourceState", "joined", "open_source"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """What tells a source from later states of it; sent to other processes.

    Attributes
    ----------
    nbytes : int
        Its size.
    """

    nbytes: int


class RangeReader(Protocol):
    """What gives bytes from anywhere; several threads may read at once."""

    def read(self, count: int, offset: int) -> bytes:
        """Return `count` bytes, which begin at `offset`.

        Raises
        ------
        EOFError
            If the source ends before.
        OSError
            If it cannot be read.
        """
        ...


class ByteSource(RangeReader, Protocol):
    """An open slide file, wherever it lies; closed when nobody refers to it any more."""

    @property
    def name(self) -> str:
        """Name of the slide, without folders."""
        ...

    @property
    def state(self) -> SourceState:
        """What it was when it was opened; all that is read is of that state."""
        ...

    def prefetch(self, offsets: IntArray, counts: IntArray) -> RangeReader:
        """Return what these ranges, and no others, are read from soon, about in this order.

        Parameters
        ----------
        offsets, counts : ndarray of int64, shape (n,)
            First byte and length of each, ascending.
        """
        ...

    def stream(self) -> BinaryIO:
        """Return the file that names the slide, to be read in; the caller closes it."""
        ...

    def close(self) -> None:
        """Let go of it at once, where nobody reads in it any more."""
        ...


def open_source(path: StrPath) -> ByteSource:
    """Open a slide file for reading its bytes.

    Raises
    ------
    MissingSlideError, UnsupportedSlideError
        If there is no such file, or it may not be read.
    """
    return _LocalFile(slide_file(path))


class _LocalFile:
    """A file of this machine: the system reads ahead and caches."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.name: str = Path(path).name
        self._descriptor = -1
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self.state: SourceState = SourceState(nbytes=os.fstat(self._descriptor).st_size)

    def read(self, count: int, offset: int) -> bytes:
        """Return bytes from anywhere; no position is shared by those who read."""
        data = os.pread(self._descriptor, count, offset)
        if len(data) < count:
            msg = "the file ends in the middle of a tile"
            raise EOFError(msg)
        return data

    def prefetch(self, offsets: IntArray, counts: IntArray) -> RangeReader:
        return self

    def stream(self) -> BinaryIO:
        return Path(self._path).open("rb")

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


def joined(sources: Sequence[ByteSource]) -> ByteSource:
    """Return several files as one: the bytes of each stand behind those of the one before.

    Parameters
    ----------
    sources : sequence of ByteSource
        At least one; the first gives its name.
    """
    return sources[0] if len(sources) == 1 else _Joined(sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class _JoinedState(SourceState):
    """The states of several files."""

    parts: tuple[SourceState, ...]


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
        self.state: SourceState = _JoinedState(nbytes=ends[-1], parts=states)

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
