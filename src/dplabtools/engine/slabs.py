"""Memory that the caller and its workers see alike, gone when nobody sees it any more.

A segment has no name in any file system: it is an anonymous file that lives as long as
somebody has it open or mapped. Whoever is killed, the kernel takes it back, and there is
nothing for a resource tracker to get wrong. It is not bound by the size of ``/dev/shm``.
"""

from __future__ import annotations

import errno
import logging
import math
import mmap
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dplabtools._typing import IntArray
from dplabtools.engine.limits import available_memory, lies_in_memory, limit_reached
from dplabtools.errors import DplabError, NotEnoughMemoryError

__all__ = ["Segment", "SegmentAddress"]

_LOGGER = logging.getLogger(__name__)
_RESERVE = 256 << 20  # bytes of memory left to everybody else
_MAPPED_AT_ONCE = 64 << 10  # bytes, by Linux, where a page is read that is there
_MORE_FOLDERS = ("/var/tmp",)  # noqa: S108 - for large files, kept on a disk by convention


class Segment:
    """Shared memory of a fixed size.

    It is made by the caller and reaches workers through `Engine.begin`; pickled with a
    job, only its key travels. Views keep the memory alive, also after `close`.

    Parameters
    ----------
    key : str
        Name by which workers know it.
    buffer : mmap.mmap or None
        The memory; None in a worker that it has not reached.
    descriptor : int
        Open file descriptor, which can be sent to workers; -1 without memory.
    """

    _attached: ClassVar[dict[str, Segment]] = {}

    def __init__(self, key: str, buffer: mmap.mmap | None, *, descriptor: int) -> None:
        self.key = key
        self.descriptor = descriptor
        self._buffer = buffer
        self._taken: set[int] = set()

    @classmethod
    def create(cls, nbytes: int) -> Segment:
        """Make a segment; its pages are taken from memory when they are first touched.

        Parameters
        ----------
        nbytes : int
            Its size.

        Returns
        -------
        Segment
            Zeros.

        Raises
        ------
        NotEnoughMemoryError
            If neither memory nor a folder for temporary files has room for it.
        SystemLimitError
            If no more files may be open, or none of that size.
        """
        size = max(nbytes, 1)
        try:
            descriptor = _open_anonymous(size)
            try:
                buffer = mmap.mmap(descriptor, size)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise _named(error, size) from error
        return cls(os.urandom(16).hex(), buffer, descriptor=descriptor)

    @classmethod
    def attach(cls, key: str, descriptor: int) -> Segment:
        """Map a segment in a worker, where jobs find it by its key."""
        segment = cls(key, mmap.mmap(descriptor, 0), descriptor=descriptor)
        cls._attached[key] = segment
        return segment

    @classmethod
    def keep_only(cls, keys: Collection[str]) -> None:
        """Forget the segments of earlier work in a worker."""
        for key in set(cls._attached).difference(keys):
            del cls._attached[key]

    @property
    def is_here(self) -> bool:
        """Whether this process has the memory."""
        return self._buffer is not None

    def address(self) -> SegmentAddress:
        """Return where processes find it that were not sent its descriptor."""
        return SegmentAddress(
            key=self.key,
            path=f"/proc/{os.getpid()}/fd/{self.descriptor}",
            file=_file_id(self.descriptor),
        )

    def memory(self) -> npt.NDArray[np.uint8]:
        """Return all of the memory; see `array`."""
        return self.array((0 if self._buffer is None else len(self._buffer),))

    def array(
        self, shape: tuple[int, ...], *, dtype: npt.DTypeLike = np.uint8, offset: int = 0
    ) -> npt.NDArray[Any]:
        """Return a view of a part of the memory.

        Parameters
        ----------
        shape : tuple of int
            Its shape, in C order.
        dtype : dtype-like
            Its type.
        offset : int
            Where it begins, in bytes.

        Returns
        -------
        ndarray
            Writable; keeps the memory alive.
        """
        if self._buffer is None:
            msg = "the shared memory has been closed, or is not here"
            raise ValueError(msg)
        flat = np.frombuffer(
            self._buffer, dtype=dtype, count=math.prod(shape), offset=offset
        )
        return flat.reshape(shape)

    def write(self, data: npt.NDArray[np.uint8], *, offset: int) -> None:
        """Copy bytes to a part of the memory that nobody has touched yet.

        The system then takes pages for all of them at once, in half the time of taking
        each as it is touched.

        Parameters
        ----------
        data : ndarray of uint8
            What to copy; contiguous.
        offset : int
            Where it begins, in bytes.
        """
        left = data.reshape(-1).data
        while left:
            written = os.pwrite(self.descriptor, left, offset)
            left, offset = left[written:], offset + written

    def take_pages(self, starts: IntArray, lengths: IntArray) -> None:
        """Have pages at hand for parts that this process is going to overwrite.

        That takes half as long as to have each page taken when it is written to, here and
        in processes that come later. Pages that another process has taken are only mapped;
        what is there may be lost.

        Parameters
        ----------
        starts, lengths : ndarray of int64, shape (n,)
            Where each part begins, in bytes, and how many it has.
        """
        first_bytes: list[int] = starts.tolist()
        if self._taken.issuperset(first_bytes):
            return
        parts = zip(first_bytes, lengths.tolist(), strict=True)
        new = [part for part in parts if part[0] not in self._taken]
        self._taken.update(start for start, _ in new)
        memory = self.memory()
        zeros = np.zeros(max(length for _, length in new), dtype=np.uint8)
        for start, length in new:
            if not self._has_page(start + length // 2):
                self.write(zeros[:length], offset=start)
            memory[start : start + length : _MAPPED_AT_ONCE].max(initial=0)

    def _has_page(self, offset: int) -> bool:
        """Tell whether any process has touched the page that a byte is on."""
        if not hasattr(os, "SEEK_DATA"):
            return False
        try:
            return os.lseek(self.descriptor, offset, os.SEEK_DATA) == offset
        except OSError:  # there is none from here to the end
            return False

    def close(self) -> None:
        """Let go of it; the memory goes with its last view."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        self._buffer = None

    def __del__(self) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        """Send the key; the memory itself has gone ahead."""
        return _find, (self.key,)


def _find(key: str) -> Segment:
    found = Segment._attached.get(key)  # noqa: SLF001 - the other half of __reduce__
    return Segment(key, None, descriptor=-1) if found is None else found


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentAddress:
    """Where processes of the same machine find a segment, as long as its maker has it open.

    Attributes
    ----------
    key : str
        Its name.
    path : str
        The maker's descriptor, as https://man7.org/linux/man-pages/man5/proc_pid_fd.5.html
        has it.
    file : tuple of int
        Device, inode and size: the maker may have gone, and others have its number.
    """

    key: str
    path: str
    file: tuple[int, ...]

    def attach(self) -> None:
        """Map it; see `Segment.attach`.

        Raises
        ------
        OSError
            If it is not there any more, or another user's.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        if _file_id(descriptor) != self.file:
            os.close(descriptor)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path)
        Segment.attach(self.key, descriptor)


def _file_id(descriptor: int) -> tuple[int, ...]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size


def _open_anonymous(size: int) -> int:
    """Open a file of this size, which nothing but the descriptor leads to."""
    asked_for = os.environ.get("DPLABTOOLS_SHM_DIR")
    room = available_memory()
    if not asked_for and size + _RESERVE <= room and hasattr(os, "memfd_create"):
        # It has no name that could outlive the last process, and is of no file system:
        # https://man7.org/linux/man-pages/man2/memfd_create.2.html
        descriptor = os.memfd_create("dplabtools")
        try:
            os.ftruncate(descriptor, size)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
    import tempfile

    folder = _folder_with_room(size, memory=room, asked_for=asked_for)
    _LOGGER.warning("%s bytes of pixels go to a file in %s, not to memory", size, folder)
    with tempfile.TemporaryFile(dir=folder, prefix="dplabtools-") as file:
        # Blocks are reserved now: a full disk is an error here, not a bus error later:
        # https://man7.org/linux/man-pages/man3/posix_fallocate.3.html
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            os.ftruncate(file.fileno(), size)
        return os.dup(file.fileno())


def _folder_with_room(size: int, *, memory: int, asked_for: str | None) -> Path:
    """Return a folder that has room for a file, on a disk unless another is asked for.

    Raises
    ------
    NotEnoughMemoryError
        If none has.
    """
    import shutil
    import tempfile

    names = (asked_for,) if asked_for else (tempfile.gettempdir(), *_MORE_FOLDERS)
    found: list[str] = []
    for folder in dict.fromkeys(map(Path, names)):
        free = shutil.disk_usage(folder).free if folder.is_dir() else 0
        where = f"{folder} ({free:,} bytes free)"
        if lies_in_memory(folder):
            free = min(free, memory - _RESERVE) if asked_for else 0
            where = f"{folder} (which takes memory too)"
        if size <= free:
            return folder
        found.append(where)
    msg = (
        f"{size:,} bytes of pixels fit neither the free memory ({memory:,} "
        f"bytes) nor a file in {' or '.join(found)}"
    )
    raise NotEnoughMemoryError(
        msg,
        remedy=(
            "extract fewer at once, write them to disk instead, or set "
            "DPLABTOOLS_SHM_DIR to a folder with more room, on a disk"
        ),
    )


def _named(error: OSError, size: int) -> DplabError:
    """Return an error that says why there is no shared memory."""
    what = f"{size:,} bytes of memory cannot be shared with workers"
    reached = limit_reached(error, what)
    if reached is not None:
        return reached
    return NotEnoughMemoryError(
        f"{what} ({error.strerror})", remedy="extract fewer at once"
    )
