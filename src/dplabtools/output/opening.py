"""Find out what patches a folder or a file holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dplabtools.errors import StoredPatchesError
from dplabtools.output.containers.opening import (
    open_hdf5,
    open_parquet,
    open_tar,
    open_zarr,
)
from dplabtools.output.run_folder.stored_manifests import find_manifests
from dplabtools.output.stored_slide import Part, reading

__all__ = ["open_parts"]

_OPENERS: dict[str, Callable[[Path], Part]] = {
    ".tar": open_tar,
    ".parquet": open_parquet,
    ".h5": open_hdf5,
    ".zarr": open_zarr,
}


def open_parts(path: Path) -> list[Part]:
    """Open an output folder, or one container.

    Parameters
    ----------
    path : Path
        A folder with manifests; a container; or a folder of containers.

    Returns
    -------
    list of Part
        Slides as given where there are manifests, else files by name.

    Raises
    ------
    StoredPatchesError
        If there are no patches, or they cannot be read.
    """
    if not path.exists():
        msg = f"there is no file or folder {path}"
        raise StoredPatchesError(msg)
    manifests = find_manifests(path)
    if manifests:
        return [manifest.part() for manifest in manifests]
    if path.suffix.lower() in _OPENERS:
        return [_open_container(path)]
    files = sorted(path.iterdir()) if path.is_dir() else []
    parts = [_open_container(each) for each in files if each.suffix.lower() in _OPENERS]
    if not parts:
        msg = (
            f"{path} holds no patches: it has neither manifests/*.csv, nor is it, or has "
            f"it, a container ({', '.join(_OPENERS)})"
        )
        raise StoredPatchesError(msg)
    return parts


def _open_container(path: Path) -> Part:
    with reading(path):
        return _OPENERS[path.suffix.lower()](path)
