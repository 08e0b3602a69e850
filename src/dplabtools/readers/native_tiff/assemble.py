"""Which tiles serve which rectangles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from dplabtools._typing import BoolArray, IntArray, Pixels
from dplabtools.readers.native_tiff.index import TiledLevel

__all__ = ["Copy", "TilePlan", "copy_rectangles", "plan_tiles"]

Copy: TypeAlias = tuple[int, int, int, int, int, int, int]
"""Rectangle; row and column in the tile; row and column in the rectangle; rows and columns.

Columns are counted in bytes: a row of pixels is one piece.
"""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TilePlan:
    """The tiles that a number of rectangles take, in the order of the file.

    Attributes
    ----------
    tiles : ndarray of int64, shape (t,)
        Numbers of the tiles, each once.
    starts : ndarray of int64, shape (t + 1,)
        Where in `copies` those of each tile begin.
    copies : ndarray of int64, shape (c, 7)
        What goes from the tile to which rectangle; see `Copy`.
    inner : ndarray of bool, shape (t,)
        All neighbours of the tile are in the plan too. Rectangles that are read later
        will hardly need it.
    gaps : ndarray of int64
        Rectangles that the tiles do not fill: they stick out, or tiles are not stored.
    """

    tiles: IntArray
    starts: IntArray
    copies: IntArray
    inner: BoolArray
    gaps: IntArray

    def share(self, first: int, last: int) -> Iterator[tuple[int, bool, list[Copy]]]:
        """Yield number, `inner` and copies of tiles `first` to `last`."""
        bounds = self.starts[first : last + 1].tolist()
        base = bounds[0]
        copies = self.copies[base : bounds[-1]].tolist()
        for place, number in enumerate(self.tiles[first:last].tolist()):
            begin, end = bounds[place] - base, bounds[place + 1] - base
            yield number, bool(self.inner[first + place]), copies[begin:end]


def plan_tiles(level: TiledLevel, corners: IntArray, sizes: IntArray) -> TilePlan:
    """Find the tiles of a level that a number of rectangles take.

    Parameters
    ----------
    level : TiledLevel
        The level.
    corners : ndarray of int64, shape (n, 2)
        (x, y) of the top-left corners, in pixels of the level; anywhere.
    sizes : ndarray of int64, shape (n, 2)
        (width, height).
    """
    tile, columns = np.array(level.codec.tile), level.columns
    low = np.clip(corners, 0, level.size)
    high = np.clip(corners + sizes, low, level.size)
    first = low // tile
    spans = np.where((high > low).all(axis=1, keepdims=True), -(-high // tile) - first, 0)
    counts = spans.prod(axis=1)
    owner = np.repeat(np.arange(len(corners)), counts)
    nth = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    wide = spans[owner, 0]
    place = first[owner] + np.stack((nth % wide, nth // wide), axis=1)
    number = place[:, 1] * columns + place[:, 0]

    stored = np.flatnonzero(level.counts[number])
    order = stored[np.lexsort((number[stored], level.offsets[number[stored]]))]
    owner, place, number = owner[order], place[order], number[order]
    begin = np.maximum(low[owner], place * tile)
    extent = np.minimum(high[owner], (place + 1) * tile) - begin
    in_tile, in_rectangle = begin - place * tile, begin - corners[owner]
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    tiles = number[starts]
    filled = np.bincount(owner, weights=extent.prod(axis=1), minlength=len(corners))
    return TilePlan(
        tiles=tiles,
        starts=np.append(starts, len(number)),
        copies=np.stack(
            (
                *(owner, in_tile[:, 1], in_tile[:, 0] * 3),
                *(in_rectangle[:, 1], in_rectangle[:, 0] * 3),
                *(extent[:, 1], extent[:, 0] * 3),
            ),
            axis=1,
        ),
        inner=_surrounded(tiles, columns),
        gaps=np.flatnonzero(filled < sizes.prod(axis=1)),
    )


def _surrounded(tiles: IntArray, columns: int) -> BoolArray:
    """Tell of which tiles all eight neighbours are there too."""
    steps = [row * columns + column for row in (-1, 0, 1) for column in (-1, 0, 1)]
    around = tiles[:, np.newaxis] + np.array(steps)
    return np.asarray(np.isin(around, tiles).all(axis=1))


def copy_rectangles(tile: Pixels, copies: Sequence[Copy], outs: Sequence[Pixels]) -> None:
    """Copy parts of a tile to where they are needed.

    Parameters
    ----------
    tile : ndarray of uint8, shape (height, width * 3)
        Pixels of the tile.
    copies : sequence of Copy
        What goes where.
    outs : sequence of ndarray of uint8, shape (height, width * 3)
        Pixels of the rectangles.
    """
    for rectangle, y, x, row, column, rows, columns in copies:
        part = tile[y : y + rows, x : x + columns]
        outs[rectangle][row : row + rows, column : column + columns] = part
