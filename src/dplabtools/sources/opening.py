"""Opening a slide file, wherever it lies."""

from __future__ import annotations

from dplabtools.sources.base import ByteSource, SourceState
from dplabtools.sources.local import LocalFile
from dplabtools.sources.urls import is_url

__all__ = ["open_source"]


def open_source(path: str, *, known: SourceState | None = None) -> ByteSource:
    """Open a slide file for reading its bytes.

    Parameters
    ----------
    path : str
        A file of this machine that is there, or an address.
    known : SourceState, optional
        What a remote file was when it was looked at: it is not asked for again, and any
        other state of it is an error.

    Raises
    ------
    SlideError
        If a remote file cannot be reached; see `RemoteFile`.
    MissingLibraryError
        If it is remote, and what that takes is not installed.
    """
    if not is_url(path):
        return LocalFile(path)
    from dplabtools.sources.remote import open_remote

    return open_remote(path, known=known)
