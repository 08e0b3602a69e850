from __future__ import annotations

import io
import sys
import time

import pytest

from dplabtools.errors import ParameterTypeError
from dplabtools.extraction.progress import Progress, ProgressClock, reporter


def moment(done: int, seconds: float) -> Progress:
    return Progress(done=done, total=12_000, slides_done=1, slides_total=4, seconds=seconds)


def test_rate_and_time_left() -> None:
    now = moment(3000, 10.0)
    assert now.rate == 300
    assert now.seconds_left == 30
    assert str(now) == "3,000/12,000 patches, 1/4 slides, 300/s, 0:30 left"
    assert str(moment(1, 1.0)).endswith("3:19:59 left")


def test_nothing_done_leaves_the_time_open() -> None:
    assert moment(0, 0.0).rate == 0
    assert moment(0, 5.0).seconds_left is None
    assert str(moment(0, 5.0)).endswith("time left unknown")


def test_who_is_told() -> None:
    assert reporter(False) is None
    assert callable(reporter(True))
    told: list[Progress] = []
    assert reporter(told.append) == told.append
    with pytest.raises(ParameterTypeError, match="progress must be"):
        reporter(1)  # type: ignore[arg-type]


def test_the_clock_tells_seldom_but_of_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    told: list[Progress] = []
    clock = ProgressClock(told.append, total=100, slides=2)
    for _ in range(50):
        clock.advance(patches=1)
        now += 0.01
    assert 2 <= len(told) <= 3
    clock.advance(patches=50, slides=2)
    assert (told[-1].done, told[-1].slides_done) == (100, 2)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "lines"), [(Terminal(), 5), (io.StringIO(), 2)])
def test_a_terminal_has_one_line_and_a_log_few(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, lines: int
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    tell = reporter(True)
    assert tell is not None
    for second in range(4):
        tell(moment(second, float(second)))
    tell(Progress(done=9, total=9, slides_done=4, slides_total=4, seconds=5.0))
    text = stream.getvalue()
    assert text.count("patches") == lines
    assert text.endswith("\n")
    assert text.count("\n") == (1 if stream.isatty() else lines)
