"""Memory that the caller and its workers see alike, gone when nobody sees it any more.

A segment has no name in any file system: it is an anonymous file that lives as long as
somebody has it open or mapped. Whoever is killed, the kernel takes it back, and there is
nothing for a resource tracker to get wrong. It is not bound by the size of ``/dev/shm``.
"""

from __future__ import annotations

import logging
import math
import mmap
import os
import shutil
import tempfile
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dplabtools.errors import NotEnoughMemoryError

__all__ = ["Segment", "available_memory"]

_LOGGER = logging.getLogger(__name__)
_RESERVE = 256 << 20  # bytes of memory left to everybody else


class Segment:
    """Shared memory of a fixed size.

    It is made by the caller and reaches workers through `Engine.begin`; pickled with a
    job, only its key travels. Views keep the memory alive, also after `close`.

    Parameters
    ----------
    key : str
        Name by which workers know it.
    buffer : mmap.mmap
        The memory.
    descriptor : int
        Open file descriptor that can be sent to workers; -1 in a worker.
    """

    _attached: ClassVar[dict[str, Segment]] = {}

    def __init__(self, key: str, buffer: mmap.mmap, *, descriptor: int) -> None:
        self.key = key
        self.descriptor = descriptor
        self._buffer: mmap.mmap | None = buffer

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
            If neither memory nor the folder for temporary files has room for it.
        """
        size = max(nbytes, 1)
        descriptor = _open_anonymous(size)
        return cls(uuid.uuid4().hex, mmap.mmap(descriptor, size), descriptor=descriptor)

    @classmethod
    def attach(cls, key: str, descriptor: int) -> Segment:
        """Map a segment in a worker, where jobs find it by its key."""
        segment = cls(key, mmap.mmap(descriptor, 0), descriptor=-1)
        os.close(descriptor)
        cls._attached[key] = segment
        return segment

    @classmethod
    def keep_only(cls, keys: Collection[str]) -> None:
        """Forget the segments of earlier work in a worker."""
        for key in set(cls._attached).difference(keys):
            del cls._attached[key]

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
            msg = "the shared memory has been closed"
            raise ValueError(msg)
        flat = np.frombuffer(
            self._buffer, dtype=dtype, count=math.prod(shape), offset=offset
        )
        return flat.reshape(shape)

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
    return Segment._attached[key]  # noqa: SLF001 - the other half of __reduce__


def _open_anonymous(size: int) -> int:
    """Open a file of this size, which nothing but the descriptor leads to."""
    asked_for = os.environ.get("DPLABTOOLS_SHM_DIR")
    room = available_memory()
    if not asked_for and size + _RESERVE <= room and hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("dplabtools")
        os.ftruncate(descriptor, size)
        return descriptor
    folder = Path(asked_for or tempfile.gettempdir())
    free = shutil.disk_usage(folder).free if folder.is_dir() else 0
    if size > free:
        msg = (
            f"{size:,} bytes of pixels fit neither the free memory ({room:,} bytes) nor "
            f"{folder} ({free:,} bytes); extract fewer at once, write them to disk "
            f"instead, or set DPLABTOOLS_SHM_DIR to a folder with more room"
        )
        raise NotEnoughMemoryError(msg)
    _LOGGER.warning("%s bytes of pixels go to a file in %s, not to memory", size, folder)
    with tempfile.TemporaryFile(dir=folder, prefix="dplabtools-") as file:
        # Blocks are reserved now: a full disk is an error here, not a bus error later.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            os.ftruncate(file.fileno(), size)
        return os.dup(file.fileno())


def available_memory() -> int:
    """Return the bytes of memory that may still be used, by machine and by container."""
    known = [_meminfo_available(), _cgroup_available()]
    rooms = [room for room in known if room is not None]
    return min(rooms, default=1 << 62)


def _meminfo_available() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) << 10
    return None


def _cgroup_available(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return what is left of the limit of a container (cgroup v2, else v1).

    Pages of files that may be dropped at any time do not count as used.
    """
    for limit, used, stat in (
        ("memory.max", "memory.current", "memory.stat"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
        ),
    ):
        try:
            total = int((root / limit).read_text())
            taken = int((root / used).read_text())
            lines = (root / stat).read_text().splitlines()
        except (OSError, ValueError):  # no such file, or no limit: "max"
            continue
        droppable = [
            int(line.split()[1]) for line in lines if line.startswith("inactive_file ")
        ]
        return total - taken + sum(droppable)
    return None
