from __future__ import annotations

import pytest

from dplabtools.engine.base import Engine
from dplabtools.engine.processes import ProcessEngine
from dplabtools.engine.serial import SerialEngine
from dplabtools.engine.threads import ThreadEngine
from dplabtools.testing.engine import EngineContract


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
