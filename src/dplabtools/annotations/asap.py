"""Annotations drawn in ASAP (https://computationalpathologygroup.github.io/ASAP/)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dplabtools._typing import StrPath
from dplabtools.annotations.files import LabelOf, label_by, naming, read_xml
from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.errors import InvalidPolygonError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["read_asap"]

_KINDS: Final = ("Polygon", "Rectangle", "Spline")
_ATTRIBUTES: Final = ("Type", "Name", "PartOfGroup", "Color")


def read_asap(data_file: StrPath, get_label_fn: LabelOf) -> tuple[AnnotationPolygon, ...]:
    """Return the polygons, rectangles and splines of an ASAP file.

    Parameters
    ----------
    data_file : path
        XML.
    get_label_fn : callable
        Gets `Type`, `Name`, `PartOfGroup`, `Color` (in lower case), `points` and
        `user_label` (the name) as keywords, and returns the label, or None to leave it
        out. A function of any keywords gets `color` too.

    Returns
    -------
    tuple of AnnotationPolygon
        In the order of the file; in level 0 pixels, rounded. Other annotations are left
        out.

    Raises
    ------
    MissingAnnotationError
        If there is no such file.
    InvalidPolygonError
        If it is no such XML, or an annotation has too few points or no numbers.
    """
    found: list[AnnotationPolygon] = []
    for number, element in enumerate(read_xml(data_file).iter("Annotation")):
        kind = element.get("Type", "")
        if kind not in _KINDS:
            continue
        with naming(data_file, number):
            points = _points(element)
            if kind == "Rectangle" and len(points) != 4:
                msg = f"a rectangle has 4 points, not {len(points)}"
                raise InvalidPolygonError(msg)
            attributes = {name: element.get(name, "") for name in _ATTRIBUTES}
            attributes["Color"] = attributes["Color"].lower()
            more = {"points": points, "user_label": attributes["Name"]}
            label = label_by(
                get_label_fn,
                {**attributes, **more},
                aliases={"color": attributes["Color"]},
            )
            if label is not None:
                found.append(AnnotationPolygon(points, label))
    return tuple(found)


def _points(element: Element) -> list[tuple[int, int]]:
    """Return the corners in their order, rounded."""
    coordinates = list(element.iter("Coordinate"))
    try:
        coordinates.sort(key=lambda each: int(each.get("Order", "0")))
        return [(_whole(each.get("X")), _whole(each.get("Y"))) for each in coordinates]
    except (ValueError, OverflowError) as error:
        msg = f"a coordinate is no finite number: {error}"
        raise InvalidPolygonError(msg) from error


def _whole(text: str | None) -> int:
    """Return a number that may have a decimal comma, rounded."""
    return round(float((text or "").replace(",", ".")))
