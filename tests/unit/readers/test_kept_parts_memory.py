"""Where parts of regions wait that are read later."""

from __future__ import annotations

import numpy as np
import pytest

from dplabtools._typing import IntArray
from dplabtools.readers.native import kept_parts
from dplabtools.readers.native.kept_parts import KeptParts

LEVEL = 3, 0
BLOCK = 1000


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_parts, "_LARGEST", BLOCK)


def parts(count: int) -> tuple[IntArray, IntArray]:
    """Return calls, and copies of up to 40 rows of up to 100 pixels."""
    rng = np.random.default_rng(0)
    copies = np.zeros((count, 7), dtype=np.int64)
    copies[:, 5] = rng.integers(1, 41, count)
    copies[:, 6] = rng.integers(1, 101, count) * 3
    return rng.integers(5, 9, count), copies


def test_every_row_has_a_place_of_its_own() -> None:
    calls, copies = parts(300)
    nth, pieces, rooms = KeptParts().reserve(LEVEL, calls, copies, max_bytes=8 << 20)
    taken = np.zeros(16 << 20, dtype=np.int64)
    rows = np.zeros(len(copies), dtype=np.int64)
    for number, (_, start, first, width, height) in zip(
        nth.tolist(), pieces.tolist(), strict=True
    ):
        assert (width * 3, first) == (copies[number, 6], rows[number])
        rows[number] += height
        taken[start : start + width * height * 3] += 1
        assert start // BLOCK in rooms[int(calls[number])].numbers
        assert (start + width * height * 3 - 1) // BLOCK == start // BLOCK
    np.testing.assert_array_equal(rows, copies[:, 5])
    assert taken.max() == 1


def test_no_more_is_taken_than_is_allowed() -> None:
    calls, copies = parts(300)
    kept, most = KeptParts(), 500_000
    nth, _, rooms = kept.reserve(LEVEL, calls, copies, max_bytes=most)
    found = len(set(nth.tolist()))
    assert set(nth.tolist()) == set(range(found))  # the first ones
    _, _, more = kept.reserve(LEVEL, calls, copies, max_bytes=most)
    assert {id(room) for room in more.values()} == {id(room) for room in rooms.values()}
    taken = sum(len(room.numbers) for room in rooms.values()) * BLOCK
    assert 0.9 * most < taken <= most
    assert 0 < found < len(copies)


def test_memory_is_used_again_only_when_nobody_copies_any_more() -> None:
    calls, copies = parts(300)
    kept, most = KeptParts(), 500_000
    _, _, rooms = kept.reserve(LEVEL, calls, copies, max_bytes=most)
    free = next(iter(rooms.values())).blocks.free
    before = len(free)
    kept.drop(LEVEL[0])
    assert len(free) == before
    used = sum(len(room.numbers) for room in rooms.values())
    rooms.clear()
    assert len(free) == before + used


def test_what_was_for_earlier_calls_of_the_same_level_is_forgotten() -> None:
    calls, copies = parts(300)
    kept = KeptParts()
    for level in (LEVEL, (3, 1)):
        _, _, rooms = kept.reserve(level, calls, copies, max_bytes=8 << 20)
        assert sorted(rooms) == [5, 6, 7, 8]
    assert kept.of(LEVEL, 7).used
    for call, there in ((5, False), (6, False), (7, True), (8, True)):
        assert kept.of((3, 1), 5).used
        assert bool(kept.of(LEVEL, call).used) == there
