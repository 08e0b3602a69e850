"""Which index a slide file takes, by the family of files that it belongs to."""

from __future__ import annotations

from pathlib import Path

from dplabtools._typing import StrPath
from dplabtools.errors import AmbiguousSlideError
from dplabtools.readers.base import slide_file
from dplabtools.readers.native_tiff.index import read_tiff_index
from dplabtools.readers.native_tiff.levels import TiffIndex, explained
from dplabtools.readers.stamps import DICOM_SIGN, series_files
from dplabtools.sources.base import ByteSource, SourceState
from dplabtools.sources.joined import joined
from dplabtools.sources.opening import open_source
from dplabtools.sources.urls import is_url

__all__ = ["open_indexed"]


def open_indexed(
    path: StrPath, index: TiffIndex | None = None
) -> tuple[ByteSource, TiffIndex]:
    """Open a slide for reading its bytes, and find its tiles; none is decoded.

    Parameters
    ----------
    path : str or path-like
        The slide file.
    index : TiffIndex, optional
        What was found before: nothing is looked for then.

    Returns
    -------
    source : ByteSource
        The bytes of the slide, in as many files as it has.
    index : TiffIndex
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
        folder = Path(path).parent
        return joined([_opened(folder / name) for name in index.names]), index
    source = _opened(path, known=None if index is None else index.file)
    if index is not None:
        return source, index
    sources = [source]
    try:
        if not _is_dicom(source):
            return source, explained(lambda: read_tiff_index(source), slide=source.name)
        from dplabtools.readers.native_tiff.dicom.index import read_dicom_index

        sources += _others_of_series(path, source)
        return explained(lambda: read_dicom_index(sources), slide=source.name)
    except BaseException:
        for each in sources:
            each.close()  # the error's traceback holds them
        raise


def _others_of_series(path: StrPath, first: ByteSource) -> list[ByteSource]:
    if is_url(path):
        msg = "a slide of DICOM has several files, which are not looked for elsewhere"
        raise AmbiguousSlideError(msg, slide=first.name, remedy="copy them here")
    return [_opened(file) for file in series_files(Path(path))]


def _opened(path: StrPath, *, known: SourceState | None = None) -> ByteSource:
    return open_source(slide_file(path), known=known)


def _is_dicom(source: ByteSource) -> bool:
    place, sign = DICOM_SIGN
    end = place + len(sign)
    return source.state.nbytes >= end and source.read(end, 0)[place:] == sign
