from __future__ import annotations

import numpy as np
import pytest

from dplabtools.errors import MaskError
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.masks.foreground import ForegroundMask, fit_downsample

PYRAMID = Pyramid(
    slide="s.svs",
    sizes=((1999, 1501), (999, 750), (499, 375)),
    downsamples=(1.0, 2.0011671, 4.0043394),
)


def corners(
    *pairs: tuple[float, float],
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.array(pairs, dtype=np.float64)


def test_the_bounds_end_one_pixel_after_the_foreground() -> None:
    pixels = np.zeros((30, 40), dtype=bool)
    pixels[5:8, 10:21] = True
    assert ForegroundMask(pixels).bounds == (10, 5, 21, 8)


def test_an_empty_mask_has_the_bounds_of_one_pixel() -> None:
    assert ForegroundMask(np.zeros((30, 40), dtype=bool)).bounds == (0, 0, 1, 1)


def test_outside_counts_as_background_on_every_side() -> None:
    mask = ForegroundMask(np.ones((10, 10), dtype=bool))
    share = mask.share(corners((-2, 0), (8, 0), (0, -2), (8, 8), (-9, 0), (20, 0)), 4.0)
    np.testing.assert_array_equal(share, [0.5, 0.5, 0.5, 0.25, 0.0, 0.0])


def test_corners_are_rounded_half_to_even() -> None:
    pixels = np.zeros((8, 8), dtype=bool)
    pixels[:, 2:4] = True
    # 1.5 to 3.5 becomes 2 to 4, and 2.5 to 4.5 becomes 2 to 4 as well.
    share = ForegroundMask(pixels).share(corners((1.5, 0), (2.5, 0)), 2.0)
    np.testing.assert_array_equal(share, [1.0, 1.0])


def test_a_square_below_half_a_pixel_stands_for_the_pixel_that_holds_it() -> None:
    pixels = np.zeros((4, 4), dtype=bool)
    pixels[1, 2] = True
    share = ForegroundMask(pixels).share(corners((2.6, 1.1), (1.4, 1.1)), 0.3)
    np.testing.assert_array_equal(share, [1.0, 0.0])


def test_three_axes_are_no_mask() -> None:
    with pytest.raises(MaskError, match="two axes"):
        ForegroundMask(np.ones((3, 3, 3), dtype=bool))


def test_a_mask_of_a_levels_size_has_its_downsample() -> None:
    assert fit_downsample((499, 375), PYRAMID) == PYRAMID.downsamples[2]


def test_the_coarsest_of_equal_levels_counts() -> None:
    pyramid = Pyramid(slide="s", sizes=((8, 8), (8, 8)), downsamples=(1.0, 1.5))
    assert fit_downsample((8, 8), pyramid) == 1.5


def test_a_mask_of_the_slides_aspect_has_the_mean_ratio() -> None:
    assert fit_downsample((200, 150), PYRAMID) == (1999 / 200 + 1501 / 150) / 2


@pytest.mark.parametrize("size", [(375, 499), (200, 153), (1501, 1999)])
def test_a_mask_of_another_aspect_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(MaskError, match=r"^s\.svs: a mask of .* does not fit"):
        fit_downsample(size, PYRAMID)
