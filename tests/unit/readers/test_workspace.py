from __future__ import annotations

import pytest

from dplabtools.readers.native.cache import TileCache
from dplabtools.readers.workspace import workspace

SHORTEST_VECTOR = 16  # bytes


@pytest.mark.parametrize("nbytes", [1, 1000, 1 << 22])
def test_memory_to_decode_to_does_not_begin_with_a_vector(nbytes: int) -> None:
    memory = workspace(f"test of {nbytes}", nbytes)
    assert len(memory) == nbytes
    assert memory.ctypes.data % SHORTEST_VECTOR


def test_room_for_a_tile_does_not_begin_with_a_vector() -> None:
    room = TileCache(0, 0).room((240, 8))
    assert room.pixels.shape == (8, 240, 3)
    assert room.pixels.flags.c_contiguous
    assert room.address % SHORTEST_VECTOR
