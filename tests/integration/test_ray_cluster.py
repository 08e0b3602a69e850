"""Pools on a Ray cluster of three nodes give what they give on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from dplabtools.engine.base import EngineLike, JobResult, run
from dplabtools.errors import ClusterError, SlideError
from dplabtools.extraction.progress import Progress
from dplabtools.pipeline import extract_slides
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractorPool,
    MultiResMemPatchExtractorPool,
    PatchesMock,
    StreamPatchExtractorPool,
    WholeImageGridPatchesPool,
)
from dplabtools.testing.engine import Task

pytest.importorskip("ray", reason="ray is not installed")
pytestmark = pytest.mark.slow

Holdings: TypeAlias = Callable[..., dict[str, bytes]]

ROWS = [((x, y), (64, 48), "t") for y in range(0, 330, 12) for x in range(0, 440, 12)]
UNSHARE = shutil.which("unshare") or ""
WORKERS: dict[str, Any] = {"proc_num_workers": 3, "thread_num_workers": 1}
KINDS: dict[str, dict[str, Any]] = {
    "files": {"image_type": "png"},
    "webdataset": {"image_type": "jpg", "container": "webdataset"},
    "parquet": {"image_type": "png", "container": "parquet"},
    "hdf5": {"container": "hdf5"},
    "zarr": {"container": "zarr"},
}
PROGRAM = """
import sys
from dplabtools.slides.patches import DiskPatchExtractorPool, PatchesMock
rows = [((x, y), (64, 48), "t") for y in range(0, 330, 12) for x in range(0, 440, 12)]
pool = [
    PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=0) for slide in sys.argv[2:]
]
DiskPatchExtractorPool(
    patches_pool=pool,
    output_dir=sys.argv[1],
    image_type="png",
    proc_num_workers=3,
    thread_num_workers=1,
    engine="ray",
    resume=True,
)
"""


@pytest.fixture
def pool(three_slides: dict[str, list[str]]) -> list[PatchesMock]:
    return located(three_slides["sound"])


def located(slides: list[str]) -> list[PatchesMock]:
    return [
        PatchesMock(patch_data=ROWS[number:], wsi_file=slide, level_or_mpp=0)
        for number, slide in enumerate(slides)
    ]


def memory(kind: Any, pool: list[PatchesMock], **options: Any) -> Any:
    with kind(patches_pool=pool, **WORKERS, **options) as extracted:
        return extracted.patch_array.copy()


def colours(images: Any) -> Any:
    return images.mean(dim=(2, 3))


@pytest.fixture(params=["here", "apart"])
def place(request: pytest.FixtureRequest) -> str:
    """Where workers are: on the caller's machine, sharing its memory, or on another."""
    if request.param == "apart":
        request.getfixturevalue("apart")
    return str(request.param)


@pytest.mark.usefixtures("ray_cluster", "place")
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (MemPatchExtractorPool, {}),
        (MultiResMemPatchExtractorPool, {"levels_or_mpps": [0, 1]}),
    ],
)
def test_pools_in_memory(pool: list[PatchesMock], kind: Any, options: Any) -> None:
    expected = memory(kind, pool, **options)
    np.testing.assert_array_equal(memory(kind, pool, engine="ray", **options), expected)


@pytest.mark.usefixtures("ray_cluster", "place")
def test_what_fails_is_skipped_and_named(three_slides: dict[str, list[str]]) -> None:
    told: list[list[tuple[str, int | None, str]]] = []
    for engine in ("processes", "ray"):
        extracted = MemPatchExtractorPool(
            patches_pool=located(three_slides["damaged"]),
            on_error="skip",
            engine=engine,
            **WORKERS,
        )
        told.append(
            [(each.wsi_file, each.row, str(each.error)) for each in extracted.errors]
        )
    assert told[0] == told[1]
    assert told[0]


@pytest.mark.usefixtures("ray_cluster", "place")
@pytest.mark.parametrize("shuffle_buffer", [0, 100])
def test_streams(pool: list[PatchesMock], shuffle_buffer: int) -> None:
    def streamed(engine: str) -> Any:
        stream = StreamPatchExtractorPool(
            patches_pool=pool,
            batch_size=50,
            shuffle_buffer=shuffle_buffer,
            seed=3,
            engine=engine,
            **WORKERS,
        )
        return np.concatenate([batch.pixels.copy() for batch in stream])

    np.testing.assert_array_equal(streamed("ray"), streamed("processes"))


@pytest.mark.usefixtures("ray_cluster")
def test_pools_of_locations(three_slides: dict[str, list[str]]) -> None:
    def placed(engine: str) -> Any:
        pool = WholeImageGridPatchesPool(
            proc_num_workers=3,
            wsi_file_list=three_slides["sound"],
            mask_data_list=[np.ones((64, 48), np.uint8)] * 3,
            patches_args={
                "patch_size": 32,
                "level_or_mpp": 0,
                "patch_stride": 1.0,
                "foreground_ratio": 0.5,
                "weak_label": "t",
                "overlap_ratio": 0.0,
            },
            engine=engine,
        )
        return [each.patch_data for each in pool]

    assert placed("ray") == placed("processes")


@pytest.mark.usefixtures("ray_cluster")
def test_slides_become_patches_and_these_features(
    three_slides: dict[str, list[str]], tmp_path: Path, holdings: Holdings
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from dplabtools.engine.ray import RayEngine
    from dplabtools.slides.processing import extract_features

    jobs: list[object] = []

    class Engine(RayEngine):
        def submit(self, index: int, job: object, *, lane: int | None = None) -> None:
            jobs.append(job)
            super().submit(index, job, lane=lane)

    with Engine(workers=3) as engine:
        for name, place in (("here", "serial"), ("there", engine)):
            made = extract_slides(
                slides=three_slides["sound"],
                output_dir=tmp_path / name,
                patches_args={"patch_size": 48, "level_or_mpp": 0},
                proc_num_workers=3,
                engine=place,
            )
            patches = len(jobs)
            (tmp_path / name / "features").mkdir()
            extract_features(
                patches_pool=made.locations.values(),
                encoder=colours,
                output_dir=tmp_path / name / "features",
                layout="zarr",
                device="cpu",
                engine=place,
            )
    assert len(jobs) > patches > 0
    assert holdings(tmp_path / "here") == holdings(tmp_path / "there")


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_the_same_though_a_node_is_lost(
    pool: list[PatchesMock], ray_cluster: Any, tmp_path: Path, holdings: Holdings, kind: str
) -> None:
    lost: list[object] = []

    def lose_a_node(progress: Progress) -> None:
        if not lost and 0 < progress.done < progress.total:
            lost.append(node)
            ray_cluster.remove_node(node, allow_graceful=False)

    found: list[dict[str, bytes]] = []
    node = ray_cluster.add_node(num_cpus=1, object_store_memory=200 << 20)
    for engine, told in (("processes", False), ("ray", lose_a_node)):
        folder = tmp_path / engine
        folder.mkdir()
        DiskPatchExtractorPool(
            patches_pool=pool,
            output_dir=folder,
            proc_num_workers=4,
            thread_num_workers=1,
            progress=told,
            engine=engine,
            **KINDS[kind],
        )
        found.append(holdings(folder))
    assert lost
    assert found[0].keys() == found[1].keys()
    assert found[0] == found[1]


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("loss", ["node", "workers"])
def test_a_stream_is_the_same_though_some_is_lost(
    pool: list[PatchesMock], ray_cluster: Any, loss: str
) -> None:
    """Slots that lost workers have written to are used again, over and over."""
    from dplabtools.engine.ray import RayEngine

    def stream(engine: EngineLike) -> StreamPatchExtractorPool:
        return StreamPatchExtractorPool(
            patches_pool=pool * 4,
            batch_size=50,
            max_memory=20 * 50 * 64 * 48 * 3,
            engine=engine,
            **{**WORKERS, "proc_num_workers": 4},
        )

    expected = np.concatenate([batch.pixels.copy() for batch in stream("processes")])
    node = ray_cluster.add_node(num_cpus=1, object_store_memory=200 << 20)
    attempts: list[int] = []

    class Engine(RayEngine):
        def take(self) -> JobResult:
            outcome = super().take()
            attempts.append(outcome.attempts)
            return outcome

    with Engine(workers=4) as engine:
        pids = {each.pid for each in run(engine, Task(), [("sleep", 0.5)] * 40)}
        assert len(pids) == 4
        found: list[Any] = []
        for number, batch in enumerate(stream(engine)):
            found.append(batch.pixels.copy())
            if number == 10 and loss == "node":
                ray_cluster.remove_node(node, allow_graceful=False)
            elif number in {10, 40} and loss == "workers":
                os.kill(pids.pop(), signal.SIGKILL)
    if loss == "workers":
        ray_cluster.remove_node(node)
    assert max(attempts) == 2
    np.testing.assert_array_equal(np.concatenate(found), expected)


def test_a_run_whose_caller_is_killed_goes_on(
    pool: list[PatchesMock], ray_cluster: Any, tmp_path: Path, holdings: Holdings
) -> None:
    slides = [each.wsi_file for each in pool]
    folders = tmp_path / "whole", tmp_path / "killed"
    for folder in folders:
        folder.mkdir()
    environment = {**os.environ, "RAY_ADDRESS": ray_cluster.address}

    def begin(folder: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", PROGRAM, str(folder), *slides]
        return subprocess.Popen(command, env=environment)

    assert begin(folders[0]).wait(120) == 0
    killed = begin(folders[1])
    while len(list(folders[1].glob("*.png"))) < 300:
        assert killed.poll() is None
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait(10)
    assert len(list(folders[1].glob("*.png"))) < 3 * len(ROWS) - 3
    assert begin(folders[1]).wait(120) == 0
    assert holdings(folders[1]) == holdings(folders[0])


@pytest.mark.usefixtures("ray_cluster")
def test_no_part_of_a_slide_is_left_of_a_run_that_fails(
    three_slides: dict[str, list[str]], tmp_path: Path
) -> None:
    with pytest.raises(SlideError, match="south"):
        DiskPatchExtractorPool(
            patches_pool=located(three_slides["damaged"]),
            output_dir=tmp_path,
            image_type="png",
            engine="ray",
            **WORKERS,
        )
    left = Counter(file.name.partition("_")[0] for file in tmp_path.rglob("*.png"))
    whole = {"north": len(ROWS), "east": len(ROWS) - 2}  # may have been complete before
    assert left.items() <= whole.items()


def test_a_cluster_of_its_own_ends_with_the_engine() -> None:
    program = """
import psutil
from dplabtools.engine.base import run
from dplabtools.engine.ray import RayEngine
from dplabtools.testing.engine import Task
def there():
    return [each.name() for each in psutil.Process().children(recursive=True)]
with RayEngine(workers=1) as engine:
    print(next(run(engine, Task(), [("square", 3)])).value(), "raylet" in there())
print(there())
"""
    environment = {name: of for name, of in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.splitlines() == ["9 True", "[]"], done.stderr


def test_places_and_patches_take_one_cluster(
    three_slides: dict[str, list[str]], tmp_path: Path
) -> None:
    program = f"""
import ray
starts, init = [], ray.init
def counted(**options):
    starts.append(options["address"])
    return init(**options)
ray.init = counted
from dplabtools.pipeline import extract_slides
made = extract_slides(
    slides={three_slides["sound"]!r},
    output_dir={str(tmp_path)!r},
    patches_args={{"patch_size": 48, "level_or_mpp": 0}},
    proc_num_workers=1,
    engine="ray",
)
print(starts, made.patch_count > 0, ray.is_initialized())
"""
    environment = {name: of for name, of in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.splitlines() == ["['local'] True False"], done.stderr


# ----------------------------------------------------------------- what cannot be


class ElsewhereMounted:
    """A node for which something else is mounted on a folder."""

    def __init__(self, address: str, mount: str, folder: Path) -> None:
        ray = Path(sys.executable).with_name("ray")
        start = f"{ray} start --address {address} --num-cpus 1 --block"
        self._node = subprocess.Popen(
            [UNSHARE, "--mount", "sh", "-c", f"mount {mount} {folder} && exec {start}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait_until_there(self) -> None:
        import ray

        alive = sum(each["Alive"] for each in ray.nodes())
        while sum(each["Alive"] for each in ray.nodes()) <= alive:
            assert self._node.poll() is None
            time.sleep(0.1)

    def end(self) -> None:
        os.killpg(self._node.pid, signal.SIGTERM)
        self._node.wait(30)


@pytest.fixture
def mounted(ray_cluster: Any) -> Any:
    if os.getuid() or not UNSHARE:
        pytest.skip("nothing can be mounted for one process alone here")
    nodes: list[ElsewhereMounted] = []

    def add(mount: str, folder: Path) -> None:
        nodes.append(ElsewhereMounted(ray_cluster.address, mount, folder))
        nodes[-1].wait_until_there()

    yield add
    for node in nodes:
        node.end()
    time.sleep(3)


def test_slides_that_a_node_does_not_see(
    pool: list[PatchesMock], tmp_path: Path, mounted: Any
) -> None:
    mounted("-t tmpfs none", Path(pool[0].wsi_file).parent)
    with pytest.raises(ClusterError, match=r"node \S+ of the cluster does not see .*svs"):
        DiskPatchExtractorPool(
            patches_pool=pool,
            output_dir=tmp_path,
            image_type="png",
            engine="ray",
            **WORKERS,
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ("-t tmpfs none", "does not see the folder"),
        ("--bind -o ro {folder}", "cannot write to"),
    ],
)
def test_a_folder_that_a_node_does_not_share(
    pool: list[PatchesMock], tmp_path: Path, mounted: Any, mount: str, message: str
) -> None:
    mounted(mount.format(folder=tmp_path), tmp_path)
    with pytest.raises(ClusterError, match=message):
        DiskPatchExtractorPool(
            patches_pool=pool,
            output_dir=tmp_path,
            image_type="png",
            engine="ray",
            **WORKERS,
        )
    assert list(tmp_path.iterdir()) == []


def refused(environment: dict[str, str], *, before: str = "") -> str:
    """Return what is said where a pool cannot work."""
    program = f"""
from dplabtools.errors import DplabError
{before}
from dplabtools.slides.patches import MemPatchExtractorPool, PatchesMock
located = PatchesMock(patch_data=[((0, 0), (9, 9), "")], wsi_file="a", level_or_mpp=0)
try:
    MemPatchExtractorPool(
        patches_pool=[located], proc_num_workers=1, thread_num_workers=1, engine="ray"
    )
except DplabError as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.stdout + done.stderr


def test_an_address_that_does_not_answer() -> None:
    said = refused({"RAY_ADDRESS": "127.0.0.1:1"})
    assert "ClusterError no Ray cluster answers at RAY_ADDRESS=127.0.0.1:1" in said


def test_another_version_of_ray(ray_cluster: Any) -> None:
    said = refused(
        {"RAY_ADDRESS": ray_cluster.address},
        before="import ray; ray.__version__ = '2.59.0'",
    )
    assert "ClusterError the Ray cluster" in said
    assert "2.59.0" in said


def test_without_ray() -> None:
    said = refused({}, before="import sys; sys.modules['ray'] = None")
    assert "MissingLibraryError ray takes ray: pip install 'dplabtools-next[ray]'" in said
