"""A slide file in an object store or on a web server, read by ranges."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import BinaryIO, Final, cast
from weakref import WeakSet, WeakValueDictionary

import numpy as np

from dplabtools._typing import IntArray
from dplabtools.errors import ChangedSlideError
from dplabtools.sources.base import RangeReader, SourceState
from dplabtools.sources.requests import answer_of, begin, check_not_forked
from dplabtools.sources.stores import StoredObject
from dplabtools.sources.stream import HEAD_BYTES, FetchedParts, RemoteStream

__all__ = ["RemoteFile", "merged", "open_remote", "remote_state"]

_RANGE_BYTES: Final = 1 << 19  # of a request: decoding begins when the first is there
_WASTE: Final = 0.1  # of the bytes wanted, which may be read along to ask less often

_LOCK: Final = threading.Lock()
_OPEN: Final[WeakValueDictionary[str, RemoteFile]] = WeakValueDictionary()


def open_remote(url: str, *, known: SourceState | None = None) -> RemoteFile:
    """Return the remote file of an address: the one that is open in this process, if any.

    Parameters
    ----------
    url : str
        Its address.
    known : SourceState, optional
        As `RemoteFile`.

    Raises
    ------
    SlideError, MissingLibraryError, ParameterError
        As `RemoteFile`.
    """
    with _LOCK:
        file = _OPEN.get(url)
    if file is None or file.changed or known not in {None, file.state}:
        file = RemoteFile(url, known=known)
        with _LOCK:
            _OPEN[url] = file
    return file


def remote_state(url: str) -> SourceState:
    """Return what a remote file is: what is open in this process is not asked for.

    Raises
    ------
    SlideError, MissingLibraryError, ParameterError
        As `RemoteFile`.
    """
    with _LOCK:
        file = _OPEN.get(url)
    if file is None or file.changed:
        return StoredObject.at(url).get(0, 1)[1]
    return file.state


class RemoteFile:
    """A `ByteSource` whose ranges are fetched by several requests at once.

    Parameters
    ----------
    url : str
        Its address.
    known : SourceState, optional
        What it was when it was looked at; it is not asked for again.

    Attributes
    ----------
    name : str
        Its name, without folders.
    state : SourceState
        What it was when it was opened. Whatever is read is of that state.
    changed : bool
        Whether it was found to be in another state.

    Raises
    ------
    SlideError
        As `StoredObject.get`.
    MissingLibraryError
        If obstore is not installed.
    ParameterError
        If the address names credentials.
    """

    def __init__(self, url: str, *, known: SourceState | None = None) -> None:
        self._object = StoredObject.at(url)
        self.name: str = self._object.name
        self.changed: bool = False
        head = memoryview(b"")
        if known is None:
            head, known = self._object.get(0, HEAD_BYTES)
        self.state: SourceState = known
        self._header = FetchedParts(known.nbytes)
        self._header.add(0, head)
        self._parts: WeakSet[_Part] = WeakSet()  # that are read from, or will be

    def read(self, count: int, offset: int) -> bytes:
        """Return bytes from anywhere, by a request of their own.

        Raises
        ------
        EOFError
            If the file ends before.
        SlideReadError
            If they cannot be had, or it has changed.
        """
        if offset + count > self.state.nbytes:
            msg = "the file ends in the middle of a tile"
            raise EOFError(msg)
        return bytes(self.fetch(offset, offset + count))

    def fetch(self, start: int, stop: int) -> memoryview:
        """Return a part of the file; no request for what its header was found in.

        Raises
        ------
        SlideReadError
            If it cannot be had, or has changed.
        """
        return answer_of(self.submit(start, stop))

    async def _get(self, start: int, stop: int) -> memoryview:
        try:
            return (await self._object.fetch(start, stop, state=self.state))[0]
        except ChangedSlideError:
            self.changed = True
            raise

    def _fetch_header(self, start: int, stop: int) -> memoryview:
        """Fetch a part of it, and the end meanwhile, where there may be tables, too."""
        tail = self._header.tail(behind=stop)
        coming = None if tail is None else self.submit(*tail)
        data = self.fetch(start, stop)
        if tail is not None and coming is not None:
            self._header.add(tail[0], answer_of(coming))
        return data

    def prefetch(self, offsets: IntArray, counts: IntArray) -> RangeReader:
        """Begin to fetch ranges; those that lie together by one request.

        What is being fetched, or there, for somebody who still reads it, is not again.
        """
        with _LOCK:
            parts = list(self._parts)
        part_of = np.full(len(offsets), -1)
        for number, part in enumerate(parts):
            part_of[(part.start <= offsets) & (offsets + counts <= part.stop)] = number
        new = np.flatnonzero(part_of < 0)
        starts, stops = merged(offsets[new], counts[new], end=self.state.nbytes)
        part_of[new] = len(parts) - 1 + np.searchsorted(starts, offsets[new], side="right")
        fetched = [
            _Part(start, stop, self.submit(start, stop))
            for start, stop in zip(starts, stops, strict=True)
        ]
        with _LOCK:
            self._parts.update(fetched)
        parts += fetched
        numbers = part_of.tolist()
        return _Ahead(
            self,
            {
                offset: parts[number]
                for offset, number in zip(offsets.tolist(), numbers, strict=True)
                if number >= 0
            },
        )

    def submit(self, start: int, stop: int) -> Future[memoryview]:
        """Fetch a part of the file in the background, as `fetch` does.

        Raises
        ------
        UnreachableSlideError
            In a process forked from one that has read remote slides.
        """
        check_not_forked()
        found = self._header.find(start, stop)
        if found is None:
            return begin(self._get, start, stop)
        there: Future[memoryview] = Future()
        there.set_result(found)
        return there

    def stream(self) -> BinaryIO:
        """Return it as a file to be read in, which the caller closes."""
        stream = RemoteStream(self._header, self._fetch_header, name=self.name)
        return cast("BinaryIO", io.BufferedReader(stream))

    def close(self) -> None:
        """Do nothing: others of this process may have it, and no connection is held."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class _Part:
    """A part of a file, from its first byte to before another; not fetched for nobody."""

    start: int
    stop: int
    data: Future[memoryview]

    def __del__(self) -> None:
        self.data.cancel()


class _Ahead:
    """Ranges that are being fetched; what was not asked for is fetched on its own."""

    def __init__(self, file: RemoteFile, parts: Mapping[int, _Part]) -> None:
        self._file = file
        self._parts = parts  # by where the ranges in them begin

    def read(self, count: int, offset: int) -> bytes:
        """Return bytes, once they are there."""
        part = self._parts.get(offset)
        if part is None or not part.start <= offset <= offset + count <= part.stop:
            return self._file.read(count, offset)
        begin = offset - part.start
        try:
            return bytes(answer_of(part.data)[begin : begin + count])
        except CancelledError:  # whoever waited for it, too, was interrupted
            return self._file.read(count, offset)


def merged(offsets: IntArray, counts: IntArray, *, end: int) -> tuple[list[int], list[int]]:
    """Return what to ask for, so that all of some ranges are had by few requests.

    Ranges that touch each other are one request, up to 512 KB. So are those with the
    least between them, while what is fetched in vain is a tenth of the whole at most.

    Parameters
    ----------
    offsets, counts : ndarray of int64, shape (n,)
        First byte and length of each, by ascending offset.
    end : int
        Size of the file; ranges beyond it are left out.

    Returns
    -------
    starts, stops : list of int
        First byte of each request, and the one after its last.
    """
    inside = (counts > 0) & (offsets >= 0) & (offsets + counts <= end)
    offsets, counts = offsets[inside], counts[inside]
    if not len(offsets):
        return [], []
    stops = np.maximum.accumulate(offsets + counts)
    gaps = np.maximum(offsets[1:] - stops[:-1], 0)
    order = np.argsort(gaps, kind="stable")
    affordable = np.cumsum(gaps[order]) <= _WASTE * counts.sum()
    together = np.zeros(len(gaps), dtype=np.bool_)
    together[order[affordable]] = True
    starts, ends = [int(offsets[0])], [int(stops[0])]
    for joined, start, stop in zip(
        together.tolist(), offsets[1:].tolist(), stops[1:].tolist(), strict=True
    ):
        if stop <= ends[-1]:
            continue  # writers store equal tiles once
        if joined and stop - starts[-1] <= _RANGE_BYTES:
            ends[-1] = stop
        else:
            starts.append(start)
            ends.append(stop)
    return starts, ends
