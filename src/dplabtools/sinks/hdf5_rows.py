"""Rows of a dataset of an HDF5 file, written in place by many processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dplabtools._typing import IntArray, Picture
from dplabtools.errors import OutputError
from dplabtools.optional import optional
from dplabtools.stages import stage

__all__ = ["Hdf5Rows", "h5py_library", "lay_out"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Hdf5Rows:
    """Places of a chunk's patches in a file, whose layout is settled.

    Attributes
    ----------
    path : str
        The file.
    offsets : ndarray of int64, shape (m,)
        Where each patch begins, in bytes; its resolutions lie one behind the other.
    """

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
                        while len(data):
                            written = os.pwrite(descriptor, data.data, offset)
                            data, offset = data[written:], offset + written
                finally:
                    os.close(descriptor)
            except OSError as error:
                raise _failed(self.path, error) from error

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
    space = h5py.h5s.create_simple(shape, (h5py.h5s.UNLIMITED, *shape[1:]))
    try:
        with h5py.File(path, "w") as file:
            dataset = h5py.h5d.create(
                file.id, b"imgs", h5py.h5t.STD_U8LE, space, properties
            )
            if shape[0]:
                dataset.chunk_iter(note)
    except OSError as error:
        raise _failed(str(path), error) from error
    return offsets


def _failed(path: str, error: OSError) -> OutputError:
    return OutputError(f"{path} cannot be written: {error}")


def h5py_library() -> Any:  # noqa: ANN401 - a module without types
    """Return the library, or raise `MissingLibraryError`."""
    return optional("h5py", what="HDF5 files", extra="hdf5")
