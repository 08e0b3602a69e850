"""Which reader reads a file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from dplabtools._typing import StrPath
from dplabtools.errors import (
    AmbiguousSlideError,
    DamagedSlideError,
    UnsupportedSlideError,
)
from dplabtools.readers.base import SlideIndex, SlideReader, slide_file
from dplabtools.settings import Settings

__all__ = ["Refusal", "open_explained", "open_reader"]

logger = logging.getLogger("dplabtools")

_Opener: TypeAlias = Callable[[str, Settings], SlideReader]

_PREFERENCES: Final[Mapping[str, tuple[str, ...]]] = {
    "auto": ("native", "openslide", "tiffslide", "pillow"),
    "native": ("native",),
    "openslide": ("openslide",),
    "tiffslide": ("tiffslide",),
    "tiffopenslide": ("tiffslide", "openslide"),
    "pillow": ("pillow",),
}
_BEFORE_NATIVE: Final = frozenset({"aperio", "generic-tiff"})
"""Kinds of files by OpenSlide that the native reader knows as well as OpenSlide does."""
_TIFF_SIGNATURES: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SLIDES_ONLY: Final = frozenset(
    {
        *(".svs", ".svslide", ".ndpi", ".scn", ".bif", ".mrxs", ".vms", ".vmu"),
        *(".vmic", ".czi", ".dcm", ".zvi", ".isyntax", ".avs", ".vsi"),
    }
)
"""Where Pillow, if it opens the file at all, sees an overview and not the slide."""
_OVERVIEWS: Final = frozenset({".vsi"})
"""Where the file itself is an overview, and the slide lies in a folder beside it."""


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
        vendor other than Aperio. Else the native reader if the file is a tiled TIFF that
        it understands, else OpenSlide, else tiffslide if it is installed and the file is
        a TIFF, else Pillow, if the file is an ordinary picture; with ``"tiffopenslide"``
        tiffslide, else OpenSlide. ``background``.
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
        return _INDEXED[index.library](slide_file(path), settings, index)
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
    file = slide_file(path)
    name = Path(file).name
    refusals: list[Refusal] = []
    cause: UnsupportedSlideError | None = None
    asked = settings.slide_library
    vendor = _vendor(file) if asked == "auto" else None
    for library in _PREFERENCES[asked]:
        try:
            if asked == "auto":
                _check_worth_trying(library, file, vendor=vendor)
            return _OPENERS[library](file, settings), tuple(refusals)
        except (AmbiguousSlideError, DamagedSlideError):
            raise
        except UnsupportedSlideError as error:
            reason = str(error).removeprefix(f"{name}: ")
            refusals.append(Refusal(library=library, reason=reason))
            cause = error
    reasons = " / ".join(f"{each.library}: {each.reason}" for each in refusals)
    msg = f"no reader can open it ({reasons})"
    raise UnsupportedSlideError(msg, slide=name) from cause


def _vendor(file: str) -> str | None:
    """Return the vendor that OpenSlide takes a file for; it looks at a few bytes only."""
    from openslide import OpenSlide

    return OpenSlide.detect_format(file)


def _check_worth_trying(library: str, file: str, *, vendor: str | None) -> None:
    """Raise if a library need not be asked, or would only see part of the file.

    Raises
    ------
    UnsupportedSlideError
        If so.
    """
    suffix = Path(file).suffix.lower()
    if library != "openslide" and vendor not in {*_BEFORE_NATIVE, None}:
        msg = f"not tried, as OpenSlide knows {vendor} files by more than their tags"
        raise UnsupportedSlideError(msg)
    if (library == "pillow" and suffix in _SLIDES_ONLY) or suffix in _OVERVIEWS:
        msg = f"not tried, as it shows no more than an overview of {suffix} files"
        raise UnsupportedSlideError(msg)
    if library in {"native", "tiffslide"}:
        with Path(file).open("rb") as stream:
            if stream.read(4) not in _TIFF_SIGNATURES:
                msg = "not tried, as this is no TIFF file"
                raise UnsupportedSlideError(msg)


def _open_native(
    file: str, settings: Settings, index: SlideIndex | None = None
) -> SlideReader:
    from dplabtools.readers.native_tiff.index import TiffIndex
    from dplabtools.readers.native_tiff.reader import NativeTiffReader

    known = index if isinstance(index, TiffIndex) else None
    return NativeTiffReader(file, background=settings.outside, index=known)


def _open_openslide(file: str, settings: Settings) -> SlideReader:
    from dplabtools.readers.openslide import OpenSlideReader

    return OpenSlideReader(
        file, background=settings.outside, gaps_as_stated=settings.background is None
    )


def _open_tiffslide(file: str, settings: Settings) -> SlideReader:
    try:
        from dplabtools.readers.tiffslide import TiffSlideReader
    except ImportError as error:
        msg = "not installed; pip install 'dplabtools-next[tiffslide]'"
        raise UnsupportedSlideError(msg) from error
    return TiffSlideReader(file, background=settings.outside)


def _open_pillow(file: str, settings: Settings) -> SlideReader:
    from dplabtools.readers.pillow import PillowReader

    return PillowReader(file, background=settings.outside)


_OPENERS: Final[Mapping[str, _Opener]] = {
    "native": _open_native,
    "openslide": _open_openslide,
    "tiffslide": _open_tiffslide,
    "pillow": _open_pillow,
}
_INDEXED: Final[Mapping[str, Callable[[str, Settings, SlideIndex], SlideReader]]] = {
    "native": _open_native,
}
