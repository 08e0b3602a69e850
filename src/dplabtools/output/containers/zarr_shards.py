"""Sharded Zarr arrays: their files are written by workers, all else by zarr itself."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from dplabtools._typing import IntArray, Picture
from dplabtools.optional import optional

__all__ = ["ZarrShardFormat", "chunks_of", "zarr_library"]

_MISSING = (1 << 64) - 1


@dataclass(slots=True, eq=False, kw_only=True)
class ZarrShardFormat:
    """A shard of the codec ``sharding_indexed``, its index at the end.

    The chunks come first, one for each patch, compressed by Zstandard; then offset and
    length of each, and a checksum (https://zarr-specs.readthedocs.io, version 3).

    Attributes
    ----------
    capacity : int
        Chunks that the index has room for.
    level : int
        Of the compression.
    """

    capacity: int
    level: int
    _lengths: list[int] = field(default_factory=list)

    @property
    def takes_jpeg(self) -> bool:
        """False: pixels are compressed."""
        return False

    def encode(self, pictures: Sequence[Picture], /) -> list[bytes]:
        """Compress the images of a patch together."""
        pixels = b"".join(np.ascontiguousarray(each).data for each in pictures)
        return [bytes(imagecodecs.zstd_encode(pixels, level=self.level))]

    def block(self, encoded: Mapping[int, list[bytes]], /) -> bytes:
        """Return the chunks of these items."""
        chunks = [chunk for (chunk,) in encoded.values()]
        self._lengths += map(len, chunks)
        return b"".join(chunks)

    def trailer(self) -> bytes:
        """Return the index."""
        index = np.full((self.capacity, 2), _MISSING, dtype="<u8")
        count = len(self._lengths)
        ends = np.cumsum(self._lengths, dtype="<u8")
        index[:count, 1] = self._lengths
        index[:count, 0] = ends - index[:count, 1]
        data = index.tobytes()
        return data + _checksum(data)


def chunks_of(path: Path, capacity: int) -> IntArray:
    """Find the chunks of a shard.

    Parameters
    ----------
    path : Path
        The shard.
    capacity : int
        Chunks that its index has room for.

    Returns
    -------
    ndarray of int64, shape (n, 2)
        Offset and length of each chunk that is there: they are the first.

    Raises
    ------
    OSError, ValueError
        If it cannot be read, or its index is not what was written.
    """
    length = 16 * capacity + 4
    with path.open("rb") as file:
        begin = file.seek(-length, os.SEEK_END)
        data = file.read(length)
    index = np.frombuffer(data[:-4], dtype="<u8").reshape(-1, 2)
    present: IntArray = index[index[:, 0] != _MISSING].astype(np.int64)
    if data[-4:] != _checksum(data[:-4]) or present.sum(axis=1).max(initial=0) > begin:
        msg = f"{path} is damaged, or has another number of patches in a shard"
        raise ValueError(msg)
    return present


def _checksum(data: bytes) -> bytes:
    library = optional("google_crc32c", what="Zarr arrays", extra="zarr")
    return struct.pack("<I", library.value(data))


def zarr_library() -> Any:  # noqa: ANN401 - a module without types
    """Return the library, or raise `MissingLibraryError`."""
    return optional("zarr", what="Zarr arrays", extra="zarr")
