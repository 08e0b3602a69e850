from __future__ import annotations

import os

import pytest

from dplabtools.engine.base import Engine, run
from dplabtools.engine.choose import ENGINES, EngineEntrypoint, RunOptions
from dplabtools.engine.processes import ProcessEngine
from dplabtools.engine.serial import SerialEngine
from dplabtools.engine.slabs import Segment
from dplabtools.engine.threads import ThreadEngine
from dplabtools.testing.distant_engine import DistantEngine
from dplabtools.testing.engine import EngineContract, EngineEntrypointContract, Task


class TestEntrypoints(EngineEntrypointContract):
    @pytest.fixture(params=ENGINES.own)
    def entrypoint(self, request: pytest.FixtureRequest) -> EngineEntrypoint:
        if request.param == "ray":
            pytest.importorskip("ray", reason="ray is not installed")
        return ENGINES.own[request.param]


class TestSerialEngine(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return SerialEngine()


class TestThreadEngine(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return ThreadEngine(workers=2)


@pytest.mark.parametrize("name", ["serial", "threads", "processes"])
def test_workers_of_this_machine_have_its_memory(name: str) -> None:
    segment = Segment.create(16 * 8)
    jobs = [("fill", row) for row in range(8)]
    with ENGINES.own[name].make(RunOptions(workers=2)) as engine:
        outcomes = list(run(engine, Task(segment), jobs, segments=[segment]))
    segment.close()
    assert [outcome.value() for outcome in outcomes] == [True] * 8


@pytest.mark.slow
class TestDistantEngine(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return DistantEngine(workers=2)


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
class TestProcessEngine(EngineContract):
    @pytest.fixture
    def engine(self, method: str) -> Engine:
        return ProcessEngine(workers=2, start_method=method)

    def test_jobs_of_a_lane_go_to_one_worker(self, engine: Engine) -> None:
        with engine:
            engine.begin(Task())
            for index in range(8):
                engine.submit(index, ("sleep", 0.2), lane=index % 2)
            outcomes = [engine.take() for _ in range(8)]
        pids = [
            {each.pid for each in outcomes if each.index % 2 == lane} for lane in (0, 1)
        ]
        assert len(pids[0]) == len(pids[1]) == 1
        assert pids[0] != pids[1]

    def test_nobody_idles_while_a_lane_is_long(self, engine: Engine) -> None:
        with engine:
            engine.begin(Task())
            for index in range(12):
                engine.submit(index, ("sleep", 0.1), lane=0)
            assert len({engine.take().pid for _ in range(12)}) == 2

    def test_libraries_are_held_to_one_thread(self, engine: Engine) -> None:
        before = dict(os.environ)
        with engine:
            (outcome,) = run(engine, Task(), [("threads", None)])
        assert outcome.value() == (1, "1")
        assert dict(os.environ) == before


class Growing(SerialEngine):
    """Has more and more workers, then none."""

    capacities = iter((1, 1, 4, 4, 4, 4, 4, 0, 0))

    @property
    def capacity(self) -> int:
        return next(self.capacities, 0)


def test_jobs_in_flight_follow_the_present_capacity() -> None:
    flights: list[int] = []
    with Growing() as engine:
        for outcome in run(engine, Task(), [("square", 1)] * 12):
            assert outcome.result == 1
            flights.append(engine.pending)
    assert max(flights) == 4
    assert len(flights) == 12
    assert flights[-6:] == [1, 1, 1, 1, 1, 0]
