"""Images in files of their own, and in rows of Parquet."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dplabtools._typing import IntArray, Pixels
from dplabtools.optional import optional
from dplabtools.output.codecs.decoding import decode_image

__all__ = ["FileImages", "ParquetImages"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FileImages:
    """Images in files of their own.

    Attributes
    ----------
    folder : Path
        Where they are.
    names : ndarray of bytes, shape (n,)
        Path of each, from there.
    """

    folder: Path
    names: npt.NDArray[np.bytes_]

    def read(self, index: int, /) -> Pixels:
        """Return the pixels of an image."""
        return decode_image((self.folder / self.names[index].decode()).read_bytes())


@dataclass(slots=True, eq=False, kw_only=True)
class ParquetImages:
    """Images in rows of Parquet files.

    The row group that was read last is kept: rows that follow each other cost one read.

    Attributes
    ----------
    folder : Path
        Where the files are.
    files : tuple of str
        The files.
    codes : ndarray of int, shape (n,)
        Index into `files` of each patch.
    rows : ndarray of int64, shape (n,)
        Its row in that file.
    views : int
        Images of each patch.
    """

    folder: Path
    files: tuple[str, ...]
    codes: IntArray
    rows: IntArray
    views: int
    _starts: dict[int, IntArray] = field(default_factory=dict)
    _last: tuple[tuple[int, int, int], Any] | None = None

    def read(self, index: int, /) -> Pixels:
        """Return the pixels of an image."""
        patch, view = divmod(index, self.views)
        code, row = int(self.codes[patch]), int(self.rows[patch])
        starts = self._starts.get(code)
        if starts is None:
            starts = self._starts[code] = self._groups(code)
        group = int(np.searchsorted(starts, row, side="right")) - 1
        images = self._group(code, group, view)
        return decode_image(images[row - int(starts[group])].as_py())

    def _open(self, code: int) -> Any:  # noqa: ANN401 - a class of pyarrow
        parquet = optional("pyarrow.parquet", what="Parquet files", extra="parquet")
        return parquet.ParquetFile(self.folder / self.files[code], memory_map=True)

    def _groups(self, code: int) -> IntArray:
        """Return the first row of each row group of a file."""
        with self._open(code) as file:
            counts = [
                file.metadata.row_group(group).num_rows
                for group in range(file.num_row_groups)
            ]
        return np.cumsum([0, *counts])[:-1]

    def _group(self, code: int, group: int, view: int) -> Any:  # noqa: ANN401 - as above
        """Return the images of a row group, encoded."""
        key = (code, group, view)
        if self._last is None or self._last[0] != key:
            column = "image.bytes" if self.views == 1 else f"image_{view}.bytes"
            with self._open(code) as file:
                table = file.read_row_group(group, columns=[column])
            self._last = key, table.column(0).combine_chunks().field("bytes")
        return self._last[1]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was read."""
        return {
            name: None if name == "_last" else getattr(self, name)
            for name in self.__slots__
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
