"""Tests of masks of classes."""

from __future__ import annotations

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st

from dplabtools.masks.labelled import LabelledAreas

SQUARE = np.array([(10, 10), (50, 10), (50, 50), (10, 50)], dtype=np.float64)
HOLE = np.array([(20, 20), (30, 20), (30, 30), (20, 30)], dtype=np.float64)


def test_a_pixel_has_the_value_of_the_area_its_middle_lies_in() -> None:
    areas = LabelledAreas.of([(3, (SQUARE, HOLE))])
    mask = areas.mask((0, 0), (60, 60), downsample=1.0)
    assert mask.shape == (60, 60)
    assert (mask == 3).sum() == 40 * 40 - 10 * 10
    assert mask[15, 15] == 3
    assert mask[25, 25] == mask[5, 5] == 0


def test_where_areas_overlap_the_last_one_counts() -> None:
    areas = LabelledAreas.of([(1, (SQUARE,)), (2, (HOLE,))])
    mask = areas.mask((10, 10), (40, 40), downsample=1.0)
    assert (mask == 2).sum() == 100
    assert (mask == 1).sum() == 1500


def test_views_of_one_place_are_aligned() -> None:
    areas = LabelledAreas.of([(1, (SQUARE,))])
    fine = areas.mask((0, 0), (64, 64), downsample=1.0)
    coarse = areas.mask((0, 0), (32, 32), downsample=2.0)
    assert (coarse == fine[::2, ::2]).all()


@given(
    seed=st.integers(0, 10_000),
    origin=st.tuples(st.integers(-40, 60), st.integers(-40, 60)),
    downsample=st.sampled_from([0.7, 1.0, 2.3, 4.0]),
)
def test_masks_equal_those_of_shapely(
    seed: int, origin: tuple[int, int], downsample: float
) -> None:
    rng = np.random.default_rng(seed)
    rings = [rng.uniform(-20, 100, (5, 2)) for _ in range(4)]
    shapes = [shapely.convex_hull(shapely.Polygon(ring)) for ring in rings]
    areas = LabelledAreas.of(
        (value, (np.array(shape.exterior.coords)[:-1],))
        for value, shape in enumerate(shapes, 1)
    )
    x = origin[0] + (np.arange(24) + 0.5) * downsample
    y = origin[1] + (np.arange(17) + 0.5) * downsample
    expected = np.zeros((17, 24), dtype=np.uint8)
    for value, shape in enumerate(shapes, 1):
        expected[shapely.contains_xy(shape, *np.meshgrid(x, y))] = value
    assert (areas.mask(origin, (24, 17), downsample=downsample) == expected).all()
