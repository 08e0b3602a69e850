"""Polygons as geometry: repaired, measured, and taken out of one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import numpy as np

from dplabtools.annotations.polygon import AnnotationPolygon, Ring
from dplabtools.errors import DegeneratePolygonError, InvalidPolygonError

if TYPE_CHECKING:
    from shapely import MultiPolygon, Polygon
    from shapely.geometry.base import BaseGeometry

__all__ = [
    "Overlap",
    "Shape",
    "areal",
    "filled",
    "find_overlaps",
    "shape_of",
    "without_contained",
]

Shape: TypeAlias = "Polygon | MultiPolygon"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Two shapes that share an area, neither of them inside the other.

    Attributes
    ----------
    first, second : int
        Their numbers.
    area : float
        In squares of their unit.
    """

    first: int
    second: int
    area: float


def shape_of(
    polygon: AnnotationPolygon, *, number: int, downsample: float, slide: str
) -> Shape:
    """Return a polygon as a valid shape.

    An outline that crosses itself encloses what lies within an odd number of its turns.

    Parameters
    ----------
    polygon : AnnotationPolygon
        In level 0 pixels.
    number : int
        Its place in the list, for messages.
    downsample : float
        Level 0 pixels per unit of the shape.
    slide : str
        Name of the slide, for messages.

    Returns
    -------
    shapely.Polygon or shapely.MultiPolygon
        Not empty.

    Raises
    ------
    DegeneratePolygonError
        If the outline is only a line or a point.
    InvalidPolygonError
        If its holes leave nothing of it.
    """
    import shapely

    outline, *holes = (
        np.asarray(ring, dtype=np.float64) / downsample
        for ring in (polygon.points, *polygon.holes)
    )
    shape = shapely.Polygon(outline, holes)
    if shape.is_valid:
        return shape
    area = _area_within(outline)
    if area.is_empty:
        msg = f"polygon {number} ({polygon.label!r}) is only a line or a point"
        raise DegeneratePolygonError(
            msg, slide=slide, remedy="give outlines that enclose an area"
        )
    rest = areal(area.difference(shapely.union_all([_area_within(hole) for hole in holes])))
    if rest.is_empty:
        msg = f"polygon {number} ({polygon.label!r}): its holes leave nothing of it"
        raise InvalidPolygonError(msg, slide=slide)
    return rest


def areal(geometry: BaseGeometry) -> Shape:
    """Return the parts of a geometry that have an area; empty if none has."""
    import shapely

    parts = shapely.get_parts(shapely.get_parts(geometry))
    joined = shapely.union_all(parts[shapely.get_dimensions(parts) == 2])
    return shapely.Polygon() if joined.is_empty else cast("Shape", joined)


def filled(shape: BaseGeometry) -> Shape:
    """Return a shape without its holes."""
    import shapely

    exteriors = shapely.get_exterior_ring(shapely.get_parts(shape))
    return areal(shapely.union_all(shapely.polygons(exteriors)))


def without_contained(shapes: Sequence[Shape]) -> list[Shape]:
    """Take out of each shape the shapes that lie inside it, and what these enclose.

    Shapes that equal each other are left alone.

    Parameters
    ----------
    shapes : sequence of shapely.Polygon or shapely.MultiPolygon
        Valid.

    Returns
    -------
    list of shapely.Polygon or shapely.MultiPolygon
        In the same order; empty where nothing is left.
    """
    import shapely

    inner: dict[int, list[Shape]] = {}
    for outer, inside in _contained(shapes):
        inner.setdefault(outer, []).append(filled(shapes[inside]))
    return [
        areal(shape.difference(shapely.union_all(inner[number])))
        if number in inner
        else shape
        for number, shape in enumerate(shapes)
    ]


def find_overlaps(shapes: Sequence[Shape]) -> Iterator[Overlap]:
    """Find shapes that share an area, without one being inside the other.

    Parameters
    ----------
    shapes : sequence of shapely.Polygon or shapely.MultiPolygon
        Valid.

    Yields
    ------
    Overlap
        In the order of the first, then of the second.
    """
    nested = set(_contained(shapes))
    for first, second in _pairs(shapes, "intersects"):
        if first < second and not {(first, second), (second, first)} & nested:
            area = shapes[first].intersection(shapes[second]).area
            if area > 0:
                yield Overlap(first=first, second=second, area=area)


def _contained(shapes: Sequence[Shape]) -> list[tuple[int, int]]:
    """Return (outer, inner) of shapes of which one lies inside the other."""
    pairs = set(_pairs(shapes, "contains"))
    return sorted(pair for pair in pairs if pair[::-1] not in pairs)


def _pairs(
    shapes: Sequence[Shape], predicate: Literal["contains", "intersects"]
) -> list[tuple[int, int]]:
    """Return the numbers of shapes that a predicate holds for, sorted."""
    import shapely

    found = shapely.STRtree(shapes).query(np.array(shapes, dtype=object), predicate)
    return sorted((int(one), int(other)) for one, other in found.T)


def _area_within(ring: Ring) -> Shape:
    """Return the area that a ring encloses, empty if it encloses none."""
    import shapely

    return areal(shapely.make_valid(shapely.Polygon(ring)))
