from __future__ import annotations

import os

import pytest

from dplabtools.engine.base import Engine, run
from dplabtools.engine.processes import ProcessEngine
from dplabtools.engine.serial import SerialEngine
from dplabtools.engine.threads import ThreadEngine
from dplabtools.testing.engine import EngineContract, Task


class TestSerialEngine(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return SerialEngine()


class TestThreadEngine(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return ThreadEngine(workers=2)


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
class TestProcessEngine(EngineContract):
    @pytest.fixture
    def engine(self, method: str) -> Engine:
        return ProcessEngine(workers=2, start_method=method)

    def test_libraries_are_held_to_one_thread(self, engine: Engine) -> None:
        before = dict(os.environ)
        with engine:
            (outcome,) = run(engine, Task(), [("threads", None)])
        assert outcome.value() == (1, "1")
        assert dict(os.environ) == before
