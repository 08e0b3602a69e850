"""A worker of PyTorch's `DataLoader` is killed while it reads patches."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytest.importorskip("torch", reason="torch is not installed")

LOOP = """
import os, random, signal, sys, threading, time
from torch.utils.data import DataLoader
from dplabtools.slides.patches import PatchesMock
from dplabtools.slides.processing import PatchStreamDataset, WSIDataset

slide, kind, delay = sys.argv[1], sys.argv[2], float(sys.argv[3])
rows = [((x, y), (64, 64), "") for y in range(0, 700, 8) for x in range(0, 900, 8)]
mock = PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=0)
if kind == "map":
    loader = DataLoader(WSIDataset(patches=mock), batch_size=8, num_workers=2)
else:
    dataset = PatchStreamDataset(patches_pool=[mock], batch_size=8)
    loader = DataLoader(dataset, batch_size=None, num_workers=2)
batches = iter(loader)
pids = [worker.pid for worker in batches._workers]
next(batches)
print(*pids, flush=True)

def kill():
    time.sleep(delay)
    os.kill(random.Random(delay).choice(pids), signal.SIGKILL)

threading.Thread(target=kill, daemon=True).start()
while True:
    for batch in batches:
        pass
    time.sleep(60)  # all was read before a worker was killed
"""
NAMED = re.compile(
    r"RuntimeError: DataLoader worker \(pid(\(s\))? [\d, ]+\) "
    r"(is killed by signal: Killed|exited unexpectedly)"
    r"|dplabtools\.errors\.WorkerError: a worker of the DataLoader died"
)


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["map", "stream"])
def test_a_killed_worker_is_named_and_nothing_is_left(
    made_slide: Path, kind: str, delay: float
) -> None:
    arguments = [sys.executable, "-c", LOOP, str(made_slide), kind, str(delay)]
    done = subprocess.run(
        arguments, check=False, capture_output=True, text=True, timeout=120
    )
    pids = [int(pid) for pid in done.stdout.split()]
    assert done.returncode == 1, done.stderr
    assert NAMED.search(done.stderr), done.stderr
    assert len(pids) == 2
    assert not any(map(psutil.pid_exists, pids))
