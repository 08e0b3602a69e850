"""Too few open files, too small files, workers that cannot begin, Ctrl-C at any time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dplabtools.engine import processes
from dplabtools.errors import WorkerError
from dplabtools.slides.patches import (
    MemPatchExtractorPool,
    PatchesMock,
    StreamPatchExtractorPool,
)

ROWS = [((x, y), (64, 64), "t") for y in range(0, 700, 64) for x in range(0, 960, 64)]

LIMITED = """
import json, resource, sys, tempfile
from pathlib import Path
from dplabtools.errors import DplabError
from dplabtools.slides.patches import (
    DiskPatchExtractorPool, MemPatchExtractorPool, PatchesMock, StreamPatchExtractorPool
)
# Not under the limit:
import dplabtools.engine.processes, dplabtools.extraction.chunk_reader

slide, which, values = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
rows = [((x, y), (64, 64), "t") for y in range(0, 700, 64) for x in range(0, 960, 64)]
arguments = dict(
    patches_pool=[PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=0)] * 2,
    proc_num_workers=2, thread_num_workers=1,
)

def stream(_):
    return sum(len(batch) for batch in StreamPatchExtractorPool(**arguments))

def memory(_):
    return MemPatchExtractorPool(**arguments).patch_count

def disk(folder):
    return DiskPatchExtractorPool(
        output_dir=folder, image_type="png", **arguments
    ).patch_count

stream(None)  # what a process imports and keeps is there
before = resource.getrlimit(which)
found = []
open_before = len(list(Path("/proc/self/fd").iterdir()))
for task in (stream, memory, disk):
    for value in values:
        folder = tempfile.mkdtemp(dir=sys.argv[4])
        resource.setrlimit(which, (value, before[1]))
        try:
            outcome = task(folder)
        except DplabError as error:
            outcome = f"{type(error).__name__}: {error}"
        finally:
            resource.setrlimit(which, before)
        found.append(outcome)
left = len(list(Path("/proc/self/fd").iterdir())) - open_before
print(json.dumps([found, left]))
"""


def outcomes(
    slide: Path, limit: str, values: list[int], *, folder: Path
) -> tuple[list[int | str], int]:
    """Return what becomes of pools under each limit, and how many files stay open."""
    resource = pytest.importorskip("resource")
    which = str(getattr(resource, limit))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(slide), which, json.dumps(values), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    found, left = json.loads(done.stdout.strip().splitlines()[-1])
    return found, left


@pytest.mark.slow
def test_with_few_open_files_a_pool_delivers_all_or_says_why_not(
    made_slide: Path, tmp_path: Path
) -> None:
    values = [5, 6, 7, 8, 60]
    found, left = outcomes(made_slide, "RLIMIT_NOFILE", values, folder=tmp_path)
    errors = [each for each in found if isinstance(each, str)]
    assert errors
    assert all("too many" in each.lower() for each in errors), errors
    assert found.count(2 * len(ROWS)) == len(found) - len(errors)
    assert (
        left <= 1
    )  # to the process that workers are forked from, and none for each failure


@pytest.mark.slow
def test_with_small_files_a_pool_says_what_to_raise(
    made_slide: Path, tmp_path: Path
) -> None:
    found, left = outcomes(made_slide, "RLIMIT_FSIZE", [2000], folder=tmp_path)
    assert len(found) == 3
    assert all("(ulimit -f)" in str(each) for each in found), found
    assert left <= 0


@pytest.mark.parametrize("kind", ["memory", "stream"])
def test_workers_that_cannot_begin_are_recorded_against_each_slide(
    made_slide: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(processes, "start_worker", refuse)
    pool = [PatchesMock(patch_data=ROWS, wsi_file=str(made_slide), level_or_mpp=0)] * 3
    if kind == "stream":
        batches = StreamPatchExtractorPool(
            patches_pool=pool, proc_num_workers=2, thread_num_workers=1, on_error="skip"
        )
        assert not list(batches)
        errors = batches.errors
    else:
        extracted = MemPatchExtractorPool(
            patches_pool=pool, proc_num_workers=2, thread_num_workers=1, on_error="skip"
        )
        assert extracted.patch_count == 0
        errors = extracted.errors
    assert [each.row for each in errors] == [None] * 3
    for each in errors:
        assert isinstance(each.error, WorkerError)
        assert "before they begin: " in str(each.error)
        assert "Resource temporarily unavailable" in str(each.error)


INTERRUPTED = """
import sys
from dplabtools.slides.patches import MemPatchExtractorPool, PatchesMock
rows = [((x, y), (64, 64), "t") for y in range(0, 700, 2) for x in range(0, 960, 4)]
pool = [PatchesMock(patch_data=rows, wsi_file=sys.argv[1], level_or_mpp=0)]
print("begun", flush=True)
MemPatchExtractorPool(patches_pool=pool, proc_num_workers=2, thread_num_workers=1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.15, 0.4])
def test_ctrl_c_leaves_one_traceback_whenever_it_comes(
    made_slide: Path, after_s: float
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(made_slide)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(after_s)
        os.killpg(process.pid, signal.SIGINT)
        _, messages = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert messages.count("Traceback") == 1
    assert messages.rstrip().endswith("KeyboardInterrupt")
