"""Parquet files as Hugging Face ``datasets`` reads them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from dplabtools._typing import IntArray, Pixels
from dplabtools.optional import optional
from dplabtools.output.codecs.decoding import decode_image, decode_mask
from dplabtools.output.containers.base import SHARD_SIZE, ContainerFormat
from dplabtools.output.containers.shard import ImageShards, ShardImages
from dplabtools.output.patch_columns import Value, recorded_slide, view_column
from dplabtools.output.stored_slide import ImageAddresses, StoredSlide
from dplabtools.records.quality import QUALITY_COLUMNS

__all__ = ["PARQUET"]

_pyarrow = partial(optional, what="Parquet files", extra="parquet")
_parquet = partial(_pyarrow, "pyarrow.parquet")
_IMAGE, _MASK = "image", "label_mask"
_KINDS = {  # all others are text
    "x": "int64",
    "y": "int64",
    "width": "int32",
    "height": "int32",
    "mpp": "float64",
    "coverage": "float32",
    **dict.fromkeys(QUALITY_COLUMNS, "float32"),
}


@dataclass(slots=True, eq=False)
class ParquetFormat:
    """A Parquet file with a row for each patch.

    Attributes
    ----------
    images : ShardImages
        The patches; the names of their images become ``path``.
    """

    images: ShardImages
    _out: io.BytesIO = field(default_factory=io.BytesIO)
    _writer: Any = None

    def block(self, encoded: Mapping[int, list[bytes]], /) -> bytes:
        """Return a row group of these items."""
        records = self.images.columns.records(list(encoded))
        rows = [
            self._row(item, images, record)
            for (item, images), record in zip(encoded.items(), records, strict=True)
        ]
        plain = [name for name in rows[0] if not _is_image(name)]
        schema = _schema(rows[0])
        if self._writer is None:
            # Images are compressed already, and nobody searches for one by its bytes.
            self._writer = _parquet().ParquetWriter(
                self._out,
                schema,
                compression=dict.fromkeys(plain, "zstd"),
                use_dictionary=plain,
                write_statistics=plain,
                write_page_checksum=True,
            )
        self._writer.write_table(_pyarrow("pyarrow").Table.from_pylist(rows, schema=schema))
        return self._drain()

    def _row(
        self, item: int, images: Sequence[bytes], record: Mapping[str, Value]
    ) -> dict[str, object]:
        row: dict[str, object] = {}
        names = self.images.names(item)
        for view, (image, name) in enumerate(zip(images, names, strict=False)):
            row[view_column(_IMAGE, view, len(names))] = {"bytes": image, "path": name}
        for view, mask in enumerate(images[len(names) :]):
            name = f"{names[view].rpartition('.')[0]}.{_MASK}.png"
            row[view_column(_MASK, view, len(names))] = {"bytes": mask, "path": name}
        for name, value in record.items():
            row[name] = value if value is None or _kind(name) != "string" else str(value)
        return row

    def trailer(self) -> bytes:
        """Return the end of the file."""
        self._writer.close()
        return self._drain()

    def _drain(self) -> bytes:
        """Return what was written since the last time; the writer keeps count itself."""
        data = self._out.getvalue()
        self._out.seek(0)
        self._out.truncate()
        return data


def _is_image(name: str) -> bool:
    """Tell whether a column holds images, or label masks."""
    return name.startswith((_IMAGE, _MASK))


def _kind(name: str) -> str:
    """Return the type of a column, whatever the number of its view."""
    return _KINDS.get(name.rstrip("0123456789").rstrip("_"), "string")


def _schema(row: Mapping[str, object]) -> Any:  # noqa: ANN401 - a class of pyarrow
    """Return the columns of a file, as ``datasets`` is told of them, too."""
    arrow = _pyarrow("pyarrow")
    image = arrow.struct({"bytes": arrow.binary(), "path": arrow.string()})
    images = {name for name in row if _is_image(name)}
    features: dict[str, object] = {
        name: {"_type": "Image"}
        if name in images
        else {"dtype": _kind(name), "_type": "Value"}
        for name in row
    }
    # https://huggingface.co/docs/datasets/about_dataset_features
    told = json.dumps({"info": {"features": features}})
    fields = [
        (name, image if name in images else getattr(arrow, _kind(name))()) for name in row
    ]
    return arrow.schema(fields, metadata={"huggingface": told})


def _keys_in(path: Path) -> list[str]:
    """Return the keys of the patches in a file that was written here, in order."""
    with _parquet().ParquetFile(path) as file:
        name = next(name for name in file.schema_arrow.names if name.startswith(_IMAGE))
        column = file.read(columns=[f"{name}.path"]).column(0)
        paths: list[str] = column.combine_chunks().field("path").to_pylist()
    return [each.partition(".")[0] for each in paths]


@dataclass(slots=True, eq=False)
class ParquetImages:
    """Images in rows of Parquet files.

    The row group that was read last is kept: rows that follow each other cost one read.

    Attributes
    ----------
    addresses : ImageAddresses
        Which rows.
    of : str
        Column of images, or of label masks.
    """

    addresses: ImageAddresses
    of: str = _IMAGE
    _starts: dict[Path, IntArray] = field(default_factory=dict)
    _last: tuple[tuple[Path, int, int], Any] | None = None

    def read(self, index: int, /) -> Pixels:
        """Return the pixels of an image."""
        path, row = self.addresses.path(index), self.addresses.row(index)
        if path not in self._starts:
            self._starts[path] = _group_starts(path)
        starts = self._starts[path]
        group = int(np.searchsorted(starts, row, side="right")) - 1
        images = self._group(path, group, index % self.addresses.views)
        data = images[row - int(starts[group])].as_py()
        return decode_mask(data) if self.of == _MASK else decode_image(data)

    def _group(self, path: Path, group: int, view: int) -> Any:  # noqa: ANN401 - of pyarrow
        """Return the images of a row group, encoded."""
        key = (path, group, view)
        if self._last is None or self._last[0] != key:
            column = view_column(self.of, view, self.addresses.views)
            with _parquet().ParquetFile(
                path, memory_map=True, page_checksum_verification=True
            ) as file:
                table = file.read_row_group(group, columns=[f"{column}.bytes"])
            self._last = key, table.column(0).combine_chunks().field("bytes")
        return self._last[1]

    def __reduce__(self) -> tuple[object, ...]:
        """Leave out what was read."""
        return ParquetImages, (self.addresses, self.of)


def _group_starts(path: Path) -> IntArray:
    """Return the first row of each row group of a file."""
    with _parquet().ParquetFile(path) as file:
        groups = range(file.num_row_groups)
        counts = [file.metadata.row_group(group).num_rows for group in groups]
    return np.cumsum([0, *counts])[:-1]


def _open(path: Path) -> StoredSlide:
    """Open a file, as it is written here."""
    with _parquet().ParquetFile(path) as file:
        names: list[str] = file.schema_arrow.names
        views = sum(name.startswith(_IMAGE) for name in names)
        plain = [name for name in names if not _is_image(name)]
        columns = file.read(columns=plain).to_pydict()
    addresses = ImageAddresses.of_rows(path, len(columns["label"]), views=views)
    drawn = any(name.startswith(_MASK) for name in names)
    return recorded_slide(
        columns,
        wsi_file=path.name,
        views=views,
        images=ParquetImages(addresses),
        label_masks=_parquet_masks(addresses) if drawn else None,
    )


_parquet_masks = partial(ParquetImages, of=_MASK)


PARQUET: Final = ContainerFormat(
    name="parquet",
    module="pyarrow.parquet",
    package="pyarrow",
    extra="parquet",
    what="tables and shards of patches in Parquet",
    suffix=".parquet",
    files_of=partial(
        ImageShards,
        suffix="-{:05d}.parquet",
        format_of=ParquetFormat,
        keys_in=_keys_in,
        finds_keys=False,
    ),
    images_of=ParquetImages,
    masks_of=_parquet_masks,
    open=_open,
    holds_images=True,
    options={SHARD_SIZE: 1},
    has_shards=True,
)
