from __future__ import annotations

import os
from pathlib import Path

import pytest

from dplabtools.readers.native.cache import TileCache
from dplabtools.readers.workspace import lazy_memory, workspace

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


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells")
def test_no_more_of_lazy_memory_is_taken_than_is_touched() -> None:
    def taken() -> int:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    before = taken()
    memory = lazy_memory(256 << 20)
    memory[:: 16 << 20] = 1
    assert len(memory) == 256 << 20
    assert taken() - before < 4 << 20
