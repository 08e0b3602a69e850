"""Tar files as WebDataset reads them (https://github.com/webdataset/webdataset)."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from dplabtools._typing import IntArray, Pixels
from dplabtools.output.codecs.decoding import decode_image, decode_mask
from dplabtools.output.containers.arrays import read_at
from dplabtools.output.containers.base import SHARD_SIZE, ContainerFormat
from dplabtools.output.containers.shard import ImageShards, ShardImages
from dplabtools.output.patch_columns import recorded_slide
from dplabtools.output.stored_slide import ImageAddresses, StoredSlide, names_array

__all__ = ["WEBDATASET", "tar_header"]

# https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html
_BLOCK = 512
_NAME = 100  # bytes that a plain header has for the name
_RECORD = ".json"
_MASK = ".label_mask"
_JSON = json.JSONEncoder(ensure_ascii=False)


@dataclass(frozen=True, slots=True, eq=False)
class TarFormat:
    """A tar file with an image and a JSON file for each patch, under one name.

    Attributes
    ----------
    images : ShardImages
        The patches.
    """

    images: ShardImages

    def block(self, encoded: Mapping[int, list[bytes]], /) -> bytes:
        """Return the members of these items."""
        parts: list[bytes] = []
        records = self.images.columns.records(list(encoded))
        for (item, images), record in zip(encoded.items(), records, strict=True):
            names = self.images.names(item)
            for name, image in zip(names, images, strict=False):
                _add(parts, name, image)
            for name, mask in zip(names, images[len(names) :], strict=False):
                _add(parts, f"{name.rpartition('.')[0]}{_MASK}.png", mask)
            _add(parts, f"{self.images.keys[item]}{_RECORD}", _JSON.encode(record).encode())
        return b"".join(parts)

    def trailer(self) -> bytes:
        """Return the end of the archive."""
        return bytes(2 * _BLOCK)


def _add(parts: list[bytes], name: str, data: bytes) -> None:
    parts += (tar_header(name, len(data)), data, bytes(-len(data) % _BLOCK))


def tar_header(name: str, size: int) -> bytes:
    """Return what stands before a file in an archive: nothing that changes from run to run.

    Parameters
    ----------
    name : str
        Of the file.
    size : int
        Bytes of it.

    Returns
    -------
    bytes
        A multiple of 512: as `tarfile` writes it, only faster where the name is short.
    """
    if len(name) > _NAME or not name.isascii():
        info = tarfile.TarInfo(name)
        info.size = size
        return info.tobuf(tarfile.PAX_FORMAT)
    known = name.encode()
    total = _REST + sum(known) + sum(b"%011o" % size)
    return _HEADER % (known.ljust(_NAME, b"\0"), size, total)


def _template() -> tuple[bytes, int]:
    """Return a header to fill with a name, a size and a sum, and the sum of the rest."""
    info = tarfile.TarInfo("").tobuf(tarfile.USTAR_FORMAT)
    rest = info[_NAME:124], info[136:148], info[156:]
    header = b"%%s%s%%011o\0%s%%06o\0 %s" % rest
    return header, sum(b"".join(rest)) + 8 * ord(" ")


_HEADER, _REST = _template()


def _members(path: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(path, "r:") as archive:
        return archive.getmembers()


def _keys_in(path: Path) -> list[str]:
    """Return the keys of the patches in an archive that was written here, in order."""
    names = [member.name for member in _members(path)]
    return [name.removesuffix(_RECORD) for name in names if name.endswith(_RECORD)]


@dataclass(slots=True, eq=False)
class TarImages:
    """Images in archives, found by their names, without extensions.

    An archive is looked through when the first of its images is asked for.

    Attributes
    ----------
    addresses : ImageAddresses
        Which images.
    decode : callable
        Makes pixels of the bytes of an image.
    """

    addresses: ImageAddresses
    decode: Callable[[bytes], Pixels] = decode_image
    _places: IntArray = field(init=False)
    """Offset and length of each image; zeros until its archive was looked through."""

    def __post_init__(self) -> None:
        self._places = np.zeros((len(self.addresses.items), 2), dtype=np.int64)

    def read(self, index: int, /) -> Pixels:
        """Return the pixels of an image."""
        path = self.addresses.path(index)
        if not self._places[index, 1]:
            self._look_through(path, int(self.addresses.codes[index]))
        offset, length = self._places[index].tolist()
        return self.decode(read_at(path, offset, length))

    def _look_through(self, path: Path, code: int) -> None:
        """Find the images of one archive."""
        found = {
            member.name.rpartition(".")[0]: (member.offset_data, member.size)
            for member in _members(path)
            if not member.name.endswith(_RECORD)
        }
        for index in np.flatnonzero(self.addresses.codes == code).tolist():
            key = self.addresses.items[index].decode()
            if key not in found:
                msg = f"{path} has no image {key}"
                raise LookupError(msg)
            self._places[index] = found[key]


def _open(path: Path) -> StoredSlide:
    """Open an archive, as it is written here."""
    records: list[dict[str, Any]] = []
    names: list[str] = []
    masks: list[str] = []
    for member in _members(path):
        if member.name.endswith(_RECORD):
            records.append(json.loads(read_at(path, member.offset_data, member.size)))
        else:
            name = member.name.rpartition(".")[0]
            (masks if name.endswith(_MASK) else names).append(name)
    views = len(names) // len(records) if records else 1
    if len(names) != len(records) * views:
        msg = f"it has {len(names)} images, and {len(records)} descriptions of patches"
        raise ValueError(msg)
    addresses = ImageAddresses.of_keys(path, names, views=views)
    return recorded_slide(
        {name: [each[name] for each in records] for name in next(iter(records), ())},
        wsi_file=path.name,
        views=views,
        images=TarImages(addresses),
        label_masks=_tar_masks(replace(addresses, items=names_array(masks)))
        if masks
        else None,
    )


_tar_masks = partial(TarImages, decode=decode_mask)


WEBDATASET: Final = ContainerFormat(
    name="webdataset",
    module=__name__,
    package="dplabtools-next",
    what="tar files, for training from start to end",
    suffix=".tar",
    files_of=partial(
        ImageShards,
        suffix="-{:06d}.tar",
        format_of=TarFormat,
        keys_in=_keys_in,
        finds_keys=True,
    ),
    images_of=TarImages,
    masks_of=_tar_masks,
    mask_item=f"{{item}}{_MASK}",
    open=_open,
    holds_images=True,
    options={SHARD_SIZE: 1},
    has_shards=True,
)
