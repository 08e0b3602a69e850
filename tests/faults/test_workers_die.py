from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil
import pytest

from dplabtools._typing import Pixels
from dplabtools.engine import processes
from dplabtools.engine.base import run
from dplabtools.engine.processes import ProcessEngine
from dplabtools.errors import WorkerError
from dplabtools.records.failure import Failure
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractorPool,
    PatchesMock,
    StreamPatchExtractorPool,
    open_patches,
)
from dplabtools.testing.engine import Task

ROUNDS = 40 * int(os.environ.get("DPLABTOOLS_TORTURE", "1"))
SLIDES = 2
ROWS = [((x, y), (64, 64), "t") for y in range(0, 700, 48) for x in range(0, 960, 48)]


def workers() -> list[psutil.Process]:
    """Our worker processes, by the threads that only they have."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.num_threads() > 1 and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def mapped_segments() -> int:
    return Path("/proc/self/maps").read_text().count("memfd:dplabtools")


@pytest.fixture(scope="module")
def pool(made_slide: Path) -> list[PatchesMock]:
    anywhere = random.Random(0).sample(ROWS, len(ROWS))  # noqa: S311 - no secret
    return [
        PatchesMock(patch_data=rows, wsi_file=str(made_slide), level_or_mpp=0)
        for rows in (ROWS, anywhere)
    ]


@pytest.fixture(scope="module")
def undisturbed(pool: list[PatchesMock]) -> Pixels:
    with MemPatchExtractorPool(
        patches_pool=pool, proc_num_workers=1, thread_num_workers=1
    ) as extracted:
        return extracted.patch_array.copy()


class Killer:
    """Hits workers at random moments, the same ones for the same seed as far as it can.

    Parameters
    ----------
    seed : int
        Decides when, whom and how often.
    signals : sequence of int
        What with.
    """

    def __init__(
        self, seed: int, *, signals: Sequence[signal.Signals] = (signal.SIGKILL,)
    ) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._signals = signals
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._kill)
        self.struck = threading.Event()
        self.victims: list[signal.Signals] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _kill(self) -> None:
        for _ in range(self._random.choice([1, 1, 2, 3])):
            if self._over.wait(self._random.uniform(0.0, 0.3)):
                return
            self._hit(self._random.choice(self._signals))

    def _hit(self, with_what: signal.Signals) -> None:
        """Hit somebody, as soon as there is one."""
        while not (alive := workers()):
            if self._over.wait(0.005):
                return
        with contextlib.suppress(ProcessLookupError):  # ended by itself in the meantime
            os.kill(self._random.choice(alive).pid, with_what)
            self.victims.append(with_what)
            self.struck.set()


def check_batches(
    pool: StreamPatchExtractorPool, undisturbed: Pixels, *, killer: Killer
) -> None:
    """Every patch comes once, and as it has to be, though somebody is hit on the way."""
    seen: set[int] = set()
    for batch in pool:
        numbers = batch.slides * len(ROWS) + batch.rows
        assert seen.isdisjoint(numbers.tolist())
        seen.update(numbers.tolist())
        np.testing.assert_array_equal(batch.pixels, undisturbed[numbers])
        assert killer.struck.wait(30)
    assert len(seen) == SLIDES * len(ROWS)


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_stream_survives_what_hits_its_workers(
    pool: list[PatchesMock],
    undisturbed: Pixels,
    seed: int,
    made_slide: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    def forks(_: str | None) -> bool:
        return bool(seed % 4)

    monkeypatch.setattr(processes, "_forks", forks)
    monkeypatch.setattr(processes, "_START_S", 10.0)  # it may be hit before it is ready
    order, batch_size = ("table", "ready", "near")[seed % 3], (32, 100, 256)[seed % 3]
    stream = StreamPatchExtractorPool(
        patches_pool=pool,
        proc_num_workers=2,
        thread_num_workers=1 + seed % 3 // 2,
        batch_size=batch_size,
        order=order,  # type: ignore[arg-type]
        shuffle_buffer=(0, 200)[seed % 4 // 3],
        seed=seed,
        max_memory=(8 if seed % 5 else 1000) * batch_size * 64 * 64 * 3,
        chunk_timeout_s=1.5,  # what is stopped is not waited for any longer
    )
    gc.collect()  # what other tests left
    files, segments = open_files(), mapped_segments()
    signals = (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)
    killer = Killer(seed, signals=signals)
    try:
        with killer:
            check_batches(stream, undisturbed, killer=killer)
    except WorkerError as error:
        assert str(error).startswith(made_slide.name)  # noqa: PT017 - seldom, twice the same
    assert killer.victims
    assert open_files() <= files + 4  # the zygote, when it is started first
    gc.collect()  # the error held the frames, and they a batch
    assert mapped_segments() == segments
    assert not workers()


def lost_patches(errors: list[Failure]) -> int:
    """Count them; a slide at whose opening two workers died is lost as a whole."""
    return sum(len(ROWS) if failure.row is None else 1 for failure in errors)


@pytest.mark.parametrize("seed", range(8))
def test_a_memory_pool_survives_the_death_of_workers(
    pool: list[PatchesMock], undisturbed: Pixels, seed: int
) -> None:
    with (
        Killer(seed),
        MemPatchExtractorPool(
            patches_pool=pool, proc_num_workers=2, thread_num_workers=1, on_error="skip"
        ) as extracted,
    ):
        delivered = extracted.patch_table.status == "ok"
        np.testing.assert_array_equal(extracted.patch_array, undisturbed[delivered])
        assert lost_patches(extracted.errors) == int((~delivered).sum())


@pytest.mark.parametrize("seed", range(4))
def test_a_disk_pool_survives_the_death_of_workers(
    pool: list[PatchesMock], tmp_path: Path, seed: int
) -> None:
    with Killer(seed):
        extracted = DiskPatchExtractorPool(
            output_dir=tmp_path,
            image_type="bmp",
            patches_pool=pool,
            proc_num_workers=2,
            thread_num_workers=1,
            on_error="skip",
        )
    files = list(tmp_path.glob("*.bmp"))
    assert len(files) == extracted.patch_count
    assert extracted.patch_count + lost_patches(extracted.errors) == SLIDES * len(ROWS)
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_dir()) == [
        "manifests"
    ]


@pytest.mark.parametrize("kind", ["webdataset", "parquet", "hdf5", "zarr"])
def test_containers_survive_the_death_of_workers(
    pool: list[PatchesMock], undisturbed: Pixels, tmp_path: Path, kind: Any
) -> None:
    with Killer(len(kind)):
        extracted = DiskPatchExtractorPool(
            output_dir=tmp_path,
            container=kind,
            save_options={} if kind == "hdf5" else {"shard_size": 32},
            patches_pool=pool,
            proc_num_workers=2,
            thread_num_workers=1,
            on_error="skip",
            image_type=None if kind in {"hdf5", "zarr"} else "png",
        )
    found = open_patches(tmp_path)
    assert len(found) == extracted.patch_count
    assert extracted.patch_count + lost_patches(extracted.errors) == SLIDES * len(ROWS)
    by_place = {(x, y): row for row, ((x, y), _, _) in enumerate(ROWS)}
    for patch in found:
        row = by_place[patch.location]
        np.testing.assert_array_equal(patch.array, undisturbed[row])
    assert not list(tmp_path.glob(".dplabtools*"))


class TestEngine:
    @pytest.fixture
    def engine(self) -> Iterator[ProcessEngine]:
        with ProcessEngine(workers=2) as engine:
            yield engine

    def test_a_job_is_run_again_when_its_worker_dies(
        self, engine: ProcessEngine, tmp_path: Path
    ) -> None:
        jobs = [("square", 2), ("die once", str(tmp_path / "marker")), ("square", 3)]
        outcomes = {each.index: each for each in run(engine, Task(), jobs)}
        assert outcomes[1].result == "alive"
        assert outcomes[1].attempts == 2
        assert (outcomes[0].result, outcomes[2].result) == (4, 9)

    def test_a_job_that_kills_twice_has_failed_and_the_others_have_not(
        self, engine: ProcessEngine
    ) -> None:
        jobs = [("square", 2), ("die", None), *[("square", 3)] * 20]
        outcomes = {each.index: each for each in run(engine, Task(), jobs)}
        assert isinstance(outcomes[1].error, WorkerError)
        assert outcomes[1].attempts == 2
        assert len(outcomes) == 22
        assert all(outcomes[index].result == 9 for index in range(2, 22))

    def test_a_hanging_job_is_ended(self) -> None:
        begun = time.monotonic()
        with ProcessEngine(workers=1, timeout_s=0.5) as engine:
            jobs = [("sleep", 60.0), ("square", 3)]
            outcomes = {each.index: each for each in run(engine, Task(), jobs)}
        assert isinstance(outcomes[0].error, WorkerError)
        assert "longer than 0.5 s" in str(outcomes[0].error)
        assert outcomes[1].result == 9
        assert time.monotonic() - begun < 30


SCRIPT = """
import sys, time, multiprocessing
multiprocessing.set_start_method(sys.argv[2])
from dplabtools.slides.patches import PatchesMock, StreamPatchExtractorPool
rows = [((x, y), (64, 64), "t") for y in range(0, 700, 4) for x in range(0, 960, 4)]
pool = [PatchesMock(patch_data=rows, wsi_file=sys.argv[1], level_or_mpp=0)]
for number, batch in enumerate(StreamPatchExtractorPool(
    patches_pool=pool, proc_num_workers=2, thread_num_workers=2, batch_size=64
)):
    if number == 2:
        print("running", flush=True)
    time.sleep(0.01)
"""


@pytest.fixture(params=["forkserver", "spawn"])
def running(
    request: pytest.FixtureRequest, made_slide: Path
) -> Iterator[subprocess.Popen[str]]:
    """A script in the middle of a long stream, in a process group of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(made_slide), request.param],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        yield process
        process.kill()


def family(pid: int) -> list[psutil.Process]:
    return list(psutil.Process(pid).children(recursive=True))


def gone(processes: list[psutil.Process], *, within_s: float) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=within_s)
    return not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]


def test_ctrl_c_ends_everything_promptly(running: subprocess.Popen[str]) -> None:
    children = family(running.pid)
    assert len(children) >= 2
    begun = time.monotonic()
    os.killpg(running.pid, signal.SIGINT)
    running.wait(10)
    assert time.monotonic() - begun < 2.5
    assert running.stderr is not None
    messages = running.stderr.read()
    assert "KeyboardInterrupt" in messages
    assert messages.count("Traceback") == 1
    assert gone(children, within_s=2)


def test_nothing_outlives_a_killed_caller(running: subprocess.Popen[str]) -> None:
    children = family(running.pid)
    running.kill()
    running.wait(5)
    assert gone(children, within_s=5)
