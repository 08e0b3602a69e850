"""Where in a file the tiles of each level lie."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import tifffile

from dplabtools._typing import IntArray, Size, StrPath
from dplabtools.errors import UnsupportedSlideError
from dplabtools.readers.base import slide_file
from dplabtools.readers.metadata import ICC_TAG, icc_profile
from dplabtools.readers.native_tiff.decode import (
    COMPRESSIONS,
    JPEG,
    JPEG_2000,
    JPEG_2000_YCBCR,
    TileCodec,
    shared_tables,
)
from dplabtools.readers.native_tiff.describe import APERIO, associated_name, properties_of

__all__ = ["TiffIndex", "TiledLevel", "read_index"]

_RGB, _YCBCR = 2, 6
_LARGEST_TILE = 8192  # pixels, each side
_LARGEST_PICTURE = 100_000_000  # pixels of an associated image
_LARGEST_LEVEL = 1 << 31  # pixels, each side
_MOST_PAGES = 1000
_HEADROOM: Final = (4, 1 << 16)  # no encoder needs 4 times the pixels, and 64 KB

_FOREIGN: Final[Mapping[str, tuple[int | str, str]]] = {
    "Hamamatsu": (65420, ""),
    "Ventana": (700, "iscan"),
    "Leica": ("ImageDescription", "leica-microsystems.com/scn"),
    "Philips": ("ImageDescription", "<dataobject"),
    "Philips TIFF": ("Software", "philips"),
    "Trestle": ("Software", "medscan"),
}
"""What tells the files of vendors that need knowledge of their own: tag and content."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TiledLevel:
    """One level.

    Attributes
    ----------
    size : (int, int)
        (width, height) in pixels.
    codec : TileCodec
        How its tiles are stored.
    offsets, counts : ndarray of int64, shape (rows * columns,)
        Where each tile begins in the file, and its length, in bytes; row by row. A
        length of zero stands for a tile of background.
    """

    size: Size
    codec: TileCodec
    offsets: IntArray
    counts: IntArray

    @property
    def columns(self) -> int:
        """Tiles side by side."""
        return -(-self.size[0] // self.codec.tile[0])

    def tiles_at(self, corners: IntArray, sizes: IntArray) -> IntArray:
        """Return the numbers of the tiles that rectangles are, wholly within the level.

        Parameters
        ----------
        corners, sizes : ndarray of int64, shape (n, 2)
            (x, y) and (width, height), in pixels of the level.

        Returns
        -------
        ndarray of int64, shape (n,)
            -1 for a rectangle that is no tile.
        """
        places, rest = np.divmod(corners, self.codec.tile)
        fits = (rest == 0) & (sizes == self.codec.tile)
        fits &= (corners >= 0) & (corners + sizes <= self.size)
        numbers = places[:, 1] * self.columns + places[:, 0]
        return np.where(fits.all(axis=1), numbers, -1)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TiffIndex:
    """What it takes to read a slide; small, and sent to other processes as it is.

    Attributes
    ----------
    file_bytes : int
        Size of the file it was made of.
    levels : tuple of TiledLevel
        Finest first.
    associated : mapping of str to int
        Page of each associated image.
    properties : mapping of str to str
        By the names that OpenSlide gives them.
    icc_profile : bytes or None
        Colour profile of level 0.
    """

    library: ClassVar[str] = "native"

    file_bytes: int
    levels: tuple[TiledLevel, ...]
    associated: Mapping[str, int]
    properties: Mapping[str, str]
    icc_profile: bytes | None

    @property
    def nbytes(self) -> int:
        """Size, roughly: that of its arrays and of the colour profile."""
        arrays = sum(level.offsets.nbytes + level.counts.nbytes for level in self.levels)
        return arrays + len(self.icc_profile or b"")


class _RefusalError(Exception):
    """Why a file is not read here."""


def read_index(path: StrPath) -> TiffIndex:
    """Find the tiles of a slide; no tile is decoded.

    Parameters
    ----------
    path : str or path-like
        The slide file.

    Returns
    -------
    TiffIndex
        Every tile it names is of a size that its level justifies.

    Raises
    ------
    MissingSlideError
        If there is no such file.
    UnsupportedSlideError
        If it is no tiled TIFF, or one with something in it that is not understood here.
    """
    file = slide_file(path)
    cause: Exception
    try:
        with tifffile.TiffFile(file) as tiff:
            return _index(tiff, file_bytes=Path(file).stat().st_size)
    except _RefusalError as error:
        cause, reason = error, str(error)
    except Exception as error:  # noqa: BLE001 - whatever a parser makes of a broken file
        cause, reason = error, f"no TIFF that can be made out ({error})"
    msg = f'{reason}; try another config.slide_library, such as "auto"'
    raise UnsupportedSlideError(msg, slide=Path(file).name) from cause


def _index(tiff: Any, *, file_bytes: int) -> TiffIndex:  # noqa: ANN401 - untyped library
    pages = [page for _, page in zip(range(_MOST_PAGES), tiff.pages, strict=False)]
    first = pages[0]
    _check_vendor(first)
    aperio = str(first.description).startswith(APERIO)
    found = _aperio_levels(pages) if aperio else _generic_levels(pages)
    levels = tuple(_level(page, file_bytes, ome=first.is_ome) for page in found)
    for finer, coarser in pairwise(levels):
        if min(np.subtract(finer.size, coarser.size)) < 0 or finer.size == coarser.size:
            msg = f"a level of {finer.size} pixels is followed by one of {coarser.size}"
            raise _RefusalError(msg)
        if aperio and not coarser.counts.all():
            msg = "tiles of a reduced level are missing"
            raise _RefusalError(msg)
    for level in levels:
        _check_tiles(level, tiff.filehandle)
    associated = dict(_associated(pages)) if aperio else {}
    return TiffIndex(
        file_bytes=file_bytes,
        levels=levels,
        associated=associated,
        properties=properties_of(
            first,
            sizes=[level.size for level in levels],
            tiles=[level.codec.tile for level in levels],
            associated={name: pages[number] for name, number in associated.items()},
        ),
        icc_profile=icc_profile(first.tags.valueof(ICC_TAG)),
    )


def _check_vendor(page: Any) -> None:  # noqa: ANN401 - untyped library
    """Raise if the file is one of those that hold more than tags say."""
    for vendor, (tag, sign) in _FOREIGN.items():
        found = page.tags.get(tag)
        if found is None:
            continue
        value = found.value
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        if sign in text.lower():
            msg = f"a file of {vendor} is not read natively"
            raise _RefusalError(msg)


def _aperio_levels(pages: Sequence[Any]) -> list[Any]:
    return [page for page in pages if page.is_tiled]


def _generic_levels(pages: Sequence[Any]) -> list[Any]:
    """Return the first page, and those that are the same, reduced; finest first."""
    first = pages[0]
    reduced = first.pages or [page for page in pages[1:] if page.subfiletype & 1]
    others = [page for page in reduced if page.is_tiled]
    return [first, *sorted(others, key=lambda page: -page.imagewidth)]


def _associated(pages: Sequence[Any]) -> Iterator[tuple[str, int]]:
    for number, page in enumerate(pages):
        name = None if page.is_tiled else associated_name(number, page.description)
        if name and page.imagewidth * page.imagelength <= _LARGEST_PICTURE:
            yield name, number


def _level(
    page: Any,  # noqa: ANN401 - untyped library
    file_bytes: int,
    *,
    ome: bool,
) -> TiledLevel:
    contradicts = _jfif_rgb(page)
    oddities = (*_oddities(page), (contradicts and not ome, "contradicting colour spaces"))
    for refused, what in oddities:
        if refused:
            msg = f"{what} are not read natively"
            raise _RefusalError(msg)
    size, tile = (page.imagewidth, page.imagelength), (page.tilewidth, page.tilelength)
    if min(*size, *tile) < 1 or max(size) >= _LARGEST_LEVEL:
        msg = f"a level of {size} pixels in tiles of {tile} cannot be"
        raise _RefusalError(msg)
    if max(tile) > _LARGEST_TILE:
        msg = f"tiles of {tile} pixels are not read natively"
        raise _RefusalError(msg)
    offsets = np.array(page.dataoffsets, dtype=np.int64)
    counts = np.array(page.databytecounts, dtype=np.int64)
    expected = -(-size[0] // tile[0]) * -(-size[1] // tile[1])
    if not len(offsets) == len(counts) == expected:
        msg = f"{len(offsets)} tiles with {len(counts)} lengths, of {expected}"
        raise _RefusalError(msg)
    if not ((offsets <= file_bytes) | (counts == 0)).any():
        msg = "not one of the tiles of a level lies in the file"
        raise _RefusalError(msg)
    compression = int(page.compression)
    photometric = int(page.photometric)
    codec = TileCodec(
        compression=compression,
        tile=tile,
        ycbcr=photometric == _YCBCR or compression == JPEG_2000_YCBCR or contradicts,
        predictor=page.predictor == 2,
        tables=shared_tables(page.jpegtables or b""),
    )
    return TiledLevel(size=size, codec=codec, offsets=offsets, counts=counts)


def _oddities(page: Any) -> Iterable[tuple[bool, str]]:  # noqa: ANN401 - untyped library
    """Yield what a page may be that is not read here, and whether it is."""
    compression, photometric = int(page.compression), int(page.photometric)
    colours = (_RGB, _YCBCR) if compression in (JPEG, *JPEG_2000) else (_RGB,)
    bits = page.bitspersample
    yield not page.is_tiled, "strips"
    yield compression not in COMPRESSIONS, f"tiles of compression {compression}"
    yield photometric not in colours, f"pixels of photometric {photometric}"
    yield page.samplesperpixel != 3 or bool(page.extrasamples), "not three samples"
    yield bits not in (8, (8, 8, 8)) or page.sampleformat != 1, "not eight bits a sample"
    yield page.planarconfig != 1, "separate planes"
    yield page.predictor not in (1, 2), f"pixels of predictor {page.predictor}"
    yield page.fillorder != 1 or page.imagedepth != 1, "odd orders"


def _jfif_rgb(page: Any) -> bool:  # noqa: ANN401 - untyped library
    """Tell whether the tag says RGB and the JPEG streams, being JFIF, say YCbCr.

    Bio-Formats writes such OME-TIFF files, and there the streams are right.
    """
    if int(page.compression) != JPEG or int(page.photometric) != _RGB:
        return False
    return bool(page.is_jfif)


def _check_tiles(level: TiledLevel, file: Any) -> None:  # noqa: ANN401 - untyped library
    """Raise if the tiles are of a kind that is not understood, going by one of them."""
    stored = np.flatnonzero(level.counts)
    if not len(stored):
        return
    number = int(stored[0])
    count = min(int(level.counts[number]), longest_tile(level.codec))
    data = os.pread(file.fileno(), count, int(level.offsets[number]))
    refusal = level.codec.refusal(data)
    if refusal is not None:
        msg = f"{refusal} are not read natively"
        raise _RefusalError(msg)


def longest_tile(codec: TileCodec) -> int:
    """Return how many bytes a stored tile has at most; more is an error of the index."""
    factor, fixed = _HEADROOM
    return codec.nbytes * factor + fixed
