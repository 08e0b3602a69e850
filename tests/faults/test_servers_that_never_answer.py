"""Servers that take a question and never answer hold up nobody who is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from PIL import Image

from dplabtools.sources.staging import drop_copies
from dplabtools.testing.make_slide import make_slide
from dplabtools.testing.web_server import ServerFaults, SlideServer

pytest.importorskip("obstore")

COMMAND: Final = [sys.executable, "-c", "from dplabtools.cli.main import main; main()"]
FIRST: Final = 1
LATER: Final = 7  # while the first patches are read
AMID: Final = 14
SERIAL: Final = ["extract", "--out", "out", "--engine", "serial", "--threads", "4"]
PATCHES: Final = ["--patch-size", "256", "--region", "whole-image"]
MEMORY_POOL: Final = """
import sys
from dplabtools.slides.patches import MemPatchExtractorPool, PatchesMock
rows = [((x, y), (64, 64), "") for x in range(0, 4000, 64) for y in range(0, 3000, 64)]
MemPatchExtractorPool(
    patches_pool=[PatchesMock(patch_data=rows, wsi_file=sys.argv[1], level_or_mpp=0)],
    proc_num_workers=1, thread_num_workers=4)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("far")
    make_slide(folder / "slide.svs", size=(4096, 3072), tile=128, quality=95)
    noise = np.random.default_rng(1).integers(0, 255, (800, 800, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "picture.png")
    return folder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    yield tmp_path / "temporary"
    drop_copies()


def interrupted(
    command: list[str], server: SlideServer, folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Interrupt a process that waits for an answer; it ends soon, or fails the test."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            end = time.monotonic() + 60
            while server.requests < server.faults.silent_from:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < end
                time.sleep(0.01)
            time.sleep(0.5)  # until others wait, too
            process.send_signal(signal.SIGINT)
            output = process.communicate(timeout=30)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # workers, too
    return subprocess.CompletedProcess(command, process.returncode, *output)


@pytest.mark.parametrize(
    ("name", "silent_from", "words"),
    [
        ("slide.svs", FIRST, ["info"]),
        ("slide.svs", LATER, ["extract", "--out", "out", "--workers", "1", *PATCHES]),
        ("slide.svs", LATER, ["extract", "--out", "out", "--workers", "2", *PATCHES]),
        ("slide.svs", LATER, ["extract", "--out", "out", "--engine", "threads", *PATCHES]),
        ("slide.svs", AMID, [*SERIAL, *PATCHES]),
        ("slide.svs", FIRST, ["extract", "--out", "out", "--shard", "1/2", *PATCHES]),
        ("picture.png", 2, ["info"]),
    ],
)
def test_the_command_ends(
    folder: Path, tmp_path: Path, name: str, silent_from: int, words: list[str]
) -> None:
    faults = ServerFaults(silent_from=silent_from)
    with SlideServer(folder, faults=faults) as server:
        command = [*COMMAND, words[0], server.url + name, *words[1:]]
        done = interrupted(command, server, tmp_path)
    assert done.returncode == 128 + signal.SIGINT, done
    assert "dplabtools: interrupted" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "temporary").rglob("*.png"))


@pytest.mark.parametrize("silent_from", [FIRST, LATER])
def test_a_program_ends(folder: Path, tmp_path: Path, silent_from: int) -> None:
    faults = ServerFaults(silent_from=silent_from)
    with SlideServer(folder, faults=faults) as server:
        command = [sys.executable, "-c", MEMORY_POOL, server.url + "slide.svs"]
        done = interrupted(command, server, tmp_path)
    assert done.returncode == -signal.SIGINT, done
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")


def test_a_run_that_would_write_to_a_store_ends(folder: Path, tmp_path: Path) -> None:
    slide = str(folder / "slide.svs")
    faults = ServerFaults(silent_from=FIRST)
    with SlideServer(folder, faults=faults) as server:
        done = interrupted(
            [*COMMAND, "extract", slide, "--out", "s3://box/out", *PATCHES],
            server,
            tmp_path,
            AWS_ENDPOINT_URL=server.url,
            AWS_ACCESS_KEY_ID="somebody",
            AWS_SECRET_ACCESS_KEY="secret",  # noqa: S106
            AWS_REGION="us-east-1",
        )
    assert done.returncode == 128 + signal.SIGINT, done
