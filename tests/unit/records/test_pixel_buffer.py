from __future__ import annotations

import numpy as np
import pytest

from dplabtools.records.pixel_buffer import PixelBuffer

SIZES = np.array([(4, 3), (0, 5), (2, 7)])


def test_pictures_lie_one_behind_the_other() -> None:
    buffer = PixelBuffer.allocated(SIZES)
    for number in range(3):
        buffer.picture(number)[:] = number
    (memory,) = buffer.memories
    np.testing.assert_array_equal(memory, [0] * 36 + [2] * 42)
    assert [buffer.picture(number).shape for number in range(3)] == [
        (3, 4, 3),
        (5, 0, 3),
        (7, 2, 3),
    ]


def test_a_part_and_a_join_show_the_same_memory() -> None:
    first, second = PixelBuffer.allocated(SIZES), PixelBuffer.allocated(SIZES + 1)
    both = PixelBuffer.joined([first.part(np.array([2])), second])
    for number in range(len(both)):
        both.picture(number)[:] = 7 + number
    assert (first.picture(2) == 7).all()
    assert [int(second.picture(number).mean()) for number in range(3)] == [8, 9, 10]
    starts = [both.picture(number).ctypes.data for number in range(4)]
    assert both.addresses().tolist() == starts


@pytest.mark.parametrize("start", [-1, 7])
def test_pictures_beyond_the_memory_are_refused(start: int) -> None:
    memory = np.zeros(6 + 12, np.uint8)
    PixelBuffer.on(memory, np.array([6]), np.array([(2, 2)]))
    with pytest.raises(ValueError, match="flat memory"):
        PixelBuffer.on(memory, np.array([start]), np.array([(2, 2)]))


def test_memory_of_another_kind_is_refused() -> None:
    for memory in (np.zeros(99, np.uint16), np.zeros((9, 9), np.uint8)):
        with pytest.raises(ValueError, match="flat memory"):
            PixelBuffer.on(memory, np.array([0]), np.array([(2, 2)]))  # type: ignore[arg-type]
