"""Tests of which tiles serve which rectangles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dplabtools.readers.native.assemble import TilePlan, plan_tiles
from dplabtools.readers.native.cache import ALL_AROUND
from dplabtools.readers.native.families import open_indexed
from dplabtools.testing.make_slide import make_slide

TILE, TILES = 64, 6


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slide")
    return make_slide(folder / "slide.svs", size=(TILE * TILES, TILE * TILES), tile=TILE)


def plan(slide: Path, first: int, last: int) -> TilePlan:
    """Plan a square of whole tiles."""
    corner, side = [first * TILE, first * TILE], (last - first) * TILE
    level = open_indexed(slide)[1].levels[0]
    return plan_tiles(level, np.array([corner]), np.array([[side, side]]))


def test_whoever_reads_a_level_meets_all_around_each_tile(slide: Path) -> None:
    found = plan(slide, 0, TILES)
    assert found.tiles.tolist() == list(range(TILES * TILES))
    assert (found.around == ALL_AROUND).all()
    assert len(found.blanks) == 0


def test_what_lies_beyond_the_border_of_a_level_counts_as_met(slide: Path) -> None:
    met = {first: plan(slide, first, first + 1).around[0].item() for first in (0, 2, 5)}
    assert met[2] == 0
    assert met[0].bit_count() == met[5].bit_count() == 5
    assert met[0] | met[5] == ALL_AROUND


def grid(slide: Path, step: int) -> dict[int, int]:
    """Plan three by three patches in steps; return what is around each tile."""
    level = open_indexed(slide)[1].levels[0]
    along = 70 + step * np.arange(3)
    corners = np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2)
    found = plan_tiles(level, corners, np.full_like(corners, TILE))
    return dict(zip(found.tiles.tolist(), found.around.tolist(), strict=True))


def test_tiles_that_patches_share_out_are_not_needed_again(slide: Path) -> None:
    around = grid(slide, TILE)
    assert len(around) == 16
    inner = {row * TILES + column for row in (2, 3) for column in (2, 3)}
    assert {around[number] for number in inner} == {ALL_AROUND}
    assert around[TILES + 2] != ALL_AROUND  # on the border of what is read


def test_tiles_of_patches_that_overlap_may_be_needed_again(slide: Path) -> None:
    assert grid(slide, TILE // 2)[2 * TILES + 2] != ALL_AROUND


@pytest.mark.parametrize("below", [0, TILE // 2])
def test_half_of_a_tile_twice_is_not_all_of_it(slide: Path, below: int) -> None:
    level = open_indexed(slide)[1].levels[0]
    corners = np.array([(2 * TILE, 2 * TILE + below)] * 2)
    found = plan_tiles(level, corners, np.full_like(corners, (TILE, TILE // 2)))
    assert found.around.tolist() != [ALL_AROUND]
