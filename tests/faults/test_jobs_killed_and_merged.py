"""One of several jobs is killed at any moment, and goes on: together they are whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from dplabtools.errors import MergeError
from dplabtools.pipeline import merge_shards
from dplabtools.slides.patches import open_patches
from dplabtools.testing.make_slide import make_slide

pytestmark = pytest.mark.slow
COMMAND: Final = [sys.executable, "-c", "from dplabtools.cli.main import main; main()"]
JOBS: Final = 3


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two slides."""
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "slides").mkdir()
    for seed, size in enumerate([(1792, 1536), (768, 512)], 1):
        make_slide(folder / "slides" / f"{seed}.svs", size=size, seed=seed)
    return folder


def job(place: Path, number: int, *options: str) -> subprocess.Popen[bytes]:
    """Begin a job, in a session of its own."""
    words = ["extract", "slides", "--out", "o", "--patch-size", "48", "--workers", "1"]
    return subprocess.Popen(
        [*COMMAND, *words, *options, "--shard", f"{number}/{JOBS}"],
        cwd=place,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def patches(out: Path) -> list[tuple[str, tuple[int, int], bytes]]:
    return [
        (Path(each.wsi_file).name, each.location, each.array.tobytes())
        for each in open_patches(out)
    ]


@pytest.mark.parametrize("container", [None, "webdataset", "parquet"])
def test_a_job_that_was_killed_goes_on_and_all_are_whole(
    place: Path, tmp_path: Path, container: str | None, torture: int
) -> None:
    (tmp_path / "slides").symlink_to(place / "slides")
    options = ["--container", container] if container else []
    for number in range(1, JOBS + 1):
        assert job(tmp_path, number, *options).wait(120) == 0
    (tmp_path / "o").rename(tmp_path / "whole")
    merge_shards(tmp_path / "whole", tmp_path / "undisturbed")

    rng = random.Random(f"{container} {torture}")  # noqa: S311 - only moments
    killed = 0
    for _ in range(2 * torture):
        number = rng.randint(1, JOBS)
        folder = tmp_path / "o" / f"shard-{number}-of-{JOBS}"
        process = job(tmp_path, number, *options, "--resume")
        end = time.monotonic() + 60
        while not any(folder.glob(".dplabtools-*")) and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.1))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += process.wait(60) == -signal.SIGKILL
            with pytest.raises(MergeError):
                merge_shards(tmp_path / "o", tmp_path / "early")
    assert killed
    for number in range(1, JOBS + 1):
        assert job(tmp_path, number, *options, "--resume").wait(120) == 0
    merge_shards(tmp_path / "o", tmp_path / "o")
    assert patches(tmp_path / "o") == patches(tmp_path / "undisturbed")
