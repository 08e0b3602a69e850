"""The scripts for schedulers do what their pages say; stand-ins play the schedulers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from dplabtools.slides.patches import open_patches
from dplabtools.testing.make_slide import make_slide

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
pytestmark = pytest.mark.slow


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with slides, and a `scontrol` that writes down what it is told."""
    (tmp_path / "slides").mkdir()
    for seed, size in enumerate([(3072, 2048), (1024, 768), (1536, 1024)], 1):
        make_slide(tmp_path / "slides" / f"{seed}.svs", size=size, seed=seed)
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/requeued"\n')
    scontrol.chmod(0o755)
    return tmp_path


def environment(here: Path, **variables: str) -> Mapping[str, str]:
    path = [str(here / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    return {**os.environ, "PATH": os.pathsep.join(path), **variables}


def begin(script: Path, here: Path, **variables: str) -> subprocess.Popen[str]:
    bash = shutil.which("bash")
    assert bash is not None
    return subprocess.Popen(
        [bash, str(script)],
        cwd=here,
        env=environment(here, **variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def array_task(script: Path, here: Path, number: int) -> subprocess.Popen[str]:
    return begin(
        script,
        here,
        SLURM_ARRAY_JOB_ID="77",
        SLURM_ARRAY_TASK_ID=str(number),
        SLURM_CPUS_PER_TASK="1",
    )


def test_an_array_of_slurm_is_ended_early_queued_again_and_merged(here: Path) -> None:
    # The script as it stands, for three jobs and patches that small slides have room for.
    text = (EXAMPLES / "slurm" / "extract.sbatch").read_text()
    text = text.replace("shards=8", "shards=3").replace(
        "--patch-size 256", "--patch-size 32"
    )
    script = here / "extract.sbatch"
    script.write_text(text)
    first = array_task(script, here, 1)
    end = time.monotonic() + 60
    while not any(here.glob("patches/shard-1-of-3/manifests/journal__*")):
        assert first.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    first.send_signal(signal.SIGUSR1)  # to the batch script alone, as B: has it
    _, told = first.communicate(timeout=60)
    assert first.returncode == 138, told
    assert (here / "requeued").read_text() == "requeue 77_1\n"
    for number in (1, 2, 3):
        job = array_task(script, here, number)
        _, told = job.communicate(timeout=120)
        assert job.returncode == 0, told
    merge = begin(EXAMPLES / "slurm" / "merge.sbatch", here)
    _, told = merge.communicate(timeout=60)
    assert merge.returncode == 0, told
    assert (here / "patches" / "report.html").exists()
    assert len({each.wsi_file for each in open_patches(here / "patches")}) == 3


def test_the_tasks_of_nextflow_make_what_the_last_one_joins(here: Path) -> None:
    text = (EXAMPLES / "nextflow" / "main.nf").read_text()
    extract, merge = re.findall(r'script:\n    """\n(.*?)    """', text, re.DOTALL)
    tasks = []
    for number in (1, 2):
        task = here / f"task{number}"
        task.mkdir()
        (task / "slides").symlink_to(here / "slides")
        values = {
            "slides": "slides",
            "task.cpus": "1",
            "shard": str(number),
            "params.shards": "2",
        }
        command(task, extract, values)
        tasks += list(task.glob("patches/shard-*"))
    last = here / "last"
    last.mkdir()
    for folder in tasks:
        (last / folder.name).symlink_to(folder)
    command(last, merge, {"shards": " ".join(folder.name for folder in tasks)})
    assert (last / "merged" / "report.html").exists()
    assert len({each.wsi_file for each in open_patches(last / "merged")}) == 3


def command(folder: Path, script: str, values: Mapping[str, str]) -> None:
    """Run what a process has as its script, with its values, as Nextflow does."""
    for name, value in values.items():
        script = script.replace(f"${{{name}}}", value)
    file = folder / ".command.sh"
    file.write_text(f"#!/bin/bash -ue\n{script}")
    job = begin(file, folder)
    _, told = job.communicate(timeout=120)
    assert job.returncode == 0, told
