"""Where patches may lie, told by polygons."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.annotations.shapes import (
    Shape,
    areal,
    filled,
    find_overlaps,
    shape_of,
    without_contained,
)
from dplabtools.errors import (
    InvalidPolygonError,
    OverlappingPolygonsWarning,
    PolygonOutsideWarning,
)
from dplabtools.locations.regions import Frame, Region, check_label
from dplabtools.masks.foreground import ForegroundMask

__all__ = ["InvertedImage", "PolygonRegions"]


@dataclass(frozen=True, slots=True)
class InvertedImage:
    """The box around the foreground, without some polygons.

    What the polygons enclose counts as theirs: their holes, and what they surround
    together.

    Attributes
    ----------
    polygons : tuple of AnnotationPolygon
        What to leave out.
    label : str
        Label of all patches.

    Raises
    ------
    ParameterTypeError
        If the label is no text.
    """

    polygons: tuple[AnnotationPolygon, ...]
    label: str

    def __post_init__(self) -> None:
        check_label(self.label)

    def regions(
        self, mask: ForegroundMask, frame: Frame, *, slide: str
    ) -> tuple[Region, ...]:
        """Return one region: the bounds of the mask without the polygons.

        Raises
        ------
        InvalidPolygonError
            If a polygon has no area, or nothing is left beside them.
        """
        import shapely

        shapes = _shapes(self.polygons, mask, frame, slide=slide)
        box = shapely.box(*mask.bounds)
        rest = areal(box.difference(filled(shapely.union_all(shapes)))) if shapes else box
        if rest.is_empty:
            msg = "the polygons cover all of the foreground; nothing is left beside them"
            raise InvalidPolygonError(msg, slide=slide)
        return (Region(rest, self.label),)


@dataclass(frozen=True, slots=True)
class PolygonRegions:
    """The inside of each polygon.

    Attributes
    ----------
    polygons : tuple of AnnotationPolygon
        One region each, in their order and with their labels.
    check : bool
        Take polygons out of those that they lie inside of, and warn of overlaps.
    threshold : float
        Overlaps below this area, in patches, are not told.
    """

    polygons: tuple[AnnotationPolygon, ...]
    check: bool
    threshold: float

    def regions(
        self, mask: ForegroundMask, frame: Frame, *, slide: str
    ) -> tuple[Region, ...]:
        """Return one region for each polygon.

        Raises
        ------
        InvalidPolygonError
            If a polygon has no area, or none is left once others are taken out.

        Warns
        -----
        OverlappingPolygonsWarning
            If two polygons overlap.
        PolygonOutsideWarning
            If a polygon lies beside the slide.
        """
        shapes = _shapes(self.polygons, mask, frame, slide=slide)
        if self.check:
            self._tell_overlaps(shapes, frame, slide=slide)
            shapes = without_contained(shapes)
        for number, (polygon, shape) in enumerate(zip(self.polygons, shapes, strict=True)):
            if shape.is_empty:
                msg = (
                    f"polygon {number} ({polygon.label!r}): the polygons inside it leave "
                    "nothing of it"
                )
                raise InvalidPolygonError(
                    msg,
                    slide=slide,
                    remedy="leave it out by its label, or set check_polygons=False",
                )
        return tuple(
            Region(shape, polygon.label)
            for polygon, shape in zip(self.polygons, shapes, strict=True)
        )

    def _tell_overlaps(self, shapes: Sequence[Shape], frame: Frame, *, slide: str) -> None:
        for overlap in find_overlaps(shapes):
            patches = overlap.area / frame.edge**2
            if patches >= self.threshold:
                msg = (
                    f"{slide}: Polygon {overlap.first} overlaps with polygon "
                    f"{overlap.second}, overlapping area: {patches:f} patches"
                )
                warnings.warn(msg, OverlappingPolygonsWarning, stacklevel=2)


def _shapes(
    polygons: Sequence[AnnotationPolygon],
    mask: ForegroundMask,
    frame: Frame,
    *,
    slide: str,
) -> list[Shape]:
    """Return polygons in mask pixels; warn of those that lie beside the slide."""
    width, height = mask.size
    shapes = [
        shape_of(polygon, number=number, downsample=frame.downsample, slide=slide)
        for number, polygon in enumerate(polygons)
    ]
    for number, (polygon, shape) in enumerate(zip(polygons, shapes, strict=True)):
        x0, y0, x1, y1 = shape.bounds
        if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
            msg = (
                f"{slide}: polygon {number} ({polygon.label!r}) lies beside the slide; "
                f"are its points in level 0 pixels?"
            )
            warnings.warn(msg, PolygonOutsideWarning, stacklevel=2)
    return shapes
