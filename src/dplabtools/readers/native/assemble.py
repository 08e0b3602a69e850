"""Which tiles serve which rectangles."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dplabtools._typing import BoolArray, IntArray, Size
from dplabtools.readers.native.areas import Area
from dplabtools.readers.native.cache import ALL_AROUND
from dplabtools.readers.native.levels import TiledLevel

__all__ = ["TilePlan", "plan_tiles"]

_APART = 2  # tiles: a patch of their size that begins in one reaches into the next
_DIRECTIONS = (
    _APART
    * np.array([step for step in itertools.product((-1, 0, 1), repeat=2) if any(step)]).T
)
_FROM_FIRST_PIXEL = (1, 0, 0, 1, 1, 1, 1)


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
        What goes from the tile to which rectangle: number of the rectangle; row and column
        in the tile; row and column in the rectangle; rows and columns. Columns are
        counted in bytes: a row of pixels is one piece.
    around : ndarray of int64, shape (t,)
        Which of the tiles at a distance of two from each, in eight directions, are in the
        plan too, or beyond the border of the level: a bit for each. All are set of a tile
        that several rectangles share out, as those of a grid without overlap do.
    blanks : ndarray of int64, shape (b, 7)
        Where rectangles show background, or copies do later: they stick out of an area,
        or tiles are not stored. As `copies`, from a tile whose rows are all the same.
    """

    tiles: IntArray
    starts: IntArray
    copies: IntArray
    around: IntArray
    blanks: IntArray


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
    parts = [_in_area(area, corners, sizes, columns=level.columns) for area in level.areas]
    number, copies, shown = parts[0] if len(parts) == 1 else _merged(parts, len(corners))
    stored = level.counts[number] != 0
    blanks = [_margins(*shown, sizes)]
    if not stored.all():
        blanks.append(copies[~stored] * _FROM_FIRST_PIXEL)
        number, copies = number[stored], copies[stored]
    order = np.lexsort((number, level.offsets[number]))
    number, copies = number[order], copies[order]
    changes = np.ones(len(number) + 1, dtype=np.bool_)
    np.not_equal(number[1:], number[:-1], out=changes[1:-1])
    starts = np.flatnonzero(changes)
    tiles = number[starts[:-1]]
    around = _around(tiles, level)
    around[_shared_out(copies, starts, tile=level.tile)] = ALL_AROUND
    return TilePlan(
        tiles=tiles,
        starts=starts,
        copies=copies,
        around=around,
        blanks=np.concatenate(blanks),
    )


def _in_area(
    area: Area, corners: IntArray, sizes: IntArray, *, columns: int
) -> tuple[IntArray, IntArray, tuple[IntArray, IntArray]]:
    """Find the tiles of an area that rectangles take.

    Returns
    -------
    number : ndarray of int64, shape (c,)
        A tile for each copy.
    copies : ndarray of int64, shape (c, 7)
        As those of `TilePlan`.
    shown : tuple of two ndarray of int64, shape (n, 2)
        (x, y) in each rectangle of the first pixel in the area, and after the last; the
        same where there is none.
    """
    # x and y are rows of these arrays: numpy takes its time for each pair
    origins, ends = np.ascontiguousarray(corners.T), (corners + sizes).T
    left_top, right_bottom = area.low[:, np.newaxis], area.high[:, np.newaxis]
    low = np.minimum(np.maximum(origins, left_top), right_bottom)
    high = np.maximum(np.minimum(ends, right_bottom), low)
    spans = [axis.span(*span) for axis, *span in zip(area.axes, low, high, strict=True)]
    first, stop = np.array(spans).swapaxes(0, 1)
    wide, tall = (stop - first) * (high > low)
    counts = wide * tall
    owner = np.repeat(np.arange(len(corners)), counts)
    nth = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    down, across = np.divmod(nth, wide[owner])
    place = first.take(owner, axis=1)
    place += (across, down)
    begin, end = low.take(owner, axis=1), high.take(owner, axis=1)
    source, number = np.empty_like(begin), np.zeros_like(owner)
    for n, axis in enumerate(area.axes):
        at = place[n]
        edge = axis.edges[at]
        np.maximum(begin[n], edge, out=begin[n])
        np.minimum(end[n], axis.edges[at + 1], out=end[n])
        np.add(begin[n] - edge, axis.skips[at], out=source[n])
        number += axis.tiles[at] * (1, columns)[n]
    target = begin - origins.take(owner, axis=1)
    copies = _table(owner, source, target, extent=end - begin)
    return number, copies, ((low - origins).T, (high - origins).T)


def _merged(
    parts: Sequence[tuple[IntArray, IntArray, tuple[IntArray, IntArray]]], count: int
) -> tuple[IntArray, IntArray, tuple[IntArray, IntArray]]:
    """Return what was found in several areas; of those that show, the last one counts."""
    number = np.concatenate([number for number, _, _ in parts])
    copies = np.concatenate([copies for _, copies, _ in parts])
    low, high = np.zeros((2, count, 2), dtype=np.int64)
    for _, _, (first, end) in parts:
        inside = (end > first).all(axis=1)
        low[inside], high[inside] = first[inside], end[inside]
    return number, copies, (low, high)


def _table(
    owner: IntArray, source: IntArray, target: IntArray, *, extent: IntArray
) -> IntArray:
    """Return copies as a table, out of rows of x and of y."""
    table = np.empty((len(owner), 7), dtype=np.int64)
    table[:, 0] = owner
    for column, points in ((1, source), (3, target), (5, extent)):
        table[:, column] = points[1]
        np.multiply(points[0], 3, out=table[:, column + 1])
    return table


def _margins(low: IntArray, high: IntArray, sizes: IntArray) -> IntArray:
    """Return where rectangles of these sizes lie outside `low` to `high`."""
    if ((low == 0) & (high == sizes)).all():  # as nearly always
        return np.zeros((0, 7), dtype=np.int64)
    outside = (high <= low).any(axis=1, keepdims=True)
    low, high = np.where(outside, 0, low), np.where(outside, 0, high)
    zero, (width, height) = np.zeros(len(sizes), dtype=np.int64), sizes.T
    middle = high[:, 1] - low[:, 1]
    strips = (  # x, y, width, height: above, below, to the left, to the right
        (zero, zero, width, low[:, 1]),
        (zero, high[:, 1], width, height - high[:, 1]),
        (zero, low[:, 1], low[:, 0], middle),
        (high[:, 0], low[:, 1], width - high[:, 0], middle),
    )
    boxes = np.stack([np.concatenate(column) for column in zip(*strips, strict=True)])
    some = np.flatnonzero((boxes[2:] > 0).all(axis=0))
    target, extent = boxes[:2, some], boxes[2:, some]
    return _table(some % len(sizes), np.zeros_like(target), target, extent=extent)


def _around(tiles: IntArray, level: TiledLevel) -> IntArray:
    """Return which tiles at a distance of two are there too, a bit for each direction.

    Of strips none: a patch takes a small part of each, and those beside it the rest.
    """
    if not len(tiles) or level.strips:
        return np.zeros(len(tiles), dtype=np.int64)
    row, column = np.divmod(tiles, level.columns)
    rows = len(level.counts) // level.columns
    top, bottom = int(row.min()) - _APART, int(row.max()) + _APART
    width = level.columns + 2 * _APART
    here = np.zeros((bottom - top + 1, width), dtype=np.bool_)
    here[: max(0, -top)] = here[max(0, rows - top) :] = True
    here[:, :_APART] = here[:, -_APART:] = True
    flat, spots = here.reshape(-1), (row - top) * width + column + _APART
    flat[spots] = True
    down, across = _DIRECTIONS
    found = flat[spots[:, np.newaxis] + (down * width + across)]
    return np.packbits(found, axis=1, bitorder="little")[:, 0].astype(np.int64)


def _shared_out(copies: IntArray, starts: IntArray, *, tile: Size) -> BoolArray:
    """Tell which tiles several rectangles share out: all of each, and no pixel twice.

    Parameters
    ----------
    copies, starts : ndarray of int64
        As those of `TilePlan`.
    tile : (int, int)
        (width, height) of a tile.
    """
    shared: BoolArray = starts[1:] - starts[:-1] > 1
    if not shared.any():
        return shared
    _, y, x, _, _, rows, columns = copies.T
    pitch, nbytes = tile[0] * 3, tile[0] * 3 * tile[1]
    begin, area = y * pitch + x, rows * columns
    end = begin + (rows - 1) * pitch + columns
    shared &= np.minimum.reduceat(begin, starts[:-1]) == 0
    shared &= np.maximum.reduceat(end, starts[:-1]) == nbytes
    shared &= np.add.reduceat(area, starts[:-1]) == nbytes
    return shared
