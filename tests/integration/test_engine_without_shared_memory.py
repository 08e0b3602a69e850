"""Everything that pools do works without shared memory, and gives the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dplabtools.extraction.pool_run import PoolRun
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractorPool,
    MultiResMemPatchExtractorPool,
    PatchesMock,
    StreamPatchExtractorPool,
    open_patches,
)
from dplabtools.testing.distant_engine import DistantEngine

pytestmark = pytest.mark.slow


@pytest.fixture
def pool(made_slide: Path, lossless_slide: Path) -> list[PatchesMock]:
    rows = [((x, y), (64, 48), "t") for y in range(0, 700, 90) for x in range(0, 950, 70)]
    return [
        PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=0)
        for slide in (made_slide, lossless_slide)
    ]


def distant(monkeypatch: pytest.MonkeyPatch) -> None:
    def engine(*_: object, **__: object) -> DistantEngine:
        return DistantEngine(workers=2)

    monkeypatch.setattr(PoolRun, "engine", engine)


def memory(kind: Any, pool: list[PatchesMock], **options: Any) -> Any:
    with kind(
        patches_pool=pool, proc_num_workers=2, thread_num_workers=1, **options
    ) as extracted:
        return extracted.patch_array.copy()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (MemPatchExtractorPool, {}),
        (MultiResMemPatchExtractorPool, {"levels_or_mpps": [0, 1]}),
    ],
)
def test_memory_pools(
    pool: list[PatchesMock], monkeypatch: pytest.MonkeyPatch, kind: Any, options: Any
) -> None:
    expected = memory(kind, pool, **options)
    distant(monkeypatch)
    np.testing.assert_array_equal(memory(kind, pool, **options), expected)


def test_patches_that_fail_are_left_out(
    damaged_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [((x, y), (64, 64), "t") for y in range(0, 700, 64) for x in range(0, 950, 64)]
    pool = [PatchesMock(patch_data=rows, wsi_file=damaged_slide, level_or_mpp=0)]
    expected = memory(MemPatchExtractorPool, pool, on_error="skip")
    distant(monkeypatch)
    found = memory(MemPatchExtractorPool, pool, on_error="skip")
    assert 0 < len(found) < len(rows)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("order", ["table", "ready"])
@pytest.mark.parametrize("shuffle_buffer", [0, 64])
def test_streams(
    pool: list[PatchesMock],
    monkeypatch: pytest.MonkeyPatch,
    order: Any,
    shuffle_buffer: int,
) -> None:
    expected = memory(MemPatchExtractorPool, pool)
    distant(monkeypatch)
    seen: list[int] = []
    for batch in StreamPatchExtractorPool(
        patches_pool=pool,
        proc_num_workers=2,
        thread_num_workers=1,
        batch_size=32,
        order=order,
        shuffle_buffer=shuffle_buffer,
        seed=1,
    ):
        numbers = batch.slides * pool[0].patch_count + batch.rows
        np.testing.assert_array_equal(batch.pixels, expected[numbers])
        seen += numbers.tolist()
    assert sorted(seen) == list(range(len(expected)))


@pytest.mark.parametrize("kind", [None, "webdataset", "parquet", "hdf5", "zarr"])
def test_files_and_containers(
    pool: list[PatchesMock], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: Any
) -> None:
    expected = memory(MemPatchExtractorPool, pool[:1])
    distant(monkeypatch)
    extracted = DiskPatchExtractorPool(
        output_dir=tmp_path,
        container=kind,
        patches_pool=pool[:1],
        proc_num_workers=2,
        thread_num_workers=1,
        image_type=None if kind in {"hdf5", "zarr"} else "png",
    )
    assert extracted.patch_count == len(expected)
    by_place = {location: row for row, (location, _, _) in enumerate(pool[0].patch_data)}
    for patch in open_patches(tmp_path):
        np.testing.assert_array_equal(patch.array, expected[by_place[patch.location]])
