"""Which reader reads a file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from dplabtools._typing import StrPath
from dplabtools.errors import UnsupportedSlideError
from dplabtools.readers.base import Colour, SlideReader, slide_file
from dplabtools.settings import Settings

__all__ = ["open_reader"]

logger = logging.getLogger("dplabtools")

_Opener: TypeAlias = Callable[[str, Colour], SlideReader]

_PREFERENCES: Final[Mapping[str, tuple[str, ...]]] = {
    "auto": ("native", "openslide", "tiffslide", "pillow"),
    "native": ("native",),
    "openslide": ("openslide",),
    "tiffslide": ("tiffslide",),
    "tiffopenslide": ("tiffslide", "openslide"),
    "pillow": ("pillow",),
}
_TIFF_SIGNATURES: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SLIDES_ONLY: Final = frozenset(
    {
        *(".svs", ".svslide", ".ndpi", ".scn", ".bif", ".mrxs", ".vms", ".vmu"),
        *(".vmic", ".czi", ".dcm", ".zvi", ".isyntax", ".avs", ".vsi"),
    }
)
"""Where Pillow, if it opens the file at all, sees an overview and not the slide."""


def open_reader(path: StrPath, *, settings: Settings) -> SlideReader:
    """Open a slide with the library that the settings name.

    Parameters
    ----------
    path : str or path-like
        The slide file.
    settings : Settings
        ``slide_library``: with ``"auto"`` the native reader if the file is a tiled TIFF
        that it understands, else OpenSlide, else tiffslide if it is installed and the
        file is a TIFF, else Pillow, if the file is an ordinary picture; with
        ``"tiffopenslide"`` tiffslide, else OpenSlide. ``background``.

    Returns
    -------
    SlideReader
        Open; close it, or use it in a ``with`` statement.

    Raises
    ------
    MissingSlideError
        If there is no such file.
    UnsupportedSlideError
        If none of the libraries opens it; the message says what each has against it.
    """
    file = slide_file(path)
    name = Path(file).name
    refusals: list[str] = []
    cause: UnsupportedSlideError | None = None
    for library in _PREFERENCES[settings.slide_library]:
        try:
            _check_worth_trying(library, file, asked=settings.slide_library)
            reader = _OPENERS[library](file, settings.background)
        except UnsupportedSlideError as error:
            refusals.append(f"{library}: {str(error).removeprefix(f'{name}: ')}")
            cause = error
        else:
            if refusals:
                logger.info("%s: read by %s (%s)", name, library, " / ".join(refusals))
            return reader
    msg = f"no reader can open it ({' / '.join(refusals)})"
    raise UnsupportedSlideError(msg, slide=name) from cause


def _check_worth_trying(library: str, file: str, *, asked: str) -> None:
    """Raise if a library need not be asked, or would only see part of the file."""
    if asked != "auto":
        return
    if library == "pillow" and (suffix := Path(file).suffix.lower()) in _SLIDES_ONLY:
        msg = f"not tried, as it shows no more than an overview of {suffix} files"
        raise UnsupportedSlideError(msg)
    if library in {"native", "tiffslide"}:
        with Path(file).open("rb") as stream:
            if stream.read(4) not in _TIFF_SIGNATURES:
                msg = "not tried, as this is no TIFF file"
                raise UnsupportedSlideError(msg)


def _open_native(file: str, background: Colour) -> SlideReader:
    from dplabtools.readers.native_tiff.reader import NativeTiffReader

    return NativeTiffReader(file, background=background)


def _open_openslide(file: str, background: Colour) -> SlideReader:
    from dplabtools.readers.openslide import OpenSlideReader

    return OpenSlideReader(file, background=background)


def _open_tiffslide(file: str, background: Colour) -> SlideReader:
    try:
        from dplabtools.readers.tiffslide import TiffSlideReader
    except ImportError as error:
        msg = "not installed; pip install 'dplabtools[tiffslide]'"
        raise UnsupportedSlideError(msg) from error
    return TiffSlideReader(file, background=background)


def _open_pillow(file: str, background: Colour) -> SlideReader:
    from dplabtools.readers.pillow import PillowReader

    return PillowReader(file, background=background)


_OPENERS: Final[Mapping[str, _Opener]] = {
    "native": _open_native,
    "openslide": _open_openslide,
    "tiffslide": _open_tiffslide,
    "pillow": _open_pillow,
}
