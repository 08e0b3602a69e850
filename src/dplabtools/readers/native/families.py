"""Which index a slide file takes, by the family of files that it belongs to."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, cast

import tifffile

from dplabtools._typing import StrPath
from dplabtools.errors import AmbiguousSlideError, UnsupportedSlideError
from dplabtools.readers.base import slide_file
from dplabtools.readers.native.directories import Directory, find_directories
from dplabtools.readers.native.levels import NativeIndex, explained
from dplabtools.readers.native.tiff import read_tiff_index
from dplabtools.readers.stamps import is_dicom, remote_series_files, series_files
from dplabtools.sources.base import ByteSource, SourceState
from dplabtools.sources.joined import joined
from dplabtools.sources.opening import open_source
from dplabtools.sources.threads import AskingThreads
from dplabtools.sources.urls import is_url

__all__ = ["ReadIndex", "open_indexed", "read_any_tiff"]

_SET_OF_FILES: Final = ".ndpis"
_OPENING: Final = 16  # files of a store at once


class ReadIndex(Protocol):
    """What knows the TIFF files of a vendor."""

    def __call__(
        self,
        tiff: Any,  # noqa: ANN401 - untyped library
        directories: Sequence[Directory],
        *,
        source: ByteSource,
    ) -> NativeIndex:
        """Find the tiles of a slide; none is decoded.

        Parameters
        ----------
        tiff : tifffile.TiffFile
            The slide file, open.
        directories : sequence of Directory
            All it has.
        source : ByteSource
            Its bytes.

        Returns
        -------
        NativeIndex
            With OpenSlide's levels.

        Raises
        ------
        AmbiguousSlideError
            If it takes a decision to show it as 8-bit RGB, such as which focal plane.
        DamagedSlideError
            If it contradicts itself, or ends too early.
        UnsupportedSlideError
            If there is something in it that is not understood.
        """
        ...


class _Vendor(NamedTuple):
    """A vendor whose TIFF files take knowledge of their own.

    Attributes
    ----------
    name : str
        Whose files they are.
    tag : int or str
        Which tag of the first picture tells.
    sign : str
        What it has in it, in lower case.
    """

    name: str
    tag: int | str
    sign: str


_VENDORS: Final = (
    _Vendor("Hamamatsu", 65420, ""),
    _Vendor("Argos", 65000, "<argos.scan.metadata"),
    _Vendor("Huron", "Make", "huron"),
    _Vendor("Ventana", 700, "iscan"),
    _Vendor("Leica", "ImageDescription", "leica-microsystems.com/scn"),
    _Vendor("Philips", "ImageDescription", "<dataobject"),
    _Vendor("Philips TIFF", "Software", "philips"),
    _Vendor("Trestle", "Software", "medscan"),
)


class _Bounded(io.BufferedReader):
    """A slide file, as a stream of which no more is taken than there is.

    tifffile reads as many bytes as a table says, and takes memory for all of them first.
    """

    def __init__(self, source: ByteSource) -> None:
        super().__init__(cast("io.RawIOBase", source.stream()))
        self._nbytes = source.state.nbytes

    def read(self, size: int | None = -1, /) -> bytes:
        """Return so many bytes, or what there is."""
        if size is not None and size > 0:
            size = min(size, max(self._nbytes - self.tell(), 0))
        return super().read(size)


def open_indexed(
    path: StrPath, index: NativeIndex | None = None
) -> tuple[ByteSource, NativeIndex]:
    """Open a slide for reading its bytes, and find its tiles; none is decoded.

    Parameters
    ----------
    path : str or path-like
        The slide file.
    index : NativeIndex, optional
        What was found before: nothing is looked for then.

    Returns
    -------
    source : ByteSource
        The bytes of the slide, in as many files as it has.
    index : NativeIndex
        Where among them its tiles lie.

    Raises
    ------
    MissingSlideError
        If there is no such file.
    SlideReadError
        If it is remote, and cannot be had.
    AmbiguousSlideError
        If it takes a decision to show it as 8-bit RGB.
    DamagedSlideError
        If it contradicts itself, or ends too early.
    UnsupportedSlideError
        If it is of no family that is known here, or has something in it that is not
        understood.
    """
    if index is not None and index.names:
        folder = os.path.dirname(path)  # noqa: PTH120 - of an address, too
        files = [os.path.join(folder, name) for name in index.names]  # noqa: PTH118
        return joined(list(map(_opened, files, index.file.parts))), index
    source = _opened(path, None if index is None else index.file)
    if index is not None:
        return source, index
    sources = [source]
    try:
        _check_single(source)
        if not is_dicom(source):
            return source, explained(lambda: read_any_tiff(source), slide=source.name)
        from dplabtools.readers.native.dicom.index import read_dicom_index

        sources += _others_of_series(path)
        return explained(lambda: read_dicom_index(sources), slide=source.name)
    except BaseException:
        for each in sources:
            each.close()  # the error's traceback holds them
        raise


def _others_of_series(path: StrPath) -> list[ByteSource]:
    if not is_url(path):
        return [_opened(file) for file in series_files(Path(path))]
    files = remote_series_files(slide_file(path))
    with AskingThreads(_OPENING, name="dplabtools-open") as threads:
        return list(threads.map(_opened, files))


def _opened(path: StrPath, known: SourceState | None = None) -> ByteSource:
    return open_source(slide_file(path), known=known)


def _check_single(source: ByteSource) -> None:
    """Raise if a file is no slide, but names those of several channels.

    Raises
    ------
    AmbiguousSlideError
        If so.
    """
    if source.name.lower().endswith(_SET_OF_FILES):
        msg = "it is a list of slides, one for each channel"
        raise AmbiguousSlideError(
            msg, slide=source.name, remedy="open one of the .ndpi files that it names"
        )


def read_any_tiff(source: ByteSource) -> NativeIndex:
    """Find the tiles of a slide in a TIFF file, by what is known of its vendor.

    Parameters
    ----------
    source : ByteSource
        The slide file.

    Returns
    -------
    NativeIndex
        Where its tiles lie; none is decoded.

    Raises
    ------
    AmbiguousSlideError, DamagedSlideError
        As `open_indexed`.
    UnsupportedSlideError
        If it is no TIFF file, or of a vendor whose files are not read here.
    """
    with _Bounded(source) as stream:
        ndpi = source.name.lower().endswith(".ndpi")
        directories = find_directories(stream, ndpi=ndpi)
        stream.seek(0)
        with tifffile.TiffFile(stream, name=source.name) as tiff:
            read = _read_index_of(tiff.pages[0])
            return read(tiff, directories, source=source)


def _read_index_of(page: Any) -> ReadIndex:  # noqa: ANN401 - untyped library
    """Return what reads the index of a file with this first page.

    Raises
    ------
    UnsupportedSlideError
        If nothing does.
    """
    for vendor in _VENDORS:
        found = page.tags.get(vendor.tag)
        if found is None:
            continue
        value = found.value
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        if vendor.sign in text.lower():
            read = _vendors_own(vendor.name)
            if read is None:
                msg = f"a file of {vendor.name} is not read natively"
                raise UnsupportedSlideError(msg)
            return read
    return read_tiff_index


def _vendors_own(name: str) -> ReadIndex | None:
    """Import what reads the index of files of a vendor; None if that is left to others."""
    match name:
        case "Hamamatsu":
            from dplabtools.readers.native.ndpi import read_index
        case "Argos":
            from dplabtools.readers.native.argos import read_index
        case "Huron":
            from dplabtools.readers.native.huron import read_index
        case "Ventana":
            from dplabtools.readers.native.bif import read_index
        case "Leica":
            from dplabtools.readers.native.scn import read_index
        case "Philips":
            from dplabtools.readers.native.philips import read_index
        case _:
            return None
    return read_index
