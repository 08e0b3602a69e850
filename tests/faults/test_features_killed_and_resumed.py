"""A run that makes features is killed at any moment, and begun again: equal files."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from dplabtools.testing.make_slide import make_slide

pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.slow

ROUNDS = 2  # ten times as many for those who want torture
LAYOUTS = ("clam", "zarr", "stamp")  # in turn
ENCODER = """
import time

def means(images):
    time.sleep(0.005)
    return images.mean(dim=(2, 3))
"""
SCRIPT = """
import json, os, signal, sys, time
import encoders
from dplabtools.slides.patches import PatchesMock
from dplabtools.slides.processing import extract_features

task = json.loads(sys.argv[1])
synced, fsync = [], os.fsync

def kill_at(descriptor):
    synced.append(descriptor)
    if len(synced) == task["kill_at"]:
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(descriptor)

os.fsync = kill_at
print("begun", flush=True)
begun = time.perf_counter()
done = extract_features(
    patches_pool=[
        PatchesMock(patch_data=task["rows"], wsi_file=slide, level_or_mpp=0)
        for slide in task["slides"]
    ],
    encoder=encoders.means,
    output_dir=task["folder"],
    layout=task["layout"],
    device="cpu",
    batch_size=8,
)
print(json.dumps([time.perf_counter() - begun, [each.status for each in done]]))
"""
ROWS = [((x, y), (40, 40), "") for y in range(0, 360, 40) for x in range(0, 480, 40)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with slides and an encoder."""
    folder = tmp_path_factory.mktemp("features")
    (folder / "encoders.py").write_text(ENCODER)
    for seed, name in enumerate("abcd"):
        make_slide(folder / f"{name}.svs", size=(512, 384), seed=seed)
    return folder


def start(place: Path, layout: str, *, kill_at: int = 0) -> subprocess.Popen[str]:
    """Begin a run, in a session of its own; it may kill itself at a call of fsync."""
    (place / "out").mkdir(exist_ok=True)
    task = {
        "rows": ROWS,
        "slides": [str(each) for each in sorted(place.glob("*.svs"))],
        "folder": str(place / "out"),
        "layout": layout,
        "kill_at": kill_at,
    }
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, json.dumps(task)],
        env={**os.environ, "PYTHONPATH": str(place)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[float, list[str]]:
    """Wait for a run; return how long it took, and what became of the slides."""
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    seconds, states = json.loads(told.splitlines()[-1])
    return seconds, states


def killed(process: subprocess.Popen[str], delay_s: float) -> bool:
    """Kill a run, and all it has started, a while after it began; tell if it was."""
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(delay_s)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    return process.returncode == -signal.SIGKILL


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(each.relative_to(folder)): each.read_bytes()
        for each in folder.rglob("*")
        if each.is_file()
    }


def taken(place: Path) -> dict[str, bytes]:
    """Return what there is in the folder, and empty it; its path stands in the files."""
    found = files_in(place / "out")
    (place / "out").rename(place / f"out-{time.monotonic_ns()}")
    return found


def test_a_run_that_was_killed_and_begun_again_writes_the_same_files(
    place: Path, torture: int
) -> None:
    undisturbed: dict[str, tuple[float, dict[str, bytes]]] = {}
    chance = random.Random(7)  # noqa: S311 - no secret
    kills: list[int | None] = []
    for number in range(ROUNDS * torture):
        layout = LAYOUTS[number % len(LAYOUTS)]
        if layout not in undisturbed:
            seconds, states = finish(start(place, layout))
            assert states == ["written"] * 4
            undisturbed[layout] = (seconds, taken(place))
        seconds, wanted = undisturbed[layout]
        in_time = killed(start(place, layout), chance.uniform(0, 0.9 * seconds))
        _, states = finish(start(place, layout))
        kills.append(states.count("kept") if in_time else None)
        found = taken(place)
        assert found.keys() == wanted.keys()
        assert found == wanted
    assert 2 * kills.count(None) <= len(kills), kills


def test_a_run_that_was_killed_as_it_names_a_file_writes_it_again(place: Path) -> None:
    finish(start(place, "clam"))
    wanted = taken(place)
    process = start(place, "clam", kill_at=2)  # the first slide's second file
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert (place / "out" / "pt_files" / "a.pt").exists()
    assert len(list((place / "out" / "h5_files").glob(".a.h5.*.part"))) == 1
    assert not (place / "out" / "h5_files" / "a.h5").exists()
    _, states = finish(start(place, "clam"))
    assert states == ["written"] * 4
    assert taken(place) == wanted
