"""Annotations drawn in Sedeen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dplabtools._typing import StrPath
from dplabtools.annotations.files import LabelOf, label_by, naming, read_xml
from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.errors import InvalidPolygonError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["read_sedeen"]

_KINDS: Final = ("polygon", "rectangle", "ellipse")
_ELLIPSE_POINTS: Final = 65


def read_sedeen(data_file: StrPath, get_label_fn: LabelOf) -> tuple[AnnotationPolygon, ...]:
    """Return the polygons, rectangles and ellipses of a Sedeen session file.

    Parameters
    ----------
    data_file : path
        XML.
    get_label_fn : callable
        Gets `type`, `name`, `description`, `color` (``#rrggbb``), `points`
        and `user_label` (the name) as keywords, and returns the label, or None to leave it
        out.

    Returns
    -------
    tuple of AnnotationPolygon
        In the order of the file; in level 0 pixels, rounded. Ellipses have 65 points.
        Other graphics are left out.

    Raises
    ------
    MissingAnnotationError
        If there is no such file.
    InvalidPolygonError
        If it is no such XML, or a graphic has another number of points than its kind
        takes, or no numbers.
    """
    found: list[AnnotationPolygon] = []
    for number, element in enumerate(read_xml(data_file).iter("graphic")):
        kind = element.get("type", "").lower()
        if kind not in _KINDS:
            continue
        with naming(data_file, number):
            points = _points(element)
            if kind != "polygon" and len(points) != 4:
                msg = f"a Sedeen {kind} has 4 points, not {len(points)}"
                raise InvalidPolygonError(msg)
            if kind == "ellipse":
                points = _ellipse(points)
            corners = [(round(x), round(y)) for x, y in points]
            attributes = {
                "type": kind,
                "name": element.get("name", ""),
                "description": element.get("description", ""),
                "color": _color(element),
                "points": corners,
                "user_label": element.get("name", ""),
            }
            label = label_by(get_label_fn, attributes)
            if label is not None:
                found.append(AnnotationPolygon(corners, label))
    return tuple(found)


def _points(element: Element) -> list[tuple[float, float]]:
    """Return the points, which are written as ``x,y``."""
    points: list[tuple[float, float]] = []
    for point in element.iter("point"):
        try:
            x, y = (float(part) for part in (point.text or "").split(","))
        except ValueError as error:
            msg = f"a point is no pair of numbers: {point.text!r}"
            raise InvalidPolygonError(msg) from error
        if not np.isfinite([x, y]).all():
            msg = f"a point is not finite: {point.text!r}"
            raise InvalidPolygonError(msg)
        points.append((x, y))
    return points


def _color(element: Element) -> str:
    """Return the colour of the pen, which is written as ``#rrggbbaa``, as ``#rrggbb``."""
    pen = element.find("pen")
    return "" if pen is None else pen.get("color", "")[: len("#rrggbb")]


def _ellipse(corners: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the ellipse within a rectangle, which may be turned."""
    box = np.array(corners)
    middle = box.mean(axis=0)
    across, along = (box[1] - box[0]) / 2, (box[2] - box[1]) / 2
    angle = np.linspace(0, 2 * np.pi, _ELLIPSE_POINTS)[:, None]
    points = middle + np.cos(angle) * across + np.sin(angle) * along
    return [(x, y) for x, y in points.tolist()]
