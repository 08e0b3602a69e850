from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dplabtools.extraction.slot_pool import SlotPool
from dplabtools.extraction.window import Piece, Window


def piece(lane: int, *places: int, slide: int = 0) -> Piece:
    return Piece(slide=slide, lane=lane, rows=np.array(places), places=np.array(places))


@pytest.fixture
def window() -> Window:
    """Two batches of four patches, of which one has memory."""
    window = Window(SlotPool((4, 1, 1, 1, 3), 2), least=4)
    window.plan(np.zeros(8, np.int64), np.arange(8), there=np.ones(8, bool), together=8)
    window.open()
    return window


def test_a_part_is_for_a_worker_that_has_nothing_to_do(window: Window) -> None:
    window.pieces = [piece(0, 0, 4), piece(1, 1, 5), piece(0, 2, 3, 6, 7)]
    taken = [window.part(busy) for busy in ({0}, {1}, {1})]
    assert [part.places.tolist() for part in taken if part] == [[1], [0], [2, 3]]
    assert window.part(()) is None
    assert [rest.places.tolist() for rest in window.pieces] == [[6, 7], [4], [5]]


def test_a_part_of_what_is_read_in_order_is_for_its_own_worker(window: Window) -> None:
    window.pieces = [replace(piece(0, 0, 1, 4), call=0), replace(piece(1, 2, 5), call=0)]
    own = window.part({0})
    assert own is not None
    assert own.lane == 1
    assert window.part({0}) is None
    assert window.part(()) is not None


def test_pieces_take_turns(window: Window) -> None:
    window.pieces = [piece(0, 0, 1, 4), piece(0, 2, 5), piece(0, 3, 6, 7)]
    for expected in ([0, 1], [2], [3]):
        part = window.part(())
        assert part is not None
        assert part.places.tolist() == expected
        window.note_read(part, failed=np.zeros(len(expected), np.bool_))
    batch = window.complete(in_turn=True)
    assert batch is not None
    assert batch.rows.tolist() == [0, 1, 2, 3]


def test_pieces_take_turns_forth_and_back() -> None:
    window = Window(SlotPool((4, 1, 1, 1, 3), 3), least=12)
    slides = np.tile([0, 0, 0, 1], 3)
    window.plan(slides, np.arange(12), there=np.ones(12, bool), together=12)
    window.pieces = [piece(0, n, n + 4, n + 8) for n in range(3)]
    window.pieces.append(piece(0, 3, 7, 11, slide=1))
    found = []
    for _ in range(2):
        window.open()
        while (part := window.part(())) is not None:
            found.append(part.places.tolist())
    assert found == [[0], [1], [2], [3], [6], [5], [4], [7]]
    assert [rest.places.tolist() for rest in window.pieces] == [[8], [9], [10], [11]]


def test_nothing_is_begun_while_batches_wait_for_the_caller(window: Window) -> None:
    window.pieces = [piece(0, 0, 1, 2, 3, 4), piece(1, 5, 6, 7)]
    first = window.part(())
    assert first is not None
    window.note_read(first, failed=np.zeros(4, np.bool_))
    window.open()
    assert window.part(()) is None


def test_no_part_of_a_slide_is_read_before_its_turn() -> None:
    window = Window(SlotPool((4, 1, 1, 1, 3), 3), least=12)
    window.plan(np.repeat([0, 1], 8), np.arange(16), there=np.ones(16, bool), together=12)
    for _ in range(3):
        window.open()
    window.pieces = [piece(0, *range(8, 16), slide=1)]
    for begin in (0, 4):
        assert window.part(()) is None
        read = piece(0, *range(begin, begin + 4))
        window.note_read(read, failed=np.zeros(4, np.bool_))
        assert window.complete(in_turn=True) is not None
    part = window.part(())
    assert part is not None
    assert part.places.tolist() == [8, 9, 10, 11]


def test_patches_of_a_batch_do_not_begin_with_a_vector() -> None:
    pool = SlotPool((4, 1, 8, 8, 3), 2)
    window = Window(pool, least=4)
    window.plan(np.zeros(4, np.int64), np.arange(4), there=np.ones(4, bool), together=4)
    window.open()
    writer = window.writer(piece(0, 0, 1, 2, 3))
    numbers, sizes = np.arange(4), np.full((4, 2), 8)
    writer.buffer(numbers, sizes, views=1).picture(2)[:] = 7
    assert (writer.offsets % 16).all()
    window.note_read(piece(0, 0, 1, 2, 3), failed=np.zeros(4, np.bool_))
    batch = window.complete(in_turn=True)
    assert batch is not None
    pixels = pool.lend(batch.slot)
    assert (pixels[2] == 7).all()
    assert not pixels[[0, 1, 3]].any()


@pytest.mark.parametrize(("groups", "expected"), [(1, 2), (2, 2), (4, 4)])
def test_more_batches_are_open_where_workers_get_more_at_once(
    groups: int, expected: int
) -> None:
    window = Window(SlotPool((4, 1, 1, 1, 3), 9), least=4, groups=groups)
    numbers = np.arange(40)
    window.plan(numbers * 0, numbers, there=numbers >= 0, together=4)
    count = 0
    while window.may_open():
        window.open()
        count += 1
    assert count == expected
