"""Zarr groups with the pixels of a slide's patches."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dplabtools._typing import BoolArray, IntArray
from dplabtools.atomic import output_error
from dplabtools.errors import OutputError
from dplabtools.output.containers.base import (
    Contained,
    Items,
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

    Shards are written to a folder of parts; the group gets its name when all of it is
    whole, and is not changed after that.

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

    @property
    def _parts(self) -> Path:
        """Where the group is until it is whole; it stays when a run is killed."""
        return self.slide.folder / f".dplabtools.{self.slide.manifest_id}.zarr"

    def prepare(self, found: SlideRecord | None) -> None:
        """Make the folder of shards; those of an earlier run may stay.

        A group that got its name before the record said so goes back to where its parts
        were, unless it was written again without gaps: then its parts are there still.
        """
        width, height = one_size(self.slide.plan, container="zarr")
        views = len(self.slide.plan.views)
        self._shape = (height, width, 3) if views == 1 else (views, height, width, 3)
        try:
            if found is None or found.missing:
                self.discard()
            elif self.reserved.exists():
                if self._parts.exists() or not self._is_without_gaps():
                    shutil.rmtree(self.reserved)
                else:
                    self.reserved.rename(self._parts)
            (self._parts / "imgs").mkdir(parents=True, exist_ok=True)
            for other in self._parts.iterdir():
                if other.name != "imgs":
                    shutil.rmtree(other) if other.is_dir() else other.unlink()
        except OSError as error:
            raise self._failed(error) from error

    def _is_without_gaps(self) -> bool:
        """Tell whether the group has all rows: each shard has those of its number."""
        try:
            described = json.loads((self.reserved / "imgs" / "zarr.json").read_bytes())
            return bool(described["shape"][0] == len(self.slide.plan))
        except (OSError, ValueError, LookupError, TypeError):
            return False

    def place(self, rows: IntArray) -> Shard | None:
        """Return the next shard; None if it is there, with all its patches."""
        number = len(self._chunks)
        self._chunks.append(rows)
        path = self._path(number)
        try:
            if len(chunks_of(path, self.slide.chunk_rows)) == len(rows):
                return None  # which they are, its number says
        except (OSError, ValueError):  # it is missing, or damaged
            pass
        return self._shard(path, name=f"{self.slide.name}-{number}")

    def _shard(self, path: Path, *, name: str) -> Shard:
        return Shard(
            slide=self.slide.plan.table.slide_name,
            aside=str(self.slide.staging / name),
            path=str(path),
            format=ZarrShardFormat(capacity=self.slide.chunk_rows, level=self.level),
        )

    def _path(self, number: int, folder: Path | None = None) -> Path:
        name = ".".join(["c", str(number), *"0" * (len(self._shape))])
        return (folder or self._parts) / "imgs" / name

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
            gaps = any(len(part) < self.slide.chunk_rows for part in kept[:-1])
            whole = self._without_gaps(kept) if gaps else self._parts
            self._describe(rows, whole)
            whole.rename(self.reserved)
        except OSError as error:
            raise self._failed(error) from error
        views = len(self.slide.plan.views)
        return {
            row: (self.reserved.name, (str(index),) * views)
            for index, row in enumerate(rows.tolist())
        }

    def _without_gaps(self, kept: list[IntArray]) -> Path:
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
        return aside

    def _stored(self, kept: list[IntArray]) -> Iterator[bytes]:
        """Yield what is stored of each patch that was delivered."""
        for number, rows in enumerate(kept):
            if len(rows):
                path = self._path(number)
                with path.open("rb") as file:
                    for offset, length in chunks_of(path, self.slide.chunk_rows).tolist():
                        file.seek(offset)
                        yield file.read(length)

    def _describe(self, rows: IntArray, whole: Path) -> None:
        """Write all but the pixels; what says that it is a group comes last."""
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
            (aside / name).rename(whole / name)
        for last in ("imgs/zarr.json", "zarr.json"):
            (aside / last).replace(whole / last)

    def _failed(self, error: OSError) -> OutputError:
        return output_error(error, self.reserved, slide=self.slide.plan.table.slide_name)

    def tidy(self) -> None:
        """Remove the parts, which were written again without gaps."""
        shutil.rmtree(self._parts, ignore_errors=True)

    def discard(self) -> None:
        """Remove the folder, and its parts."""
        for folder in (self.reserved, self._parts):
            shutil.rmtree(folder, ignore_errors=True)
