"""Rows of a dataset of an HDF5 file, written in place by many processes."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dplabtools._typing import IntArray, Picture
from dplabtools.atomic import output_error
from dplabtools.optional import optional
from dplabtools.output.containers.write_back_file import HeldBack
from dplabtools.stages import stage

__all__ = ["Hdf5Rows", "changed", "close_ranks", "h5py_library", "lay_out"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Hdf5Rows:
    """Places of a chunk's patches in a file, whose layout is settled.

    Attributes
    ----------
    slide : str
        Name of the slide, for messages.
    path : str
        The file.
    offsets : ndarray of int64, shape (m,)
        Where each patch begins, in bytes; its resolutions lie one behind the other.
    """

    slide: str
    path: str
    offsets: IntArray

    @property
    def takes_jpeg(self) -> bool:
        """False: pixels are stored as they are."""
        return False

    def canvas(self, items: IntArray, sizes: IntArray, /, *, views: int) -> None:
        """Return None: writing to mapped memory ends in a signal when the disk is full."""

    def put(self, item: int, pictures: Sequence[Picture], /) -> None:
        """Write a patch."""
        with stage("write"):
            offset = int(self.offsets[item])
            try:
                descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
                try:
                    for picture in pictures:
                        data = np.asarray(picture).reshape(-1)
                        _write_at(descriptor, data.data, offset)
                        offset += len(data)
                finally:
                    os.close(descriptor)
            except OSError as error:
                raise output_error(error, self.path, slide=self.slide) from error

    def flush(self) -> None:
        """Do nothing: each patch is written at once."""

    def commit(self) -> None:
        """Do nothing: the file is completed as a whole."""


def lay_out(path: Path, shape: tuple[int, ...]) -> IntArray:
    """Create a file with a dataset ``imgs`` whose chunks, one for each row, have a place.

    Parameters
    ----------
    path : Path
        The file.
    shape : tuple of int
        Shape of the dataset; rows may be taken away and added later.

    Returns
    -------
    ndarray of int64, shape (rows,)
        Where each row begins in the file, in bytes.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    h5py = h5py_library()
    offsets = np.zeros(shape[0], dtype=np.int64)

    def note(info: Any) -> None:  # noqa: ANN401 - a class of h5py
        offsets[info.chunk_offset[0]] = info.byte_offset

    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((1, *shape[1:]))
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)  # a file does not tell when it was made
    space = h5py.h5s.create_simple(shape, (h5py.h5s.UNLIMITED, *shape[1:]))
    with changed(path) as file:
        dataset = h5py.h5d.create(file.id, b"imgs", h5py.h5t.STD_U8LE, space, properties)
        if shape[0]:
            dataset.chunk_iter(note)
    return offsets


@contextmanager
def changed(path: Path) -> Generator[Any]:
    """Open an HDF5 file, or make one, and change it at the end, or fail.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    h5py.File
        Whose changes stay in memory until then: of a full disk HDF5 would die.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    try:
        mode = "r+" if path.exists() else "w"
        with closing(HeldBack(path)) as held:
            with h5py_library().File(held, mode) as file:
                yield file
            held.apply()
    except OSError as error:
        raise output_error(error, path) from error


def close_ranks(path: Path, offsets: IntArray, rows: IntArray, *, length: int) -> None:
    """Move rows to the front, in the place of others that are not kept.

    Parameters
    ----------
    path : Path
        The file.
    offsets : ndarray of int64, shape (n,)
        Where each row begins, in bytes.
    rows : ndarray of int64, shape (m,)
        Rows that are kept, in order.
    length : int
        Bytes of each.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    try:
        with path.open("r+b", buffering=0) as file:
            for index, row in enumerate(rows.tolist()):
                if index != row:
                    data = os.pread(file.fileno(), length, int(offsets[row]))
                    _write_at(file.fileno(), data, int(offsets[index]))
    except OSError as error:
        raise output_error(error, path) from error


def _write_at(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written


def h5py_library() -> Any:  # noqa: ANN401 - a module without types
    """Return the library, or raise `MissingLibraryError`."""
    return optional("h5py", what="HDF5 files", extra="hdf5")
