"""What a run has written, taken to an object store."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from dplabtools._typing import StrPath
from dplabtools.errors import OutputError, ParameterError, SlideError
from dplabtools.sources.stores import StoredObject
from dplabtools.sources.urls import checked_url, is_url

__all__ = ["upload_run"]

_AT_ONCE: Final = 4  # files; of large ones several parts
_LAST: Final = "manifests"
"""Name of the folders whose files say that others are there."""


def upload_run(folder: StrPath, address: str) -> tuple[str, ...]:
    """Copy the folder of a run to an object store, whole or not at all.

    Each file is there under its name when it is whole, and manifests are when all else is.
    If one cannot be stored, those that have been are removed.

    Parameters
    ----------
    folder : path
        What pools with a `container`, or `extract_features`, have written to, and nobody
        writes to any more.
    address : str
        Where to: ``s3://``, ``gs://`` or ``az://``, with a bucket and a prefix under which
        there is nothing yet.

    Returns
    -------
    tuple of str
        Addresses of all files.

    Raises
    ------
    ParameterError
        If the address is none of an object store, or names credentials (also a
        `ValueError`).
    OutputError
        If there is no such folder or nothing in it, or something under the address
        already; if the store refuses, or cannot be reached (also an `OSError`).
    MissingLibraryError
        If obstore is not installed (also an `ImportError`).
    """
    if not is_url(address) or address.startswith("http"):
        msg = f"{address!r} is not the address of an object store"
        raise ParameterError(msg, remedy="name one as s3://bucket/prefix")
    base, root = checked_url(address).rstrip("/"), Path(folder)
    files = sorted(each for each in root.rglob("*") if each.is_file())
    if not files:
        msg = f"there is nothing in the folder {str(folder)!r}"
        raise OutputError(msg, remedy="name the folder that a run has written to")
    objects = {file: StoredObject.at(f"{base}/{_name(root, file)}") for file in files}
    try:
        _check_free(base)
        _store(objects)
    except SlideError as error:
        msg = f"{base}: {error.reason}"
        raise OutputError(msg, details=error.details, remedy=error.remedy) from error
    return tuple(each.url for each in objects.values())


def _name(root: Path, file: Path) -> str:
    return file.relative_to(root).as_posix()


def _check_free(base: str) -> None:
    """Raise if there is something under an address.

    Raises
    ------
    OutputError
        If so.
    """
    if next(iter(StoredObject.at(base).below()), None) is not None:
        msg = f"there is something under {base} already"
        raise OutputError(msg, remedy="name another prefix, or remove it")


def _store(objects: Mapping[Path, StoredObject]) -> None:
    """Store files, those that tell of others last; all or none."""
    begun: list[StoredObject] = []

    def store(file: Path) -> None:
        begun.append(objects[file])
        objects[file].put(file)

    try:
        for last in (False, True):
            with ThreadPoolExecutor(_AT_ONCE) as threads:
                files = [file for file in objects if (file.parent.name == _LAST) == last]
                waiting = [threads.submit(store, file) for file in files]
                try:
                    for each in waiting:
                        each.result()
                except BaseException:
                    threads.shutdown(cancel_futures=True)
                    raise
    except BaseException:
        for stored in begun:
            with suppress(SlideError):  # the first error counts
                stored.delete()
        raise
