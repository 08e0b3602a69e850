"""A run that was killed, or filled the disk, and is resumed, gives what it would have."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from dplabtools.errors import OutputError
from dplabtools.output import naming
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    PatchesMock,
)
from dplabtools.testing.make_slide import make_slide

ROWS: list[Any] = json.loads(  # as the script reads them: they stand in the manifest
    json.dumps(
        [
            ((x, y), (40, 40), "ab"[x % 3 % 2])
            for y in range(0, 320, 20)
            for x in range(0, 400, 40)
        ]
    )
)
KINDS: dict[str, dict[str, Any]] = {
    "files": {"image_type": "png", "create_subdirs": True},
    "sets": {"image_type": "jpg", "levels_or_mpps": [0, 1]},
    "webdataset": {
        "image_type": "jpg",
        "container": "webdataset",
        "save_options": {"shard_size": 20},
    },
    "parquet": {
        "image_type": "png",
        "container": "parquet",
        "levels_or_mpps": [0, 1],
        "save_options": {"shard_size": 20},
    },
    "hdf5": {"image_type": None, "container": "hdf5"},
    "zarr": {"image_type": None, "container": "zarr", "save_options": {"shard_size": 20}},
}
Undisturbed: TypeAlias = tuple[dict[str, bytes], dict[str, float]]
KILLS = {"files": 8, "sets": 8}  # for each victim: 32 in all
KILLS_OF_CONTAINERS = 2
SEED = 7

# Runs a pool, and kills itself a while after it has opened the folder, or after the first
# patches have been written.
SCRIPT = """
import json, os, random, signal, sys, threading, time
from dplabtools.extraction.account import Account
from dplabtools.output import naming
from dplabtools.output.run_folder import folder as run_folder
from dplabtools.slides import patches

task = json.loads(sys.argv[1])
naming.secrets = random.Random(task["seed"])
moments = {}

def reached(moment):
    if moment not in moments:
        moments[moment] = time.perf_counter()
        if task["after"] == moment:
            threading.Timer(task["delay"], kill).start()

def kill():
    (os.killpg if task["victim"] == "group" else os.kill)(os.getpid(), signal.SIGKILL)

def announcing(function, moment):
    def announce(*args):
        reached(moment)
        return function(*args)
    return announce

run_folder.RunFolder.open = announcing(run_folder.RunFolder.open, "opened")
Account.note = announcing(Account.note, "wrote")
pool = getattr(patches, task["pool"])(
    patches_pool=[
        patches.PatchesMock(patch_data=task["rows"], wsi_file=slide, level_or_mpp=0)
        for slide in task["slides"]
    ],
    output_dir=task["folder"],
    proc_num_workers=2,
    thread_num_workers=1,
    resume=True,
    **task["options"],
)
now = time.perf_counter()
print(json.dumps({each: now - moments[each] for each in moments}), flush=True)
os._exit(0)  # before the timer
"""


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("slides")
    return [
        str(make_slide(folder / f"{name}.svs", size=(512, 384), seed=seed))
        for seed, name in enumerate("abc")
    ]


def start(
    kind: str,
    folder: Path,
    slides: list[str],
    *,
    after: str | None = None,
    delay: float = 0.0,
    victim: str = "group",
) -> dict[str, float] | None:
    """Run to the end, and return how long it took since when; None if it was killed."""
    folder.mkdir(exist_ok=True)
    task = {
        "pool": pool_of(kind).__name__,
        "options": KINDS[kind],
        "folder": str(folder),
        "slides": slides,
        "rows": ROWS,
        "seed": SEED,
        "after": after,
        "delay": delay,
        "victim": victim,
    }
    # Standard error goes to a file: a worker that is still alive would hold a pipe open.
    with (folder.parent / "messages").open("w+") as messages:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, json.dumps(task)],
            stdout=subprocess.PIPE,
            stderr=messages,
            text=True,
            start_new_session=True,
            check=False,
        )
        messages.seek(0)
        assert done.returncode in {0, -signal.SIGKILL}, messages.read()
    if done.returncode:
        return None
    seconds: dict[str, float] = json.loads(done.stdout)
    return seconds


def pool_of(kind: str) -> type[DiskPatchExtractorPool | MultiResDiskPatchExtractorPool]:
    sets = "levels_or_mpps" in KINDS[kind]
    return MultiResDiskPatchExtractorPool if sets else DiskPatchExtractorPool


def content(folder: Path) -> dict[str, bytes]:
    """Every file, times and the place of the folder apart."""
    return {
        str(file.relative_to(folder)): (
            timeless(file.read_bytes(), folder)
            if file.parent.name == "manifests"
            else file.read_bytes()
        )
        for file in folder.rglob("*")
        if file.is_file()
    }


def timeless(text: bytes, folder: Path) -> bytes:
    text = re.sub(rb'Date created: .*|"begun": ".*"', b"", text)
    return text.replace(str(folder).encode(), b"<folder>")


@pytest.fixture(scope="module")
def undisturbed(
    slides: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Undisturbed]:
    """What each kind of run gives, and how long it takes."""

    @cache
    def result(kind: str) -> Undisturbed:
        folder = tmp_path_factory.mktemp(kind) / "out"
        seconds = start(kind, folder, slides)
        assert seconds is not None
        return content(folder), seconds

    return result


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["group", "parent"])
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_random_moments_and_resumed(
    kind: str,
    victim: str,
    slides: list[str],
    undisturbed: Callable[[str], Undisturbed],
    tmp_path: Path,
) -> None:
    """Again and again; workers that outlive their caller for a moment do no harm."""
    expected, seconds = undisturbed(kind)
    chance = random.Random(f"{kind} {victim}")  # noqa: S311 - no secret
    killed = finished = 0
    while killed < KILLS.get(kind, KILLS_OF_CONTAINERS):
        folder = tmp_path / str(finished)
        after = chance.choice(["opened", "wrote", "wrote"])
        delay = chance.uniform(0.0, seconds[after])
        if not start(kind, folder, slides, after=after, delay=delay, victim=victim):
            killed += 1
        else:
            assert content(folder) == expected
            finished += 1
    folder = tmp_path / str(finished)
    assert start(kind, folder, slides)
    assert content(folder) == expected


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one page; the size of one that is mounted can be changed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or not sys.platform.startswith("linux"):
        pytest.skip("only root may mount a small file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)],  # noqa: S607
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted: {mounted.stderr.decode()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S607


def resize(disk: Path, size: int) -> None:
    options = f"remount,size={size}"
    subprocess.run(["mount", "-o", options, str(disk)], check=True)  # noqa: S607


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_out_of_disk_and_resumed_on_a_larger_one(
    kind: str,
    slides: list[str],
    undisturbed: Callable[[str], Undisturbed],
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected, _ = undisturbed(kind)
    chance = random.Random(kind)  # noqa: S311 - no secret
    pages = sum(-(-len(data) // 4096) for data in expected.values())
    folder = small_disk / "out"
    folder.mkdir()
    for size in [*sorted(chance.sample(range(1, pages), 7)), None]:
        resize(small_disk, 1 << 30 if size is None else size * 4096)
        monkeypatch.setattr(naming, "secrets", random.Random(SEED))  # noqa: S311 - as above
        failed = False
        try:
            pool_of(kind)(
                patches_pool=[
                    PatchesMock(patch_data=ROWS, wsi_file=slide, level_or_mpp=0)
                    for slide in slides
                ],
                output_dir=folder,
                proc_num_workers=2,
                thread_num_workers=1,
                resume=True,
                **KINDS[kind],
            )
        except OutputError as error:
            failed = True
            assert "No space left" in str(error)  # noqa: PT017 - in the end there is none
            assert str(folder) in str(error)  # noqa: PT017
            assert not list(folder.glob(".dplabtools-*"))  # what is whole of a group stays
        assert failed == (size is not None)
    assert content(folder) == expected


def test_out_of_disk_nothing_is_left_that_is_not_complete(
    slides: list[str], small_disk: Path
) -> None:
    resize(small_disk, 40 * 4096)
    patches = PatchesMock(patch_data=ROWS, wsi_file=slides[0], level_or_mpp=0)
    with pytest.raises(OutputError, match="No space left"):
        DiskPatchExtractorPool(
            patches_pool=[patches],
            output_dir=small_disk,
            image_type="png",
            proc_num_workers=2,
            thread_num_workers=1,
        )
    with suppress(FileNotFoundError):
        assert list(small_disk.iterdir()) == []
