"""Which reader reads a file."""

from __future__ import annotations

import logging
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dplabtools._typing import StrPath
from dplabtools.errors import (
    AmbiguousSlideError,
    DamagedSlideError,
    UnsupportedSlideError,
)
from dplabtools.readers.base import SlideIndex, SlideReader, slide_file
from dplabtools.readers.registry import (
    AUTO,
    READERS,
    FileProbe,
    ReaderEntrypoint,
    check_library,
    readers_for,
)
from dplabtools.readers.stamps import is_dicom
from dplabtools.readers.unread import hint_for
from dplabtools.settings import Settings
from dplabtools.sources.opening import open_source
from dplabtools.sources.urls import is_url

__all__ = ["Refusal", "open_explained", "open_reader"]

_OF_SEVERAL_FILES: Final = frozenset({".mrxs", ".vms", ".vmu", ".vsi"})
logger = logging.getLogger("dplabtools")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a library has against a file.

    Attributes
    ----------
    library : str
        Its name in ``config.slide_library``.
    reason : str
        In words, without the name of the slide.
    """

    library: str
    reason: str


def open_reader(
    path: StrPath, *, settings: Settings, index: SlideIndex | None = None
) -> SlideReader:
    """Open a slide with the library that the settings name.

    Parameters
    ----------
    path : str or path-like
        The slide file.
    settings : Settings
        ``slide_library``: with ``"auto"`` OpenSlide, if it knows the file as that of a
        vendor other than Aperio and DICOM. Else the native reader if the file is a tiled
        TIFF or DICOM, and it understands that, else OpenSlide, else tiffslide if it is
        installed and the file is a TIFF, else Pillow, if the file is an ordinary picture;
        readers that other distributions add by their priority, after OpenSlide at the
        earliest. A remote slide that the native reader does not understand is copied
        first, but not if it is DICOM. With
        ``"tiffopenslide"`` tiffslide, else OpenSlide. ``background``.
    index : SlideIndex, optional
        What the reader that opened the file with these settings before found out.

    Returns
    -------
    SlideReader
        Open; close it, or use it in a ``with`` statement.

    Raises
    ------
    MissingSlideError
        If there is no such file.
    AmbiguousSlideError, DamagedSlideError
        If it takes a decision to show the file, or it contradicts itself: with ``"auto"``
        no further library is asked then, as it might show something else.
    UnsupportedSlideError
        If none of the libraries opens it; the message says what each has against it.
    """
    if index is not None:
        entry = READERS.get(index.library)
        if entry is not None and entry.reopen is not None:
            return entry.reopen(slide_file(path), settings, index)
    reader, refusals = open_explained(path, settings=settings)
    if refusals:
        reasons = " / ".join(f"{each.library}: {each.reason}" for each in refusals)
        name = Path(path).name
        logger.info("%s: read by %s (%s)", name, reader.library, reasons)
    return reader


def open_explained(
    path: StrPath, *, settings: Settings
) -> tuple[SlideReader, tuple[Refusal, ...]]:
    """Open a slide as `open_reader` does, and tell why no other library has it.

    Parameters
    ----------
    path : str or path-like
        The slide file.
    settings : Settings
        As for `open_reader`.

    Returns
    -------
    reader : SlideReader
        Open.
    refusals : tuple of Refusal
        Of those that were asked before.

    Raises
    ------
    MissingSlideError, UnsupportedSlideError
        As `open_reader`.
    """
    check_library(settings.slide_library)
    file = slide_file(path)
    if is_url(file):
        return _opened_remotely(file, settings=settings)
    name = Path(file).name
    refusals: list[Refusal] = []
    cause: UnsupportedSlideError | None = None
    probe = FileProbe(file) if settings.slide_library == AUTO else None
    for entry in readers_for(settings.slide_library):
        try:
            return _opened(entry, file, settings=settings, probe=probe), tuple(refusals)
        except (AmbiguousSlideError, DamagedSlideError):
            raise
        except UnsupportedSlideError as error:
            refusals.append(Refusal(library=entry.name, reason=error.problem))
            cause = error
    reasons = " / ".join(f"{each.library}: {each.reason}" for each in refusals)
    hint = hint_for(file)
    msg = "no reader can open it" + (f": {hint.reason}" if hint.reason else "")
    remedy = hint.remedy
    if not remedy and cause is not None and settings.slide_library != AUTO:
        remedy = cause.remedy
    raise UnsupportedSlideError(msg, slide=name, details=reasons, remedy=remedy) from cause


def _opened_remotely(
    url: str, *, settings: Settings
) -> tuple[SlideReader, tuple[Refusal, ...]]:
    """Open a remote slide: natively, by ranges, else a whole copy of it.

    Raises
    ------
    SlideError
        As `open_explained`; if the file cannot be had, or a copy would not do.
    """
    name = Path(url).name
    if Path(url).suffix.lower() in _OF_SEVERAL_FILES:
        msg = "a slide of this format has several files, and is not read from elsewhere"
        raise UnsupportedSlideError(msg, slide=name, remedy="copy its files here")
    file = open_source(url)
    native = READERS.own["native"]
    reason = ""
    if settings.slide_library in {AUTO, native.name}:
        try:
            return native.open(url, settings), ()
        except (AmbiguousSlideError, DamagedSlideError):
            raise
        except UnsupportedSlideError as error:  # a copy will tell why
            if settings.slide_library == native.name:
                raise
            reason = error.message
    if is_dicom(file):  # a copy would be one of several files
        msg = "a DICOM slide that is not read natively is not read from elsewhere"
        raise UnsupportedSlideError(
            msg, slide=name, details=reason, remedy="copy its files here"
        )
    from dplabtools.sources.staging import staged_copy

    copy = staged_copy(url)
    try:
        reader, refusals = open_explained(copy.path, settings=settings)
    except BaseException:
        copy.release()
        raise
    weakref.finalize(reader, copy.release)
    return reader, refusals


def _opened(
    entry: ReaderEntrypoint, file: str, *, settings: Settings, probe: FileProbe | None
) -> SlideReader:
    """Open a file with a reader, if it may be right for it.

    Raises
    ------
    UnsupportedSlideError
        If it need not be tried, cannot open the file, or is not installed.
    """
    unsuited = "" if probe is None else entry.unsuited(probe)
    if unsuited:
        msg = f"not tried, {unsuited}"
        raise UnsupportedSlideError(msg)
    try:
        return entry.open(file, settings)
    except ImportError as error:
        msg = "not installed"
        raise UnsupportedSlideError(msg, details=entry.install) from error
