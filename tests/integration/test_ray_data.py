"""Patches as a dataset of Ray Data, read on the nodes of a cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dplabtools import config
from dplabtools.errors import ClusterError, ParameterError
from dplabtools.geometry.resolution import Number
from dplabtools.slides.patches import (
    MemPatchExtractorPool,
    MultiResMemPatchExtractorPool,
    PatchesMock,
)

pytest.importorskip("ray", reason="ray is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

ROWS = [
    ((x, y), (64, 48), "ab"[x // 40 % 2])
    for y in range(0, 330, 20)
    for x in range(0, 440, 20)
]
WORKERS: dict[str, Any] = {"proc_num_workers": 2, "thread_num_workers": 1}


def located(slides: list[str], level_or_mpp: Number = 0) -> list[PatchesMock]:
    return [
        PatchesMock(patch_data=ROWS[number:], wsi_file=slide, level_or_mpp=level_or_mpp)
        for number, slide in enumerate(slides)
    ]


def rows_of(pool: list[PatchesMock], **options: Any) -> list[dict[str, Any]]:
    """Read patches, and return them in the order of the pool."""
    from dplabtools.ray import read_patches

    places = {
        (each.wsi_file, *corner): (number, row)
        for number, each in enumerate(pool)
        for row, (corner, _, _) in enumerate(each.patch_data)
    }
    found: list[dict[str, Any]] = read_patches(pool, **options).take_all()
    return sorted(found, key=lambda row: places[row["slide"], row["x"], row["y"]])


def test_rows_are_the_patches_of_a_pool(three_slides: dict[str, list[str]]) -> None:
    pool = located(three_slides["sound"])
    with MemPatchExtractorPool(patches_pool=pool, **WORKERS) as expected:
        rows = rows_of(pool)
        np.testing.assert_array_equal(
            np.stack([row["pixels"] for row in rows]), expected.patch_array
        )
    told = [(row["slide"], (row["x"], row["y"]), row["label"]) for row in rows]
    asked = [
        (each.wsi_file, corner, label)
        for each in pool
        for corner, _, label in each.patch_data
    ]
    assert told == asked
    assert {row["mpp"] for row in rows} == {0.5}


def test_rows_have_all_resolutions(three_slides: dict[str, list[str]]) -> None:
    pool = located(three_slides["sound"][:1])
    options: dict[str, Any] = {"levels_or_mpps": [0, 1.0], "resampling_mode": "tile"}
    rows = rows_of(pool, included_labels=["a"], override_num_blocks=2, **options)
    with MultiResMemPatchExtractorPool(
        patches_pool=pool, included_labels=["a"], **options, **WORKERS
    ) as expected:
        np.testing.assert_array_equal(
            np.stack([row["pixels"] for row in rows]), expected.patch_array
        )
    assert {row["label"] for row in rows} == {"a"}
    np.testing.assert_array_equal(rows[0]["mpp"], [0.5, 1.0])


def test_what_fails_is_missing(three_slides: dict[str, list[str]]) -> None:
    pool = located(three_slides["damaged"])
    with MemPatchExtractorPool(patches_pool=pool, on_error="skip", **WORKERS) as expected:
        rows = rows_of(pool, on_error="skip")
        assert len(rows) == expected.patch_count < sum(each.patch_count for each in pool)


def test_patches_are_read_elsewhere_by_the_settings_of_the_caller(
    three_slides: dict[str, list[str]],
) -> None:
    from dplabtools.ray import read_patches

    config.background = (1, 2, 3)
    corner = [((500, 300), (64, 48), "")]
    pool = [
        PatchesMock(patch_data=corner, wsi_file=three_slides["sound"][0], level_or_mpp=0)
    ]
    (row,) = read_patches(pool).map_batches(with_pid, batch_format="numpy").take_all()
    assert row["pid"] != os.getpid()
    assert row["pixels"][-1, -1].tolist() == [1, 2, 3]


def with_pid(batch: dict[str, Any]) -> dict[str, Any]:
    return {**batch, "pid": np.full(len(batch["x"]), os.getpid())}


def test_what_makes_no_sense_is_refused_at_once(
    three_slides: dict[str, list[str]], tmp_path: Path
) -> None:
    from dplabtools.ray import read_patches

    with pytest.raises(ParameterError, match="on_error"):
        read_patches(located(three_slides["sound"]), on_error="ignore")  # type: ignore[arg-type]
    with pytest.raises(ClusterError, match=r"does not see .*none\.svs"):
        read_patches(located([str(tmp_path / "none.svs")]))
