"""Worked examples of the documented interface, number by number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dplabtools._typing import BoolArray
from dplabtools.slides.patches import (
    WholeImageGridPatches,
    WholeImageRandomPatches,
)
from dplabtools.testing.make_slide import make_slide


@pytest.fixture(scope="module")
def main(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2560 x 2048 pixels at 0.25 microns, levels of downsample 1, 4 and 16."""
    file = tmp_path_factory.mktemp("golden") / "main.svs"
    return make_slide(file, size=(2560, 2048), downsample=4, mpp=0.25, power=40)


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1280 x 1024 pixels."""
    file = tmp_path_factory.mktemp("golden") / "another.svs"
    return make_slide(file, size=(1280, 1024), downsample=4, mpp=0.25, power=40)


def box_mask() -> BoolArray:
    mask = np.zeros((160, 128), dtype=bool)
    mask[20:140, 16:112] = True
    return mask


def grid(slide: Path, **changes: Any) -> WholeImageGridPatches:
    return WholeImageGridPatches(**{"wsi_file": slide, "mask_data": box_mask(), **changes})


def test_the_step_of_a_grid_is_a_ratio_of_the_patch(main: Path) -> None:
    patches = grid(main, patch_size=200, patch_stride=1.5)
    first = [location for location, _, _ in patches.patch_data[:3]]
    assert first == [(320, 256), (620, 256), (920, 256)]
    assert patches.patch_data_mask_level[1] == ((38.75, 16.0), (12.5, 12.5), "")


@pytest.mark.parametrize(
    ("stride", "count"), [(0.5, 154), (0.75, 63), (1, 42), (1.3, 24), (2, 12), (5, 4)]
)
def test_strides_and_counts(main: Path, stride: float, count: int) -> None:
    assert grid(main, patch_stride=stride).patch_count == count


@pytest.mark.parametrize(("ratio", "count"), [(0, 56), (0.1, 41), (0.5, 30), (1, 30)])
def test_overlap_ratios_and_counts(main: Path, ratio: float, count: int) -> None:
    patches = grid(main, patch_size=300, foreground_ratio=0, overlap_ratio=ratio)
    assert patches.patch_count == count


def test_locations_are_level_0_whatever_the_mpp(main: Path) -> None:
    patches = grid(main, patch_size=150, level_or_mpp=0.37)
    row = [location[0] for location, _, _ in patches.patch_data[:5]]
    assert row == [320, 542, 764, 986, 1208]
    assert patches.patch_data[0][1] == (150, 150)


def test_patches_may_stick_out_of_the_slide(another: Path) -> None:
    patches = grid(
        another,
        mask_data=np.ones((80, 64)),
        patch_size=300,
        foreground_ratio=0.2,
        overlap_ratio=0.1,
    )
    assert patches.patch_count == 19
    locations = {location for location, _, _ in patches.patch_data}
    assert {x for x, _ in locations} == {0, 300, 600, 900, 1200}
    assert {y for _, y in locations} == {0, 300, 600, 900}
    assert (1200, 900) not in locations


def test_a_mask_without_foreground(main: Path) -> None:
    nothing = np.zeros((160, 128))
    patches = grid(main, mask_data=nothing, weak_label="a")
    assert patches.patch_info == {"a": 0}
    with pytest.raises(ValueError, match=r"^main\.svs: .*0 of 3 patches fit"):
        WholeImageRandomPatches(wsi_file=main, mask_data=nothing, num_patches=3)
