"""Images in arrays of pixels: HDF5 and Zarr.

Files are opened for each patch, and read where it is: libraries that keep them open cannot
be forked or pickled.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from dplabtools._typing import IntArray, Pixels
from dplabtools.optional import optional
from dplabtools.output.containers.zarr_shards import chunks_of

__all__ = ["Hdf5Images", "ZarrImages"]


def _read_at(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        data = os.pread(file.fileno(), length, offset)
    if len(data) < length:
        msg = f"{path} ends too early"
        raise ValueError(msg)
    return data


@dataclass(slots=True, eq=False, kw_only=True)
class Hdf5Images:
    """Rows of the dataset ``imgs`` of a file.

    Attributes
    ----------
    path : Path
        The file.
    rows : ndarray of int64, shape (n,)
        Row of each patch.
    views : int
        Images of each patch.
    """

    path: Path
    rows: IntArray
    views: int
    _offsets: IntArray | None = None
    _shape: tuple[int, ...] = ()

    def read(self, index: int, /) -> Pixels:
        """Return the pixels of an image."""
        if self._offsets is None:
            self._offsets = self._find()
        patch, view = divmod(index, self.views)
        height, width = self._shape
        length = height * width * 3
        offset = int(self._offsets[int(self.rows[patch])]) + view * length
        data = bytearray(_read_at(self.path, offset, length))
        return np.frombuffer(data, dtype=np.uint8).reshape(height, width, 3)

    def _find(self) -> IntArray:
        """Return where in the file each row is, as its chunks are not compressed."""
        h5py = optional("h5py", what="HDF5 files", extra="hdf5")
        with h5py.File(self.path, "r") as file:
            images = file["imgs"]
            if images.chunks != (1, *images.shape[1:]) or _filters(images):
                msg = f"{self.path} was not written by dplabtools: its chunks are others"
                raise ValueError(msg)
            offsets = np.zeros(len(images), dtype=np.int64)

            def note(info: Any) -> None:  # noqa: ANN401 - a class of h5py
                offsets[info.chunk_offset[0]] = info.byte_offset

            images.id.chunk_iter(note)
            self._shape = images.shape[-3:-1]
        return offsets


def _filters(dataset: Any) -> int:  # noqa: ANN401 - a class of h5py
    count: int = dataset.id.get_create_plist().get_nfilters()
    return count


@dataclass(slots=True, eq=False, kw_only=True)
class ZarrImages:
    """Rows of the array ``imgs`` of a Zarr group.

    Attributes
    ----------
    path : Path
        The group.
    rows : ndarray of int64, shape (n,)
        Row of each patch.
    views : int
        Images of each patch.
    """

    path: Path
    rows: IntArray
    views: int
    _shape: tuple[int, ...] = ()
    _capacity: int = 0
    _indexes: dict[int, IntArray] = field(default_factory=dict)

    def read(self, index: int, /) -> Pixels:
        """Return the pixels of an image."""
        if not self._shape:
            described = json.loads((self.path / "imgs" / "zarr.json").read_bytes())
            self._shape = tuple(described["shape"][1:])
            self._capacity = described["chunk_grid"]["configuration"]["chunk_shape"][0]
        patch, view = divmod(index, self.views)
        shard, chunk = divmod(int(self.rows[patch]), self._capacity)
        name = ".".join(["c", str(shard), *"0" * len(self._shape)])
        path = self.path / "imgs" / name
        if shard not in self._indexes:
            self._indexes[shard] = chunks_of(path, self._capacity)
        offset, length = self._indexes[shard][chunk].tolist()
        raw = bytearray(imagecodecs.zstd_decode(_read_at(path, offset, length)))
        pixels = np.frombuffer(raw, dtype=np.uint8).reshape(self._shape)
        return pixels if self.views == 1 else pixels[view]
