"""What every source of bytes can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:  # the help of the command imports this module, and no numpy
    from dplabtools._typing import IntArray

__all__ = ["ByteSource", "RangeReader", "SourceState"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """What tells a source from later states of it; sent to other processes.

    Attributes
    ----------
    nbytes : int
        Its size.
    etag : str
        What a store calls this state of it; empty if it says nothing, or of a file of
        this machine.
    parts : tuple of SourceState
        Those of the files that it is joined of; empty of one.
    """

    nbytes: int
    etag: str = ""
    parts: tuple[SourceState, ...] = ()


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
