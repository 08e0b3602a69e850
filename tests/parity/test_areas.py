"""Tiles that lie anywhere show what painting them one over the other shows."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from dplabtools._typing import IntArray, Pixels
from dplabtools.readers.native.areas import Area, Mosaic, TileAxis, without_hidden
from dplabtools.readers.native.assemble import TilePlan, plan_tiles
from dplabtools.readers.native.decode import TileCodec
from dplabtools.readers.native.levels import TiledLevel

NONE, BACKGROUND = 1, 255
TILE = (7, 5)
COLUMNS = 6  # as tiles are numbered
CANVAS = (72, 60)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A level, what its tiles hold, and what it is by painting."""

    level: TiledLevel
    tiles: list[Pixels]
    painted: Pixels


def axis(chance: np.random.Generator, tile: int, *, first: int) -> TileAxis:
    """Return some columns or rows, of which each shows less than a tile."""
    count = int(chance.integers(1, COLUMNS + 1))
    steps = chance.integers(1, tile + 1, count)
    begin = int(chance.integers(0, 30))
    return TileAxis(
        edges=begin + np.append(0, np.cumsum(steps)),
        tiles=np.arange(first, first + count),
        skips=chance.integers(0, tile - steps + 1),
    )


def scene(seed: int, *, left_out: float = 0.2) -> Scene:
    chance = np.random.default_rng(seed)
    areas: list[Area] = []
    row = 0
    for _ in range(chance.integers(1, 5)):
        columns, rows = axis(chance, TILE[0], first=0), axis(chance, TILE[1], first=row)
        row += len(rows.tiles)
        areas.append(Area(columns=columns, rows=rows))
    count = row * COLUMNS
    tiles = list(chance.integers(0, 255, (count, TILE[1], TILE[0], 3), dtype=np.uint8))
    counts = np.where(chance.random(count) < left_out, 0, 9)
    level = TiledLevel(
        size=CANVAS,
        codec=TileCodec(compression=NONE, tile=TILE),
        offsets=chance.permutation(count) * 10,
        counts=counts,
        mosaic=Mosaic(columns=COLUMNS, areas=without_hidden(areas)),
    )
    painted = np.full((CANVAS[1], CANVAS[0], 3), BACKGROUND, dtype=np.uint8)
    for area in areas:
        for x, y in itertools.product(*(range(len(each.tiles)) for each in area.axes)):
            number = area.rows.tiles[y] * COLUMNS + area.columns.tiles[x]
            target, source = (
                tuple(slice(edges[at], edges[at + 1]) for edges, at in places)
                for places in (
                    ((area.rows.edges, y), (area.columns.edges, x)),
                    ((within(area.rows, y), 0), (within(area.columns, x), 0)),
                )
            )
            stored = counts[number] > 0
            painted[target] = tiles[number][source] if stored else BACKGROUND
    return Scene(level=level, tiles=tiles, painted=painted)


def within(each: TileAxis, at: int) -> tuple[int, int]:
    """Return the first pixel of a tile that is shown, and the one after the last."""
    skip = int(each.skips[at])
    return skip, skip + int(np.diff(each.edges)[at])


def drawn(plan: TilePlan, tiles: list[Pixels], sizes: IntArray) -> list[Pixels]:
    """Do what a plan says."""
    pictures = [np.zeros((h, w, 3), dtype=np.uint8) for w, h in sizes.tolist()]

    def copy(tile: Pixels, copies: IntArray) -> None:
        for item, y, x, row, column, rows, bytes_wide in copies.tolist():
            x, column, columns = x // 3, column // 3, bytes_wide // 3  # noqa: PLW2901
            part = tile[y : y + rows, x : x + columns]
            assert part.shape == (rows, columns, 3)
            pictures[item][row : row + rows, column : column + columns] = part

    copy(np.full((99, 99, 3), BACKGROUND, dtype=np.uint8), plan.blanks)
    for number, (begin, end) in zip(
        plan.tiles.tolist(), itertools.pairwise(plan.starts.tolist()), strict=True
    ):
        copy(tiles[number], plan.copies[begin:end])
    return pictures


def rectangles(seed: int) -> tuple[IntArray, IntArray]:
    chance = np.random.default_rng(seed)
    sizes = chance.integers(1, 40, (30, 2))
    return chance.integers(-20, 60, (30, 2)), sizes


@pytest.mark.parametrize("seed", range(40))
def test_areas_are_read_as_they_are_painted(seed: int) -> None:
    made = scene(seed)
    corners, sizes = rectangles(seed)
    plan = plan_tiles(made.level, corners, sizes)
    padded = np.pad(made.painted, ((90, 90), (90, 90), (0, 0)), constant_values=BACKGROUND)
    for picture, (x, y), (width, height) in zip(
        drawn(plan, made.tiles, sizes), corners.tolist(), sizes.tolist(), strict=True
    ):
        expected = padded[y + 90 : y + 90 + height, x + 90 : x + 90 + width]
        np.testing.assert_array_equal(picture, expected)


@pytest.mark.parametrize("seed", range(20))
def test_areas_share_no_pixel_and_cover_what_they_did(seed: int) -> None:
    areas = scene(seed).level.areas
    times = np.zeros(CANVAS[::-1], dtype=np.int64)
    for area in areas:
        (left, top), (right, bottom) = area.low.tolist(), area.high.tolist()
        times[top:bottom, left:right] += 1
    assert times.max() == 1


def test_a_rectangle_is_a_tile_only_where_all_of_it_shows() -> None:
    columns = TileAxis.side_by_side(20, TILE[0], begin=3)
    rows = TileAxis.side_by_side(15, TILE[1], begin=4, first=2)
    hidden = Area(
        columns=TileAxis.side_by_side(1, TILE[0], begin=10),
        rows=TileAxis.side_by_side(1, TILE[1], begin=9, first=9),
    )
    level = TiledLevel(
        size=CANVAS,
        codec=TileCodec(compression=NONE, tile=TILE),
        offsets=np.zeros(60, dtype=np.int64),
        counts=np.ones(60, dtype=np.int64),
        mosaic=Mosaic(
            columns=COLUMNS,
            areas=without_hidden([Area(columns=columns, rows=rows), hidden]),
        ),
    )
    corners = np.array([[3, 4], [10, 4], [17, 4], [10, 9], [3, 9], [4, 4], [3, 5], [3, 14]])
    found = level.tiles_at(corners, np.full((len(corners), 2), TILE))
    assert found.tolist() == [12, 13, -1, -1, -1, -1, -1, 24]
    assert level.tiles_at(corners[:1], np.array([[7, 4]])).tolist() == [-1]
    assert level.shrinks == ()
