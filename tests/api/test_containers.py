"""Patches in containers, read back by this package and by others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    MultiResMemPatchExtractorPool,
    PatchesMock,
    open_patches,
)

Row = tuple[tuple[int, int], tuple[int, int], str]
KINDS = ("webdataset", "parquet", "hdf5", "zarr")
EVERY = (None, *KINDS)
LEVELS = [0, 0.8]


def grid(count: int = 60, size: int = 48) -> list[Row]:
    """Patches in no spatial order, some of them half outside."""
    rng = np.random.default_rng(3)
    corners = rng.permutation(
        [(x, y) for x in range(-20, 900, 90) for y in range(0, 700, 90)]
    )
    return [
        ((x, y), (size, size), "ab"[row % 2])
        for row, (x, y) in enumerate(corners[:count].tolist())
    ]


def mock(slide: Path, rows: Sequence[Row] | None = None, **changes: Any) -> PatchesMock:
    given: dict[str, Any] = {"level_or_mpp": 0, "check_location": False}
    return PatchesMock(patch_data=rows or grid(), wsi_file=slide, **{**given, **changes})


def write(folder: Path, kind: str | None, *patches: Any, **changes: Any) -> Any:
    """Write patches, each image as a PNG where there are images."""
    folder.mkdir(exist_ok=True)
    given: dict[str, Any] = {
        "output_dir": folder,
        "container": kind,
        "patches_pool": patches,
        "proc_num_workers": 1,
        "thread_num_workers": 1,
    }
    if kind not in {"hdf5", "zarr"}:
        given["image_type"] = "png"
    sets = "levels_or_mpps" in changes
    make: Any = MultiResDiskPatchExtractorPool if sets else DiskPatchExtractorPool
    return make(**{**given, **changes})


def wanted(*patches: Any, **changes: Any) -> Any:
    """The same patches in memory."""
    sets = "levels_or_mpps" in changes
    make: Any = MultiResMemPatchExtractorPool if sets else MemPatchExtractorPool
    return make(patches_pool=patches, proc_num_workers=1, thread_num_workers=1, **changes)


def containers(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.name != "manifests")


@pytest.fixture(scope="module")
def twins(lossless_slide: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two slides with one name."""
    folder = tmp_path_factory.mktemp("twin")
    (folder / lossless_slide.name).symlink_to(lossless_slide)
    return [lossless_slide, folder / lossless_slide.name]


# --------------------------------------------------------------- reading back


@pytest.mark.parametrize("kind", EVERY)
def test_patches_come_back_as_they_were_placed(
    twins: list[Path], tmp_path: Path, kind: str | None
) -> None:
    pool = [mock(twins[0]), mock(twins[1], grid(7, 32), level_or_mpp=1)]
    write(tmp_path / "out", kind, *pool)
    found = open_patches(tmp_path / "out")
    memory = wanted(*pool)
    assert len(found) == len(memory.patch_list) == 67
    table = memory.patch_table
    for index, (image, label) in enumerate(memory.patch_list):
        patch = found[index]
        np.testing.assert_array_equal(patch.array, np.asarray(image))
        assert patch.image.size == image.size == patch.size
        assert (patch.label, *patch.location) == (label, table.x[index], table.y[index])
        assert patch.level_or_mpp == table.level_or_mpp[index]
        assert type(patch.level_or_mpp) is int
        assert patch.mpp == (0.5 if index < 60 else 1.0)
        assert patch.views == (patch,)
        assert patch.set_number is None
    assert {name: list(found.table[name]) for name in ("x", "y", "label", "width")} == {
        name: list(table[name]) for name in ("x", "y", "label", "width")
    }


@pytest.mark.parametrize("kind", EVERY)
def test_sets_come_back_as_sets(
    lossless_slide: Path, tmp_path: Path, kind: str | None
) -> None:
    options = {"levels_or_mpps": LEVELS, "resampling_mode": "tile"}
    pool = write(tmp_path / "out", kind, mock(lossless_slide), global_counter=5, **options)
    assert (pool.patchset_count, pool.patch_count) == (60, 120)
    memory = wanted(mock(lossless_slide), **options).patch_list
    for index, patch in enumerate(open_patches(tmp_path / "out")):
        assert patch.set_number == 5 + index
        assert [view.level_or_mpp for view in patch.views] == LEVELS
        assert [view.mpp for view in patch.views] == [0.5, 0.8]
        x, y = patch.location
        assert patch.views[1].location == (x - round(48 * 0.3), y - round(48 * 0.3))
        for view, (image, label) in zip(patch.views, memory[index], strict=True):
            np.testing.assert_array_equal(view.array, np.asarray(image))
            assert view.label == label
