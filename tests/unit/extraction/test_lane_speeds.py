from __future__ import annotations

import pytest

from dplabtools.extraction.lane_speeds import LaneSpeeds


def test_shares_are_equal_until_all_are_known() -> None:
    speeds = LaneSpeeds(3)
    speeds.note(0, patches=100, seconds=1.0)
    speeds.note(2, patches=100, seconds=3.0)
    assert speeds.weights() == [1.0, 1.0, 1.0]


def test_a_worker_that_takes_twice_as_long_gets_half() -> None:
    speeds = LaneSpeeds(2)
    for _ in range(50):
        speeds.note(0, patches=100, seconds=1.0)
        speeds.note(1, patches=50, seconds=1.0)
    first, second = speeds.weights()
    assert first == pytest.approx(2 * second)


def test_one_slow_chunk_changes_nothing() -> None:
    speeds = LaneSpeeds(2)
    for lane in (0, 1):
        speeds.note(lane, patches=100, seconds=1.0)
    speeds.note(1, patches=100, seconds=2.0)
    first, second = speeds.weights()
    assert first == second


def test_nobody_is_left_without_work() -> None:
    speeds = LaneSpeeds(2)
    speeds.note(0, patches=100, seconds=1.0)
    speeds.note(1, patches=100, seconds=1000.0)
    first, second = speeds.weights()
    assert first == pytest.approx(3 * second)


def test_a_clock_that_stands_still_is_no_matter() -> None:
    speeds = LaneSpeeds(2)
    speeds.note(0, patches=100, seconds=0.0)
    speeds.note(1, patches=100, seconds=1.0)
    assert speeds.weights() == [1.0, 1.0]
