from __future__ import annotations

from typing import Any

import pytest
import shapely

from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.annotations.shapes import (
    Overlap,
    Shape,
    filled,
    find_overlaps,
    shape_of,
    without_contained,
)
from dplabtools.errors import DegeneratePolygonError, InvalidPolygonError

SQUARE = [(0, 0), (8, 0), (8, 8), (0, 8)]


def make(points: Any, holes: Any = (), *, downsample: float = 1.0) -> Shape:
    polygon = AnnotationPolygon(points, "a", holes)
    return shape_of(polygon, number=3, downsample=downsample, slide="s.svs")


def box(*bounds: float) -> Shape:
    return shapely.box(*bounds)


def test_points_become_mask_pixels() -> None:
    assert make(SQUARE, downsample=4).equals(box(0, 0, 2, 2))


def test_holes_are_kept() -> None:
    assert make(SQUARE, [[(1, 1), (3, 1), (3, 3), (1, 3)]]).area == 60


def test_a_bow_tie_becomes_two_triangles() -> None:
    shape = make([(0, 0), (8, 8), (8, 0), (0, 8)])
    assert shape.geom_type == "MultiPolygon"
    assert shape.area == 32


def test_a_hole_that_sticks_out_takes_only_what_is_inside() -> None:
    shape = make(SQUARE, [[(6, 6), (20, 6), (20, 20), (6, 20)]])
    assert shape.is_valid
    assert shape.area == 60
    assert shape.bounds == (0, 0, 8, 8)


def test_a_spike_is_lost() -> None:
    assert make([(0, 0), (8, 0), (8, 8), (8, 20), (8, 8), (0, 8)]).equals(box(0, 0, 8, 8))


def test_a_hole_without_area_takes_nothing() -> None:
    assert make(SQUARE, [[(1, 1), (3, 3), (2, 2)]]).area == 64


@pytest.mark.parametrize("points", [[(0, 0), (1, 1), (2, 2)], [(5, 5)] * 4])
def test_lines_and_points_are_refused(points: Any) -> None:
    with pytest.raises(
        DegeneratePolygonError, match=r"^s\.svs: polygon 3 \('a'\)"
    ) as caught:
        make(points)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)


def test_a_polygon_that_is_all_hole_is_refused() -> None:
    with pytest.raises(InvalidPolygonError, match=r"^s\.svs: polygon 3 .* nothing"):
        make(SQUARE, [[(-1, -1), (9, -1), (9, 9), (-1, 9)]])


def test_contained_shapes_are_taken_out_also_through_others() -> None:
    shapes = [box(0, 0, 13, 13), box(1, 1, 7, 7), box(2, 2, 4, 4)]
    assert [shape.area for shape in without_contained(shapes)] == [169 - 36, 36 - 4, 4]


def test_what_a_contained_shape_encloses_is_its_own() -> None:
    ring = box(1, 1, 7, 7).difference(box(2, 2, 4, 4))
    assert isinstance(ring, shapely.Polygon)
    assert without_contained([box(0, 0, 10, 10), ring])[0].area == 64


def test_equal_shapes_are_left_alone_and_told() -> None:
    twice = [box(0, 0, 2, 2), box(0, 0, 2, 2)]
    assert [shape.area for shape in without_contained(twice)] == [4, 4]
    assert list(find_overlaps(twice)) == [Overlap(first=0, second=1, area=4.0)]


def test_a_shape_that_is_covered_is_empty() -> None:
    halves = [box(0, 0, 4, 2), box(0, 0, 2, 2), box(2, 0, 4, 2)]
    assert without_contained(halves)[0].is_empty


def test_overlaps_are_told_but_neither_nests_nor_neighbours() -> None:
    shapes = [box(0, 0, 4, 4), box(3, 0, 8, 4), box(1, 1, 2, 2), box(8, 0, 9, 9)]
    assert list(find_overlaps(shapes)) == [Overlap(first=0, second=1, area=4.0)]


def test_filling_takes_holes_away() -> None:
    assert filled(make(SQUARE, [[(1, 1), (3, 1), (3, 3), (1, 3)]])).area == 64
