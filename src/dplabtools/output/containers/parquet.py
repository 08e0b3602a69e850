"""Parquet files as Hugging Face ``datasets`` reads them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dplabtools._typing import Picture
from dplabtools.optional import optional
from dplabtools.output.codecs.encoder import ImageEncoder, encode_views
from dplabtools.output.patch_columns import PatchColumns

__all__ = ["ParquetFormat", "parquet_keys", "pyarrow"]

_IMAGE = "image"
_KINDS = {  # all others are text
    "x": "int64",
    "y": "int64",
    "width": "int32",
    "height": "int32",
    "mpp": "float64",
    "coverage": "float32",
}


@dataclass(slots=True, eq=False, kw_only=True)
class ParquetFormat:
    """A Parquet file with a row for each patch.

    Attributes
    ----------
    columns : PatchColumns
        The patches.
    keys : sequence of str
        Their names, for the ``path`` of their images.
    image_type : str
        Extension of the images.
    encoders : tuple of ImageEncoder
        Make the images, one for each resolution.
    """

    columns: PatchColumns
    keys: Sequence[str]
    image_type: str
    encoders: tuple[ImageEncoder, ...]
    _out: io.BytesIO = field(default_factory=io.BytesIO)
    _writer: Any = None

    @property
    def takes_jpeg(self) -> bool:
        """Whether stored JPEG streams are taken as they are."""
        return self.encoders[0].takes_jpeg

    def encode(self, pictures: Sequence[Picture], /) -> list[bytes]:
        """Encode the images of a patch."""
        return encode_views(self.encoders, pictures)

    def block(self, encoded: Mapping[int, list[bytes]], /) -> bytes:
        """Return a row group of these items."""
        rows = [self._row(item, images) for item, images in encoded.items()]
        plain = [name for name in rows[0] if not name.startswith(_IMAGE)]
        schema = _schema(rows[0])
        if self._writer is None:
            # Images are compressed already, and nobody searches for one by its bytes.
            self._writer = pyarrow("parquet").ParquetWriter(
                self._out,
                schema,
                compression=dict.fromkeys(plain, "zstd"),
                use_dictionary=plain,
                write_statistics=plain,
            )
        self._writer.write_table(pyarrow().Table.from_pylist(rows, schema=schema))
        return self._drain()

    def _row(self, item: int, images: Sequence[bytes]) -> dict[str, object]:
        row: dict[str, object] = {}
        for view, image in enumerate(images):
            number = "" if len(images) == 1 else f".{view}"
            name = f"{self.keys[item]}{number}.{self.image_type}"
            row[f"{_IMAGE}{number.replace('.', '_')}"] = {"bytes": image, "path": name}
        for name, value in self.columns.record(item).items():
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


def _kind(name: str) -> str:
    """Return the type of a column, whatever the number of its view."""
    return _KINDS.get(name.rstrip("0123456789").rstrip("_"), "string")


def _schema(row: Mapping[str, object]) -> Any:  # noqa: ANN401 - a class of pyarrow
    """Return the columns of a file, as ``datasets`` is told of them, too."""
    arrow = pyarrow()
    image = arrow.struct({"bytes": arrow.binary(), "path": arrow.string()})
    images = {name for name in row if name.startswith(_IMAGE)}
    features: dict[str, object] = {
        name: {"_type": "Image"}
        if name in images
        else {"dtype": _kind(name), "_type": "Value"}
        for name in row
    }
    told = json.dumps({"info": {"features": features}})
    fields = [
        (name, image if name in images else getattr(arrow, _kind(name))()) for name in row
    ]
    return arrow.schema(fields, metadata={"huggingface": told})


def pyarrow(module: str = "lib") -> Any:  # noqa: ANN401 - a module without types
    """Return a module of pyarrow, or raise `MissingLibraryError`."""
    return optional(f"pyarrow.{module}", what="Parquet files", extra="parquet")


def parquet_keys(path: Path) -> list[str]:
    """Return the keys of the patches in a file that was written here, in order."""
    with pyarrow("parquet").ParquetFile(path) as file:
        name = next(name for name in file.schema_arrow.names if name.startswith(_IMAGE))
        column = file.read(columns=[f"{name}.path"]).column(0)
        paths: list[str] = column.combine_chunks().field("path").to_pylist()
    return [each.partition(".")[0] for each in paths]
