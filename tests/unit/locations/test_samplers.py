from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dplabtools._typing import FloatArray
from dplabtools.errors import ParameterError, ParameterTypeError
from dplabtools.locations.poisson import poisson_disk
from dplabtools.locations.regions import Frame
from dplabtools.locations.samplers import (
    CustomPoints,
    Grid,
    PoissonDisk,
    Random,
    Sampler,
)

FRAME = Frame(downsample=16.0, scale=16.0, patch_size=256)  # 16 mask pixels a patch
BOX = (20.0, 16.0, 140.0, 112.0)


def proposed(sampler: Sampler, *, seed: int = 0) -> FloatArray:
    return np.concatenate([*sampler.propose(BOX, FRAME, np.random.default_rng(seed))])


def smallest_gap(points: FloatArray) -> float:
    """Return the smallest distance of two points, from those near in x."""
    points = points[np.argsort(points[:, 0])]
    smallest = np.inf
    for ahead in range(1, len(points)):
        gap = points[ahead:] - points[:-ahead]
        if gap[:, 0].min() > smallest:
            break
        smallest = min(smallest, float(np.hypot(*gap.T).min()))
    return smallest


def test_a_grid_goes_row_by_row_up_to_the_first_line_on_or_beyond_the_edge() -> None:
    points = proposed(Grid(0.75))  # a step of 12: 120 / 12 ends exactly on the edge
    assert points[:2].tolist() == [[20, 16], [32, 16]]
    assert np.unique(points[:, 0]).tolist() == [20 + 12 * k for k in range(11)]
    assert np.unique(points[:, 1]).tolist() == [16 + 12 * k for k in range(9)]
    assert points[11].tolist() == [20, 28]


def test_a_large_grid_comes_in_blocks() -> None:
    bounds = (0.0, 0.0, 3000.0, 3000.0)
    frame = Frame(downsample=1.0, scale=1.0, patch_size=2)
    rng = np.random.default_rng(0)
    sizes = [len(part) for part in Grid(1).propose(bounds, frame, rng)]
    assert sum(sizes) == 1501 * 1501
    assert max(sizes) <= 2**18


@pytest.mark.parametrize("stride", [0, -1, 5.01, float("nan")])
def test_a_stride_out_of_range_is_refused(stride: float) -> None:
    with pytest.raises(ParameterError, match="patch_stride"):
        Grid(stride)


def test_a_stride_below_a_pixel_is_refused() -> None:
    with pytest.raises(ParameterError, match="less than a pixel"):
        proposed(Grid(1 / 300))


def test_random_points_are_a_hundred_times_as_many_as_wanted() -> None:
    points = proposed(Random(37))
    assert len(points) == 3700
    assert (points >= BOX[:2]).all()
    assert (points <= BOX[2:]).all()


def test_no_random_points_are_wanted() -> None:
    assert not [*Random(0).propose(BOX, FRAME, np.random.default_rng(0))]


def test_random_points_are_even() -> None:
    points = proposed(Random(400))
    counts, _, _ = np.histogram2d(
        points[:, 0], points[:, 1], bins=10, range=[BOX[::2], BOX[1::2]]
    )
    expected = len(points) / 100
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert 60 < chi_square < 150  # 99 degrees of freedom: mean 99, deviation 14


@pytest.mark.parametrize("count", [-1, 1.5])
def test_a_number_of_patches_is_whole_and_not_negative(count: float) -> None:
    with pytest.raises(ParameterError, match="num_patches"):
        Random(count)


def test_poisson_points_keep_their_distance_and_leave_no_room() -> None:
    points = poisson_disk((5.0, 7.0, 105.0, 67.0), 2.0, np.random.default_rng(3))
    assert smallest_gap(points) >= 2.0
    assert (points >= (5, 7)).all()
    assert (points <= (105, 67)).all()
    probes = np.random.default_rng(4).uniform((5, 7), (105, 67), size=(2000, 2))
    gaps = np.hypot(*(probes[:, None] - points[None]).transpose(2, 0, 1)).min(axis=1)
    assert (gaps < 2.0).mean() > 0.995
    assert gaps.max() < 2.6


def test_poisson_points_are_even() -> None:
    points = poisson_disk((0.0, 0.0, 200.0, 200.0), 2.0, np.random.default_rng(5))
    counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=4)
    assert counts.std() / counts.mean() < 0.05


def test_a_spacing_beyond_the_box_gives_one_point() -> None:
    assert len(poisson_disk((0.0, 0.0, 1.0, 1.0), 50.0, np.random.default_rng(0))) == 1


@pytest.mark.parametrize("spacing", [0, -1, float("inf"), float("nan")])
def test_a_spacing_is_positive(spacing: float) -> None:
    with pytest.raises(ParameterError, match="poisson_spacing"):
        PoissonDisk(spacing)


def test_a_spacing_for_hundreds_of_millions_of_points_is_refused() -> None:
    with pytest.raises(ParameterError, match="too small"):
        proposed(PoissonDisk(1e-4))


def test_custom_points_are_scaled_to_the_mask() -> None:
    points = [(320, 256), (336, 250.5)]
    np.testing.assert_array_equal(proposed(CustomPoints(points)), np.divide(points, 16))


def test_there_may_be_no_custom_points() -> None:
    assert not [*CustomPoints([]).propose(BOX, FRAME, np.random.default_rng(0))]


@pytest.mark.parametrize(
    "points", [[1, 2], [(1, 2, 3)], [("a", "b")], None, [(1, 2), (3,)]]
)
def test_what_is_no_list_of_points_is_refused(points: Any) -> None:
    with pytest.raises(ParameterTypeError, match="points must be"):
        CustomPoints(points)


def test_custom_points_are_finite() -> None:
    with pytest.raises(ParameterError, match="finite"):
        CustomPoints([(1, float("nan"))])
