"""What the index of a slide consists of, whatever family its files are of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final, TypeVar

import numpy as np

from dplabtools._typing import BoolArray, IntArray, Point, Size
from dplabtools.errors import (
    AmbiguousSlideError,
    DamagedSlideError,
    SlideReadError,
    UnsupportedSlideError,
)
from dplabtools.readers.native.areas import Area, Mosaic, TileAxis, without_hidden
from dplabtools.readers.native.decode import TileCodec
from dplabtools.sources.base import ByteSource, RangeReader, SourceState

__all__ = [
    "CONTESTED",
    "NO_LENGTH",
    "NativeIndex",
    "StoredPicture",
    "TiledLevel",
    "check_extent",
    "check_tiles",
    "explained",
    "mosaic_of",
    "some_tiles",
]

_T = TypeVar("_T")
_LOOKED_AT = 3  # tiles of a level
_LARGEST_TILE = 8192  # pixels, each side
_LARGEST_LEVEL = 1 << 31  # pixels, each side
NO_LENGTH, CONTESTED = -1, -2
_UNREADABLE: Final = {
    NO_LENGTH: "a tile is stored, and has no length",
    CONTESTED: "the bytes of a tile are in part those of something else",
}


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
        Where each tile begins in the file, and its length, in bytes; row by row of the
        grid by which tiles are numbered: that of the level, if it is no mosaic. A
        length of zero stands for a tile of background, `NO_LENGTH` and `CONTESTED` for
        one that is damaged: it has an offset and no length, or lies across another.
    shrink : int
        By what tiles are shrunk in being decoded.
    strips : bool
        The tiles are as wide as the level, and the last is only as high as what is left.
    mosaic : Mosaic or None
        Where its tiles lie, unless they fill it side by side.
    pieces : ndarray of int64, shape (rows * columns, n, 2), or None
        Offset and length of the pieces, one below the other, that make each tile; a length
        of zero stands for none. `offsets` are those of the first, `counts` sums then.
    areas : tuple of Area
        Where its tiles lie.
    """

    size: Size
    codec: TileCodec
    offsets: IntArray
    counts: IntArray
    shrink: int = 1
    strips: bool = False
    mosaic: Mosaic | None = None
    pieces: IntArray | None = None
    areas: tuple[Area, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.mosaic is not None:
            areas = self.mosaic.areas
        else:
            columns, rows = map(TileAxis.side_by_side, self.size, self.tile)
            areas = (Area(columns=columns, rows=rows),)
        object.__setattr__(self, "areas", areas)

    @property
    def tile(self) -> Size:
        """Width and height of a decoded tile."""
        width, height = self.codec.tile
        return width // self.shrink, height // self.shrink

    @property
    def columns(self) -> int:
        """Tiles side by side, as they are numbered."""
        if self.mosaic is not None:
            return self.mosaic.columns
        return -(-self.size[0] // self.tile[0])

    @property
    def shrinks(self) -> tuple[int, ...]:
        """By what its tiles can be shrunk in being decoded, and lie where they did."""
        return () if self.strips or self.mosaic is not None else self.codec.shrinks

    def codec_of(self, number: int) -> TileCodec:
        """Return how a tile is stored: one at the end may be lower than others.

        So are strips, and tiles that consist of pieces.
        """
        if not self.strips and self.pieces is None:
            return self.codec
        height = self.tile[1]
        left = self.size[1] - number // self.columns * height
        if left >= height:
            return self.codec
        return replace(self.codec, tile=(self.codec.tile[0], left * self.shrink))

    def spots(self, numbers: IntArray) -> tuple[IntArray, IntArray]:
        """Return offsets and lengths of what is stored of tiles, in the order given.

        Those of pieces are in the order of the file.
        """
        if self.pieces is None:
            return self.offsets[numbers], self.counts[numbers]
        spots = self.pieces[numbers].reshape(-1, 2)
        spots = spots[spots[:, 1] > 0]
        offsets, counts = spots[np.argsort(spots[:, 0])].T
        return offsets, counts

    def stored(self, file: RangeReader, number: int) -> bytes:
        """Read what is stored of a tile, without heads of items.

        Raises
        ------
        EOFError, OSError
            As `RangeReader.read`.
        ValueError
            If it does not consist of items, and should, or has no length that can be its
            own.
        """
        count = self.counts.item(number)
        if not 0 < count <= self.codec.longest:
            msg = _UNREADABLE.get(count, f"a tile claims to have {count:,} bytes")
            raise ValueError(msg)
        if self.pieces is None:
            return self.codec.unwrapped(file.read(count, self.offsets.item(number)))
        spots = self.pieces[number].tolist()
        return b"".join(file.read(count, offset) for offset, count in spots if count)

    def prefetched(self, file: ByteSource, numbers: IntArray) -> RangeReader:
        """Return what tiles, in the order of the file, are read from."""
        return file.prefetch(*self.spots(numbers[self.readable(numbers)]))

    def readable(self, numbers: IntArray) -> BoolArray:
        """Tell which tiles have a length that can be theirs."""
        counts = self.counts[numbers]
        return (counts > 0) & (counts <= self.codec.longest)

    def shrunk(self, shrink: int) -> TiledLevel:
        """Return the same level, as it is with its tiles shrunk."""
        if shrink == self.shrink:
            return self
        width, height = (-(-length // shrink) for length in self.size)
        return replace(self, size=(width, height), shrink=shrink)

    def unsmoothed(self) -> TiledLevel:
        """Return the same level, as it is with each stored sample of chroma repeated."""
        return replace(self, codec=replace(self.codec, smooth=False))

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
        numbers = np.full(len(corners), -1)
        fits = (sizes == self.codec.tile).all(axis=1)
        for area in self.areas:
            (column, left), (row, top) = (
                axis.whole_at(pixels, tile)
                for axis, pixels, tile in zip(
                    area.axes, corners.T, self.codec.tile, strict=True
                )
            )
            whole = fits & left & top
            numbers[whole] = (row * self.columns + column)[whole]
        return numbers


def mosaic_of(parts: Sequence[tuple[Point, TiledLevel]], *, size: Size) -> TiledLevel:
    """Return a level that consists of others.

    Parameters
    ----------
    parts : sequence of ((int, int), TiledLevel)
        (x, y) of its corner in the new level, anywhere, and each; a later one hides what
        it lies across.
    size : (int, int)
        (width, height) of the new level.

    Raises
    ------
    DamagedSlideError
        If no level has this size.
    UnsupportedSlideError
        If their tiles are not all stored alike.
    """
    levels = [level for _, level in parts]
    codec = levels[0].codec
    check_extent(size, codec.tile)
    if any(level.codec != codec for level in levels):
        msg = "areas whose tiles are not stored alike are not read natively"
        raise UnsupportedSlideError(msg)
    columns, row = max(level.columns for level in levels), 0
    areas: list[Area] = []
    spots: list[IntArray] = []
    for corner, level in parts:
        grid = np.stack((level.offsets, level.counts)).reshape(2, -1, level.columns)
        spots.append(np.pad(grid, ((0, 0), (0, 0), (0, columns - level.columns))))
        across, down = (
            TileAxis.side_by_side(length, tile, begin=begin, first=first)
            for length, tile, begin, first in zip(
                level.size, level.tile, corner, (0, row), strict=True
            )
        )
        area = Area(columns=across, rows=down)
        areas += area.within(size)
        row += grid.shape[1]
    offsets, counts = np.concatenate(spots, axis=1).reshape(2, -1)
    shown = without_hidden(areas)
    mosaic = Mosaic(columns=columns, areas=shown)
    return TiledLevel(size=size, codec=codec, offsets=offsets, counts=counts, mosaic=mosaic)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StoredPicture:
    """An associated image that is stored as levels are.

    Attributes
    ----------
    level : TiledLevel
        The picture.
    icc_profile : bytes or None
        Its colour profile.
    """

    level: TiledLevel
    icc_profile: bytes | None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NativeIndex:
    """What it takes to read a slide; small, and sent to other processes as it is.

    Attributes
    ----------
    file : SourceState
        What the file was when it was made of it.
    names : tuple of str
        Of the files that the slide lies in, one behind the other, where these are several;
        all are in one folder.
    levels : tuple of TiledLevel
        Finest first.
    associated : mapping of str to int, StoredPicture or bytes
        Page of each associated image, or where its tiles lie, or it itself as JPEG.
    properties : mapping of str to str
        By the names that OpenSlide gives them.
    icc_profile : bytes or None
        Colour profile of level 0.
    downsamples : tuple of float
        Level 0 pixels per pixel of each level, where these are not those of its size.
    """

    library: ClassVar[str] = "native"

    file: SourceState
    levels: tuple[TiledLevel, ...]
    associated: Mapping[str, int | StoredPicture | bytes]
    properties: Mapping[str, str]
    icc_profile: bytes | None
    names: tuple[str, ...] = ()
    downsamples: tuple[float, ...] = ()


_REMEDIES: Final[Mapping[type[UnsupportedSlideError], str]] = {
    UnsupportedSlideError: 'try another config.slide_library, such as "auto"',
    AmbiguousSlideError: (
        "save what is wanted of it as a file of 8-bit RGB or grey; no other library is "
        "asked, as it would choose without saying so (config.slide_library names one)"
    ),
    DamagedSlideError: (
        "get a whole copy of it; no other library is asked, as it might show something "
        'else (config.slide_library = "openslide" asks that one all the same)'
    ),
}


def explained(find: Callable[[], _T], *, slide: str) -> _T:
    """Return what a search for tiles returns, or say what hinders it.

    Parameters
    ----------
    find : callable
        The search.
    slide : str
        Name of the slide.

    Raises
    ------
    UnsupportedSlideError
        With the name and a remedy; `DamagedSlideError` if a parser fails somehow.
    SlideReadError
        If the slide is remote, and cannot be read.
    """
    cause: Exception
    try:
        return find()
    except UnsupportedSlideError as error:
        cause, kind, reason, details = error, type(error), error.message, ""
    except (MemoryError, SlideReadError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a parser makes of a broken file
        cause, kind = error, DamagedSlideError
        reason, details = "what it says of its tiles cannot be made out", str(error)
    raise kind(reason, slide=slide, details=details, remedy=_REMEDIES[kind]) from cause


def check_extent(size: Size, tile: Size) -> None:
    """Raise if a level cannot have this (width, height), in tiles of that.

    Raises
    ------
    DamagedSlideError
        If so.
    UnsupportedSlideError
        If the tiles are too large to be read here.
    """
    absurd = any(t > max(_LARGEST_TILE, 2 * s) for t, s in zip(tile, size, strict=True))
    if min(*size, *tile) < 1 or max(size) >= _LARGEST_LEVEL or absurd:
        msg = f"a level of {size} pixels in tiles of {tile} cannot be"
        raise DamagedSlideError(msg)
    if tile[0] * tile[1] > _LARGEST_TILE**2:
        msg = f"tiles of {tile} pixels are not read natively"
        raise UnsupportedSlideError(msg)


def check_tiles(levels: Sequence[TiledLevel], source: ByteSource) -> None:
    """Raise if the tiles of a level are of a kind that is not read here.

    It takes several that agree: a single one may be damaged.

    Raises
    ------
    UnsupportedSlideError
        If so.
    """
    for level, tiles in zip(levels, some_tiles(levels, source), strict=True):
        refusals = [level.codec.refusal(data) for data in tiles]
        for refusal in refusals:
            if refusal is not None and all(str(each) == str(refusal) for each in refusals):
                raise refusal


def some_tiles(levels: Sequence[TiledLevel], source: ByteSource) -> Iterator[list[bytes]]:
    """Yield some tiles of each level, as they are stored."""
    samples = [_samples(level, source.state.nbytes) for level in levels]
    ahead = source.prefetch(*np.concatenate(samples, axis=1))
    for level, (offsets, counts) in zip(levels, samples, strict=True):
        tiles: list[bytes] = []
        for offset, count in zip(offsets.tolist(), counts.tolist(), strict=True):
            with suppress(ValueError):
                tiles.append(level.codec.unwrapped(ahead.read(count, offset)))
        yield tiles


def _samples(level: TiledLevel, file_bytes: int) -> tuple[IntArray, IntArray]:
    """Return where some tiles of a level begin, and how many bytes they have.

    The last ones: the directory of a level often lies behind them, and has been read.
    """
    numbers = np.flatnonzero(level.counts > 0)[-_LOOKED_AT:]
    offsets = level.offsets[numbers]
    counts = np.minimum(level.counts[numbers], level.codec.longest)
    return offsets, np.clip(counts, 0, np.maximum(file_bytes - offsets, 0))
