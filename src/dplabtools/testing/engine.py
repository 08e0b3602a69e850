"""What is expected of every engine, and of how it is entered."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dplabtools.engine.base import Engine, JobResult, run, run_in_order
from dplabtools.engine.choose import ENGINES, EngineEntrypoint, RunOptions
from dplabtools.engine.slabs import Segment
from dplabtools.errors import DuplicatePatchesWarning, SlideReadError

__all__ = ["EngineContract", "EngineEntrypointContract", "Task"]


@dataclass(frozen=True, slots=True)
class Task:
    """A work whose jobs say what to do: ``(verb, argument)``.

    It lives here, rather than in a test module, because workers have to import it.
    """

    segment: Segment | None = None

    def __call__(self, job: tuple[str, object]) -> object:
        """Do as the job says."""
        match job:
            case ("square", int() as number):
                return number * number
            case ("sleep", float() as seconds):
                time.sleep(seconds)
                return os.getpid()
            case ("fill", int() as row):
                return self._fill(row, row)
            case ("fill late", (str() as marker, int() as row)):
                return self._fill(row, row + _stop_once(Path(marker)))
            case ("threads", _):
                cv2 = importlib.import_module("cv2")
                return int(cv2.getNumThreads()), os.environ.get("OPENBLAS_NUM_THREADS")
            case _:
                return _other(*job)

    def close(self) -> None:
        """Nothing is kept."""

    def _fill(self, row: int, value: int) -> bool:
        """Fill a row of the segment, if it is here; return whether it is."""
        assert self.segment is not None
        if self.segment.is_here:
            self.segment.array((4, 4), offset=16 * row)[:] = value
        return self.segment.is_here


def _stop_once(marker: Path) -> int:
    """Stop this process, if none was before; return whether it has been."""
    if marker.exists():
        return False
    marker.write_text(str(os.getpid()))
    os.kill(os.getpid(), signal.SIGSTOP)
    return True


def _other(verb: str, argument: object) -> object:
    match verb, argument:
        case "bytes", int() as count:
            return bytes(count)
        case "surroundings", str() as variable:
            return os.environ.get(variable), str(Path.cwd()), tuple(sys.path)
        case "log", str() as text:
            logging.getLogger("dplabtools.testing").warning(text)
            return None
        case "warn", str() as text:
            warnings.warn(DuplicatePatchesWarning(text), stacklevel=1)
            return None
        case _:
            return _misbehave(verb, argument)


def _misbehave(verb: str, argument: object) -> object:
    match verb, argument:
        case "raise", str() as text:
            raise SlideReadError(text, slide="a.svs")
        case "unpicklable", _:
            return lambda: None
        case "die", _:
            os.kill(os.getpid(), signal.SIGKILL)
        case "die once", str() as marker:
            if not Path(marker).exists():
                Path(marker).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return "alive"
        case _:
            pass
    msg = f"no such verb: {verb}"
    raise ValueError(msg)


class EngineContract:
    """Subclass it, and override the fixture."""

    @pytest.fixture
    def engine(self) -> Engine:
        """An engine with two workers, if it has any; closed by the test."""
        raise NotImplementedError

    def test_is_an_engine(self, engine: Engine) -> None:
        """The protocol is met."""
        with engine:
            assert isinstance(engine, Engine)
            assert engine.capacity >= 1
            assert engine.pending == 0

    def test_every_job_has_one_outcome(self, engine: Engine) -> None:
        """Nothing is lost and nothing comes twice."""
        with engine:
            outcomes = list(run(engine, Task(), [("square", i) for i in range(100)]))
        assert sorted(outcome.index for outcome in outcomes) == list(range(100))
        assert all(outcome.result == outcome.index**2 for outcome in outcomes)

    def test_order_can_be_kept(self, engine: Engine) -> None:
        """Outcomes come in the order of the jobs, however long each takes."""
        jobs = [("sleep", 0.02 * (i % 3)) for i in range(12)]
        with engine:
            outcomes = list(run_in_order(engine, Task(), jobs, ahead=4))
        assert [outcome.index for outcome in outcomes] == list(range(12))

    def test_no_more_is_begun_than_asked_for(self, engine: Engine) -> None:
        """A caller that does not take makes the engine wait."""
        with engine:
            stream = run_in_order(
                engine, Task(), [("square", i) for i in range(50)], ahead=3
            )
            next(stream)
            assert engine.pending <= 3

    def test_an_error_is_the_outcome_of_its_job_alone(self, engine: Engine) -> None:
        """The type, the message and the slide arrive; other jobs are done."""
        jobs = [("square", 3), ("raise", "damaged"), ("square", 4)]
        with engine:
            outcomes = _by_index(run(engine, Task(), jobs))
        assert outcomes[0].result == 9
        assert outcomes[2].result == 16
        error = outcomes[1].error
        assert isinstance(error, SlideReadError)
        assert str(error) == "a.svs: damaged"
        assert error.slide == "a.svs"

    def test_an_unknown_error_keeps_its_type(self, engine: Engine) -> None:
        """Whatever is raised reaches the caller."""
        with engine:
            (outcome,) = run(engine, Task(), [("sing", None)])
        with pytest.raises(ValueError, match="no such verb: sing"):
            outcome.value()

    def test_shared_memory_is_filled_where_it_is(self, engine: Engine) -> None:
        """Each job that has it writes its own part; the caller sees it without a copy."""
        segment = Segment.create(16 * 8)
        view = segment.array((8, 4, 4))
        with engine:
            jobs = [("fill", row) for row in range(8)]
            filled = _by_index(run(engine, Task(segment), jobs, segments=[segment]))
        segment.close()
        for row in range(8):
            assert (view[row] == (row if filled[row].value() else 0)).all()

    def test_outcomes_say_who_did_it(self, engine: Engine) -> None:
        """Workers are told apart by their machine and their number there."""
        with engine:
            (outcome,) = run(engine, Task(), [("square", 1)])
        assert outcome.worker.host
        assert outcome.worker.pid == outcome.pid > 0

    def test_one_work_follows_another(self, engine: Engine) -> None:
        """Workers are used again."""
        with engine:
            assert len(list(run(engine, Task(), [("square", 1)] * 5))) == 5
            assert len(list(run(engine, Task(), [("square", 2)] * 5))) == 5

    def test_it_works_again_when_it_has_been_closed(self, engine: Engine) -> None:
        """Whoever lends an engine may close it, and its owner goes on."""
        with engine:
            engine.begin(Task())
            engine.submit(0, ("sleep", 0.2))
        assert engine.pending == 0
        with engine:
            assert len(list(run(engine, Task(), [("square", 1)] * 5))) == 5

    @pytest.mark.parametrize(("count", "lanes"), [(1, 3), (7, 2), (40, 3), (40, 7)])
    def test_jobs_in_lanes_are_done_once(
        self, engine: Engine, count: int, lanes: int
    ) -> None:
        """However many lanes there are, and however many workers."""
        jobs = [("square", number) for number in range(count)]
        with engine:
            outcomes = list(run(engine, Task(), jobs, lanes=lanes))
        assert sorted(outcome.index for outcome in outcomes) == list(range(count))
        assert all(outcome.result == outcome.index**2 for outcome in outcomes)

    def test_a_lane_is_no_more_than_a_wish(self, engine: Engine) -> None:
        """Jobs are done, whatever their lanes are, and whoever has to do them."""
        with engine:
            engine.begin(Task())
            for index in range(12):
                engine.submit(index, ("square", index), lane=(0, 5, None)[index % 3])
            outcomes = _by_index(engine.take() for _ in range(12))
        assert [outcomes[index].result for index in range(12)] == [i**2 for i in range(12)]

    def test_nothing_to_take(self, engine: Engine) -> None:
        """Waiting for nothing is an error, not a wait for ever."""
        with engine:
            engine.begin(Task())
            with pytest.raises(LookupError):
                engine.take()

    def test_polling_tells_of_outcomes(self, engine: Engine) -> None:
        """There is none before a job is done, nor after all have been taken."""
        with engine:
            engine.begin(Task())
            assert not engine.poll()
            engine.submit(0, ("square", 3))
            engine.poll()
            assert engine.take().result == 9
            assert not engine.poll()

    def test_closing_does_not_wait_for_what_was_not_begun(self, engine: Engine) -> None:
        """Many seconds of jobs are submitted, and closing is prompt."""
        begun = time.monotonic()
        with engine:
            engine.begin(Task())
            for index in range(100):
                engine.submit(index, ("sleep", 0.5))
        engine.close()
        assert time.monotonic() - begun < 5

    def test_messages_reach_the_caller(
        self, engine: Engine, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Log records and warnings are handled where the user sees them."""
        with engine, pytest.warns(DuplicatePatchesWarning, match="two of them"):
            list(run(engine, Task(), [("log", "beware"), ("warn", "two of them")]))
        assert "beware" in caplog.text


class EngineEntrypointContract:
    """Subclass it, and override the fixture.

    The distribution that brings the engine is installed.
    """

    @pytest.fixture
    def entrypoint(self) -> EngineEntrypoint:
        """What the entry point leads to."""
        raise NotImplementedError

    def test_it_is_found_by_its_name(self, entrypoint: EngineEntrypoint) -> None:
        """And by no other entry of that name."""
        assert ENGINES.get(entrypoint.name) is entrypoint

    def test_it_can_be_used_here(self, entrypoint: EngineEntrypoint) -> None:
        """What it takes is installed."""
        entrypoint.check()

    def test_it_makes_an_engine(self, entrypoint: EngineEntrypoint) -> None:
        """One that does jobs."""
        with entrypoint.make(RunOptions(workers=2)) as engine:
            assert isinstance(engine, Engine)
            (outcome,) = run(engine, Task(), [("square", 3)])
        assert outcome.value() == 9


def _by_index(outcomes: Iterable[JobResult]) -> dict[int, JobResult]:
    return {outcome.index: outcome for outcome in outcomes}
