"""Files that are whole under their names, also after the power was cut."""

from __future__ import annotations

import os
from pathlib import Path

from dplabtools.errors import OutputError

__all__ = ["sync_folder", "write_durably"]


def write_durably(path: Path, data: bytes, *, aside: Path) -> None:
    """Write a file aside, and give it its name when all of it is on the disk.

    Parameters
    ----------
    path : Path
        Its name; a file that has it is replaced.
    data : bytes
        What it holds.
    aside : Path
        Where it is written first, on the same file system.

    Raises
    ------
    OutputError
        If it cannot be written; what was there under its name still is.
    """
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        msg = f"{path} cannot be written: {error}"
        raise OutputError(msg) from error


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
