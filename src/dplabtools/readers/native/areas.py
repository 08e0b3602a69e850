"""Where the tiles of a level lie in it.

A level has one or several areas, each a grid of tiles that begins anywhere; the rest is
background. No two areas share a pixel: what one hides of another is cut off that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dplabtools._typing import IntArray, Size

__all__ = ["Area", "Mosaic", "TileAxis", "without_hidden"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TileAxis:
    """The columns or the rows of tiles of an area.

    Attributes
    ----------
    edges : ndarray of int64, shape (n + 1,)
        First pixel of the level that each shows, and the one after the last; ascending.
    tiles : ndarray of int64, shape (n,)
        Which column or row of the tiles of the level each is.
    skips : ndarray of int64, shape (n,)
        Pixels of a tile before the first that is shown.
    """

    edges: IntArray
    tiles: IntArray
    skips: IntArray

    @classmethod
    def side_by_side(
        cls, length: int, tile: int, *, begin: int = 0, first: int = 0
    ) -> TileAxis:
        """Return whole tiles, one behind the other.

        Parameters
        ----------
        length, tile : int
            Of all of them and of one, in pixels; the last one may be cut.
        begin : int, default 0
            First pixel in the level.
        first : int, default 0
            Column or row of the first tile.
        """
        count = -(-length // tile)
        return cls(
            edges=begin + np.minimum(np.arange(count + 1) * tile, length),
            tiles=np.arange(first, first + count),
            skips=np.zeros(count, dtype=np.int64),
        )

    def part(self, low: int, high: int) -> TileAxis:
        """Return what lies from one pixel of it to before another."""
        first, stop = self.span(np.array([low]), np.array([high]))
        some = slice(int(first[0]), int(stop[0]))
        edges = np.clip(self.edges[some.start : some.stop + 1], low, high)
        skips = self.skips[some] + edges[:-1] - self.edges[some]
        return TileAxis(edges=edges, tiles=self.tiles[some], skips=skips)

    def span(self, low: IntArray, high: IntArray) -> tuple[IntArray, IntArray]:
        """Return its first column or row in ranges of pixels, and that after the last."""
        first = np.searchsorted(self.edges, low, side="right") - 1
        return first, np.searchsorted(self.edges, high, side="left")

    def whole_at(self, pixels: IntArray, tile: int) -> tuple[IntArray, IntArray]:
        """Return which tiles pixels lie in, and whether these begin there and are whole."""
        inside = np.clip(pixels, self.edges[0], self.edges[-1] - 1)
        place = self.span(inside, inside)[0]
        whole = (self.edges[place] == pixels) & (self.skips[place] == 0)
        return self.tiles[place], whole & (np.diff(self.edges)[place] == tile)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Area:
    """A part of a level that is a grid of tiles.

    Attributes
    ----------
    columns, rows : TileAxis
        Its tiles.
    """

    columns: TileAxis
    rows: TileAxis

    @property
    def axes(self) -> tuple[TileAxis, TileAxis]:
        """Its columns and rows."""
        return self.columns, self.rows

    @property
    def low(self) -> IntArray:
        """(x, y) of its first pixel."""
        return np.array([axis.edges[0] for axis in self.axes])

    @property
    def high(self) -> IntArray:
        """(x, y) after its last pixel."""
        return np.array([axis.edges[-1] for axis in self.axes])

    def without(self, other: Area) -> list[Area]:
        """Return the parts of it that another area does not hide."""
        (left, top), (right, bottom) = self.low.tolist(), self.high.tolist()
        low = np.maximum(self.low, other.low).tolist()
        high = np.minimum(self.high, other.high).tolist()
        if low[0] >= high[0] or low[1] >= high[1]:
            return [self]
        boxes = (  # above, below, to the left, to the right
            ((left, right), (top, low[1])),
            ((left, right), (high[1], bottom)),
            ((left, low[0]), (low[1], high[1])),
            ((high[0], right), (low[1], high[1])),
        )
        return [part for box in boxes for part in self._part(*box)]

    def within(self, size: Size) -> list[Area]:
        """Return the part of it, if any, that a level of (width, height) has room for."""
        return self._part((0, size[0]), (0, size[1]))

    def _part(self, across: tuple[int, int], down: tuple[int, int]) -> list[Area]:
        """Return what lies in ranges of pixels, each up to before its last."""
        low = np.maximum(self.low, (across[0], down[0]))
        high = np.minimum(self.high, (across[1], down[1]))
        if (low >= high).any():
            return []
        columns, rows = (
            axis.part(*ends)
            for axis, ends in zip(self.axes, zip(low, high, strict=True), strict=True)
        )
        return [Area(columns=columns, rows=rows)]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Mosaic:
    """A level that is more than one grid of whole tiles from corner to corner.

    Attributes
    ----------
    columns : int
        Tiles side by side, as those of the level are numbered.
    areas : tuple of Area
        They share no pixel.
    """

    columns: int
    areas: tuple[Area, ...]


def without_hidden(areas: Sequence[Area]) -> tuple[Area, ...]:
    """Return areas that share no pixel: of two that do, the later one hides the other."""
    shown: list[Area] = []
    for area in areas:
        shown = [part for each in shown for part in each.without(area)]
        shown.append(area)
    return tuple(shown)
