"""Runs that write to an object store: slides are there whole, or not at all."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.errors import (
    DplabError,
    OutputError,
    ParameterError,
    ResumeError,
)
from dplabtools.output.run_folder.remote import RemoteFolder
from dplabtools.pipeline import extract_slides
from dplabtools.slides.patches import (
    DiskPatchExtractor,
    DiskPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    PatchesMock,
    open_patches,
)
from dplabtools.sources import stores
from dplabtools.sources.writing import output_root
from dplabtools.testing.make_slide import make_slide
from dplabtools.testing.object_store import ObjectStore

pytestmark = pytest.mark.usefixtures("client", "stage")

COMMAND = [sys.executable, "-c", "from dplabtools.cli.main import main; main()"]
NAMES = ("a.svs", "b.svs", "c.svs")
CORNERS = [(x, y) for y in range(0, 800, 100) for x in range(0, 1000, 100)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    for seed, name in enumerate(NAMES):
        make_slide(folder / name, size=(1024, 1024), tile=128, seed=seed)
    return folder


def mocks(folder: Path, names: Sequence[str] = NAMES) -> list[PatchesMock]:
    rows = [(corner, (100, 100), "t") for corner in CORNERS]
    return [
        PatchesMock(patch_data=rows, wsi_file=folder / name, level_or_mpp=0)
        for name in names
    ]


def extract(folder: Path, output: str | Path, **arguments: Any) -> DiskPatchExtractorPool:
    names = arguments.pop("names", NAMES)
    return DiskPatchExtractorPool(
        patches_pool=mocks(folder, names),
        output_dir=output,
        proc_num_workers=1,
        thread_num_workers=1,
        **{"image_type": "png", **arguments},
    )


def keys(client: Any, prefix: str) -> list[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="runs", Prefix=prefix)
    return [each["Key"] for page in pages for each in page.get("Contents", ())]


def bring_back(client: Any, prefix: str, to: Path) -> Path:
    for key in keys(client, f"{prefix}/"):
        file = to / key.removeprefix(f"{prefix}/")
        file.parent.mkdir(parents=True, exist_ok=True)
        client.download_file("runs", key, str(file))
    return to


def images(folder: Path) -> dict[tuple[str, int, int], bytes]:
    stored = open_patches(folder)
    table = stored.table
    names = [Path(each).name for each in table.wsi_file.tolist()]
    corners = zip(table.x.tolist(), table.y.tolist(), strict=True)
    return {
        (name, x, y): np.asarray(stored[row].image).tobytes()
        for row, (name, (x, y)) in enumerate(zip(names, corners, strict=True))
    }


@pytest.fixture(scope="module")
def expected(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, int, int], bytes]:
    out = tmp_path_factory.mktemp("near")
    extract(folder, out)
    return images(out)


@pytest.mark.parametrize("container", [None, "webdataset", "hdf5", "zarr", "parquet"])
def test_all_is_at_the_address_and_nothing_here(
    store: ObjectStore,
    folder: Path,
    tmp_path: Path,
    stage: Path,
    container: Any,
    expected: Any,
) -> None:
    kind = "png" if container not in {"hdf5", "zarr"} else None
    prefix = f"whole/{container}"
    address = f"s3://runs/{prefix}/"
    pool = extract(folder, address, container=container, image_type=kind)
    assert pool.patch_count == 3 * len(CORNERS)
    assert not list(stage.rglob("*"))
    back = bring_back(store.client(), prefix, tmp_path / "back")
    assert images(back) == expected
    texts = [file.read_text(errors="replace") for file in back.rglob("*") if file.is_file()]
    assert not any(store.secret in text or str(stage) in text for text in texts)
    manifest = next((back / "manifests").glob("*.txt")).read_text()
    assert f"s3://runs/{prefix}/manifests/" in manifest
    assert f"output_dir: s3://runs/{prefix}" in manifest


def test_label_masks_and_sets_go_there_too(client: Any, folder: Path) -> None:
    square = [AnnotationPolygon(label="t", points=((0, 0), (500, 0), (500, 500)))]
    MultiResDiskPatchExtractorPool(
        patches_pool=mocks(folder, NAMES[:1]),
        output_dir="s3://runs/sets",
        levels_or_mpps=[0, 1],
        image_type="png",
        label_masks=[square],
        proc_num_workers=1,
        thread_num_workers=1,
    )
    found = keys(client, "sets/")
    assert sum("/label_masks/set" in key for key in found) == 2 * len(CORNERS)
    assert sum(key.startswith("sets/set") for key in found) == 2 * len(CORNERS)


def test_manifests_come_last(store: ObjectStore, client: Any, folder: Path) -> None:
    extract(folder, "s3://runs/order", names=NAMES[:1])
    (number,) = {key.split("__")[1] for key in keys(client, "order/manifests/manifest__")}
    manifests = [at for at, key in enumerate(store.stored) if f"__{number}__" in key]
    journals = [at for at, key in enumerate(store.stored) if "journal__" in key]
    patches = [at for at, key in enumerate(store.stored) if key.endswith(".png")]
    assert len(manifests) == 2
    assert len(patches) == len(CORNERS)
    # Begun is written down before anything is there, and complete before manifests are.
    assert journals[0] < patches[0] < patches[-1] < journals[1] < manifests[0]


def test_slides_may_be_at_an_address_too(
    client: Any, folder: Path, tmp_path: Path, expected: Any
) -> None:
    for name in NAMES:
        client.upload_file(str(folder / name), "runs", f"study/{name}")
    rows = [(corner, (100, 100), "t") for corner in CORNERS]
    DiskPatchExtractorPool(
        patches_pool=[
            PatchesMock(patch_data=rows, wsi_file=f"s3://runs/study/{name}", level_or_mpp=0)
            for name in NAMES
        ],
        output_dir="s3://runs/both",
        image_type="png",
        proc_num_workers=2,
        thread_num_workers=1,
    )
    assert images(bring_back(client, "both", tmp_path / "back")) == expected


@pytest.fixture
def told_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have progress told of each chunk, however little time has passed."""
    monkeypatch.setattr("dplabtools.extraction.progress._INTERVAL_S", 0)


class Interrupts:
    """Progress that interrupts the run once a slide is complete."""

    def __call__(self, progress: Any) -> None:
        if progress.slides_done:
            raise KeyboardInterrupt


class InterruptsWhenDown:
    """Progress that interrupts the run once its store is down."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store

    def __call__(self, progress: Any) -> None:
        if progress.slides_done > 1 and self.wait():
            raise KeyboardInterrupt

    def wait(self) -> bool:
        deadline = time.monotonic() + 30
        while not self.store.failures and time.monotonic() < deadline:
            time.sleep(0.01)
        return bool(self.store.failures)


@pytest.mark.parametrize("container", [None, "webdataset", "zarr", "parquet"])
@pytest.mark.usefixtures("told_of_all")
def test_a_run_goes_on_with_what_is_complete_there(
    store: ObjectStore,
    client: Any,
    folder: Path,
    tmp_path: Path,
    container: Any,
    expected: Any,
) -> None:
    prefix = f"on/{container}"
    kind = None if container == "zarr" else "png"
    options = {"container": container, "image_type": kind, "resume": True}
    with pytest.raises(KeyboardInterrupt):  # with the first slide
        extract(
            folder,
            f"s3://runs/{prefix}",
            engine="serial",
            progress=Interrupts(),
            **options,
        )
    there = keys(client, f"{prefix}/manifests/manifest__")
    assert 2 <= len(there) < 6
    begun = set(keys(client, prefix))
    whole = {key.split("__")[1] for key in there}  # numbers of runs, and folders of zarr
    whole |= {f"/{Path(key.split('__')[2]).stem}.zarr/" for key in there}
    for key in begun - set(there):
        assert "journal__" in key or any(each in key for each in whole), key
    store.stored.clear()
    extract(folder, f"s3://runs/{prefix}", **options)
    assert not [key for key in store.stored if key in begun and "journal" not in key]
    assert images(bring_back(client, prefix, tmp_path / "back")) == expected
    store.stored.clear()
    extract(folder, f"s3://runs/{prefix}", **options)
    assert not [key for key in store.stored if not key.endswith("/.dplabtools")]


def test_a_killed_run_goes_on_under_the_same_names(
    client: Any, folder: Path, tmp_path: Path, stage: Path, expected: Any
) -> None:
    program = f"""
import itertools, os, signal
from pathlib import Path
from dplabtools.slides.patches import DiskPatchExtractorPool, PatchesMock
from dplabtools.sources.stores import StoredObject
put = StoredObject.put
stored = itertools.count(1)
def dies(self, content):
    put(self, content)
    if "/b_" in self.key and next(stored) == 10:
        os.kill(os.getpid(), signal.SIGKILL)
StoredObject.put = dies
if __name__ == "__main__":
    rows = [(corner, (100, 100), "t") for corner in {CORNERS}]
    DiskPatchExtractorPool(
        patches_pool=[PatchesMock(patch_data=rows, wsi_file=Path({str(folder)!r}) / name,
            level_or_mpp=0) for name in {NAMES}],
        output_dir="s3://runs/killed", image_type="png", proc_num_workers=1,
        thread_num_workers=1)
"""
    script = tmp_path / "script.py"
    script.write_text(program)
    done = subprocess.run([sys.executable, script], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    half = keys(client, "killed/b_")
    assert 10 <= len(half) < len(CORNERS)
    complete = keys(client, "killed/manifests/manifest__")
    assert len(complete) == 2
    assert all(key.rpartition("__")[2].startswith("a.") for key in complete)
    with pytest.raises(OutputError, match="something under s3://runs/killed already"):
        extract(folder, "s3://runs/killed")
    with pytest.raises(ResumeError, match="s3://runs/killed holds patches that were"):
        extract(folder, "s3://runs/killed", image_type="jpg", resume=True)
    extract(folder, "s3://runs/killed", resume=True)
    assert set(half) < set(keys(client, "killed/b_"))
    assert len(keys(client, "killed/b_")) == len(CORNERS)
    assert images(bring_back(client, "killed", tmp_path / "back")) == expected
    assert not list(stage.rglob("*"))  # what the killed run had here, too


def test_a_slide_that_cannot_be_stored_is_not_there_at_all(
    store: ObjectStore, client: Any, folder: Path, stage: Path
) -> None:
    store.refused = "_x300_y500"
    with pytest.raises(OutputError, match=r"s3://runs/half: .*refuses access"):
        extract(folder, "s3://runs/half", container=None)
    assert store.stored
    assert not [key for key in keys(client, "half/") if "journal" not in key]
    assert not list(stage.rglob("*"))


def test_a_slide_without_one_of_its_manifests_is_written_again(
    store: ObjectStore, client: Any, folder: Path
) -> None:
    extract(folder, "s3://runs/torn", names=NAMES[:1])
    manifests = keys(client, "torn/manifests/manifest__")
    client.delete_object(Bucket="runs", Key=manifests[0])  # as a kill between them does
    store.refused = "_x300_y500"
    with pytest.raises(OutputError, match="refuses access"):
        extract(folder, "s3://runs/torn", names=NAMES[:1], resume=True)
    assert not keys(client, "torn/manifests/manifest__")  # they come last
    store.refused = ""
    extract(folder, "s3://runs/torn", names=NAMES[:1], resume=True)
    assert keys(client, "torn/manifests/manifest__") == manifests


def test_a_store_that_fails_at_times_is_asked_again(
    store: ObjectStore, client: Any, folder: Path, tmp_path: Path, expected: Any
) -> None:
    store.failing_writes = 5
    extract(folder, "s3://runs/failing")
    assert store.failures["cut"] > 10
    assert store.failures["PUT"] > 10
    assert images(bring_back(client, "failing", tmp_path / "back")) == expected


@pytest.fixture
def few_tries(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(stores, "_TRIES", 2)
    stores._store.cache_clear()
    yield 2
    stores._store.cache_clear()


def test_a_store_that_stays_down_ends_the_run_soon(
    store: ObjectStore,
    client: Any,
    folder: Path,
    tmp_path: Path,
    few_tries: int,
    expected: Any,
) -> None:
    store.down_after = 130  # in the middle of the second slide
    with pytest.raises(
        OutputError, match=r"s3://runs/down: its store cannot be reached, .*check the add"
    ):
        extract(folder, "s3://runs/down")
    # What is there of the slide is not asked for file by file.
    assert few_tries <= store.failures["DELETE"] <= 32 * few_tries
    store.down_after = 0
    complete = keys(client, "down/manifests/manifest__")
    assert {key.rpartition("__")[2] for key in complete} <= {"a.txt", "a.csv"}
    extract(folder, "s3://runs/down", resume=True)
    assert images(bring_back(client, "down", tmp_path / "back")) == expected


def test_an_interrupted_run_does_not_wait_for_a_store_that_is_down(
    store: ObjectStore, folder: Path, stage: Path, few_tries: int
) -> None:
    store.down_after = 130
    with pytest.raises(KeyboardInterrupt):
        extract(folder, "s3://runs/gone", progress=InterruptsWhenDown(store))
    assert few_tries <= store.failures["DELETE"] <= 32 * few_tries
    assert not list(stage.rglob("*"))


POOL = """
import sys
from dplabtools.slides.patches import DiskPatchExtractorPool, PatchesMock
from pathlib import Path
folder, address = Path(sys.argv[1]), sys.argv[2]
rows = [((x, y), (100, 100), "t") for y in range(0, 800, 100) for x in range(0, 1000, 100)]
DiskPatchExtractorPool(
    patches_pool=[PatchesMock(patch_data=rows, wsi_file=each, level_or_mpp=0)
        for each in sorted(folder.glob("*.svs"))],
    output_dir=address, image_type="png", proc_num_workers=1, thread_num_workers=1)
"""
UPLOAD = """
import sys
from dplabtools.pipeline import upload_run
upload_run(sys.argv[1], sys.argv[2])
"""


@pytest.mark.parametrize("silent_after", [1, 130], ids=["journal", "slide"])
def test_an_interrupted_run_does_not_wait_for_a_store_that_never_answers(
    store: ObjectStore, folder: Path, stage: Path, silent_after: int
) -> None:
    interrupt_when_silent(store, silent_after, POOL, folder, "s3://runs/silent-run")
    assert not list(stage.rglob("*"))


def test_an_interrupted_upload_does_not_wait_for_a_store_that_never_answers(
    store: ObjectStore, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    extract(folder, tmp_path / "out")
    interrupt_when_silent(store, 50, UPLOAD, tmp_path / "out", "s3://runs/silent-upload")


def interrupt_when_silent(
    store: ObjectStore, silent_after: int, program: str, folder: Path, address: str
) -> None:
    store.silent_after = silent_after
    with subprocess.Popen(
        [sys.executable, "-c", program, folder, f"{address}-{silent_after}"],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            deadline = time.monotonic() + 60
            while len(store.stored) < silent_after and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.5)  # until others wait, too
            assert len(store.stored) >= silent_after
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=30)
        finally:
            process.kill()
            store.answers.set()
    assert process.returncode == -signal.SIGINT, told
    assert told.rstrip().endswith("KeyboardInterrupt")


def test_a_full_disk_leaves_what_is_there_as_it_is(
    client: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(folder, "s3://runs/full", names=NAMES[:1])
    (journal,) = keys(client, "full/manifests/journal__")
    before = client.get_object(Bucket="runs", Key=journal)["Body"].read()
    write = Path.write_bytes
    failed = []

    def write_half(file: Path, data: bytes) -> int:
        if "journal__" not in file.name:
            return write(file, data)
        failed.append(write(file, data[: len(data) // 2]))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(OutputError, match="No space left"):
        extract(folder, "s3://runs/full", resume=True)
    assert failed
    assert client.get_object(Bucket="runs", Key=journal)["Body"].read() == before


def test_journals_that_grow_meanwhile_are_not_stored_in_wrong_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "manifests" / "journal__1.jsonl"
    journal.parent.mkdir()
    journal.write_text("begun\n")
    stored: list[bytes] = []
    started, grown = threading.Event(), threading.Event()

    def put(_: stores.StoredObject, content: bytes) -> None:
        if not started.is_set():
            started.set()
            grown.wait(0.5)
        stored.append(content)

    monkeypatch.setattr(stores.StoredObject, "put", put)
    with ThreadPoolExecutor(1) as worker:
        remote = RemoteFolder(output_root("s3://runs/journals"), tmp_path, worker)
        earlier = worker.submit(remote.store_journals)
        started.wait()
        journal.write_text("begun\ncomplete\n")
        remote.store_journals()
        grown.set()
        earlier.result()
    assert stored == [b"begun\n", b"begun\ncomplete\n"]


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("s3://none/out", OutputError, "there is no bucket"),
        ("https://there/out", ParameterError, "not the address of an object store"),
        ("s3://runs/out?sig=x", ParameterError, "leave them out"),
    ],
)
def test_where_nothing_can_be_stored_is_told_before_work_begins(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    error: type[DplabError],
    words: str,
) -> None:
    monkeypatch.setattr("dplabtools.slides.patches._disk_pools.pool_run", None)
    for resume in (False, True):
        with pytest.raises(error, match=words):
            extract(folder, address, resume=resume)


def test_who_may_not_write_is_told_before_work_begins(
    store: ObjectStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dplabtools.slides.patches._disk_pools.pool_run", None)
    store.refused = "/"
    with pytest.raises(OutputError, match="refuses access"):
        extract(folder, "s3://runs/forbidden")


def test_what_is_not_written_to_addresses_is_told(folder: Path) -> None:
    with pytest.raises(ParameterError, match=r"jobs that share .* upload_run"):
        extract(folder, "s3://runs/shard", shard=(1, 2))
    with pytest.raises(ParameterError, match="files of this machine only"):
        extract(folder, "s3://runs/verify", verify="pixels", resume=True)
    with pytest.raises(OutputError, match="use DiskPatchExtractorPool"):
        DiskPatchExtractor(
            patches=mocks(folder)[0],
            output_dir="s3://runs/one",
            image_type="png",
            resampling_mode=None,
            num_workers=1,
        )


def test_slides_become_patches_at_an_address(
    client: Any, folder: Path, tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {
        "slides": folder,
        "patches_args": {
            "patch_size": 128,
            "patch_stride": 1,
            "foreground_ratio": 0.2,
            "level_or_mpp": 0,
        },
        "proc_num_workers": 1,
    }
    near = tmp_path / "near"
    extract_slides(output_dir=near, **arguments)
    found = extract_slides(output_dir="s3://runs/pipeline", **arguments)
    assert found.masks[str(folder / "a.svs")] == "s3://runs/pipeline/masks/a.png"
    back = bring_back(client, "pipeline", tmp_path / "back")
    assert images(back) == images(near)
    assert (back / "masks/a.png").read_bytes() == (near / "masks/a.png").read_bytes()


def test_the_command_writes_to_an_address(
    store: ObjectStore, client: Any, folder: Path, tmp_path: Path, stage: Path
) -> None:
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, "extract", str(folder), "--out", "s3://runs/command"]
        command += ["--patch-size", "128", "--foreground-ratio", "0.2", *options]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    done = run()
    assert done.returncode == 0, done.stderr
    assert "in s3://runs/command" in " ".join(done.stdout.split())
    there = keys(client, "command/")
    for name in ("run.json", "dplabtools.toml", "masks/a.png"):
        assert f"command/{name}" in there
    back = bring_back(client, "command", tmp_path / "back")
    assert str(stage) not in "".join(
        file.read_text(errors="replace") for file in back.rglob("*") if file.is_file()
    )
    record = json.loads((back / "run.json").read_text())
    assert {each["status"] for each in record["slides"]} == {"complete"}
    again = run()
    assert again.returncode != 0
    assert "something under s3://runs/command already" in again.stderr
    store.stored.clear()
    on = run("--resume")
    assert on.returncode == 0, on.stderr
    assert not [key for key in store.stored if key.endswith((".png", ".csv"))]
    other = run("--resume", "--mpp", "1")
    assert "s3://runs/command was begun with other options" in other.stderr
    assert not list(stage.rglob("*"))
    assert not (tmp_path / "s3:").exists()


@pytest.mark.parametrize("command", ["locate", "mask", "export"])
def test_other_commands_take_folders_only(
    tmp_path: Path, folder: Path, command: str
) -> None:
    done = subprocess.run(
        [*COMMAND, command, str(folder), "--out", "s3://runs/other"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "only extract and features write" in done.stderr
    assert not (tmp_path / "s3:").exists()


@pytest.mark.parametrize("layout", ["trident", "clam", "zarr"])
def test_features_go_to_an_address(
    store: ObjectStore, client: Any, folder: Path, tmp_path: Path, layout: Any
) -> None:
    torch = pytest.importorskip("torch")
    from dplabtools.errors import OtherFeaturesError
    from dplabtools.slides.processing import extract_features

    def run(output: str | Path, names: Sequence[str] = NAMES, **kwargs: Any) -> list[Any]:
        return extract_features(
            patches_pool=mocks(folder, names),
            encoder=lambda images: images.mean((2, 3)),
            encoder_name=kwargs.pop("name", "means"),
            output_dir=output,
            layout=layout,
            device="cpu",
            proc_num_workers=1,
        )

    assert torch
    near = tmp_path / "near"
    near.mkdir()
    run(near)
    address = f"s3://runs/features-{layout}"
    assert [each.status for each in run(address, NAMES[:2])] == ["written"] * 2
    found = run(address)
    assert [each.status for each in found] == ["kept", "kept", "written"]
    assert found[0].patches == len(CORNERS)
    assert str(found[0].file).startswith(f"{address}/")
    back = bring_back(client, f"features-{layout}", tmp_path / "back")
    here, there = (
        sorted(each.relative_to(root) for each in root.rglob("*") if each.is_file())
        for root in (near, back)
    )
    assert here == there
    if layout == "zarr":
        last = [key for key in store.stored if "/b.zarr/" in key]
        assert last[-1].endswith("b.zarr/zarr.json")
    with pytest.raises(OtherFeaturesError, match=rf"{address}/.*another encoder"):
        run(address, name="others")
    file = {"clam": "h5_files/b.h5", "zarr": "b.zarr/zarr.json"}.get(layout, "b.h5")
    client.delete_object(Bucket="runs", Key=f"features-{layout}/{file}")  # as a kill does
    assert [each.status for each in run(address)] == ["kept", "written", "kept"]
    assert f"features-{layout}/{file}" in keys(client, f"features-{layout}/")
