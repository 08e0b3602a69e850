"""Zarr groups with the pixels of a slide's patches.

Their shards are written by workers, all else by zarr itself.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import struct
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import imagecodecs
import numpy as np
import numpy.typing as npt

from dplabtools._typing import BoolArray, IntArray, Picture, Pixels
from dplabtools.engine.base import boot
from dplabtools.optional import optional
from dplabtools.output.containers.arrays import (
    LABEL_MASKS,
    ArrayFiles,
    ArrayMasks,
    drawn_masks,
    patch_shape,
    read_at,
    stored_array,
)
from dplabtools.output.containers.base import (
    SHARD_SIZE,
    ContainerFormat,
    Items,
    kept_rows,
    remove_lost,
    sizes_of,
)
from dplabtools.output.containers.shard import Shard
from dplabtools.output.patch_columns import PatchColumns
from dplabtools.output.stored_slide import ImageAddresses, StoredSlide

if TYPE_CHECKING:
    from dplabtools.output.run_folder.history import Checkpoint

__all__ = ["ZARR"]

_library = partial(optional, what="Zarr arrays", extra="zarr")
_LEVEL: Final = "compress_level"
_FASTEST: Final = 1
_MISSING: Final = (1 << 64) - 1


@dataclass(slots=True, eq=False, kw_only=True)
class ZarrGroup(ArrayFiles):
    """A folder ``<slide>.zarr``: sharded ``imgs``, and ``coords``, ``label``, ``coverage``.

    Shards are written to a folder of parts; the group gets its name when all of it is
    whole, and is not changed after that.

    Attributes
    ----------
    level : int
        Of the compression by Zstandard.
    """

    suffix = ".zarr"
    level: int
    _shape: tuple[int, ...] = ()
    _chunks: list[IntArray] = field(default_factory=list)

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

    def prepare(self, found: Checkpoint | None) -> None:
        """Make the folder of shards; those of an earlier run may stay.

        A group that got its name before the record said so goes back to where its parts
        were, unless it was written again without gaps: then its parts are there still.
        """
        self._shape = patch_shape(self.slide.plan, container="zarr")
        with self.writing():
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
            if found is not None:
                remove_lost((self._parts / "imgs").iterdir(), found)

    def _is_without_gaps(self) -> bool:
        """Tell whether the group has all rows: each shard has those of its number."""
        try:
            described = json.loads((self.reserved / "imgs" / "zarr.json").read_bytes())
            return bool(described["shape"][0] == len(self.slide.plan))
        except (OSError, ValueError, LookupError, TypeError):
            return False

    def writer(self, rows: IntArray) -> Shard | None:
        """Return the next shard; None if it is there, with all its patches."""
        number = len(self._chunks)
        self._chunks.append(rows)
        path = self._path(number)
        try:
            written = self.slide.written(rows)
            if written is not None and len(_chunks_of(path, self.slide.chunk_rows)) == len(
                written
            ):
                return None  # which they are, its number says
        except (OSError, ValueError):  # it is missing, or damaged
            pass
        return self._shard(path, name=f"{self.slide.name}-{number}")

    def _shard(self, path: Path, *, name: str) -> Shard:
        return Shard(
            slide=self.slide.plan.table.slide_name,
            aside=str(self.slide.staging / name),
            path=str(path),
            boot=boot(),
            encoder=ZstdEncoder(self.level),
            format=ZarrShardFormat(self.slide.chunk_rows),
        )

    def _path(self, number: int, folder: Path | None = None) -> Path:
        return _shard_path(folder or self._parts, number, axes=len(self._shape))

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
        with self.writing():
            gaps = any(len(part) < self.slide.chunk_rows for part in kept[:-1])
            whole = self._without_gaps(kept) if gaps else self._parts
            self._describe(rows, whole)
            whole.rename(self.reserved)
        return self.items(rows)

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
        for number in (number for number, rows in enumerate(kept) if len(rows)):
            path = self._path(number)
            for offset, length in _chunks_of(path, self.slide.chunk_rows).tolist():
                yield read_at(path, offset, length)

    def _describe(self, rows: IntArray, whole: Path) -> None:
        """Write all but the pixels; what says that it is a group comes last."""
        zarr = _library("zarr")
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
        data |= columns.measured()
        for name, column in data.items():
            group.create_array(name, data=column, chunks=column.shape)
        if self.slide.areas is not None:
            self._draw(group, rows)
        for name in set(group.array_keys()) - {"imgs"}:
            (aside / name).rename(whole / name)
        for last in ("imgs/zarr.json", "zarr.json"):
            (aside / last).replace(whole / last)

    def _draw(self, group: Any, rows: IntArray) -> None:  # noqa: ANN401 - of zarr
        """Write the label masks of rows."""
        shape, count = self._shape[:-1], self.slide.chunk_rows
        drawn = group.create_array(
            LABEL_MASKS,
            shape=(len(rows), *shape),
            chunks=(1, *shape),
            shards=(count, *shape),
            dtype="uint8",
            compressors=_library("zarr").codecs.ZstdCodec(level=self.level),
        )
        for start in range(0, len(rows), count):
            part = rows[start : start + count]
            drawn[start : start + count] = np.stack(list(drawn_masks(self.slide, part)))

    def tidy(self) -> None:
        """Remove the parts, which were written again without gaps."""
        shutil.rmtree(self._parts, ignore_errors=True)

    def discard(self) -> None:
        """Remove the folder, and its parts."""
        for folder in (self.reserved, self._parts):
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class ZstdEncoder:
    """Compresses the images of a patch together.

    Attributes
    ----------
    level : int
        Of the compression.
    """

    level: int

    @property
    def takes_jpeg(self) -> bool:
        """False: pixels are compressed."""
        return False

    def encode(self, pictures: Sequence[Picture], /) -> list[bytes]:
        """Compress the images of a patch together."""
        pixels = b"".join(np.ascontiguousarray(each).data for each in pictures)
        return [bytes(imagecodecs.zstd_encode(pixels, level=self.level))]


@dataclass(slots=True, eq=False)
class ZarrShardFormat:
    """A shard of the codec ``sharding_indexed``, its index at the end.

    The chunks come first, one for each patch, compressed by Zstandard; then offset and
    length of each, and a checksum:
    https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html

    Attributes
    ----------
    capacity : int
        Chunks that the index has room for.
    """

    capacity: int
    _lengths: list[int] = field(default_factory=list)

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


def _chunks_of(path: Path, capacity: int) -> IntArray:
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
    return struct.pack("<I", _library("google_crc32c").value(data))


@dataclass(slots=True, eq=False)
class ZarrImages:
    """Rows of the array ``imgs`` of a Zarr group.

    Attributes
    ----------
    addresses : ImageAddresses
        Which rows.
    """

    addresses: ImageAddresses
    _shape: tuple[int, ...] = ()
    _capacity: int = 0
    _indexes: dict[int, IntArray] = field(default_factory=dict)

    def read(self, index: int, /) -> Pixels:
        """Return the pixels of an image."""
        folder = self.addresses.path(index)
        if not self._shape:
            described = json.loads((folder / "imgs" / "zarr.json").read_bytes())
            self._shape = tuple(described["shape"][1:])
            self._capacity = described["chunk_grid"]["configuration"]["chunk_shape"][0]
        shard, chunk = divmod(self.addresses.row(index), self._capacity)
        path = _shard_path(folder, shard, axes=len(self._shape))
        if shard not in self._indexes:
            self._indexes[shard] = _chunks_of(path, self._capacity)
        offset, length = self._indexes[shard][chunk].tolist()
        raw = bytearray(imagecodecs.zstd_decode(read_at(path, offset, length)))
        pixels = np.frombuffer(raw, dtype=np.uint8).reshape(self._shape)
        views = self.addresses.views
        return pixels if views == 1 else pixels[index % views]


def _shard_path(folder: Path, number: int, *, axes: int) -> Path:
    """Return the path of a shard of patches with so many axes.

    https://zarr-specs.readthedocs.io/en/latest/v3/chunk-key-encodings/default/index.html
    """
    return folder / "imgs" / ".".join(["c", str(number), *"0" * axes])


def _open(path: Path) -> StoredSlide:
    """Open a group, as it is written here."""
    group = _library("zarr").open_group(path, mode="r")
    codes = group["label"][:]
    return stored_array(
        path,
        group,
        facts=dict(group.attrs),
        codes=codes,
        images_of=ZarrImages,
        masks_of=_zarr_masks,
    )


@contextmanager
def _opened(path: Path) -> Generator[Any]:
    """Open a group to read it."""
    yield _library("zarr").open_group(path, mode="r")


_zarr_masks = partial(ArrayMasks, open=_opened)


ZARR: Final = ContainerFormat(
    name="zarr",
    module="zarr",
    package="zarr",
    extra="zarr",
    what="arrays of patches in Zarr",
    suffix=".zarr",
    files_of=lambda slide, container: ZarrGroup(
        slide=slide, level=container.options.get(_LEVEL, _FASTEST)
    ),
    images_of=ZarrImages,
    masks_of=_zarr_masks,
    open=_open,
    holds_images=False,
    options={_LEVEL: 0, SHARD_SIZE: 1},
)
