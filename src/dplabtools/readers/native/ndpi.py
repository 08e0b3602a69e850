"""Where in an NDPI file of Hamamatsu the tiles of each level lie.

A level is one huge JPEG picture. Restart markers cut it into runs of blocks, which decode
by themselves: these are the tiles. Levels in between are not stored: JPEG decodes to a
half, a quarter and an eighth.

https://openslide.org/formats/hamamatsu/
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from dplabtools._typing import IntArray, Size
from dplabtools.errors import DamagedSlideError, UnsupportedSlideError
from dplabtools.readers.native.decode import JPEG, JPEG_PIECE, TileCodec
from dplabtools.readers.native.describe import (
    level_properties,
    number_text,
    picture_properties,
    resolution_properties,
    tag_properties,
)
from dplabtools.readers.native.directories import Directory
from dplabtools.readers.native.levels import NativeIndex, TiledLevel, check_extent
from dplabtools.sources.base import ByteSource

__all__ = ["read_index"]

_LENS, _FOCAL_PLANE, _STARTS, _REFERENCE, _TEXT = 65421, 65424, 65426, 65427, 65449
_OFFSETS: Final = {"XOffsetFromSlideCentre": 65422, "YOffsetFromSlideCentre": 65423}
_MACRO: Final = -1  # instead of a power
_NO_LEVELS: Final = range(-9, 0)  # of this kind: -2 is a map of what was scanned
_SCALES: Final = (2, 4, 8)
# https://www.w3.org/Graphics/JPEG/itu-t81.pdf, table B.1
_SEQUENTIAL: Final = (0xC0, 0xC1)
_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_INTERVAL, _SCAN = 0xDD, 0xDA
_LONGEST_HEADER: Final = 1 << 18
_LARGEST: Final = 65_500  # pixels, each side, that libjpeg takes
_MCU_ROWS: Final = 8  # of blocks that are not subsampled from row to row
_JOINED_ROWS: Final = 64
_BLOCK: Final = 4 << 20  # bytes that are searched at once
_WORD: Final = (1 << 32) - 1


def read_index(
    tiff: Any,  # noqa: ANN401 - untyped library
    directories: Sequence[Directory],
    *,
    source: ByteSource,
) -> NativeIndex:
    """Find the tiles of a slide of Hamamatsu; see `families.ReadIndex`.

    Of several focal planes the middle one is the slide. Where a table of restart markers
    is missing, all bytes are searched for them.
    """
    pages = [tiff.pages[number] for number in range(len(directories))]
    lenses = [float(page.tags.valueof(_LENS, 0)) for page in pages]
    if not all(lens > 0 or lens in _NO_LEVELS for lens in lenses):
        msg = "a picture of it does not say what it is"
        raise DamagedSlideError(msg)
    stored = [
        page
        for page, lens in zip(pages, lenses, strict=True)
        if lens > 0 and page.tags.valueof(_FOCAL_PLANE, 0) == 0
    ]
    widths = [page.imagewidth for page in stored]
    if not widths or widths != sorted(set(widths), reverse=True):
        msg = "its levels do not stand in the order of their size"
        raise DamagedSlideError(msg)
    if any(
        page.imagewidth not in widths
        for page, lens in zip(pages, lenses, strict=True)
        if lens > 0
    ):
        msg = "of a level the middle one of its focal planes is missing"
        raise DamagedSlideError(msg)
    levels = _with_reduced([_level(page, source) for page in stored])
    macro = {"macro": lenses.index(_MACRO)} if _MACRO in lenses else {}
    found = dict(_properties(pages[0]))
    codecs = [level.codec for level in levels]
    pieces = [(codec.tile[0], codec.piece // codec.scale) for codec in codecs]
    found.update(level_properties([level.size for level in levels], pieces))
    for name, number in macro.items():
        found.update(picture_properties(name, pages[number]))
    return NativeIndex(
        file=source.state,
        levels=levels,
        associated=macro,
        properties=dict(sorted(found.items())),
        icc_profile=None,
    )


def _properties(page: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - untyped library
    """Yield what the first page says, by the names that OpenSlide gives it."""
    found = dict(tag_properties(page))
    yield from found.items()
    yield "openslide.vendor", "hamamatsu"
    yield from resolution_properties(found, units=("centimeter",))
    power = number_text(float(page.tags.valueof(_LENS)))
    yield "hamamatsu.SourceLens", power
    yield "openslide.objective-power", power
    texts = {"Reference": _REFERENCE, **_OFFSETS}
    for name, tag in texts.items():
        value = page.tags.valueof(tag)
        if value is not None:
            yield f"hamamatsu.{name}", str(value)
    for line in str(page.tags.valueof(_TEXT, "")).split("\r\n"):
        name, _, value = line.partition("=")
        if name and value:
            yield f"hamamatsu.{name}", value


def _with_reduced(stored: Sequence[TiledLevel]) -> tuple[TiledLevel, ...]:
    """Return the levels that are stored, and those that decoding to fewer pixels makes.

    They are OpenSlide's: of a width, the stored one, or else the one that is made of the
    smallest picture.
    """
    by_width: dict[int, TiledLevel] = {}
    for level in stored:
        (width, height), tile = level.size, level.codec.tile
        by_width[width] = level
        for scale in _SCALES:
            if tile[0] % scale or tile[1] % scale:
                continue
            smaller = (tile[0] // scale, tile[1] // scale)
            codec = replace(level.codec, tile=smaller, scale=scale)
            size = (width // scale, height // scale)
            by_width[size[0]] = replace(level, size=size, codec=codec)
    return tuple(by_width[width] for width in sorted(by_width, reverse=True))


def _level(page: Any, source: ByteSource) -> TiledLevel:  # noqa: ANN401 - untyped library
    """Return a level that is stored.

    Raises
    ------
    DamagedSlideError, UnsupportedSlideError
        As `read_index`.
    """
    size = (page.imagewidth, page.imagelength)
    strips, lengths = (np.atleast_1d(page.tags.valueof(tag)) for tag in (273, 279))
    if int(page.compression) != JPEG or len(strips) != 1 or len(lengths) != 1:
        msg = "levels that are not one JPEG picture each are not read natively"
        raise UnsupportedSlideError(msg)
    first, nbytes = int(strips[0]), int(lengths[0])
    room = min(nbytes, _LONGEST_HEADER, max(source.state.nbytes - first, 0))
    header = _header(source.read(room, first))
    tile = header.tile(size)
    check_extent(size, tile)
    starts = _starts(
        page.tags.valueof(_STARTS),
        source,
        span=(first + len(header.data), first + nbytes),
        count=(size[0] // tile[0]) * (size[1] // tile[1]),
    )
    stops = np.append(starts[1:], first + nbytes)
    # With the marker before. Where colours are not subsampled from row to row, no pixel
    # depends on the pieces above and below its own.
    spots = np.stack((starts - 2, stops - starts + 2), axis=-1)
    joined = _JOINED_ROWS // tile[1] if tile[1] == _MCU_ROWS else 1
    pieces = _joined(spots.reshape(-1, size[0] // tile[0], 2), joined)
    codec = TileCodec(
        compression=JPEG_PIECE,
        tile=(tile[0], tile[1] * joined),
        tables=header.of_size(tile),
        ycbcr=True,
        piece=tile[1],
    )
    return TiledLevel(
        size=size,
        codec=codec,
        offsets=pieces[:, 0, 0],
        counts=pieces[:, :, 1].sum(axis=1),
        pieces=pieces,
    )


def _joined(spots: IntArray, count: int) -> IntArray:
    """Return the spots of so many pieces below each other for each tile.

    To decode them at once takes half of the time; each is only a few rows high.

    Parameters
    ----------
    spots : ndarray of int64, shape (rows, columns, 2)
        Offset and length of each piece.
    count : int
        Pieces of a tile; the last ones may have fewer, and zeros.

    Returns
    -------
    ndarray of int64, shape (tiles, count, 2)
        Row by row.
    """
    rows, columns, _ = spots.shape
    whole = np.pad(spots, ((0, -rows % count), (0, 0), (0, 0)))
    return whole.reshape(-1, count, columns, 2).swapaxes(1, 2).reshape(-1, count, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """What stands before the first run of blocks of a JPEG picture.

    Attributes
    ----------
    data : bytes
        All of it.
    frame : int
        Where in it the frame begins.
    interval : int
        Blocks (MCUs) from one restart marker to the next; zero if there are no markers.
    """

    data: bytes
    frame: int
    interval: int

    def tile(self, size: Size) -> Size:
        """Return (width, height) of the tiles of a picture of that.

        Raises
        ------
        DamagedSlideError
            If the frame states another size.
        UnsupportedSlideError
            If it is of another kind than Hamamatsu's are, or rows do not consist of whole
            tiles.
        """
        marker, bits, height, width, samples = struct.unpack_from(
            ">xB2xBHHB", self.data, self.frame
        )
        factors = self.data[self.frame + 11 : self.frame + 11 + 9 : 3]
        if marker not in _SEQUENTIAL or (bits, samples) != (8, 3) or 0 in factors:
            msg = "levels that are not sequential JPEG of three samples"
            raise _not_read(msg)
        if max(size) <= _LARGEST and size != (width, height):
            msg = f"a level of {size} pixels holds a picture of {(width, height)}"
            raise DamagedSlideError(msg)
        if not self.interval:
            if max(size) > _LARGEST:
                msg = "huge pictures without restart markers"
                raise _not_read(msg)
            return size
        tile = (
            8 * max(factor >> 4 for factor in factors) * self.interval,
            8 * max(factor & 15 for factor in factors),
        )
        if size[0] % tile[0] or size[1] % tile[1] or tile[0] > _LARGEST:
            msg = f"levels of {size} pixels with restart markers for tiles of {tile}"
            raise _not_read(msg)
        return tile

    def of_size(self, tile: Size) -> bytes:
        """Return the header of a picture of another (width, height), the frame first."""
        start = self.frame
        stop = start + 2 + int.from_bytes(self.data[start + 2 : start + 4], "big")
        sides = struct.pack(">HH", tile[1], tile[0])
        frame = self.data[start : start + 5] + sides + self.data[start + 9 : stop]
        return self.data[:2] + frame + self.data[2:start] + self.data[stop:]


def _not_read(what: str) -> UnsupportedSlideError:
    msg = f"{what} are not read natively"
    return UnsupportedSlideError(msg)


def _header(data: bytes) -> _Header:
    """Return the header of a JPEG picture, given its beginning.

    Raises
    ------
    DamagedSlideError
        If it is none.
    """
    at, frame, interval = 2, 0, 0
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        stop = at + 2 + length
        if marker in _FRAMES:
            frame = at
        elif marker == _INTERVAL:
            interval = int.from_bytes(data[at + 4 : at + 6], "big")
        elif marker == _SCAN and frame and stop <= len(data):
            return _Header(data=data[:stop], frame=frame, interval=interval)
        at = stop
    msg = (
        "a level does not begin as a JPEG picture does, or lies beyond the end of the file"
    )
    raise DamagedSlideError(msg)


def _starts(
    table: Any,  # noqa: ANN401 - untyped library
    source: ByteSource,
    *,
    span: tuple[int, int],
    count: int,
) -> IntArray:
    """Return where each of the tiles of a level begins.

    Parameters
    ----------
    table : array-like or None
        Lower halves of where they do, from the beginning of the picture.
    source : ByteSource
        The file.
    span : (int, int)
        Where the first tile begins, and the last ends.
    count : int
        How many there are.

    Raises
    ------
    DamagedSlideError
        If there is no table that can be right, and not that many are found.
    """
    first, stop = span
    stated = np.atleast_1d([] if table is None else table).astype(np.int64)
    if len(stated) == count:
        steps = np.diff(stated) & _WORD  # from a tile to the next it is never 4 GB
        starts = first + np.append(0, np.cumsum(steps))
        if (steps > 0).all() and starts[-1] < stop:
            return starts
    starts = np.append(first, _found(source, first, stop) if count > 1 else ())
    if len(starts) != count:
        msg = f"a level of {count} tiles has restart markers for {len(starts)}"
        raise DamagedSlideError(msg)
    return starts.astype(np.int64)


def _found(source: ByteSource, first: int, stop: int) -> IntArray:
    """Return what lies behind each restart marker in a range of bytes."""
    found = [np.zeros(0, dtype=np.int64)]
    stop = min(stop, source.state.nbytes)
    while first + 1 < stop:
        block = np.frombuffer(source.read(min(_BLOCK, stop - first), first), np.uint8)
        marks = (block[:-1] == 0xFF) & (block[1:] & 0xF8 == 0xD0)
        found.append(np.flatnonzero(marks) + first + 2)
        first += len(block) - 1  # a marker may lie across two blocks
    return np.concatenate(found)
