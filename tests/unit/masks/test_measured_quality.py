"""Tests of how the quality of patches is measured."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dplabtools._typing import Pixels
from dplabtools.errors import ParameterError
from dplabtools.masks.automatic import find_any_tissue
from dplabtools.masks.quality import measure, shares_in_boxes
from dplabtools.masks.stains import Background
from dplabtools.records.quality import QUALITY_COLUMNS, QualityLimits

GLASS = Background(least=(216, 216, 216), most=(255, 255, 255))


def tissue(size: int = 256, *, seed: int = 0) -> Pixels:
    """Return spots on pink, as sharp as the optics of a slide of 0.25 mpp make them."""
    spots = np.random.default_rng(seed).normal(size=(size, size)).astype(np.float32)
    light = 150 + 400 * cv2.GaussianBlur(spots, (0, 0), 4)
    picture = np.stack([light + 30, light - 30, light], axis=2)
    return np.clip(picture, 0, 255).astype(np.uint8)


def test_a_blurred_patch_is_less_sharp() -> None:
    sharp = tissue()
    blurred = np.asarray(cv2.GaussianBlur(sharp, (0, 0), 8), dtype=np.uint8)
    assert (
        measure(blurred, mpp=0.25, background=GLASS)[0]
        < 0.1 * measure(sharp, mpp=0.25, background=GLASS)[0]
    )


def test_the_same_tissue_is_as_sharp_on_another_scanner() -> None:
    fine = tissue(512)
    coarse = np.asarray(
        cv2.resize(fine, (256, 256), interpolation=cv2.INTER_AREA), np.uint8
    )
    one = measure(fine, mpp=0.25, background=GLASS)[0]
    other = measure(coarse, mpp=0.5, background=GLASS)[0]
    assert one == pytest.approx(other, rel=0.05)
    assert measure(fine, mpp=None, background=GLASS)[0] != pytest.approx(one, rel=0.5)


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    picture = tissue(64)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    expected = float(cv2.Laplacian(grey, cv2.CV_64F).var())
    assert measure(picture, mpp=1.0, background=GLASS)[0] == pytest.approx(expected)


def test_half_a_patch_of_glass_is_half_background() -> None:
    picture = tissue()
    picture[:, 128:] = 240
    assert measure(picture, mpp=0.5, background=GLASS)[3] == pytest.approx(0.5)


def test_brightness_and_saturation_are_means() -> None:
    picture = np.full((100, 80, 3), (200, 100, 100), dtype=np.uint8)
    sharpness, brightness, saturation, background = measure(
        picture, mpp=0.5, background=GLASS
    )
    assert (sharpness, background) == (0, 0)
    assert brightness == pytest.approx(130, abs=1)
    assert saturation == pytest.approx(127.5, abs=0.5)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (37, 61)])
def test_patches_of_any_size_are_measured(size: tuple[int, int]) -> None:
    values = measure(tissue()[: size[0], : size[1]], mpp=0.1, background=GLASS)
    assert np.isfinite(values).all()


def test_background_of_a_slide_is_its_own_glass() -> None:
    image = np.full((200, 200, 3), (200, 205, 190), dtype=np.uint8)
    image[50:150, 50:150] = tissue()[:100, :100]
    found = find_any_tissue(image, mpp=8.0)
    assert found.background is not None
    values = measure(image[:40], mpp=8.0, background=found.background)
    assert values[3] == 1.0
    assert measure(image[60:140, 60:140], mpp=8.0, background=found.background)[3] < 0.2


def test_the_dark_is_the_background_of_fluorescence() -> None:
    image = np.zeros((200, 200, 3), dtype=np.uint8)
    cv2.circle(image, (100, 100), 60, (0, 0, 90), -1)
    found = find_any_tissue(image, mpp=8.0)
    assert found.background is not None
    assert measure(image[:30], mpp=8.0, background=found.background)[3] == 1.0
    assert measure(image[90:110, 90:110], mpp=8.0, background=found.background)[3] == 0.0


def test_limits_leave_out_what_is_worse_and_nothing_else() -> None:
    limits = QualityLimits(min_sharpness=10, max_background_share=0.5, max_pen_share=0.1)
    good = [10, 100, 100, 0.5, 0.1]
    rows = [good]
    for column, value in (
        ("sharpness", 9.9),
        ("background_share", 0.6),
        ("pen_share", 0.2),
    ):
        bad = list(good)
        bad[QUALITY_COLUMNS.index(column)] = value
        rows.append(bad)
    rows.append([np.nan] * 5)
    values = np.array(rows, dtype=np.float32)
    assert limits.fails(values).tolist() == [False, True, True, True, False]
    assert not QualityLimits().fails(values).any()


@pytest.mark.parametrize(
    "limits",
    [{"min_sharpness": -1.0}, {"max_pen_share": 1.5}, {"max_background_share": -0.1}],
)
def test_limits_that_nothing_meets_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match=next(iter(limits))):
        QualityLimits(**limits)


@given(
    seed=st.integers(0, 1000),
    corner=st.tuples(st.floats(-5, 25), st.floats(-5, 25)),
    extent=st.tuples(st.floats(0.1, 30), st.floats(0.1, 30)),
)
def test_shares_equal_those_counted_pixel_by_pixel(
    seed: int, corner: tuple[float, float], extent: tuple[float, float]
) -> None:
    mask = np.random.default_rng(seed).random((17, 23)) < 0.4
    (x0, y0), (x1, y1) = corner, (corner[0] + extent[0], corner[1] + extent[1])
    left = min(max(int(np.floor(x0)), 0), 22)
    top = min(max(int(np.floor(y0)), 0), 16)
    right = min(max(int(np.ceil(x1)), left + 1), 23)
    bottom = min(max(int(np.ceil(y1)), top + 1), 17)
    expected = mask[top:bottom, left:right].mean()
    assert shares_in_boxes(mask, np.array([[x0, y0, x1, y1]]))[0] == pytest.approx(expected)
