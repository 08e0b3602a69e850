"""A remote source as a file, for libraries that read headers."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final

__all__ = ["HEAD_BYTES", "RemoteStream"]

HEAD_BYTES: Final = 1 << 16
"""Fetched at once where a header is read: its parts lie together."""
_TAIL_BYTES: Final = 1 << 18  # of a file are fetched at once: headers written last
_BLOCK: Final = 1 << 14


class RemoteStream(io.RawIOBase):
    """What is read here and there of a remote source, in few requests.

    Parameters
    ----------
    fetch : callable
        Given first byte and the one after the last, returns what lies there.
    nbytes : int
        Size of the source.
    head : memoryview
        Its first bytes, if they are there already.
    """

    def __init__(
        self, fetch: Callable[[int, int], memoryview], *, nbytes: int, head: memoryview
    ) -> None:
        super().__init__()
        self._fetch = fetch
        self._nbytes = nbytes
        self._place = 0
        self._parts = [(0, head)]

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._nbytes}
        self._place = start[whence] + offset
        return self._place

    def tell(self) -> int:
        """Return the place."""
        return self._place

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - a buffer of any kind
        """Fill a buffer, or a part of it; 0 at the end."""
        wanted = min(len(buffer), self._nbytes - self._place)
        if wanted <= 0:
            return 0
        start, data = self._part(self._place, wanted)
        begin = self._place - start
        count = min(wanted, len(data) - begin)
        buffer[:count] = data[begin : begin + count]
        self._place += count
        return count

    def _part(self, place: int, wanted: int) -> tuple[int, memoryview]:
        """Return the part that holds a place, fetched now if it is not there."""
        for start, data in self._parts:
            if start <= place < start + len(data):
                return start, data
        tail = self._nbytes - _TAIL_BYTES
        start = max(tail, 0) if place >= tail else place - place % _BLOCK
        stop = self._nbytes if place >= tail else place + max(wanted, HEAD_BYTES)
        part = start, self._fetch(start, min(stop, self._nbytes))
        self._parts.append(part)
        return part
