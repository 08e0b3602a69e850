"""One run at a time in an output folder."""

from __future__ import annotations

import errno
import json
import os
import platform
import time
import warnings
import weakref
from contextlib import suppress
from pathlib import Path

from dplabtools.atomic import output_error
from dplabtools.errors import FolderInUseError, OutputError, UnlockedFolderWarning

__all__ = ["FolderLock", "check_unused"]

_NAME = ".dplabtools.lock"
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}


class FolderLock:
    """A lock on a folder that ends with the process that holds it, however it ends.

    It is a lock of the operating system (``flock``) on a file in the folder, which no other
    process inherits: neither workers nor what the caller forks. The file says who holds
    it, and is removed with the lock; one that a killed process left means nothing.

    Parameters
    ----------
    folder : Path
        Has to exist.
    shared : bool, default False
        Others that share it may hold it too; who does not, waits for nobody and is refused.
    """

    def __init__(self, folder: Path, *, shared: bool = False) -> None:
        self._path = folder / _NAME
        self._shared = shared
        self._descriptor: int | None = None
        self._locked = False

    @property
    def exclusive(self) -> bool:
        """Whether nobody else can be at work in the folder."""
        return self._locked and not self._shared

    @property
    def held(self) -> bool:
        """Whether the folder may be written to: locked, or where there are no locks."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock, or be refused at once.

        Where the file system has no locks, a warning says so, and the run goes on.

        Raises
        ------
        FolderInUseError
            If another run holds it.
        OutputError
            If the folder cannot be written to.
        """
        while self._descriptor is None:
            descriptor = self._open()
            try:
                self._locked = self._lock(descriptor)
                if self._locked and not self._is_current(descriptor):
                    os.close(descriptor)  # its holder removed it while we opened it
                    continue
            except BaseException:
                os.close(descriptor)
                raise
            self._descriptor = descriptor
            _held.add(self)
            self._sign(descriptor)

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise output_error(error, self._path.parent) from error

    def _lock(self, descriptor: int) -> bool:
        try:
            _flock(descriptor, shared=self._shared)
        except BlockingIOError as error:
            raise FolderInUseError(self._refusal()) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                msg = f"{self._path} cannot be locked: {error}"
                raise OutputError(msg) from error
            msg = (
                f"the file system of {self._path.parent} has no locks; see to it yourself "
                f"that no other run writes there"
            )
            warnings.warn(msg, UnlockedFolderWarning, stacklevel=2)
            return False
        return True

    def _refusal(self) -> str:
        """Say who is there already, as far as they have written it down."""
        try:
            owner = json.loads(self._path.read_text(encoding="utf-8"))
            who = f"process {owner['pid']} on {owner['host']} since {owner['since']}"
        except (OSError, ValueError, LookupError, TypeError):
            who = "another process"
        return (
            f"{who} is writing to {self._path.parent}; wait until it has finished, or "
            f"extract to another folder"
        )

    def _is_current(self, descriptor: int) -> bool:
        """Tell whether the file that is locked is still the one in the folder."""
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    @staticmethod
    def _sign(descriptor: int) -> None:
        """Write down who holds the lock; on a full disk it holds all the same."""
        owner = {
            "pid": os.getpid(),
            "host": platform.node(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        with suppress(OSError):
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"{json.dumps(owner)}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back, if it is held; the last to hold it removes its file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        _held.discard(self)
        with suppress(OSError):  # others share it
            if self._locked:
                _flock(descriptor, shared=False)
            self._path.unlink()
        os.close(descriptor)
        self._locked = False

    def forget(self) -> None:
        """Let go of the file without giving the lock back: a parent process holds it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            self._locked = False


def check_unused(folder: Path) -> None:
    """Raise if another run is writing to a folder now; see `FolderLock.acquire`."""
    lock = FolderLock(folder)
    lock.acquire()
    lock.release()


def _flock(descriptor: int, *, shared: bool) -> None:
    """Lock an open file, or raise `OSError` at once."""
    try:
        import fcntl
    except ImportError as error:  # Windows
        raise OSError(errno.ENOSYS, "no flock") from error
    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    # It goes with its process, however that ends:
    # https://man7.org/linux/man-pages/man2/flock.2.html
    fcntl.flock(descriptor, mode | fcntl.LOCK_NB)


_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()


def _forget_all() -> None:
    for lock in list(_held):
        lock.forget()
    _held.clear()


if hasattr(os, "register_at_fork"):
    # A lock goes with the last process that has the file open, and forks would have it too.
    os.register_at_fork(after_in_child=_forget_all)
