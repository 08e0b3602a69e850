from __future__ import annotations

import numpy as np

from dplabtools._typing import Pixels
from dplabtools.readers.native.cache import ALL_AROUND, TileCache

SIZE = (10, 10)
TILE = 300  # bytes


def tile(value: int) -> Pixels:
    return np.full((10, 10, 3), value, np.uint8)


def test_a_tile_that_was_taken_is_nobody_elses() -> None:
    cache = TileCache(10 * TILE, 10 * TILE)
    cache.keep((0, 0, 1), tile(1), 3)
    found = cache.take((0, 0, 1))
    assert found is not None
    assert (found[0] == 1).all()
    assert found[1] == 3
    assert cache.take((0, 0, 1)) is None
    assert cache.nbytes == 0


def test_a_tile_that_met_all_its_neighbours_is_not_kept() -> None:
    cache = TileCache(10 * TILE, 10 * TILE)
    cache.keep((0, 0, 1), tile(1), ALL_AROUND)
    assert cache.take((0, 0, 1)) is None


def test_those_unused_for_longest_make_room() -> None:
    cache = TileCache(3 * TILE, 3 * TILE)
    for number in (1, 2, 3):
        cache.keep((0, 0, number), tile(number), 0)
    again = cache.take((0, 0, 1))
    assert again is not None
    cache.keep((0, 0, 1), *again)
    cache.keep((0, 0, 4), tile(4), 0)
    assert cache.take((0, 0, 2)) is None
    assert all(cache.take((0, 0, number)) is not None for number in (1, 3, 4))


def test_more_is_kept_once_tiles_are_missed_and_no_more_than_allowed() -> None:
    cache = TileCache(2 * TILE, 7 * TILE)
    for _ in range(3):
        for number in range(4):
            if (found := cache.take((0, 0, number))) is None:
                found = tile(number), 0
            cache.keep((0, 0, number), *found)
            assert cache.nbytes <= 7 * TILE
    assert all(cache.take((0, 0, number)) is not None for number in range(4))
    for number in range(100):
        cache.take((0, 0, number % 7))
        cache.keep((0, 0, number % 7), tile(number), 0)
    assert cache.nbytes == 7 * TILE


def test_tiles_that_nobody_asks_for_again_make_nothing_grow() -> None:
    cache = TileCache(2 * TILE, 7 * TILE)
    for number in range(100):
        cache.keep((0, 0, number), tile(number), 0)
    assert cache.take((0, 0, 3)) is None  # too long ago
    cache.keep((0, 0, 100), tile(1), 0)
    assert cache.nbytes == 2 * TILE


def test_memory_is_used_again_and_never_by_two() -> None:
    cache = TileCache(3 * TILE, 3 * TILE)
    first, second = cache.room(SIZE), cache.room(SIZE)
    assert not np.shares_memory(first, second)
    cache.keep((0, 0, 1), first, 0)
    cache.keep((0, 0, 2), second, ALL_AROUND)
    third, fourth = cache.room(SIZE), cache.room(SIZE)
    assert np.shares_memory(third, second)
    assert not any(np.shares_memory(fourth, other) for other in (first, third))
    assert cache.room((11, 10)).shape == (10, 11, 3)


def test_no_more_than_the_bound_is_held() -> None:
    cache = TileCache(3 * TILE, 3 * TILE)
    rooms = [cache.room(SIZE) for _ in range(9)]
    for number, pixels in enumerate(rooms):
        if number % 2:
            cache.keep((0, 0, number), pixels, 0)
        else:
            cache.give_back(pixels)
        assert cache.nbytes <= 3 * TILE
    cache.keep((0, 0, 99), np.zeros((20, 20, 3), np.uint8), 0)  # more than all of it
    assert cache.take((0, 0, 99)) is None


def test_the_tiles_of_a_closed_slide_are_dropped() -> None:
    cache = TileCache(10 * TILE, 10 * TILE)
    mine, other = cache.new_owner(), cache.new_owner()
    cache.keep((mine, 0, 1), tile(1), 0)
    cache.keep((other, 0, 1), tile(2), 0)
    cache.drop(mine)
    assert cache.take((mine, 0, 1)) is None
    assert cache.take((other, 0, 1)) is not None
