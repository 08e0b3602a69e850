from __future__ import annotations

import numpy as np
import pytest

from dplabtools.extraction.slot_pool import SlotPool
from dplabtools.extraction.window import Piece, Window


def piece(lane: int, *places: int) -> Piece:
    return Piece(slide=0, lane=lane, rows=np.array(places), places=np.array(places))


@pytest.fixture
def window() -> Window:
    """Two batches of four patches, of which one has memory."""
    window = Window(SlotPool((4, 1, 1, 1, 3), 2), least=4)
    window.plan(np.zeros(8, np.int64), np.arange(8), there=np.ones(8, np.bool_))
    window.open()
    return window


def test_a_part_is_for_a_worker_that_has_nothing_to_do(window: Window) -> None:
    window.pieces = [piece(0, 0, 4), piece(1, 1, 5), piece(0, 2, 3, 6, 7)]
    taken = [window.part(busy) for busy in ({0}, {1}, {1})]
    assert [part.places.tolist() for part in taken if part] == [[1], [2, 3], [0]]
    assert window.part(()) is None
    assert [rest.places.tolist() for rest in window.pieces] == [[4], [5], [6, 7]]


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


def test_parts_of_the_next_batch_go_on_where_the_last_ended(window: Window) -> None:
    window.pieces = [piece(0, 0, 4), piece(0, 1, 2, 3, 6), piece(0, 5, 7)]
    assert window.part(()) is not None
    window.open()
    window.pieces[0] = piece(0, 4, 9)
    part = window.part(())
    assert part is not None
    assert part.places.tolist() == [1, 2, 3, 6]


def test_nothing_is_begun_while_batches_wait_for_the_caller(window: Window) -> None:
    window.pieces = [piece(0, 0, 1, 2, 3, 4), piece(1, 5, 6, 7)]
    first = window.part(())
    assert first is not None
    window.note_read(first, failed=np.zeros(4, np.bool_))
    window.open()
    assert window.part(()) is None
