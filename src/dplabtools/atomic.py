"""Files that are whole under their names, also after the power was cut."""

from __future__ import annotations

import ctypes
import errno
import os
import unicodedata
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from dplabtools.errors import DplabError, OutputError

__all__ = [
    "begin_sync",
    "folds_names",
    "longest_name",
    "output_error",
    "remove",
    "sync_file_system",
    "sync_folder",
    "write_whole",
    "writing",
    "written_aside",
]

_LONGEST_NAME: Final = 255  # bytes, where the file system does not tell
_FULL = "make room on the disk, or write to another one"
_FORBIDDEN = "find out who may write there"
_BROKEN = "see what the system says of the disk, or write to another one"
_GONE = "a folder is gone: it has to stay where it is until the run is done"
_REMEDIES: Final[Mapping[int | None, str]] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EIO: _BROKEN,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: _FORBIDDEN,
    errno.ENAMETOOLONG: "shorten the label, filename_comment or the name of the slide",
    errno.ENOENT: _GONE,
    errno.ENOTDIR: _GONE,
    errno.EMFILE: "raise the limit of open files (ulimit -n), or use fewer workers",
    errno.EFBIG: "raise the limit of the size of files (ulimit -f)",
}


def output_error(
    error: OSError, path: str | Path, *, slide: str | None = None
) -> OutputError:
    """Return an error that names the file and says what to do.

    Parameters
    ----------
    error : OSError
        What came of an attempt to write.
    path : str or Path
        The file.
    slide : str, optional
        Name of the slide it belongs to.
    """
    msg = f"{path} cannot be written: {error.strerror or error}"
    return OutputError(msg, slide=slide, remedy=_REMEDIES.get(error.errno, ""))


@contextmanager
def writing(path: str | Path, *, slide: str | None = None) -> Generator[None]:
    """Say of what cannot be written meanwhile which file it is, and what to do.

    Parameters
    ----------
    path : str or Path
        The file.
    slide : str, optional
        Name of the slide it belongs to.

    Raises
    ------
    OutputError
        See `output_error`.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, DplabError):
            raise
        raise output_error(error, path, slide=slide) from error


def longest_name(folder: Path) -> int:
    """Return how many bytes the name of a file in a folder may have."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        return _LONGEST_NAME


def folds_names(folder: Path) -> bool:
    """Tell whether names are one in a folder that differ by case, or by combining accents.

    Parameters
    ----------
    folder : Path
        A file is made in it, and removed.

    Raises
    ------
    OutputError
        If that cannot be done.
    """
    name = "case-\u00e9"
    twins = (name.upper(), unicodedata.normalize("NFD", name))
    with writing(folder / name):
        (folder / name).touch()
        folds = any((folder / twin).exists() for twin in twins)
        (folder / name).unlink()
    return folds


def begin_sync(descriptor: int) -> None:
    """Have the system begin to bring a file to the disk, where it can be asked to.

    So whoever waits for that later waits less: `sync_file_system`, which tells of errors.
    """
    if hasattr(os, "posix_fadvise"):
        # Linux begins at this advice, and forgets nothing that is not on the disk yet:
        # https://man7.org/linux/man-pages/man2/posix_fadvise.2.html
        with suppress(OSError):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def sync_file_system(folder: Path) -> None:
    """Wait until everything written to the file system of a folder is on the disk.

    One call for thousands of files takes a fraction of the time of one for each.

    Raises
    ------
    OutputError
        If something written there, by whomever, did not get there.
    """
    with writing(folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            if not _syncfs(descriptor):
                os.sync()
        finally:
            os.close(descriptor)


def _syncfs(descriptor: int) -> bool:
    """Sync one file system; return False if the system has no such call: Linux has."""
    # One call for all files of a run: https://man7.org/linux/man-pages/man2/syncfs.2.html
    call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if call is None:
        return False
    if call(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return True


@contextmanager
def written_aside(
    path: Path, *, aside: Path | None = None, slide: str | None = None
) -> Generator[Path]:
    """Give a file its name when all of it is on the disk.

    That it has its name is certain after `sync_folder`, and as soon as that of a file that
    is named later.

    Parameters
    ----------
    path : Path
        Its name; a file that has it is replaced.
    aside : Path, optional
        Where it is written first, on the same file system. By default beside it.
    slide : str, optional
        Name of the slide it belongs to, for messages.

    Yields
    ------
    Path
        Where to write it; what is there in the end becomes the file.

    Raises
    ------
    OutputError
        If it cannot be written; what was there under its name still is.
    """
    if aside is None:
        aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing(path, slide=slide):
        try:
            yield aside
            with aside.open("rb+") as file:
                os.fsync(file.fileno())
            # All of it or nothing: https://docs.python.org/3/library/os.html#os.replace
            aside.replace(path)
        except BaseException:
            with suppress(OSError):
                aside.unlink()
            raise


def write_whole(
    path: Path,
    data: bytes | memoryview,
    *,
    aside: Path | None = None,
    slide: str | None = None,
) -> None:
    """Write a file as `written_aside` does.

    Raises
    ------
    OutputError
        If it cannot be written; what was there under its name still is.
    """
    with written_aside(path, aside=aside, slide=slide) as file:
        file.write_bytes(data)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    with writing(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # A name is on the disk when its folder is: https://lwn.net/Articles/457667/
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove(file: Path) -> None:
    """Remove a file; if that fails, so did making it, and why is known already."""
    with suppress(OSError):
        file.unlink()
