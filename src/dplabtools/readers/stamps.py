"""Whether a slide is still the one that was looked at.

A run opens a slide many times, in many processes, over hours. Pixels of a file that was
replaced or written to in the meantime must not be taken for those that were planned.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Final, TypeAlias

from dplabtools.errors import (
    AmbiguousSlideError,
    ChangedSlideError,
    MissingSlideError,
    SlideError,
    SlideReadError,
)
from dplabtools.sources.base import ByteSource, SourceState
from dplabtools.sources.threads import AskingThreads
from dplabtools.sources.urls import is_url

__all__ = [
    "DICOM_SIGN",
    "SlideStamp",
    "dicom_series",
    "files_named_in",
    "is_dicom",
    "remote_dicom_series",
    "remote_series_files",
    "series_files",
]

DICOM_SIGN: Final = (128, b"DICM")
"""What tells a file of DICOM, and where in it (PS3.10, 7.1)."""

_DICOM_SUFFIXES: Final = frozenset({".dcm", ".dicom"})
# https://dicom.nema.org/medical/dicom/current/output/chtml/part10/chapter_7.html
_DICOM_HEAD: Final = 1 << 16  # bytes in which a file of DICOM says to what it belongs
_SIGN_END: Final = DICOM_SIGN[0] + len(DICOM_SIGN[1])
_UNDER_WAY: Final = 32  # objects of a store that are looked into at once
_SERIES: Final = re.compile(rb"\x20\x00\x0e\x00UI(?s:(..))([0-9.]+)")
_NAMED_FILE: Final = re.compile(r"^\s*\w+\s*=\s*(\S.*?)\s*$", re.MULTILINE)

_Listed: TypeAlias = tuple[str, SourceState]


@dataclass(frozen=True, slots=True)
class _FileStamp:
    path: str
    size: int
    mtime_ns: int = 0
    inode: int = 0
    etag: str = ""

    @property
    def name(self) -> str:
        return Path(self.path).name

    @classmethod
    def of(cls, path: str) -> _FileStamp:
        if is_url(path):
            from dplabtools.sources.remote import remote_state

            state = remote_state(path)  # no request while the slide is open
            return cls(path, state.nbytes, etag=state.etag)
        status = os.stat(path)  # noqa: PTH116 - called for every chunk
        return cls(path, status.st_size, status.st_mtime_ns, status.st_ino)

    def elsewhere(self) -> tuple[int, int, str]:
        """Return what a file has on another machine too: no inode, and whole seconds."""
        return self.size, self.mtime_ns // 1_000_000_000, self.etag


@dataclass(frozen=True, slots=True)
class SlideStamp:
    """What tells the files of a slide from later states of theirs, at next to no cost.

    Attributes
    ----------
    machine : str
        Where they were looked at.
    files : tuple
        Path, size, time of the last change and inode of each; of a remote file its
        address, size and ETag.
    """

    machine: str
    files: tuple[_FileStamp, ...]

    @classmethod
    def of(cls, path: str) -> SlideStamp:
        """Look at a slide; files that are not there are left out."""
        files: list[_FileStamp] = []
        if is_url(path):
            return cls(_machine(), (_FileStamp.of(path),))
        for file in _slide_files(Path(path)):
            try:
                files.append(_FileStamp.of(str(file)))
            except OSError:
                continue  # whoever opens the slide will tell
        return cls(_machine(), tuple(files))

    def check(self, *, slide: str) -> None:
        """Raise if a file of the slide is not what it was.

        Parameters
        ----------
        slide : str
            Name of the slide, for the message.

        Raises
        ------
        ChangedSlideError
            If a file has another size, time of change or inode, or is gone. On another
            machine than the stamp was made on, the inode may differ.
        SlideReadError
            If a file cannot be looked at.
        """
        here = self.machine == _machine()
        for before in self.files:
            try:
                now = _FileStamp.of(before.path)
            except (FileNotFoundError, NotADirectoryError) as error:
                msg = f"{before.name} has gone since the run began"
                raise ChangedSlideError(
                    msg, slide=slide, remedy="run again when it is back"
                ) from error
            except SlideError:  # of a remote file: says what is wrong
                raise
            except OSError as error:
                msg = f"{before.name} cannot be looked at any more ({error.strerror})"
                raise SlideReadError(msg, slide=slide) from error
            if now != before and (here or now.elsewhere() != before.elsewhere()):
                msg = (
                    f"{before.name} has changed since the run began ({before.size:,} -> "
                    f"{now.size:,} bytes)"
                )
                raise ChangedSlideError(
                    msg, slide=slide, remedy="run again when nobody writes to it"
                )


@cache
def _machine() -> str:
    return platform.node()


def _slide_files(path: Path) -> Iterator[Path]:
    """Yield the files that a slide is made of, that which names it first."""
    yield path
    suffix = path.suffix.lower()
    if path.is_dir():
        yield from _files_in(path)
    # https://openslide.org/formats/mirax/
    elif suffix == ".mrxs":  # an index; pixels lie in a folder beside it
        yield from _files_in(path.with_suffix(""))
    # https://openslide.org/formats/hamamatsu/
    elif suffix in {".vms", ".vmu"}:  # a list of files
        yield from filter(Path.is_file, files_named_in(path))
    else:  # those of DICOM hold a level each
        yield from series_files(path)


def _files_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def files_named_in(path: Path) -> list[Path]:
    """Return the files that a list of Hamamatsu names (VMS, VMU), and what is none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [path.parent / name for name in dict.fromkeys(_NAMED_FILE.findall(text))]


def series_files(path: Path) -> Iterator[Path]:
    """Yield the other files of a folder that belong to the same series of DICOM."""
    series = _series(path)
    try:
        beside = sorted(path.parent.iterdir()) if series is not None else []
    except OSError:  # it may be entered, and not listed
        return
    for file in beside:
        if file != path and file.is_file() and _series(file) == series:
            yield file


def dicom_series(path: Path) -> bytes | None:
    """Return the series of DICOM that a file belongs to: a slide has one.

    Parameters
    ----------
    path : Path
        A file of any kind, which need not be there.

    Returns
    -------
    bytes or None
        Its SeriesInstanceUID; None if it has none, cannot be read, or is not named as
        files of DICOM are.
    """
    return _series(path) if path.suffix.lower() in _DICOM_SUFFIXES else None


def _series(path: Path) -> bytes | None:
    """Return the series that a file says it belongs to (0020,000E); None if to none."""
    try:
        status = path.stat()
        return _series_of(path, status.st_size, status.st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=1 << 16)
def _series_of(path: Path, _nbytes: int, _mtime_ns: int) -> bytes | None:
    """Look into a file once: all slides of a folder ask for all files in it."""
    with path.open("rb") as file:
        head = file.read(_SIGN_END)
        return _stated_series(head + file.read(_DICOM_HEAD) if _is_dicom(head) else head)


def is_dicom(source: ByteSource) -> bool:
    """Tell whether a file is one of DICOM."""
    return _is_dicom(source.read(min(_SIGN_END, source.state.nbytes), 0))


def _is_dicom(head: bytes) -> bool:
    place, sign = DICOM_SIGN
    return head[place:_SIGN_END] == sign


def _stated_series(head: bytes) -> bytes | None:
    found = _SERIES.search(head) if _is_dicom(head) else None
    return None if found is None else found[2][: int.from_bytes(found[1], "little")]


def remote_dicom_series(listed: Iterable[_Listed]) -> list[bytes | None]:
    """Return what `dicom_series` does, of objects of a store: many are asked at once.

    Parameters
    ----------
    listed : iterable of (str, SourceState)
        Addresses, and what a list of the store says of them.

    Returns
    -------
    list of bytes or None
        For each; None also of what cannot be had: it fails when it is opened.
    """

    def look(each: _Listed) -> bytes | None:
        if Path(each[0]).suffix.lower() not in _DICOM_SUFFIXES:
            return None
        with suppress(SlideError):
            return _remote_series_of(*each)
        return None

    with AskingThreads(_UNDER_WAY, name="dplabtools-list") as threads:
        return list(threads.map(look, listed))


def remote_series_files(url: str) -> list[str]:
    """Return the addresses of what belongs to the same series of DICOM, as `series_files`.

    Parameters
    ----------
    url : str
        Of a file of DICOM.

    Raises
    ------
    AmbiguousSlideError
        If it is on a web server, which cannot be asked what there is beside it.
    MissingSlideError
        If the store does not list it.
    SlideError
        If the store cannot be listed, or something beside it cannot be had.
    """
    if url.startswith("http"):
        msg = "a slide of DICOM has several files, and a web server does not list them"
        raise AmbiguousSlideError(
            msg,
            slide=Path(url).name,
            remedy="copy them to a folder, or name the slide by s3://, gs:// or az:// if "
            "it lies in such a store, which does",
        )
    from dplabtools.sources.stores import StoredObject

    listed = dict(StoredObject.at(url).beside())
    with AskingThreads(_UNDER_WAY, name="dplabtools-list") as threads:
        series = threads.map(_remote_series_of, listed, listed.values())
        stated = dict(sorted(zip(listed, series, strict=True)))
    if url not in stated:
        msg = f"its store does not list {url!r}, and may not list others of its files"
        raise MissingSlideError(msg, slide=Path(url).name, remedy="check the address")
    own = stated.pop(url)
    return [] if own is None else [file for file, each in stated.items() if each == own]


@lru_cache(maxsize=1 << 16)
def _remote_series_of(url: str, state: SourceState) -> bytes | None:
    """Look into an object once, as long as the list says the same of it."""
    from dplabtools.sources.stores import StoredObject

    if state.nbytes < _SIGN_END:
        return None
    return _stated_series(bytes(StoredObject.at(url).get(0, _DICOM_HEAD)[0]))
