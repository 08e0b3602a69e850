"""Find out what patches a folder or a file holds."""

from __future__ import annotations

from pathlib import Path

from dplabtools.errors import StoredPatchesError
from dplabtools.output.containers.formats import format_of_suffix
from dplabtools.output.stored_manifests import find_manifests
from dplabtools.output.stored_slide import StoredSlide, reading

__all__ = ["open_slides"]


def open_slides(path: Path) -> list[StoredSlide]:
    """Open an output folder, or one container.

    Parameters
    ----------
    path : Path
        A folder with manifests; a container; or a folder of containers.

    Returns
    -------
    list of StoredSlide
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
        return [manifest.stored_slide() for manifest in manifests]
    alone = _open_container(path)
    if alone is not None:
        return [alone]
    files = sorted(path.iterdir()) if path.is_dir() else []
    slides = [slide for slide in map(_open_container, files) if slide is not None]
    if not slides:
        msg = (
            f"{path} holds no patches: it has neither manifests/*.csv, nor is it, or has "
            f"it, a container"
        )
        raise StoredPatchesError(msg)
    return slides


def _open_container(path: Path) -> StoredSlide | None:
    form = format_of_suffix(path.suffix)
    if form is None:
        return None
    with reading(path):
        return form.open(path)
