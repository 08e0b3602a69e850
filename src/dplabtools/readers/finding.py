"""Slides in folders and by patterns."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from operator import itemgetter
from pathlib import Path
from typing import Final

from dplabtools._typing import StrPath
from dplabtools.errors import ParameterError
from dplabtools.readers.stamps import dicom_series, remote_dicom_series
from dplabtools.records.run_record import CONFIG_FILE
from dplabtools.sources.urls import checked_url, is_url

__all__ = ["find_slides"]

_SLIDE_SUFFIXES: Final = frozenset(
    {
        *(".svs", ".tif", ".tiff", ".ndpi", ".scn", ".mrxs", ".bif", ".vms", ".vmu"),
        *(".svslide", ".czi", ".zvi", ".isyntax", ".vsi", ".btf", ".avs", ".dcm"),
    }
)


def find_slides(paths: Iterable[StrPath]) -> tuple[str, ...]:
    """Return the slides that files, folders and patterns stand for.

    Parameters
    ----------
    paths : iterable of path
        Files; folders, which are searched with all folders in them but for those in
        which the command has written; patterns such as ``"slides/**/*.svs"``;
        addresses of remote slides, or in a store of all slides below.

    Returns
    -------
    tuple of str
        Each once, in the order given; those of folders and patterns sorted. A file that
        does not exist is among them: it fails when it is opened. Of the files of a DICOM
        series in a folder, here or in a store, which are levels of one slide, it is the
        first.

    Raises
    ------
    ParameterError
        If there are no slides in a folder, or no file matches a pattern, or an address
        names credentials.
    SlideError
        If a store cannot be listed.
    """
    found: dict[str, None] = {}
    for path in paths:
        if is_url(path):
            found |= dict.fromkeys(_remote_slides(checked_url(path)))
        else:
            files = list(_slides_of(Path(path)))
            once = _each_series_once(map(str, files), map(dicom_series, files))
            found |= dict.fromkeys(once)
    return tuple(found)


def _remote_slides(url: str) -> Iterable[str]:
    """Return the slides that an address stands for: all below it, else itself."""
    if url.startswith("http") or _named_as_slide(url):
        return [url]
    from dplabtools.sources.stores import StoredObject

    listed = [each for each in StoredObject.at(url).below() if _named_as_slide(each[0])]
    listed.sort(key=itemgetter(0))
    files = [address for address, _ in listed]
    return _each_series_once(files, remote_dicom_series(listed)) if files else [url]


def _named_as_slide(name: str) -> bool:
    return Path(name).suffix.lower() in _SLIDE_SUFFIXES


def _slides_of(path: Path) -> Iterable[Path]:
    """Return the slides that a path stands for."""
    if path.is_dir():
        slides = sorted(_walk(path))
        if not slides:
            msg = f"there are no slides in the folder {path}"
            raise ParameterError(msg)
        return slides
    if has_magic(str(path)) and not path.exists():
        matches = sorted(map(Path, glob(str(path), recursive=True)))  # noqa: PTH207 - as typed
        if not matches:
            msg = f"no file matches {str(path)!r}"
            raise ParameterError(msg)
        return [each for match in matches for each in _slides_of(match)]
    return [path]


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the slides in a folder and those in it, but for what a run has written."""
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in sorted(folders) if name[0] != "."]
        if CONFIG_FILE in files:
            folders.clear()
            continue
        for name in sorted(files):
            if name[0] != "." and _named_as_slide(name):
                yield Path(root, name)


def _each_series_once(
    files: Iterable[str], series: Iterable[bytes | None]
) -> Iterator[str]:
    """Yield files, but of those of a DICOM series in a folder only the first."""
    first: dict[tuple[str, bytes], str] = {}
    for file, each in zip(files, series, strict=True):
        folder = os.path.dirname(file)  # noqa: PTH120 - of an address, too
        if each is None or first.setdefault((folder, each), file) == file:
            yield file
