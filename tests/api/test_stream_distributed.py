"""Ranks of a distributed run, each a process that trains on its share."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed")

RANK = """
import contextlib, json, sys
from pathlib import Path
import torch
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from dplabtools.slides.patches import PatchesMock
from dplabtools.slides.processing import PatchStreamDataset

torch.set_num_threads(1)
task = json.loads(sys.argv[1])
torch.distributed.init_process_group(
    "gloo", init_method=f"file://{task['meet']}", rank=int(sys.argv[2]), world_size=3
)
dataset = PatchStreamDataset(
    patches_pool=[
        PatchesMock(patch_data=rows, wsi_file=task["slide"], level_or_mpp=0)
        for rows in task["pool"]
    ],
    batch_size=10,
    shuffle_buffer=task["shuffle"],
    channels="first",
    on_error="skip",
)
model = torch.nn.Sequential(
    torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 1)
)
model = DistributedDataParallel(model)
epochs = []
for epoch in range(2):
    dataset.set_epoch(epoch)
    seen = []
    with model.join() if task["join"] else contextlib.nullcontext():
        for batch in DataLoader(dataset, batch_size=None, num_workers=2):
            model(batch["pixels"].float() / 255).sum().backward()
            columns = batch["slides"].tolist(), batch["rows"].tolist()
            seen.append(list(zip(*columns)))
    epochs.append(seen)
print(json.dumps([len(dataset), dataset.left_out, epochs]))
torch.distributed.destroy_process_group()
"""


def _run(task: dict[str, Any], folder: Path) -> list[Any]:
    """Run three ranks; return (batches, left out, keys by epoch and batch) of each."""
    text = json.dumps({**task, "meet": str(folder / "meet")})
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, text, str(rank)], stdout=subprocess.PIPE, text=True
        )
        for rank in range(3)
    ]
    try:
        outputs = [rank.communicate(timeout=280)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0, 0]
    return [json.loads(output) for output in outputs]


def _rows(count: int, *, beside: range = range(0)) -> list[Any]:
    return [
        (
            (10**6 * (row in beside) + 40 * (row % 20), 40 * (row // 20)),
            (32, 32),
            "tissue",
        )
        for row in range(count)
    ]


@pytest.mark.slow
def test_ranks_see_every_patch_once_in_as_many_batches(
    made_slide: Path, tmp_path: Path
) -> None:
    task = {
        "slide": str(made_slide),
        "pool": [_rows(70), _rows(55)],
        "shuffle": 50,
        "join": False,
    }
    ranks = _run(task, tmp_path)
    for epoch in range(2):
        batches = [epochs[epoch] for _, _, epochs in ranks]
        assert (
            [len(each) for each in batches] == [length for length, _, _ in ranks] == [5] * 3
        )
        seen = Counter(tuple(key) for each in batches for batch in each for key in batch)
        assert set(seen.values()) == {1}
        assert len(seen) == 125 - ranks[0][1]
    assert ranks[0][2][0] != ranks[0][2][1]


@pytest.mark.slow
def test_ranks_that_lost_batches_are_waited_for_by_none(
    made_slide: Path, tmp_path: Path
) -> None:
    task = {
        "slide": str(made_slide),
        "pool": [_rows(90, beside=range(30, 50))],
        "shuffle": 0,
        "join": True,
    }
    ranks = _run(task, tmp_path)
    assert [[len(each) for each in epochs] for _, _, epochs in ranks] == [
        [3, 3],
        [1, 1],
        [3, 3],
    ]
