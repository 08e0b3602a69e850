"""How the levels of a file are stored: in which tiles, and how these are compressed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dplabtools._typing import Size
from dplabtools.readers.base import SlideReader
from dplabtools.readers.native.directories import find_directories
from dplabtools.sources.opening import open_source

__all__ = ["StoredLevel", "stored_levels"]

_SPELLINGS: Final = {
    "OLD_JPEG": "JPEG",
    "APERIO_JP2000_YCBC": "JPEG 2000 (YCbCr)",
    "APERIO_JP2000_RGB": "JPEG 2000 (RGB)",
    "JPEG2000": "JPEG 2000",
    "ADOBE_DEFLATE": "deflate",
    "DEFLATE": "deflate",
    "NONE": "none",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLevel:
    """A level as the file has it.

    Attributes
    ----------
    size : (int, int)
        Width and height, in pixels.
    downsample : float
        Level 0 pixels per pixel.
    tile : (int, int) or None
        Width and height of its tiles; None if it has none, or nobody tells.
    compression : str
        Name of the compression; empty if nobody tells.
    """

    size: Size
    downsample: float
    tile: Size | None = None
    compression: str = ""


def stored_levels(path: str, reader: SlideReader) -> tuple[StoredLevel, ...]:
    """Return how the levels of an open slide are stored.

    Parameters
    ----------
    path : str
        The slide file.
    reader : SlideReader
        That has it open.

    Returns
    -------
    tuple of StoredLevel
        One for each level of the reader.
    """
    pages, compressions = _pages_by_size(path), _indexed_compressions(reader)
    stored: list[StoredLevel] = []
    for number, size in enumerate(reader.sizes):
        tile = _stated_tile(reader.properties, number)
        compression = compressions[number] if compressions else ""
        if size in pages:
            page = pages[size]
            tile = (page.tilewidth, page.tilelength) if page.is_tiled else None
            name = str(page.compression.name)
            compression = _SPELLINGS.get(name, name)
        stored.append(
            StoredLevel(
                size=size,
                downsample=reader.downsamples[number],
                tile=tile,
                compression=compression,
            )
        )
    return tuple(stored)


def _indexed_compressions(reader: SlideReader) -> list[str]:
    """Return the compression of each level of a slide that is read natively."""
    if reader.library != "native":
        return []
    from dplabtools.readers.native.levels import NativeIndex

    index = reader.native
    return (
        [level.codec.name for level in index.levels]
        if isinstance(index, NativeIndex)
        else []
    )


def _stated_tile(properties: Mapping[str, str], number: int) -> Size | None:
    """Return the tiles that OpenSlide states."""
    names = (f"openslide.level[{number}].tile-{side}" for side in ("width", "height"))
    width, height = (properties.get(name, "") for name in names)
    return (int(width), int(height)) if width.isdecimal() and height.isdecimal() else None


def _pages_by_size(path: str) -> dict[Size, Any]:
    """Return the pages of a TIFF; none if it is no TIFF that can be made out."""
    import tifffile

    try:
        source = open_source(path)
        with source.stream() as stream:
            ndpi = source.name.lower().endswith(".ndpi")
            count = len(find_directories(stream, ndpi=ndpi))  # there is an end to them
            stream.seek(0)
            tiff = tifffile.TiffFile(stream, name=source.name)
            firsts: list[Any] = [tiff.pages[number] for number in range(count)]
            pages = [page for first in firsts for page in (first, *(first.pages or ()))]
            return {(page.imagewidth, page.imagelength): page for page in reversed(pages)}
    except Exception:  # noqa: BLE001 - whatever a parser makes of a file it does not know
        return {}
