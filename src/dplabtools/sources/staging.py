"""Whole copies of remote slides, for libraries that read files of this machine only.

Copies lie in a folder of temporary files and are shared by the processes of a user: each
that has one holds a lock on it, which the system takes back however a process ends. A copy
that nobody holds is removed by the next who lets go of any, or asks for one.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
from collections import OrderedDict, deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Final

from dplabtools.errors import SlideReadError
from dplabtools.sources.remote import RemoteFile, open_remote
from dplabtools.sources.threads import AskingThreads

__all__ = ["StagedCopy", "drop_copies", "staged_copy", "staged_folder"]

_IDLE_BYTES: Final = 16 << 30  # of copies that are kept in case they are opened again
_SPARE_BYTES: Final = 1 << 30  # of the disk, left to others
_PART_BYTES: Final = 8 << 20
_PARTS_AT_ONCE: Final = 8

_LOCK: Final = threading.Lock()
_HELD: Final[OrderedDict[Path, StagedCopy]] = OrderedDict()
"""The copies that this process holds, those used last at the end."""
_RELEASED: Final[deque[StagedCopy]] = deque()
"""For each user of a copy that has closed it, until whoever has the lock sees to it."""


@dataclass(slots=True, eq=False, kw_only=True)
class StagedCopy:
    """A copy of a remote file.

    Attributes
    ----------
    path : Path
        The copy, of the same name.
    nbytes : int
        Its size.
    file : RemoteFile or None
        What it is a copy of, while it is open: its state is not asked for again.
    users : int
        How often it is open in this process.
    """

    path: Path
    nbytes: int
    file: RemoteFile | None = None
    users: int = 0
    _descriptor: int = field(repr=False)

    def release(self) -> None:
        """Say that one of its users has closed it; it is kept for the next, if small.

        Waits for nobody: finalizers call it, in whichever thread Python runs them.
        """
        _RELEASED.append(self)
        if _LOCK.acquire(blocking=False):
            try:
                _drop_idle(most_bytes=_IDLE_BYTES)
            finally:
                _LOCK.release()

    def drop(self) -> None:
        """Let go of it, and remove it unless another process holds it."""
        del _HELD[self.path]
        os.close(self._descriptor)
        _sweep(self.path.parent.parent)


def staged_copy(url: str) -> StagedCopy:
    """Return a whole copy of a remote file, made now unless there is one already.

    Parameters
    ----------
    url : str
        Its address.

    Returns
    -------
    StagedCopy
        To be released once it is closed.

    Raises
    ------
    SlideError
        If it cannot be fetched, or there is no room for it.
    """
    file = open_remote(url)
    folder = _folder()
    key = hashlib.sha256(f"{url} {file.state}".encode()).hexdigest()[:24]
    path = folder / key / file.name
    with _LOCK:
        copy = _HELD.get(path)
        if copy is None:
            _sweep(folder)
            descriptor = _held_copy(path, file)
            nbytes = file.state.nbytes
            copy = StagedCopy(path=path, nbytes=nbytes, _descriptor=descriptor)
        copy.file = file
        copy.users += 1
        _HELD[path] = copy
        _HELD.move_to_end(path)
    return copy


@contextmanager
def staged_folder() -> Generator[Path]:
    """Yield a new folder, beside the copies, which is removed however the process ends."""
    path = _path_of_folder() / token_hex(12)
    lock = path.with_suffix(".lock")
    while True:
        with _LOCK:
            _sweep(_folder())
        with suppress(FileNotFoundError):  # whoever had the last copy has removed all
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if _same(descriptor, lock):
                break
            os.close(descriptor)
    try:
        path.mkdir()
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        lock.unlink(missing_ok=True)
        os.close(descriptor)
        with suppress(OSError):  # there are others
            path.parent.rmdir()


def drop_copies() -> None:
    """Let go of all copies that are not open; those that nobody holds are removed."""
    with _LOCK:
        _drop_idle(most_bytes=0)
        _sweep(folder := _path_of_folder())
        with suppress(OSError):  # others have copies, or there was none
            folder.rmdir()


@atexit.register
def _end() -> None:
    _RELEASED.clear()
    for copy in _HELD.values():
        copy.users = 0
    drop_copies()


def _folder() -> Path:
    """Return the folder of all copies of this user, which nobody else may enter."""
    folder = _path_of_folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        msg = f"{folder} is not the folder of this user alone, for copies of slides"
        raise SlideReadError(msg, remedy="remove it, or set TMPDIR to another folder")
    return folder


def _path_of_folder() -> Path:
    return Path(tempfile.gettempdir(), f"dplabtools-stage-{os.getuid()}")


def _held_copy(path: Path, file: RemoteFile) -> int:
    """Lock a copy, make it if it is not there, and return the descriptor of the lock."""
    lock = path.parent.with_suffix(".lock")
    while True:
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:  # the last who had a copy has removed the folder
            _folder()
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if not path.exists():
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if _same(descriptor, lock) and not path.exists():
                    _fetch_whole(file, path)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            if path.exists() and _same(descriptor, lock):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # someone has removed it meanwhile


def _same(descriptor: int, lock: Path) -> bool:
    """Tell whether a lock is still the one that others would ask for."""
    try:
        return os.path.samestat(os.fstat(descriptor), lock.stat())
    except FileNotFoundError:
        return False


def _fetch_whole(file: RemoteFile, path: Path) -> None:
    """Copy a remote file, several parts of it at once; nothing is left of half a copy."""
    nbytes = file.state.nbytes
    _make_room(nbytes, path.parent.parent, slide=file.name)
    path.parent.mkdir(exist_ok=True)
    try:
        with (
            tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as part,
            AskingThreads(_PARTS_AT_ONCE, name="dplabtools-stage") as threads,
        ):

            def fetch(start: int) -> None:
                data = file.fetch(start, min(start + _PART_BYTES, nbytes))
                while data:
                    written = os.pwrite(part.fileno(), data, start)
                    data, start = data[written:], start + written

            list(threads.map(fetch, range(0, nbytes, _PART_BYTES)))
        Path(part.name).rename(path)
    except BaseException:
        shutil.rmtree(path.parent, ignore_errors=True)
        raise


def _make_room(nbytes: int, folder: Path, *, slide: str) -> None:
    """Let go of idle copies if there is no room for another.

    Raises
    ------
    SlideReadError
        If that does not help.
    """
    if shutil.disk_usage(folder).free < nbytes + _SPARE_BYTES:
        _drop_idle(most_bytes=0)
    if shutil.disk_usage(folder).free < nbytes + _SPARE_BYTES:
        msg = f"there is no room for a copy of {nbytes / 1e9:.1f} GB in {folder}"
        remedy = "make room, or set TMPDIR to a folder on a larger disk"
        raise SlideReadError(msg, slide=slide, remedy=remedy)


def _drop_idle(*, most_bytes: int) -> None:
    """Let go of those copies that were used longest ago, until few bytes are idle."""
    while _RELEASED:
        released = _RELEASED.popleft()
        released.users -= 1
        if not released.users:
            released.file = None
    idle = [copy for copy in _HELD.values() if not copy.users]
    left = sum(copy.nbytes for copy in idle)
    for copy in idle:
        if left <= most_bytes:
            return
        left -= copy.nbytes
        copy.drop()


def _sweep(folder: Path) -> None:
    """Remove all copies that no process holds."""
    for lock in folder.glob("*.lock"):
        try:
            descriptor = os.open(lock, os.O_RDWR)
        except OSError:
            continue  # removed by someone else
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
        os.close(descriptor)
