"""A run that was killed, or filled the disk, and is resumed, gives what it would have."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from dplabtools.errors import OutputError
from dplabtools.slides.patches import DiskPatchExtractorPool, PatchesMock

Holdings: TypeAlias = Callable[..., dict[str, bytes]]
Task: TypeAlias = dict[str, Any]

ROWS = [
    ((x, y), (40, 40), "ab"[x // 40 % 2])
    for y in range(0, 320, 40)
    for x in range(0, 400, 40)
]
KINDS: dict[str, dict[str, Any]] = {
    "files": {"image_type": "png", "create_subdirs": True},
    "webdataset": {
        "image_type": "jpg",
        "container": "webdataset",
        "save_options": {"shard_size": 20},
    },
    "parquet": {
        "image_type": "png",
        "container": "parquet",
        "save_options": {"shard_size": 20},
    },
    "hdf5": {"image_type": None, "container": "hdf5"},
    "zarr": {"image_type": None, "container": "zarr", "save_options": {"shard_size": 20}},
}
LISTS = {  # of three slides, those of the run that is killed, and those it goes on with
    "same": ((0, 1), (0, 1)),
    "fewer": ((0, 1), (1,)),
    "others": ((0, 1), (2,)),
    "more": ((0, 1), (2, 0, 1)),
    "another order": ((0, 1, 2), (2, 1, 0)),
}
ROUNDS = 6  # of each kind, times the factor of torture: ten are all there are
CASES = list(
    itertools.product(LISTS, (False, True), (False, True), (1, 2, 3), (False, True))
)
MEASURED: dict[str, Any] = {"quality": {"max_background_share": 0.3}}
POLYGONS = '[{"points": [[0, 0], [200, 0], [90, 310]], "label": "a", "holes": []}]'


def task(
    kind: str,
    folder: Path,
    slides: list[str],
    *,
    sets: bool = False,
    workers: int = 2,
    measured: bool = False,
) -> Task:
    folder.mkdir(exist_ok=True)
    options = {
        **KINDS[kind],
        "proc_num_workers": workers,
        "thread_num_workers": 1,
        "resume": True,
        "on_error": "skip",
    }
    if sets:
        options["levels_or_mpps"] = [0, 1]
    if measured:
        options |= {**MEASURED, "label_masks": [POLYGONS for _ in slides]}
    return {
        "pool": "MultiResDiskPatchExtractorPool" if sets else "DiskPatchExtractorPool",
        "rows": ROWS,
        "slides": slides,
        "folder": str(folder),
        "options": options,
    }


def look(folder: Path) -> dict[str, int]:
    """What is in a folder, and when it was written."""
    return {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}


def wait_until_changed(folder: Path, before: dict[str, int]) -> None:
    """Wait until a run has begun to write to a folder, if only that it is locked."""
    deadline = time.monotonic() + 60
    while True:
        with suppress(FileNotFoundError):
            if look(folder) != before:
                return
        assert time.monotonic() < deadline
        time.sleep(0.001)


def states(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file but the lock, which a killed run may leave, and when it was written."""
    return {
        str(file.relative_to(folder)): (file.stat().st_mtime_ns, file.read_bytes())
        for file in folder.rglob("*")
        if file.is_file() and file.name != ".dplabtools.lock"
    }


class Killer:
    """Kills runs of one kind.

    Parameters
    ----------
    kind : str
        What is written.
    begin_runs : callable
        Starts a process that runs pools.
    """

    def __init__(self, kind: str, begin_runs: Callable[[], Any]) -> None:
        self.kills = self.late = 0
        self.chance = random.Random(kind)  # noqa: S311 - no secret
        self._begin_runs = begin_runs
        self._seconds: dict[str, float] = {}

    def time(self, wanted: Task) -> None:
        """Find out how long a process that has just begun writes to a folder."""
        folder = Path(wanted["folder"])
        if wanted["pool"] not in self._seconds:
            fresh = self._begin_runs()
            before = look(folder)
            fresh.begin(wanted)
            wait_until_changed(folder, before)
            begun = time.monotonic()
            assert fresh.outcome()["error"] is None
            self._seconds[wanted["pool"]] = time.monotonic() - begun
            fresh.end()
            shutil.rmtree(folder)
            folder.mkdir()

    def kill(self, wanted: Task) -> bool:
        """Let a process run and kill it, at a moment after it has opened its folder.

        Returns
        -------
        bool
            Whether it was killed before the run had come to an end.
        """
        folder = Path(wanted["folder"])
        before = look(folder)
        victim = self._begin_runs()
        after_s = self.chance.uniform(0.0, self._seconds[wanted["pool"]])
        group = self.chance.choice([True, False])
        victim.begin(wanted)
        wait_until_changed(folder, before)
        time.sleep(after_s)
        victim.kill(group=group)
        in_time = victim.outcome() is None
        self.kills += in_time
        self.late += not in_time
        victim.end()
        return in_time


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_random_moments_and_resumed(
    kind: str,
    torture: int,
    begin_runs: Callable[[], Any],
    holdings: Holdings,
    three_slides: dict[str, list[str]],
    tmp_path: Path,
) -> None:
    """With the same slides and more it is whole; with fewer or others it is refused."""
    killer, calm, refused = Killer(kind, begin_runs), begin_runs(), 0
    cases = killer.chance.sample(CASES, len(CASES))
    for then, sets, damaged, workers, measured in itertools.islice(
        itertools.cycle(cases), ROUNDS * torture
    ):
        slides = three_slides["damaged" if damaged else "sound"]
        first, last = ([slides[number] for number in part] for part in LISTS[then])
        out, whole = tmp_path / "out", tmp_path / "whole"
        how: Task = {"sets": sets, "workers": workers, "measured": measured}
        begun = task(kind, out, first, **how)
        wanted = task(kind, out, last, **how)
        expected = task(kind, whole, last, **how)
        killer.time(begun)
        while not killer.kill(begun):  # each round in time
            shutil.rmtree(out)
            out.mkdir()
        before = states(out)
        if then not in {"fewer", "others"} and killer.chance.random() < 0.5:
            killer.kill(wanted)
        found = calm.run(wanted)
        if found["error"] is not None:
            assert found["error"] == "ResumeError", found
            assert then in {"fewer", "others"}, found
            assert "not given now: north.svs" in found["message"]
            assert states(out) == before
            refused += 1
        else:
            whole_one = calm.run(expected)
            assert found["skipped"] == whole_one["skipped"]
            assert (found["skipped"] > 0) == (slides[1] in last and damaged)
            hold = partial(holdings, renumbered=last[: len(first)] != first)
            for _ in ("the run that goes on", "one that finds all of it done"):
                assert hold(out) == hold(whole), (then, how, damaged)
                assert calm.run(wanted)["error"] is None
        for folder in (out, whole):
            shutil.rmtree(folder)
    assert refused
    assert killer.late <= killer.kills


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
@pytest.mark.parametrize("case", [*itertools.product(KINDS, (False, True))])
def test_out_of_disk_and_resumed_on_a_larger_one(
    case: tuple[str, bool],
    begin_runs: Callable[[], Any],
    holdings: Holdings,
    three_slides: dict[str, list[str]],
    small_disk: Path,
    tmp_path: Path,
) -> None:
    kind, sets = case
    slides = three_slides["sound"]
    runs = begin_runs()
    whole, folder = tmp_path / "whole", small_disk / "out"
    assert runs.run(task(kind, whole, slides, sets=sets))["error"] is None
    expected = holdings(whole)
    chance = random.Random(kind)  # noqa: S311 - no secret
    pages = sum(-(-len(data) // 4096) for data in expected.values())
    wanted = task(kind, folder, slides, sets=sets)
    for size in sorted(chance.sample(range(1, pages), 7)):
        resize(small_disk, size * 4096)
        found = runs.run(wanted)
        assert found["error"] == "OutputError", size
        assert "No space left" in found["message"]
        assert str(folder) in found["message"]
        assert not list(folder.glob(".dplabtools-*"))  # what is whole of a group stays
    resize(small_disk, 1 << 30)
    assert runs.run(wanted)["error"] is None
    assert holdings(folder) == expected


def test_out_of_disk_nothing_is_left_that_is_not_complete(
    three_slides: dict[str, list[str]], small_disk: Path
) -> None:
    resize(small_disk, 40 * 4096)
    slide = three_slides["sound"][0]
    patches = PatchesMock(patch_data=ROWS, wsi_file=slide, level_or_mpp=0)
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
