"""Tar files as WebDataset reads them."""

from __future__ import annotations

import json
import mmap
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dplabtools._typing import Picture
from dplabtools.output.codecs.encoder import ImageEncoder, encode_views
from dplabtools.output.patch_columns import PatchColumns

__all__ = ["Member", "TarFormat", "members", "tar_header", "tar_keys"]

_BLOCK = 512
_NAME = 100  # bytes that a plain header has for the name
_SUM = slice(148, 156)
_PLAIN = b"0\0"  # types of files whose header says everything


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TarFormat:
    """A tar file with an image and a JSON file for each patch, under one name.

    Attributes
    ----------
    columns : PatchColumns
        The patches.
    keys : sequence of str
        Their names, without dots.
    image_type : str
        Extension of the images.
    encoders : tuple of ImageEncoder
        Make the images, one for each resolution.
    """

    columns: PatchColumns
    keys: Sequence[str]
    image_type: str
    encoders: tuple[ImageEncoder, ...]

    @property
    def takes_jpeg(self) -> bool:
        """Whether stored JPEG streams are taken as they are."""
        return self.encoders[0].takes_jpeg

    def encode(self, pictures: Sequence[Picture], /) -> list[bytes]:
        """Encode the images of a patch."""
        return encode_views(self.encoders, pictures)

    def block(self, encoded: Mapping[int, list[bytes]], /) -> bytes:
        """Return the members of these items."""
        parts: list[bytes] = []
        for item, images in encoded.items():
            key = self.keys[item]
            for view, image in enumerate(images):
                number = "" if len(images) == 1 else f".{view}"
                _add(parts, f"{key}{number}.{self.image_type}", image)
            record = json.dumps(self.columns.record(item), ensure_ascii=False)
            _add(parts, f"{key}.json", record.encode())
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
    header = bytearray(_TEMPLATE)
    header[: len(name)] = name.encode()
    header[124:136] = b"%011o\0" % size
    header[_SUM] = b"%06o\0 " % (sum(header) + 8 * ord(" "))
    return bytes(header)


def _template() -> bytes:
    header = bytearray(tarfile.TarInfo("").tobuf(tarfile.USTAR_FORMAT))
    header[_SUM] = bytes(8)
    return bytes(header)


_TEMPLATE = _template()


class Member(NamedTuple):
    """A file in an archive.

    Attributes
    ----------
    name : str
        Its name.
    offset, length : int
        Where its bytes are.
    """

    name: str
    offset: int
    length: int


def members(path: Path) -> list[Member]:
    """List the files of an archive, in order.

    Raises
    ------
    OSError, ValueError, tarfile.TarError
        If it is none, or cannot be read.
    """
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return []
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            plain = list(_plain_members(data))
    if plain and plain[-1] is None:
        with tarfile.open(path) as archive:
            return [
                Member(info.name, info.offset_data, info.size)
                for info in archive
                if info.isfile()
            ]
    return [member for member in plain if member is not None]


def _plain_members(data: mmap.mmap) -> Iterator[Member | None]:
    """Yield the files; None and no more where a header is not as simple as ours are."""
    offset = 0
    while offset + _BLOCK <= len(data):
        header = data[offset : offset + _BLOCK]
        if not header[0]:
            return
        if header[257:262] != b"ustar" or header[156] not in _PLAIN or header[345]:
            yield None
            return
        length = int(header[124:135], 8)
        if offset + _BLOCK + length > len(data):
            msg = "it ends too early"
            raise ValueError(msg)
        name = header[:100].rstrip(b"\0").decode()
        yield Member(name, offset + _BLOCK, length)
        offset += _BLOCK + -(-length // _BLOCK) * _BLOCK


def tar_keys(path: Path) -> list[str]:
    """Return the keys of the patches in an archive that was written here, in order."""
    names = [member.name for member in members(path)]
    return [name.removesuffix(".json") for name in names if name.endswith(".json")]
