"""Zarr groups with the pixels of a slide's patches."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dplabtools._typing import BoolArray, IntArray
from dplabtools.errors import OutputError
from dplabtools.output.containers.base import (
    Contained,
    Items,
    holds,
    kept_rows,
    one_size,
    sizes_of,
)
from dplabtools.output.containers.shard import Shard
from dplabtools.output.containers.zarr_shards import (
    ZarrShardFormat,
    chunks_of,
    zarr_library,
)
from dplabtools.output.patch_columns import PatchColumns
from dplabtools.output.run_folder.slide_record import SlideRecord

__all__ = ["ZarrGroup"]


@dataclass(slots=True, eq=False, kw_only=True)
class ZarrGroup:
    """A folder ``<slide>.zarr``: sharded ``imgs``, and ``coords``, ``label``, ``coverage``.

    Shards get their names when they are whole. The group can be opened when all of it is:
    its metadata are written last.

    Attributes
    ----------
    slide : Contained
        What goes into it.
    level : int
        Of the compression by Zstandard.
    """

    slide: Contained
    level: int
    _shape: tuple[int, ...] = ()
    _chunks: list[IntArray] = field(default_factory=list)

    @property
    def reserved(self) -> Path:
        """The folder."""
        return self.slide.folder / f"{self.slide.name}.zarr"

    @property
    def chunk_rows(self) -> int:
        """As many as a shard has."""
        return self.slide.chunk_rows

    def sizes(self) -> list[int]:
        """Return the bytes of each file."""
        return sizes_of(file for file in self.reserved.rglob("*") if file.is_file())

    def prepare(self, found: SlideRecord | None) -> None:
        """Make the folder of shards; those of an earlier run may stay."""
        width, height = one_size(self.slide.plan, container="zarr")
        views = len(self.slide.plan.views)
        self._shape = (height, width, 3) if views == 1 else (views, height, width, 3)
        if found is not None and found.missing:
            self.discard()  # its shards have closed ranks
        try:
            (self.reserved / "imgs").mkdir(parents=True, exist_ok=True)
            for other in self.reserved.iterdir():
                if other.name != "imgs":
                    shutil.rmtree(other) if other.is_dir() else other.unlink()
        except OSError as error:
            raise self._failed(error) from error

    def place(self, rows: IntArray) -> Shard | None:
        """Return the next shard; None if it is there, with all its patches."""
        number = len(self._chunks)
        self._chunks.append(rows)
        path = self._path(number)
        if holds(path, lambda file: len(chunks_of(file, self.slide.chunk_rows)), rows):
            return None
        return self._shard(path, name=f"{self.slide.name}-{number}")

    def _shard(self, path: Path, *, name: str) -> Shard:
        return Shard(
            aside=str(self.slide.staging / name),
            path=str(path),
            format=ZarrShardFormat(capacity=self.slide.chunk_rows, level=self.level),
        )

    def _path(self, number: int, folder: Path | None = None) -> Path:
        name = ".".join(["c", str(number), *"0" * (len(self._shape))])
        return (folder or self.reserved) / "imgs" / name

    def finish(self, delivered: BoolArray) -> Items:
        """Write all but the pixels.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        kept = kept_rows(self._chunks, delivered)
        rows = np.concatenate([*kept, np.zeros(0, dtype=np.int64)])
        if not len(rows):
            self.discard()
            return {}
        try:
            if any(len(part) < self.slide.chunk_rows for part in kept[:-1]):
                self._close_ranks(kept)
            self._describe(rows)
        except OSError as error:
            raise self._failed(error) from error
        views = len(self.slide.plan.views)
        return {
            row: (self.reserved.name, (str(index),) * views)
            for index, row in enumerate(rows.tolist())
        }

    def _close_ranks(self, kept: list[IntArray]) -> None:
        """Write the shards again, without the gaps that failed patches leave.

        All of them elsewhere: a shard with patches of the next would look whole.
        """
        aside = self.slide.staging / f"{self.slide.name}-again"
        (aside / "imgs").mkdir(parents=True)
        chunks = self._stored(kept)
        number = 0
        while part := list(itertools.islice(chunks, self.slide.chunk_rows)):
            path = self._path(number, aside)
            shard = self._shard(path, name=f"{self.slide.name}-{number}")
            shard.append({item: [chunk] for item, chunk in enumerate(part)})
            shard.commit()
            number += 1
        self.discard()
        aside.rename(self.reserved)

    def _stored(self, kept: list[IntArray]) -> Iterator[bytes]:
        """Yield what is stored of each patch that was delivered."""
        for number, rows in enumerate(kept):
            if len(rows):
                path = self._path(number)
                with path.open("rb") as file:
                    for offset, length in chunks_of(path, self.slide.chunk_rows).tolist():
                        file.seek(offset)
                        yield file.read(length)

    def _describe(self, rows: IntArray) -> None:
        zarr = zarr_library()
        columns = PatchColumns.of(self.slide.plan, rows)
        aside = self.slide.staging / self.reserved.name
        one = len(columns.resolutions) == 1
        group = zarr.create_group(
            aside,
            attributes={
                "slide": columns.slide,
                "labels": list(columns.labels),
                "level_or_mpp": list(columns.resolutions),
                "mpp": list(columns.mpps),
                "columns": dict(columns.own),
            },
        )
        group.create_array(
            "imgs",
            shape=(len(rows), *self._shape),
            chunks=(1, *self._shape),
            shards=(self.slide.chunk_rows, *self._shape),
            dtype="uint8",
            compressors=zarr.codecs.ZstdCodec(level=self.level),
            chunk_key_encoding={"name": "default", "separator": "."},
        )
        data: dict[str, npt.NDArray[Any]] = {
            "coords": columns.origins[:, 0] if one else columns.origins,
            "label": columns.codes,
        }
        if None not in columns.shares:
            data["coverage"] = np.array(columns.shares, dtype=np.float32)
        for name, column in data.items():
            group.create_array(name, data=column, chunks=column.shape)
            (aside / name).rename(self.reserved / name)
        for last in ("imgs/zarr.json", "zarr.json"):
            (aside / last).replace(self.reserved / last)

    def _failed(self, error: OSError) -> OutputError:
        msg = f"{self.reserved} cannot be written: {error}"
        return OutputError(msg, slide=self.slide.plan.table.slide_name)

    def discard(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.reserved, ignore_errors=True)
