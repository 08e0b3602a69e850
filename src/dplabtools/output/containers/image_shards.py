"""Shards of encoded images: WebDataset and Parquet."""

from __future__ import annotations

from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import Literal

from dplabtools._typing import BoolArray, IntArray
from dplabtools.output.codecs.encoder import ImageEncoder
from dplabtools.output.containers.base import Contained, Items, holds, kept_rows, sizes_of
from dplabtools.output.containers.parquet import ParquetFormat, parquet_keys
from dplabtools.output.containers.shard import Shard
from dplabtools.output.containers.webdataset import TarFormat, tar_keys
from dplabtools.output.patch_columns import PatchColumns
from dplabtools.output.run_folder.folder import remove
from dplabtools.output.run_folder.slide_record import SlideRecord

__all__ = ["ImageShards"]

_NAMES = {"webdataset": "-{:06d}.tar", "parquet": "-{:05d}.parquet"}


@dataclass(slots=True, eq=False, kw_only=True)
class ImageShards:
    """Files ``<slide>_<manifest id>-<number>``, each with the images of many patches.

    Attributes
    ----------
    slide : Contained
        What goes into them.
    kind : {"webdataset", "parquet"}
        What they are.
    encoder : ImageEncoder
        Makes the images.
    """

    slide: Contained
    kind: Literal["webdataset", "parquet"]
    encoder: ImageEncoder
    _keys: list[str] = field(default_factory=list)
    _chunks: list[IntArray] = field(default_factory=list)
    _found: bool = False

    @property
    def reserved(self) -> None:
        """Nothing: the manifest id is new."""

    @property
    def chunk_rows(self) -> int:
        """As many as a shard has."""
        return self.slide.chunk_rows

    def sizes(self) -> list[int]:
        """Return the bytes of each shard."""
        begin = escape(self._file(0).rpartition("-")[0])
        return sizes_of(
            self.slide.folder.glob(f"{begin}-*{Path(_NAMES[self.kind]).suffix}")
        )

    def prepare(self, found: SlideRecord | None) -> None:
        """Name all patches; the shards of an earlier run may stay."""
        self._keys = self.slide.keys()
        self._found = found is not None

    def place(self, rows: IntArray) -> Shard | None:
        """Return the next shard; None if it is there, with all its patches."""
        name = self._file(len(self._chunks))
        self._chunks.append(rows)
        path = self.slide.folder / name
        stored = tar_keys if self.kind == "webdataset" else parquet_keys
        keys = [self._keys[row] for row in rows.tolist()]
        if self._found and holds(path, stored, keys):
            return None
        make = TarFormat if self.kind == "webdataset" else ParquetFormat
        return Shard(
            slide=self.slide.plan.table.slide_name,
            aside=str(self.slide.staging / name),
            path=str(path),
            format=make(
                columns=PatchColumns.of(self.slide.plan, rows),
                keys=keys,
                image_type=self.encoder.image_type,
                encoders=self.encoder.for_views(self.slide.plan),
            ),
        )

    def _file(self, number: int) -> str:
        stem = Path(self.slide.plan.table.slide).stem
        return f"{stem}_{self.slide.manifest_id}{_NAMES[self.kind].format(number)}"

    def finish(self, delivered: BoolArray) -> Items:
        """Remove files that nothing was told of; tell what is in the others."""
        items: Items = {}
        for number, rows in enumerate(kept_rows(self._chunks, delivered)):
            name = self._file(number)
            if not len(rows):
                remove(self.slide.folder / name)
            for index, row in enumerate(rows.tolist()):
                items[row] = (name, self._places(row, index))
        return items

    def _places(self, row: int, index: int) -> tuple[str, ...]:
        """Return where the images of a patch are in their file: under keys, or in a row."""
        views = len(self.slide.plan.views)
        if self.kind == "parquet":
            return (str(index),) * views
        key = self._keys[row]
        return (key,) if views == 1 else tuple(f"{key}.{view}" for view in range(views))

    def tidy(self) -> None:
        """Do nothing: shards are where they belong."""

    def discard(self) -> None:
        """Remove all shards."""
        for number in range(len(self._chunks)):
            remove(self.slide.folder / self._file(number))
