"""Patches in ZIP files: an image and a JSON file for each, not compressed again."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dplabtools._typing import Pixels
from dplabtools.output.codecs.decoding import decode_image
from dplabtools.output.containers.base import SHARD_SIZE, ContainerFormat
from dplabtools.output.containers.shard import ImageShards, ShardImages
from dplabtools.output.patch_columns import recorded_slide
from dplabtools.output.stored_slide import ImageAddresses, StoredSlide


class ZipFormat:
    """What a shard is inside; it is made by a worker, in blocks of some patches."""

    def __init__(self, images: ShardImages) -> None:
        self.images = images
        self._members: list[tuple[str, bytes]] = []

    def block(self, encoded: Mapping[int, list[bytes]], /) -> bytes:
        """Keep these patches: the list of members comes last in a ZIP file."""
        records = self.images.columns.records(list(encoded))
        for (item, images), record in zip(encoded.items(), records, strict=True):
            self._members += zip(self.images.names(item), images, strict=True)
            self._members.append(
                (f"{self.images.keys[item]}.json", json.dumps(record).encode())
            )
        return b""

    def trailer(self) -> bytes:
        """Return the file."""
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, data in self._members:
                archive.writestr(zipfile.ZipInfo(name), data)
        return out.getvalue()


@dataclass
class ZipImages:
    """What reads the images, each when it is asked for; it holds no file open."""

    addresses: ImageAddresses

    def read(self, index: int, /) -> Pixels:
        """Return the pixels of an image, found by its key."""
        key = self.addresses.items[index].decode()
        with zipfile.ZipFile(self.addresses.path(index)) as archive:
            names = {name.rpartition(".")[0]: name for name in _images(archive)}
            return decode_image(archive.read(names[key]))


def _images(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if not name.endswith(".json")]


def _keys(path: Path) -> list[str]:
    """Return the keys of the patches, which tell whether a shard may stay."""
    with zipfile.ZipFile(path) as archive:
        return [name[:-5] for name in archive.namelist() if name.endswith(".json")]


def _open(path: Path) -> StoredSlide:
    """Read a file that no manifest tells of."""
    with zipfile.ZipFile(path) as archive:
        records = [json.loads(archive.read(f"{key}.json")) for key in _keys(path)]
        keys = [name.rpartition(".")[0] for name in _images(archive)]
    views = len(keys) // len(records)
    return recorded_slide(
        {name: [record[name] for record in records] for name in records[0]},
        wsi_file=path.name,
        views=views,
        images=ZipImages(ImageAddresses.of_keys(path, keys, views=views)),
    )


CONTAINER = ContainerFormat(
    name="zip",
    module="zipfile",
    package="dplabtools-zip-container",
    what="patches in ZIP files",
    suffix=".zip",
    files_of=partial(
        ImageShards,
        suffix="-{:06d}.zip",
        format_of=ZipFormat,
        keys_in=_keys,
        finds_keys=True,
    ),
    images_of=ZipImages,
    open=_open,
    holds_images=True,
    options={SHARD_SIZE: 1},
)
