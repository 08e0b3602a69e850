from __future__ import annotations

import numpy as np
import pytest

from dplabtools._typing import BoolArray, Pixels
from dplabtools.errors import ParameterError
from dplabtools.masks.cleaning import Cleaning
from dplabtools.masks.strips import Strips
from dplabtools.masks.tissue import MODES, find_tissue

PINK = (200, 100, 160)


def glass(color: tuple[int, int, int] = (255, 255, 255)) -> Pixels:
    return np.full((40, 60, 3), color, dtype=np.uint8)


def cleaning(**changes: float) -> Cleaning:
    given = {"holes_ratio": 0.0, "objects_ratio": 0.0, "close_kernel": 0, **changes}
    return Cleaning(
        holes_ratio=given["holes_ratio"],
        objects_ratio=given["objects_ratio"],
        all_holes=bool(changes.get("all_holes", False)),
        close_kernel=int(given["close_kernel"]),
    )


def cleaned_by(what: Cleaning, mask: BoolArray, downsample: float) -> BoolArray:
    cleaned = mask.copy()
    what.clean(cleaned, downsample)
    return cleaned


@pytest.mark.parametrize("mode", MODES)
def test_pink_on_glass_is_tissue(mode: str) -> None:
    image = glass((250, 250, 250))
    image[10:20, 15:45] = PINK
    tissue = find_tissue(Strips.of(image), mode=mode, color_threshold=0.1)
    expected = np.zeros((40, 60), dtype=bool)
    expected[10:20, 15:45] = True
    np.testing.assert_array_equal(tissue, expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("color", [(255, 255, 255), (0, 0, 0), PINK, (90, 200, 90)])
def test_an_image_of_one_colour_has_no_tissue(
    mode: str, color: tuple[int, int, int]
) -> None:
    assert not find_tissue(Strips.of(glass(color)), mode=mode, color_threshold=0.1).any()


def test_a_higher_threshold_leaves_pale_tissue_out() -> None:
    image = glass()
    image[:10], image[10:20] = PINK, (240, 200, 220)
    assert find_tissue(Strips.of(image), mode="hsv", color_threshold=0.0)[:20].any()
    assert not find_tissue(Strips.of(image), mode="hsv", color_threshold=0.3)[10:20].any()


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(ParameterError, match="'rgb'"):
        find_tissue(Strips.of(glass()), mode="rgb", color_threshold=0.1)


def test_specks_go_and_what_is_large_enough_stays() -> None:
    mask = np.zeros((30, 30), dtype=bool)
    mask[2:4, 2:4] = True  # 4 pixels
    mask[10:12, 10:13] = True  # 6 pixels
    # At downsample 16 the unit is 256 mask pixels: 0.02 of it, rounded up, is 6.
    cleaned = cleaned_by(cleaning(objects_ratio=0.02), mask, 16.0)
    assert not cleaned[:5].any()
    assert cleaned[10:12, 10:13].all()


def test_holes_up_to_the_limit_are_filled() -> None:
    mask = np.ones((30, 30), dtype=bool)
    mask[2:4, 2:5] = False  # 6 pixels
    mask[10:11, 10:17] = False  # 7 pixels
    cleaned = cleaned_by(cleaning(holes_ratio=0.02), mask, 16.0)
    assert cleaned[2:4, 2:5].all()
    assert not cleaned[10:11, 10:17].any()


def test_the_limit_follows_the_real_downsample() -> None:
    mask = np.zeros((300, 300), dtype=bool)
    mask[:50, :100] = True
    # 0.3 of 65536 / 4 pixels is 4916, and of 65536 / 9 is 2185: both below 5000.
    assert cleaned_by(cleaning(objects_ratio=0.3), mask, 2.0).any()
    assert not cleaned_by(cleaning(objects_ratio=0.31), mask, 2.0).any()
    assert cleaned_by(cleaning(objects_ratio=0.31), mask, 3.0).any()


def test_corners_do_not_connect() -> None:
    mask = np.zeros((6, 6), dtype=bool)
    mask[0, 0] = mask[1, 1] = True
    assert not cleaned_by(cleaning(objects_ratio=2 / 256), mask, 16.0).any()


def test_all_holes_are_filled_but_not_bays() -> None:
    mask = np.zeros((20, 20), dtype=bool)
    mask[2:18, 2:18] = True
    mask[5:12, 5:12] = False
    mask[15, 10:] = False
    filled = cleaned_by(cleaning(all_holes=True), mask, 1.0)
    assert filled[5:12, 5:12].all()
    assert not filled[15, 10:].any()


def test_closing_joins_what_is_near() -> None:
    mask = np.zeros((10, 10), dtype=bool)
    mask[4, 2] = mask[4, 4] = True
    assert not cleaned_by(cleaning(), mask, 1.0)[4, 3]
    assert cleaned_by(cleaning(close_kernel=3), mask, 1.0)[4, 3]


@pytest.mark.parametrize("name", ["holes_ratio", "objects_ratio", "close_kernel"])
def test_negative_sizes_are_refused(name: str) -> None:
    with pytest.raises(ParameterError, match="must be >= 0"):
        cleaning(**{name: -1})
