"""Images in tar files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dplabtools._typing import IntArray, Pixels
from dplabtools.output.codecs.decoding import decode_image
from dplabtools.output.containers.webdataset import members

__all__ = ["TarImages"]


@dataclass(slots=True, eq=False, kw_only=True)
class TarImages:
    """Images in archives, found by their names.

    Attributes
    ----------
    folder : Path
        Where the archives are.
    files : tuple of str
        The archives.
    codes : ndarray of int, shape (n,)
        Index into `files` of each image.
    keys : ndarray of bytes, shape (n,)
        Name of each image, without its extension.
    offsets, lengths : ndarray of int64, shape (n,)
        Where it is; a length of -1 until its archive has been looked through.
    """

    folder: Path
    files: tuple[str, ...]
    codes: IntArray
    keys: npt.NDArray[np.bytes_]
    offsets: IntArray
    lengths: IntArray

    @classmethod
    def unseen(
        cls,
        folder: Path,
        *,
        files: tuple[str, ...],
        codes: IntArray,
        keys: npt.NDArray[np.bytes_],
    ) -> TarImages:
        """Make it of archives that are looked through when they are needed."""
        return cls(
            folder=folder,
            files=files,
            codes=codes,
            keys=keys,
            offsets=np.zeros(len(keys), dtype=np.int64),
            lengths=np.full(len(keys), -1, dtype=np.int64),
        )

    def read(self, index: int, /) -> Pixels:
        """Return the pixels of an image."""
        path = self.folder / self.files[int(self.codes[index])]
        if self.lengths[index] < 0:
            self._look_through(int(self.codes[index]), path)
        with path.open("rb") as file:
            data = os.pread(
                file.fileno(), int(self.lengths[index]), int(self.offsets[index])
            )
        return decode_image(data)

    def _look_through(self, code: int, path: Path) -> None:
        """Find the images of one archive."""
        found = {
            member.name.rpartition(".")[0]: member
            for member in members(path)
            if not member.name.endswith(".json")
        }
        for index in np.flatnonzero(self.codes == code).tolist():
            member = found.get(self.keys[index].decode())
            if member is None:
                msg = f"{path} has no image {self.keys[index].decode()}"
                raise LookupError(msg)
            self.offsets[index] = member.offset
            self.lengths[index] = member.length
