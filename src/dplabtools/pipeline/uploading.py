"""What a run has written, taken to an object store."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from dplabtools._typing import StrPath
from dplabtools.errors import OutputError
from dplabtools.sources.writing import check_free, output_root, store_files, writing_to

__all__ = ["upload_run"]

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
    base, root = output_root(address), Path(folder)
    files = sorted(each for each in root.rglob("*") if each.is_file())
    if not files:
        msg = f"there is nothing in the folder {str(folder)!r}"
        raise OutputError(msg, remedy="name the folder that a run has written to")
    objects = {file: base.child(file.relative_to(root).as_posix()) for file in files}
    check_free(base, remedy="name another prefix, or remove it")
    with writing_to(base.url):
        store_files(
            *(
                {
                    file: to
                    for file, to in objects.items()
                    if (file.parent.name == _LAST) is last
                }
                for last in (False, True)
            )
        )
    return tuple(each.url for each in objects.values())
