"""Files that hold many patches, each written by one worker from end to end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dplabtools._typing import BoolArray, IntArray, Picture
from dplabtools.atomic import begin_sync, remove, writing
from dplabtools.engine.base import boot
from dplabtools.masks.labelled import PatchLabels
from dplabtools.output.codecs.encoder import ImageEncoder, encode_views
from dplabtools.output.containers.base import (
    Contained,
    Container,
    Items,
    SlideFiles,
    kept_rows,
    remove_lost,
    sizes_of,
)
from dplabtools.output.patch_columns import PatchColumns
from dplabtools.output.sink import ChunkWriter
from dplabtools.records.quality import QualityValues
from dplabtools.records.slide_plan import SlidePlan
from dplabtools.timing import stage

if TYPE_CHECKING:
    from dplabtools.output.run_folder.history import Checkpoint

__all__ = [
    "ImageShards",
    "PatchEncoder",
    "Shard",
    "ShardFormat",
    "ShardImages",
    "shard_rows",
]

_PARTS = 32  # shards that a slide is cut into, if they are neither too long nor too short
_LEAST, _MOST = 256, 4096  # patches
_MOST_BYTES = 1 << 30  # of pixels


def shard_rows(plan: SlidePlan) -> int:
    """Return how many patches make a shard; it depends on the slide alone.

    Whatever else is extracted in the same run, or added to it later, a slide is cut alike.

    Parameters
    ----------
    plan : SlidePlan
        The slide.

    Returns
    -------
    int
        A 32nd of the slide, between 256 and 4096, fewer where patches are very large.
    """
    fair = -(-len(plan) // (_PARTS * _LEAST)) * _LEAST
    bytes_each = int(plan.table.sizes.prod(axis=1).max(initial=1)) * 3 * len(plan.views)
    return max(1, min(max(fair, _LEAST), _MOST, _MOST_BYTES // bytes_each))


class PatchEncoder(Protocol):
    """How a patch becomes bytes."""

    @property
    def takes_jpeg(self) -> bool:
        """Whether stored JPEG streams are taken as they are."""
        ...

    def encode(self, pictures: Sequence[Picture], /) -> list[bytes]:
        """Encode the images of a patch; called from several threads."""
        ...


class ShardFormat(Protocol):
    """How encoded patches become the bytes of one file; an object serves one file."""

    def block(self, encoded: Mapping[int, list[bytes]], /) -> bytes:
        """Return what to append for these items, which are in order."""
        ...

    def trailer(self) -> bytes:
        """Return what to append at last."""
        ...


@dataclass(slots=True, eq=False, kw_only=True)
class Shard(ChunkWriter):
    """A file that patches are appended to; it gets its name when it is whole.

    Attributes
    ----------
    slide : str
        Name of the slide, for messages.
    aside : str
        Where it is until then, on the same file system.
    path : str
        Its name.
    boot : str
        Which start of which machine waits for all files to be on its disk before a manifest
        names them. Elsewhere each file is waited for.
    encoder : PatchEncoder
        Makes bytes of each patch.
    format : ShardFormat
        What it looks like inside.
    quality : ndarray of float32, shape (n, columns), or None
        How good its patches are, if `format` writes that.
    labels : PatchLabels or None
        Draws the label masks that go with its patches, behind their images.
    """

    slide: str
    aside: str
    path: str
    boot: str
    encoder: PatchEncoder
    format: ShardFormat
    quality: QualityValues | None = None
    labels: PatchLabels | None = None
    _waiting: dict[int, list[bytes]] = field(default_factory=dict)
    _begun: bool = False

    @property
    def takes_jpeg(self) -> bool:
        """Whether stored JPEG streams are taken as they are."""
        return self.encoder.takes_jpeg

    def take_quality(self, values: QualityValues, /) -> None:
        """Take how good the patches are, if that is written beside them."""
        if self.quality is not None:
            self.quality[:] = values

    def put(self, item: int, pictures: Sequence[Picture], /) -> None:
        """Encode a patch."""
        with stage("encode"):
            masks = [] if self.labels is None else self.labels.encoded(item)
            self._waiting[item] = [*self.encoder.encode(pictures), *masks]

    def flush(self) -> None:
        """Append the patches that were put, in the order of their items."""
        if self._waiting:
            with stage("write"):
                self.append(dict(sorted(self._waiting.items())))
            self._waiting.clear()

    def append(self, encoded: Mapping[int, list[bytes]]) -> None:
        """Append patches that are encoded already, in order."""
        self._append(self.format.block(encoded))

    def commit(self) -> None:
        """Give the file its name; without patches there is none."""
        if self._begun:
            with stage("write"):
                self._append(self.format.trailer(), last=True)

    def _append(self, data: bytes, *, last: bool = False) -> None:
        with writing(self.path, slide=self.slide):
            with Path(self.aside).open("ab" if self._begun else "wb") as file:
                self._begun = True
                file.write(data)
                if last:
                    file.flush()
                    here = self.boot and self.boot == boot()
                    (begin_sync if here else os.fsync)(file.fileno())
            if last:
                Path(self.aside).replace(self.path)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ShardImages:
    """Patches of a shard of encoded images.

    Attributes
    ----------
    columns : PatchColumns
        What is known of them.
    keys : sequence of str
        Their names, without dots.
    encoders : tuple of ImageEncoder
        Make the images, one for each resolution.
    """

    columns: PatchColumns
    keys: Sequence[str]
    encoders: tuple[ImageEncoder, ...]

    @property
    def takes_jpeg(self) -> bool:
        """Whether stored JPEG streams are taken as they are."""
        return self.encoders[0].takes_jpeg

    def encode(self, pictures: Sequence[Picture], /) -> list[bytes]:
        """Encode the images of a patch."""
        return encode_views(self.encoders, pictures)

    def names(self, item: int) -> list[str]:
        """Return the names of the images of a patch."""
        key, image_type = self.keys[item], self.encoders[0].image_type
        if len(self.encoders) == 1:
            return [f"{key}.{image_type}"]
        return [f"{key}.{view}.{image_type}" for view in range(len(self.encoders))]


@dataclass(slots=True, eq=False)
class ImageShards(SlideFiles):
    """Files ``<slide>_<manifest id>-<number>``, each with the images of many patches.

    Attributes
    ----------
    slide : Contained
        What goes into them.
    container : Container
        What was asked for.
    suffix : str
        End of their names, with the number.
    format_of : callable
        Returns what a shard of these images looks like inside.
    keys_in : callable
        Returns the keys of the patches in a shard that is there.
    finds_keys : bool
        Whether images are found by their keys, or by their rows.
    """

    slide: Contained
    container: Container
    _: KW_ONLY
    suffix: str
    format_of: Callable[[ShardImages], ShardFormat]
    keys_in: Callable[[Path], list[str]]
    finds_keys: bool
    _keys: list[str] = field(default_factory=list)
    _chunks: list[IntArray] = field(default_factory=list)
    _found: bool = False

    @property
    def chunk_rows(self) -> int:
        """As many as a shard has."""
        return self.slide.chunk_rows

    def sizes(self) -> list[int]:
        """Return the bytes of each shard."""
        return sizes_of(self._files())

    def prepare(self, found: Checkpoint | None) -> None:
        """Name all patches; the shards of an earlier run may stay."""
        self._keys = self.slide.keys()
        self._found = found is not None
        if found is not None:
            remove_lost(self._files(), found)

    def writer(self, rows: IntArray) -> Shard | None:
        """Return the next shard; None if it is there, with all its patches."""
        name = self._file(len(self._chunks))
        self._chunks.append(rows)
        path = self.slide.folder / name
        if self._found and self._holds(path, self.slide.written(rows)):
            return None
        images = ShardImages(
            columns=PatchColumns.of(self.slide.plan, rows),
            keys=self._keys_of(rows),
            encoders=self.container.image_encoder.for_views(self.slide.plan),
        )
        return Shard(
            slide=self.slide.plan.table.slide_name,
            aside=str(self.slide.staging / name),
            path=str(path),
            boot=boot(),
            encoder=images,
            format=self.format_of(images),
            quality=images.columns.quality,
            labels=self.slide.labels_of(rows),
        )

    def _keys_of(self, rows: IntArray) -> list[str]:
        return [self._keys[row] for row in rows.tolist()]

    def _holds(self, path: Path, rows: IntArray | None) -> bool:
        """Tell whether a shard is there, with these patches and no others."""
        if rows is None:
            return False
        try:
            return self.keys_in(path) == self._keys_of(rows)
        except Exception:  # noqa: BLE001 - it is missing, or damaged in whatever way
            return False

    def _files(self) -> Iterable[Path]:
        """Return the shards that there are."""
        begin = escape(self._file(0).rpartition("-")[0])
        return self.slide.folder.glob(f"{begin}-*{Path(self.suffix).suffix}")

    def _file(self, number: int) -> str:
        stem = Path(self.slide.plan.table.slide).stem
        return f"{stem}_{self.slide.manifest_id}{self.suffix.format(number)}"

    def finish(self, delivered: BoolArray) -> Items:
        """Remove files that nothing was told of; tell what is in the others."""
        items: Items = {}
        views = len(self.slide.plan.views)
        for number, rows in enumerate(kept_rows(self._chunks, delivered)):
            name = self._file(number)
            if not len(rows):
                remove(self.slide.folder / name)
            for index, row in enumerate(rows.tolist()):
                items[row] = (name,) * views, self._places(row, index)
        return items

    def _places(self, row: int, index: int) -> tuple[str, ...]:
        """Return where the images of a patch are in their file."""
        views = len(self.slide.plan.views)
        if not self.finds_keys:
            return (str(index),) * views
        key = self._keys[row]
        return (key,) if views == 1 else tuple(f"{key}.{view}" for view in range(views))

    def discard(self) -> None:
        """Remove all shards."""
        for number in range(len(self._chunks)):
            remove(self.slide.folder / self._file(number))
