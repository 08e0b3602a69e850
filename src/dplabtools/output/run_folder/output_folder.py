"""The folder that a run writes to, where that is at an address."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dplabtools._typing import StrPath
from dplabtools.errors import OutputError
from dplabtools.sources.urls import checked_url, is_url

if TYPE_CHECKING:
    from dplabtools.output.run_folder.remote import RemoteFolder

__all__ = ["output_folder", "remote_folder", "shown_path"]

_REMOTE: Final[dict[Path, RemoteFolder]] = {}
"""Folders of this process that stand for one at an address."""


@contextmanager
def output_folder(output_dir: StrPath, *, resume: bool) -> Generator[StrPath]:
    """Yield what to write to: for an address, a folder of this machine.

    At the end all that is in that is at the address, too, and it is removed.

    Parameters
    ----------
    output_dir : path or address
        Where to. What is no address is returned as it is.
    resume : bool
        Go on with what is at an address, rather than to insist that there is nothing.

    Raises
    ------
    ParameterError
        If it is the address of no object store, or names credentials.
    OutputError
        If there is something under the address already, which is not to be gone on with;
        if the store refuses, or cannot be reached.
    MissingLibraryError
        If obstore is not installed.
    """
    if not is_url(output_dir):
        yield output_dir
        return
    from dplabtools.output.run_folder.remote import RemoteFolder
    from dplabtools.sources.staging import staged_folder
    from dplabtools.sources.threads import AskingThreads
    from dplabtools.sources.writing import LAST_S, output_root

    root = output_root(str(output_dir))
    with (
        staged_folder() as staged,
        AskingThreads(1, name="dplabtools-store") as worker,
    ):
        folder = staged.resolve()
        remote = RemoteFolder(root, folder, worker)
        remote.begin(resume=resume)
        _REMOTE[folder] = remote
        try:
            yield folder
        except BaseException as error:
            within_s = None if isinstance(error, Exception) else LAST_S
            with suppress(OutputError, TimeoutError):  # the first error counts
                remote.close(within_s=within_s)
            raise
        else:
            remote.close()
        finally:
            del _REMOTE[folder]


def remote_folder(folder: StrPath) -> RemoteFolder | None:
    """Return what takes the files of a folder to its address; None if it has none."""
    return _REMOTE.get(Path(folder))


def shown_path(path: StrPath) -> str:
    """Return what people call a folder, or a file in it: its address, if it has one."""
    if is_url(path):
        return checked_url(path)
    parents = (Path(path), *Path(path).parents) if _REMOTE else ()
    for folder in parents:
        if (remote := _REMOTE.get(folder)) is not None:
            return remote.object_of(Path(path)).url
    return str(path)
