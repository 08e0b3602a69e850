"""A file of this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from dplabtools._typing import IntArray
from dplabtools.sources.base import RangeReader, SourceState

__all__ = ["LocalFile"]


class LocalFile:
    """A `ByteSource` for which the system reads ahead and caches.

    Parameters
    ----------
    path : str
        A file that can be read.

    Attributes
    ----------
    name : str
        Its name, without folders.
    state : SourceState
        What it was when it was opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.name: str = Path(path).name
        self._descriptor = -1
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self.state: SourceState = SourceState(nbytes=os.fstat(self._descriptor).st_size)

    def read(self, count: int, offset: int) -> bytes:
        """Return bytes from anywhere; no position is shared by those who read.

        Raises
        ------
        EOFError
            If the file ends before.
        """
        data = os.pread(self._descriptor, count, offset)
        if len(data) < count:
            msg = "the file ends in the middle of a tile"
            raise EOFError(msg)
        return data

    def prefetch(self, offsets: IntArray, counts: IntArray) -> RangeReader:
        """Return itself."""
        return self

    def stream(self) -> BinaryIO:
        """Open it once more."""
        return Path(self._path).open("rb")

    def close(self) -> None:
        """Let go of it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()
