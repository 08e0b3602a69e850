"""Hardly any tile is decoded twice, though few are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dplabtools._typing import IntArray
from dplabtools.engine.choose import RunOptions
from dplabtools.engine.serial import SerialEngine
from dplabtools.extraction.plan import ReadOptions
from dplabtools.extraction.progress import ProgressClock
from dplabtools.extraction.run import Extraction
from dplabtools.geometry.resolution import Level
from dplabtools.output.memory import MemorySink
from dplabtools.readers.native import reader
from dplabtools.readers.native.cache import TileCache
from dplabtools.records.patch_table import PatchTable
from dplabtools.settings import Settings
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractorPool,
    PatchesMock,
    StreamPatchExtractorPool,
)
from dplabtools.testing.make_slide import make_slide

SIDE = 16  # pixels of a tile, and of a patch
TILES = 96  # each way


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("slides") / "small tiles.tif"
    return make_slide(file, size=(SIDE * TILES, SIDE * TILES), tile=SIDE, levels=1)


def anywhere() -> IntArray:
    corners = np.random.default_rng(1).integers(0, SIDE * (TILES - 1), (TILES * TILES, 2))
    return np.asarray(corners, dtype=np.int64)


def grid(step: int) -> IntArray:
    along = np.arange(5, SIDE * (TILES - 1), step)
    return np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2)


def in_any_order(slide: Path) -> PatchesMock:
    corners = np.random.default_rng(3).permutation(np.unique(anywhere(), axis=0)).tolist()
    rows = [((x, y), (SIDE, SIDE), "") for x, y in corners]
    return PatchesMock(patch_data=rows, wsi_file=str(slide), level_or_mpp=0)


@pytest.mark.parametrize(
    ("corners", "most"), [(anywhere(), 0.05), (grid(SIDE), 0.04), (grid(SIDE // 2), 0.06)]
)
def test_in_a_run_over_a_slide(
    slide: Path, corners: IntArray, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    tile = SIDE * SIDE * 3
    monkeypatch.setattr(reader, "TILES", TileCache(200 * tile, 800 * tile))
    table = PatchTable(
        slide=str(slide),
        resolution=Level(0),
        origins=corners,
        sizes=np.full((len(corners), 2), SIDE),
        codes=np.zeros(len(corners), np.int64),
        labels=("",),
    )
    reading = ReadOptions(views=None, mode=None, settings=Settings(slide_library="native"))
    extraction = Extraction(tables=[table], reading=reading, options=RunOptions(workers=1))
    clock = ProgressClock(None, total=len(table), slides=1)
    profile = extraction.run(SerialEngine(), MemorySink(), clock).profile
    assert profile.tiles_distinct > 0.9 * TILES * TILES
    assert profile.excess <= most


@pytest.mark.parametrize(
    "output",
    [
        None,
        {"image_type": "png"},
        {"container": "hdf5"},
        {"container": "zarr"},
        {
            "container": "webdataset",
            "image_type": "png",
            "save_options": {"shard_size": 500},
        },
    ],
    ids=["memory", "files", "hdf5", "zarr", "shards"],
)
def test_in_pools_of_patches_that_lie_anywhere(
    slide: Path, output: dict[str, Any] | None, tmp_path: Path
) -> None:
    given: dict[str, Any] = {
        "patches_pool": [in_any_order(slide)],
        "proc_num_workers": 2,
        "thread_num_workers": 1,
    }
    if output is None:
        profile = MemPatchExtractorPool(**given).profile
    else:
        profile = DiskPatchExtractorPool(**given, **output, output_dir=tmp_path).profile
    assert profile.tiles_distinct > 0.9 * TILES * TILES
    assert profile.excess <= 0.05


@pytest.mark.parametrize("workers", [1, 2])
def test_in_a_stream_in_table_order_of_more_than_memory_holds(
    slide: Path, workers: int
) -> None:
    batches = StreamPatchExtractorPool(
        patches_pool=[in_any_order(slide)],
        proc_num_workers=workers,
        thread_num_workers=1,
        batch_size=64,
        max_memory=6000 * SIDE * SIDE * 3,
    )
    found = [row for batch in batches for row in batch.rows.tolist()]
    assert found == list(range(len(found)))
    assert len(found) > 9000
    assert batches.profile.tiles_distinct > 0.9 * TILES * TILES
    assert batches.profile.excess <= 0.05
