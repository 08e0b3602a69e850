from __future__ import annotations

import hypothesis.extra.numpy as npst
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from dplabtools._typing import FloatArray
from dplabtools.locations.overlap import area_inside

SQUARES = st.lists(
    st.tuples(st.integers(-20, 90), st.integers(-20, 90)), min_size=1, max_size=20
)  # in quarters: sides and corners of squares meet those of the shapes


def expected(corners: FloatArray, edge: float, shape: shapely.Geometry) -> FloatArray:
    squares = shapely.box(*corners.T, *(corners + edge).T)
    return np.asarray(shapely.area(shapely.intersection(shape, squares)))


@given(
    points=npst.arrays(np.int64, (9, 2), elements=st.integers(0, 80)),
    quarters=SQUARES,
    edge=st.sampled_from([0.25, 1.0, 3.75, 10.0, 40.0]),
    margin=st.sampled_from([0.0, 0.5]),
)
def test_areas_are_those_of_geometry(
    points: FloatArray, quarters: list[tuple[int, int]], edge: float, margin: float
) -> None:
    tangle = shapely.make_valid(shapely.Polygon(points / 4)).buffer(margin)
    shape = shapely.union_all(
        [part for part in shapely.get_parts(tangle) if part.geom_type == "Polygon"]
    )
    corners = np.array(quarters) / 4
    found = area_inside(corners, edge, shape)
    np.testing.assert_allclose(found, expected(corners, edge, shape), atol=1e-9)


@pytest.mark.parametrize("holes", [0, 3])
def test_many_squares_over_a_large_shape(holes: int) -> None:
    angle = np.linspace(0, 2 * np.pi, 500, endpoint=False)
    radius = 800 + 150 * np.sin(7 * angle)
    shape = shapely.Polygon(
        np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    )
    for number in range(holes):
        shape = shape.difference(shapely.Point(200 * number - 200, 50).buffer(60))
    corners = np.random.default_rng(0).uniform(-1000, 1000, size=(5000, 2))
    for edge in (3.3, 250.0):
        found = area_inside(corners, edge, shape)
        np.testing.assert_allclose(found, expected(corners, edge, shape), atol=1e-8)


def test_a_comb_of_many_tall_sides() -> None:
    teeth = np.arange(2000)
    x = np.repeat(teeth, 2) * 0.5
    y = np.where(np.arange(4000) % 4 < 2, 0.0, 900.0) + np.arange(4000) % 2
    shape = shapely.Polygon([*zip(x, y, strict=True), (1000, -5), (0, -5)]).buffer(0)
    corners = np.random.default_rng(1).uniform(-3, 999, size=(200, 2))
    found = area_inside(corners, 0.9, shape)
    np.testing.assert_allclose(found, expected(corners, 0.9, shape), atol=1e-8)


def test_squares_far_away_and_all_around() -> None:
    star = shapely.Polygon([(0, 0), (4, 1), (8, 0), (4, 8)])
    corners = np.array([(-20.0, 0.0), (0.0, 30.0), (-2.0, -2.0)])
    assert area_inside(corners, 12.0, star).tolist() == [0, 0, star.area]


def test_no_squares() -> None:
    assert area_inside(np.empty((0, 2)), 1.0, shapely.Point(0, 0).buffer(3)).shape == (0,)
