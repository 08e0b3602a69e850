"""The engine of a Ray cluster: what every engine does, and what comes with a cluster."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from dplabtools.engine import dealing
from dplabtools.engine.base import Engine, JobResult, run
from dplabtools.engine.slabs import Segment
from dplabtools.errors import ClusterError, WorkerError
from dplabtools.extraction.chunk_reader import Chunk, ChunkReport
from dplabtools.slides.patches import MemPatchExtractorPool, PatchesMock
from dplabtools.testing.engine import EngineContract, Task

engine_of_ray = pytest.importorskip(
    "dplabtools.engine.ray", reason="ray is not installed", exc_type=ImportError
)
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]


class TestRayEngine(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine:
        made: Engine = new_engine()
        return made


@pytest.mark.usefixtures("apart")
class TestRayEngineElsewhere(TestRayEngine):
    """Workers of another machine see no memory of the caller."""


def test_workers_of_this_machine_fill_its_memory() -> None:
    assert fillers() == [True] * 8


@pytest.mark.usefixtures("apart")
def test_workers_of_another_do_not() -> None:
    assert fillers() == [False] * 8


def fillers() -> list[object]:
    """Return whether workers could fill shared memory, job by job."""
    segment = Segment.create(16 * 8)
    jobs = [("fill", row) for row in range(8)]
    with new_engine() as engine:
        outcomes = list(run(engine, Task(segment), jobs, segments=[segment]))
    segment.close()
    return [outcome.value() for outcome in outcomes]


def new_engine(**options: Any) -> Any:
    return engine_of_ray.RayEngine(**{"workers": 2, **options})


def done(engine: Engine, jobs: list[tuple[str, object]]) -> dict[int, JobResult]:
    with engine:
        return {outcome.index: outcome for outcome in run(engine, Task(), jobs)}


def test_the_job_of_a_worker_that_dies_is_run_once_more(tmp_path: Path) -> None:
    marker = tmp_path / "died"
    jobs: list[tuple[str, object]] = [("square", 1), ("die once", str(marker))]
    outcomes = done(new_engine(ahead=1), jobs + [("square", 2)] * 6)
    assert marker.exists()
    assert outcomes[1].value() == "alive"
    assert outcomes[1].attempts == 2
    assert [outcomes[index].value() for index in (0, *range(2, 8))] == [1] + [4] * 6


def test_a_job_that_kills_two_workers_has_failed() -> None:
    outcomes = done(new_engine(), [("square", 1), ("die", None), ("square", 2)])
    assert isinstance(outcomes[1].error, WorkerError)
    assert outcomes[1].attempts == 2
    assert (outcomes[0].value(), outcomes[2].value()) == (1, 4)


def test_jobs_beside_it_have_not() -> None:
    jobs = [("square", index) for index in range(12)]
    killers = (3, 8)
    outcomes = done(
        new_engine(ahead=3),
        [("die", None) if job[1] in killers else job for job in jobs],
    )
    for index, outcome in outcomes.items():
        assert (outcome.error is not None) == (index in killers)
        assert outcome.result == (None if index in killers else index**2)


def test_a_worker_that_hangs_is_replaced() -> None:
    outcomes = done(new_engine(timeout_s=1.5), [("sleep", 60.0), ("square", 3)])
    assert isinstance(outcomes[0].error, WorkerError)
    assert "took longer than 1.5 s" in str(outcomes[0].error)
    assert outcomes[1].value() == 9


def test_workers_have_ended_when_it_is_closed() -> None:
    """Ray says at once that they have; one that is stopped has not."""
    with new_engine(workers=1) as engine:
        pid = stopped(engine)
        engine.close()
        with suppress(psutil.NoSuchProcess):
            assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.usefixtures("apart")
def test_workers_of_other_machines_have_ended_when_it_is_closed() -> None:
    with new_engine(workers=1) as engine:
        pid = stopped(engine)
        threading.Timer(1.0, os.kill, (pid, signal.SIGCONT)).start()
        engine.close()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def stopped(engine: Engine) -> int:
    """Stop the only worker of an engine at a job."""
    pid = next(run(engine, Task(), [("square", 1)])).pid
    engine.submit(0, ("sleep", 60.0))
    os.kill(pid, signal.SIGSTOP)
    return pid


def test_a_worker_that_was_given_up_writes_nothing_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray does not end it, as where its node is lost; it goes on when others are done."""
    kills: list[object] = []
    monkeypatch.setattr(engine_of_ray.ray, "kill", kills.append)
    marker = tmp_path / "pid"
    segment = Segment.create(16 * 8)
    with new_engine(timeout_s=1.5) as engine:
        jobs = [("fill late", (str(marker), row)) for row in range(8)]
        outcomes = list(run(engine, Task(segment), jobs, segments=[segment]))
        monkeypatch.undo()
        with suppress(ProcessLookupError):
            os.kill(int(marker.read_text()), signal.SIGCONT)
            time.sleep(1)
    assert kills
    assert max(outcome.attempts for outcome in outcomes) == 2
    found = segment.array((8, 16))
    np.testing.assert_array_equal(found, np.repeat(np.arange(8), 16).reshape(8, 16))
    segment.close()


def test_jobs_of_a_lost_node_are_run_once_more(ray_cluster: Any) -> None:
    lost = ray_cluster.add_node(num_cpus=2, object_store_memory=200 << 20)
    with new_engine(workers=5) as engine:
        outcomes: list[JobResult] = []
        for outcome in run(engine, Task(), [("sleep", 0.5)] * 30):
            outcomes.append(outcome)
            if len({each.pid for each in outcomes}) == 5 and lost is not None:
                ray_cluster.remove_node(lost, allow_graceful=False)
                lost = None
    assert lost is None
    assert sorted(outcome.index for outcome in outcomes) == list(range(30))
    assert all(outcome.error is None for outcome in outcomes)
    assert {outcome.attempts for outcome in outcomes} == {1, 2}


def test_a_work_that_no_node_knows_is_an_error_of_its_jobs() -> None:
    outcomes = done(new_engine(), [("unpicklable", None), ("square", 2)])
    assert "a result cannot be sent" in str(outcomes[0].error)
    assert outcomes[1].value() == 4


def test_what_has_an_address_need_not_lie_on_a_node(tmp_path: Path) -> None:
    with new_engine() as engine:
        engine.check_access(files=["s3://bucket/a.svs"], folders=[str(tmp_path)])
        with pytest.raises(ClusterError, match=r"does not see /none\.svs"):
            engine.check_access(files=["s3://bucket/a.svs", "/none.svs"], folders=[])


def test_workers_that_are_there_look_themselves(
    ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that only looks whether files are there would take a second to start."""
    started: list[object] = []
    remote = engine_of_ray.ray.remote

    def counted(function: object) -> Any:
        started.append(function)
        return remote(function)

    with new_engine(workers=3) as engine:
        assert len(list(run(engine, Task(), [("sleep", 0.5)] * 12))) == 12
        monkeypatch.setattr(engine_of_ray.ray, "remote", counted)
        with pytest.raises(ClusterError, match=r"does not see /none\.svs"):
            engine.check_access(files=["/none.svs"], folders=[])
        assert started == []
        added = ray_cluster.add_node(num_cpus=1, object_store_memory=200 << 20)
        engine.check_access(files=[], folders=[])
        ray_cluster.remove_node(added)
    assert len(started) == 1


def test_a_worker_that_has_ended_does_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[int] = []
    check = engine_of_ray.check_nodes

    def counted(needs: Any, *, workers: Any = MappingProxyType({}), **there: Any) -> None:
        checks.append(len(workers))
        check(needs, workers=workers, **there)

    monkeypatch.setattr(engine_of_ray, "check_nodes", counted)
    with new_engine(workers=1) as engine:
        pid = next(run(engine, Task(), [("square", 1)])).pid
        os.kill(pid, signal.SIGKILL)
        time.sleep(1)
        engine.check_access(files=[__file__], folders=[])
    assert checks == [1, 0]


def test_pixels_do_not_come_back_from_workers_of_this_machine(
    made_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned: list[object] = []

    def take_in(_: Chunk, report: ChunkReport) -> None:
        returned.append(report.returned)

    monkeypatch.setattr(Chunk, "take_in", take_in)
    with new_engine() as engine:
        check_pixels(made_slide, engine)
    assert returned
    assert set(returned) == {None}


@pytest.mark.usefixtures("apart")
def test_no_pixel_goes_through_a_pickle(
    made_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []

    def dumps(thing: object, protocol: int | None = None) -> bytes:
        data = pickle.dumps(thing, protocol)
        sent.append(len(data))
        return data

    def loads(data: bytes, **options: Any) -> object:
        sent.append(len(data))
        return pickle.loads(data, **options)

    counting = SimpleNamespace(dumps=dumps, loads=loads)
    for module in (engine_of_ray, dealing):
        monkeypatch.setattr(module, "pickle", counting)
    with new_engine() as engine:
        size = check_pixels(made_slide, engine)
    assert len(sent) > 8
    assert sum(sent) < size / 50


@pytest.mark.usefixtures("apart")
def test_a_result_that_is_lost_is_made_once_more(
    made_slide: Path, ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pixels lie where they were read until they are fetched; that node is lost then."""
    from ray.exceptions import ObjectLostError
    from ray.experimental import get_object_locations

    added = ray_cluster.add_node(num_cpus=1, object_store_memory=200 << 20)
    lost: list[object] = []
    errors: list[Exception] = []
    wait, get = engine_of_ray.ray.wait, engine_of_ray.ray.get

    def losing(answers: list[Any], **options: Any) -> Any:
        ready, others = wait(answers, fetch_local=False, **options)
        for answer, where in get_object_locations(ready).items():
            if not lost and where["node_ids"] == [added.node_id]:
                lost.append(answer)
                ray_cluster.remove_node(added, allow_graceful=False)
        return ready, others

    def noticing(answer: Any) -> Any:
        try:
            return get(answer)
        except Exception as error:
            errors.append(error)
            raise

    with new_engine(workers=4) as engine:
        sleepers = run(engine, Task(), [("sleep", 0.5)] * 40)
        assert len({outcome.worker for outcome in sleepers}) == 4
        monkeypatch.setattr(engine_of_ray.ray, "wait", losing)
        monkeypatch.setattr(engine_of_ray.ray, "get", noticing)
        check_pixels(made_slide, engine)
    assert len(lost) == 1
    assert [isinstance(each, ObjectLostError) for each in errors] == [True]


def check_pixels(slide: Path, engine: Engine) -> int:
    """Compare patches that an engine has read with those of this thread; return bytes."""
    rows = [((x, y), (64, 64), "") for y in range(0, 700, 32) for x in range(0, 900, 32)]
    located = PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=0)
    found, expected = (
        MemPatchExtractorPool(
            patches_pool=[located], proc_num_workers=4, thread_num_workers=1, engine=place
        ).patch_array
        for place in (engine, "serial")
    )
    np.testing.assert_array_equal(found, expected)
    return found.nbytes
