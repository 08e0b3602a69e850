from __future__ import annotations

import numpy as np

from dplabtools.readers.native.cache import ALL_AROUND, DecodedTile, TileCache

SIZE = (10, 10)
TILE = 300  # bytes
LEVEL = (0, 0)


def tile(value: int, around: int = 0) -> DecodedTile:
    made = DecodedTile.of(np.full((10, 10, 3), value, np.uint8))
    made.around = around
    return made


def take(cache: TileCache, number: int) -> DecodedTile | None:
    return cache.take(LEVEL, [number]).get(number)


def test_a_tile_that_was_taken_is_nobody_elses() -> None:
    cache = TileCache(10 * TILE, 10 * TILE)
    cache.keep(LEVEL, 1, tile(1, 3))
    found = cache.take(LEVEL, [0, 1, 2])
    assert list(found) == [1]
    assert (found[1].pixels == 1).all()
    assert found[1].around == 3
    assert not cache.take(LEVEL, [0, 1, 2])
    assert cache.nbytes == 0


def test_a_tile_that_met_all_its_neighbours_is_not_kept() -> None:
    cache = TileCache(10 * TILE, 10 * TILE)
    cache.keep(LEVEL, 1, tile(1, ALL_AROUND))
    assert take(cache, 1) is None


def test_of_two_that_decoded_the_same_tile_one_keeps_the_memory() -> None:
    cache = TileCache(10 * TILE, 10 * TILE)
    assert cache.keep(LEVEL, 1, tile(1))
    assert not cache.keep(LEVEL, 1, tile(1))
    assert cache.nbytes == TILE


def test_those_unused_for_longest_make_room() -> None:
    cache = TileCache(3 * TILE, 3 * TILE)
    for number in (1, 2, 3):
        cache.keep(LEVEL, number, tile(number))
    again = take(cache, 1)
    assert again is not None
    cache.keep(LEVEL, 1, again)
    cache.keep(LEVEL, 4, tile(4))
    assert take(cache, 2) is None
    assert set(cache.take(LEVEL, (1, 3, 4))) == {1, 3, 4}


def test_more_is_kept_once_tiles_are_missed_and_no_more_than_allowed() -> None:
    cache = TileCache(2 * TILE, 7 * TILE)
    for _ in range(3):
        for number in range(4):
            cache.keep(LEVEL, number, take(cache, number) or tile(number))
            assert cache.nbytes <= 7 * TILE
    assert set(cache.take(LEVEL, range(4))) == set(range(4))
    for number in range(100):
        take(cache, number % 7)
        cache.keep(LEVEL, number % 7, tile(number))
    assert cache.nbytes == 7 * TILE


def test_tiles_that_nobody_asks_for_again_make_nothing_grow() -> None:
    cache = TileCache(2 * TILE, 7 * TILE)
    for number in range(100):
        cache.keep(LEVEL, number, tile(number))
    assert take(cache, 3) is None  # too long ago
    cache.keep(LEVEL, 100, tile(1))
    assert cache.nbytes == 2 * TILE


def test_memory_is_used_again_and_never_by_two() -> None:
    cache = TileCache(3 * TILE, 3 * TILE)
    first, second = cache.room(SIZE), cache.room(SIZE)
    assert not np.shares_memory(first.pixels, second.pixels)
    second.around = ALL_AROUND
    cache.keep(LEVEL, 1, first)
    assert not cache.keep(LEVEL, 2, second)
    cache.give_back(second)
    third, fourth = cache.room(SIZE), cache.room(SIZE)
    assert np.shares_memory(third.pixels, second.pixels)
    assert third.around == 0
    others = (first.pixels, third.pixels)
    assert not any(np.shares_memory(fourth.pixels, other) for other in others)
    assert cache.room((11, 10)).pixels.shape == (10, 11, 3)


def test_no_more_than_the_bound_is_held() -> None:
    cache = TileCache(3 * TILE, 3 * TILE)
    rooms = [cache.room(SIZE) for _ in range(9)]
    for number, made in enumerate(rooms):
        if number % 2:
            cache.keep(LEVEL, number, made)
        else:
            cache.give_back(made)
        assert cache.nbytes <= 3 * TILE
    # more than all of it
    cache.keep(LEVEL, 99, DecodedTile.of(np.zeros((20, 20, 3), np.uint8)))
    assert take(cache, 99) is None


def test_the_tiles_of_a_closed_slide_are_dropped() -> None:
    cache = TileCache(10 * TILE, 10 * TILE)
    mine, other = (cache.new_owner(), 0), (cache.new_owner(), 0)
    cache.keep(mine, 1, tile(1))
    cache.keep(other, 1, tile(2))
    cache.drop(mine[0])
    assert not cache.take(mine, [1])
    assert cache.take(other, [1])
