"""The engine of a Ray cluster, on one of three nodes that are all here."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ray = pytest.importorskip("ray", reason="ray is not installed")

from dplabtools.engine import ray as engine_of_ray  # noqa: E402 - needs it
from dplabtools.engine.base import Engine, run  # noqa: E402
from dplabtools.engine.ray import RayEngine  # noqa: E402
from dplabtools.errors import WorkerError  # noqa: E402
from dplabtools.testing.engine import EngineContract, Task  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1,
            "object_store_memory": 200 << 20,
            "include_dashboard": False,
        },
    )
    for _ in range(2):
        made.add_node(num_cpus=1, object_store_memory=200 << 20)
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


class TestRayEngine(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return RayEngine(workers=2)
