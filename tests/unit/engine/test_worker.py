"""What a worker does with the jobs that have come."""

from __future__ import annotations

import pickle
from queue import SimpleQueue
from typing import Any

from dplabtools.engine.base import JobResult
from dplabtools.engine.channel import Message
from dplabtools.engine.worker import JOB, OUTCOME, WORK, _Desk


class Line:
    """What a worker is sent, and what it answers."""

    def __init__(self, work: object, *jobs: object) -> None:
        self.inbox: SimpleQueue[Message] = SimpleQueue()
        self.put(WORK + pickle.dumps((pickle.dumps(work), 0, ())))
        for job in jobs:
            self.put(JOB + pickle.dumps(job))
        self.outcomes: list[JobResult] = []

    def put(self, data: bytes) -> None:
        self.inbox.put(Message(bytearray(data), ()))

    def send(self, kind: bytes, data: bytes, *, files: object = None) -> None:
        assert (kind, files) == (OUTCOME, None)
        self.outcomes.append(pickle.loads(data))


class Noting:
    """A work that says what it was asked for so far."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def __call__(self, job: object) -> list[tuple[str, Any]]:
        self.asked.append(("do", job))
        return list(self.asked)

    def close(self) -> None:
        """Nothing is kept."""


class Preparing(Noting):
    def prepare(self, job: object) -> None:
        self.asked.append(("prepare", job))
        if job == "second":
            raise ValueError


class Unreadable:
    def __reduce__(self) -> Any:
        return divmod, (1, 0)


def done(line: Line) -> list[JobResult]:
    desk = _Desk(line)  # type: ignore[arg-type]
    while not line.inbox.empty() or desk._jobs:
        desk.do_next()
    return line.outcomes


def test_jobs_are_prepared_while_they_wait_in_their_order_and_once() -> None:
    first, second, third = done(Line(Preparing(), "first", "second", "third"))
    prepared = [("prepare", "first"), ("prepare", "second"), ("prepare", "third")]
    assert first.result == [*prepared, ("do", "first")]
    assert second.error is None  # what preparing it came up with is for nobody
    assert third.result == [*prepared, ("do", "first"), ("do", "second"), ("do", "third")]


def test_a_work_that_prepares_nothing_is_asked_for_nothing() -> None:
    first, second = done(Line(Noting(), "first", "second"))
    assert first.result == [("do", "first")]
    assert second.result == [("do", "first"), ("do", "second")]


def test_a_job_that_cannot_be_unpacked_fails_in_its_turn() -> None:
    first, second, third = done(Line(Preparing(), "first", Unreadable(), "third"))
    assert first.error is None
    assert "a job cannot be unpacked" in str(second.error)
    assert third.result[-1] == ("do", "third")
