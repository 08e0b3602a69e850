"""A remote source as a file, for libraries that read headers."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

__all__ = ["HEAD_BYTES", "FetchedParts", "RemoteStream"]

Fetch: TypeAlias = Callable[[int, int], memoryview]
HEAD_BYTES: Final = 1 << 18
"""Fetched when a file is opened: some writers have all tables there."""
_TAIL_BYTES: Final = 1 << 20  # of a file are fetched at once: others write tables last
_AHEAD_BYTES: Final = 1 << 19  # or behind the tiles of a level, with a thumbnail after it
_BEFORE_BYTES: Final = 1 << 16  # and the last of these tiles are looked at, too
_TIFF: Final = frozenset({b"II", b"MM"})  # what its files begin with


@dataclass(slots=True, eq=False)
class FetchedParts:
    """Parts of a remote file in which its header lies, fetched where they are needed.

    Attributes
    ----------
    nbytes : int
        Size of the file.
    """

    nbytes: int
    _parts: list[tuple[int, memoryview]] = field(default_factory=list)

    def add(self, start: int, data: memoryview) -> None:
        """Keep what begins at a place."""
        self._parts.append((start, data))

    def find(self, start: int, stop: int) -> memoryview | None:
        """Return bytes that are there already; None if not all are."""
        for begin, data in self._parts:
            if begin <= start and stop <= begin + len(data):
                return data[start - begin : stop - begin]
        return None

    def at(self, place: int, wanted: int, *, fetch: Fetch) -> memoryview:
        """Return some of the bytes from a place on; fetched now if they are not there."""
        for begin, data in self._parts:
            if begin <= place < begin + len(data):
                return data[place - begin : place - begin + wanted]
        start, stop = self._around(place, wanted)
        data = fetch(start, stop)
        self.add(start, data)
        return data[place - start : place - start + wanted]

    def tail(self, *, behind: int) -> tuple[int, int] | None:
        """Return the end of a TIFF file, behind a place and all that is there.

        Returns
        -------
        (int, int) or None
            First byte and the one after the last; None if the end is there, or this is
            no TIFF file: others have no tables at their end.
        """
        ends = [begin + len(data) for begin, data in self._parts]
        start = max(self.nbytes - _TAIL_BYTES, behind, *ends)
        tiff = bytes(self.find(0, 2) or b"") in _TIFF
        return (start, self.nbytes) if tiff and start < self.nbytes else None

    def _around(self, place: int, wanted: int) -> tuple[int, int]:
        """Return what to fetch for a place: much of what will be wanted next, too."""
        tail = max(self.nbytes - _TAIL_BYTES, 0)
        start = tail if place >= tail else max(place - _BEFORE_BYTES, 0)
        stop = place + max(wanted, _AHEAD_BYTES)
        stop = self.nbytes if stop > tail else stop
        for begin, data in self._parts:
            if begin <= start < begin + len(data):
                start = begin + len(data)
            if place < begin < stop:
                stop = begin
        return start, stop


class RemoteStream(io.RawIOBase):
    """What is read here and there of a remote source, in few requests.

    Parameters
    ----------
    parts : FetchedParts
        What is there of it.
    fetch : callable
        Given first byte and the one after the last, returns what lies there.
    name : str
        Name of the source, which some libraries ask a file for.
    """

    def __init__(self, parts: FetchedParts, fetch: Fetch, *, name: str) -> None:
        super().__init__()
        self.name: str = name
        self._parts = parts
        self._fetch: Fetch | None = fetch
        self._place = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place."""
        ends = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._parts.nbytes}
        self._place = ends[whence] + offset
        return self._place

    def tell(self) -> int:
        """Return the place."""
        return self._place

    def close(self) -> None:
        """Let go of the source: libraries hold on to what they have read from."""
        self._fetch = None
        super().close()

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - a buffer of any kind
        """Fill a buffer, or a part of it; 0 at the end."""
        wanted = min(len(buffer), self._parts.nbytes - self._place)
        if wanted <= 0 or self._fetch is None:
            return 0
        data = self._parts.at(self._place, wanted, fetch=self._fetch)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)
