from __future__ import annotations

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from dplabtools.masks.outlines import outlines_of
from dplabtools.masks.raster import fill_polygons


@settings(max_examples=200)
@given(
    st.integers(1, 24), st.integers(1, 24), st.integers(0, 2**32 - 1), st.floats(0.3, 9.7)
)
def test_filled_outlines_are_the_mask_again_at_any_scale(
    width: int, height: int, seed: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((height, width)) < rng.random()
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    outlines = list(outlines_of(mask, size))
    back = np.array([width, height]) / size
    rings = [[np.array(ring) * back for ring in polygon] for polygon in outlines]
    np.testing.assert_array_equal(fill_polygons(rings, (width, height)), mask)


@given(st.integers(0, 2**32 - 1))
def test_outlines_are_valid_polygons_of_the_area_of_the_mask(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((15, 20)) < rng.random()
    polygons = [
        shapely.Polygon(outline, holes) for outline, *holes in outlines_of(mask, (20, 15))
    ]
    assert all(each.is_valid for each in polygons)
    assert sum(each.area for each in polygons) == mask.sum()


def test_pixels_that_touch_by_their_corners_are_two_parts() -> None:
    mask = np.eye(2, dtype=bool)
    assert [len(each) for each in outlines_of(mask, (2, 2))] == [1, 1]


def test_a_ring_has_a_hole() -> None:
    mask = np.ones((3, 3), dtype=bool)
    mask[1, 1] = False
    ((outline, hole),) = outlines_of(mask, (30, 30))
    assert set(outline) == {(0, 0), (30, 0), (30, 30), (0, 30)}
    assert set(hole) == {(10, 10), (20, 10), (20, 20), (10, 20)}


def test_a_pixel_is_inside_a_polygon_if_its_middle_is() -> None:
    triangle = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    filled = fill_polygons([[triangle]], (5, 5))
    assert filled.sum(axis=1).tolist() == [3, 2, 1, 0, 0]


def test_polygons_may_reach_beyond_the_mask() -> None:
    square = np.array([[-9.0, -9.0], [2.0, -9.0], [2.0, 99.0], [-9.0, 99.0]])
    filled = fill_polygons([[square]], (5, 3))
    assert filled[:, :2].all()
    assert not filled[:, 2:].any()
