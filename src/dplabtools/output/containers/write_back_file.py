"""A file whose changes stay in memory until they are written in one go."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["WriteBackFile"]

_PAGE = 4096


class WriteBackFile(io.RawIOBase):
    """A binary file that a library may write to as if there were always room.

    HDF5 ends the process when a file cannot be written as it is closed. It gets this one
    instead, and `apply` writes the changes, or fails as any other write. For changes that
    are small: its memory is that of the pages that they touch.

    Parameters
    ----------
    path : Path
        The file; created if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        super().__init__()
        self._size = os.fstat(self._descriptor).st_size
        self._kept = self._size  # bytes of the file that were never cut off
        self._position = 0
        self._pages: dict[int, bytearray] = {}

    def readable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place, as `io.RawIOBase.seek`."""
        begin = (0, self._position, self._size)[whence]
        self._position = begin + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read from here on; behind the end there is nothing."""
        view = memoryview(buffer).cast("B")
        length = max(0, min(len(view), self._size - self._position))
        for begin, end, page, first in self._spans(length):
            held = self._pages.get(page)
            source = self._stored(page) if held is None else held
            view[begin:end] = source[first : first + end - begin]
        self._position += length
        return length

    def write(self, data: ReadableBuffer, /) -> int:
        """Note a change from here on."""
        view = memoryview(data).cast("B")
        for begin, end, page, first in self._spans(len(view)):
            held = self._pages.get(page)
            if held is None:
                held = self._pages[page] = self._stored(page)
            held[first : first + end - begin] = view[begin:end]
        self._position += len(view)
        if len(view):
            self._size = max(self._size, self._position)
        return len(view)

    def _spans(self, length: int) -> list[tuple[int, int, int, int]]:
        """Cut a length from here on into parts of pages: begin, end, page, place in it."""
        spans: list[tuple[int, int, int, int]] = []
        begin = 0
        while begin < length:
            page, first = divmod(self._position + begin, _PAGE)
            end = min(length, begin + _PAGE - first)
            spans.append((begin, end, page, first))
            begin = end
        return spans

    def _stored(self, page: int) -> bytearray:
        """Return a page as it is in the file, zeros behind its end."""
        begin = page * _PAGE
        length = max(0, min(_PAGE, self._kept - begin))
        data = bytearray(os.pread(self._descriptor, length, begin))
        return data + bytes(_PAGE - len(data))

    def truncate(self, size: int | None = None, /) -> int:
        """Set the size of the file."""
        self._size = self._position if size is None else size
        self._kept = min(self._kept, self._size)
        for page, data in list(self._pages.items()):
            left = max(0, self._size - page * _PAGE)
            data[left:] = bytes(len(data[left:]))
        return self._size

    def apply(self) -> None:
        """Write the changes.

        Raises
        ------
        OSError
            If they cannot be written.
        """
        os.ftruncate(self._descriptor, self._kept)
        os.ftruncate(self._descriptor, self._size)
        for page, data in sorted(self._pages.items()):
            begin = page * _PAGE
            left = memoryview(data)[: max(0, self._size - begin)]
            while left:
                written = os.pwrite(self._descriptor, left, begin)
                left, begin = left[written:], begin + written
        os.fsync(self._descriptor)
        self._pages.clear()

    def close(self) -> None:
        """Let go of the file; changes that were not applied are lost."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()
