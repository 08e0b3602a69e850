"""Annotations that QuPath exported as GeoJSON (https://www.rfc-editor.org/rfc/rfc7946)."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dplabtools._typing import StrPath
from dplabtools.annotations.choosing import Choice
from dplabtools.annotations.files import LabelOf, label_by, naming, read_bytes
from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.errors import InvalidPolygonError

__all__ = ["Feature", "read_features", "read_geojson", "write_geojson"]

_TYPE_KEYS: Final = ("objectType", "object_type", "type")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One object of a GeoJSON file.

    Attributes
    ----------
    number : int
        Its place in the file.
    kind : str
        Kind of its geometry, such as ``"Polygon"``.
    coordinates : object
        Of the geometry, not checked.
    attributes : dict
        `name`, `classification` (its name), `color` (``[r, g, b]`` or None),
        `object_type` and `measurements`.
    """

    number: int
    kind: str
    coordinates: Any
    attributes: dict[str, Any]

    @property
    def label(self) -> str:
        """Name of its class; empty if it has none."""
        label: str = self.attributes["classification"]
        return label


def read_geojson(
    data_file: StrPath,
    get_label_fn: LabelOf | None = None,
    *,
    choice: Choice | None = None,
) -> tuple[AnnotationPolygon, ...]:
    """Return the polygons of a GeoJSON file.

    Parameters
    ----------
    data_file : path
        A FeatureCollection, a list of features, or one feature; may be gzipped.
    get_label_fn : callable, optional
        Gets `name`, `classification`, `color`, `object_type`, `measurements` and `points`
        as keywords, and returns the label, or None to leave it out. By default the name of
        the class.
    choice : Choice, optional
        Which objects are taken; not asked for classes if there is a function.

    Returns
    -------
    tuple of AnnotationPolygon
        In the order of the file, with their holes; in level 0 pixels. A MultiPolygon
        becomes several of them; lines and points are left out.

    Raises
    ------
    MissingAnnotationError
        If there is no such file.
    InvalidPolygonError
        If it is no GeoJSON, a polygon is none, or all were left out.
    """
    choice = choice or Choice()
    found: list[AnnotationPolygon] = []
    for feature in read_features(data_file):
        with naming(data_file, feature.number):
            found += _chosen(feature, get_label_fn, choice)
    choice.conclude(data_file, kept=len(found))
    return tuple(found)


def _chosen(
    feature: Feature, get_label_fn: LabelOf | None, choice: Choice
) -> Iterator[AnnotationPolygon]:
    """Yield the polygons of an object, if it is meant."""
    polygons = _polygons(feature)
    if not polygons or not choice.takes(feature.attributes["object_type"]):
        return
    label = None if get_label_fn else choice.label(feature.label)
    for outline, *holes in polygons:
        if get_label_fn:
            label = label_by(get_label_fn, {**feature.attributes, "points": outline})
        if label is not None:
            yield AnnotationPolygon(outline, label, holes)


def read_features(data_file: StrPath) -> Iterator[Feature]:
    """Yield the objects of a GeoJSON file, of all kinds.

    Raises
    ------
    MissingAnnotationError
        If there is no such file.
    InvalidPolygonError
        If it is no GeoJSON.
    """
    try:
        content = json.loads(read_bytes(data_file))
    except (ValueError, RecursionError) as error:
        msg = f"{data_file} is no valid JSON: {error}"
        raise InvalidPolygonError(msg) from error
    for number, item in enumerate(_items(content, data_file)):
        with naming(data_file, number):
            yield _feature(item, number)


def write_geojson(data_file: StrPath, polygons: Iterable[AnnotationPolygon]) -> None:
    """Write polygons as annotations of QuPath; `read_geojson` returns them again.

    Parameters
    ----------
    data_file : path
        Replaced if it is there.
    polygons : iterable of AnnotationPolygon
        In level 0 pixels.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    features = [
        {
            "type": "Feature",
            "id": str(uuid.uuid4()),
            "geometry": {
                "type": "Polygon",
                "coordinates": [[*ring, ring[0]] for ring in (each.points, *each.holes)],
            },
            "properties": {
                "objectType": "annotation",
                "classification": {"name": each.label},
            },
        }
        for each in polygons
    ]
    collection = {"type": "FeatureCollection", "features": features}
    Path(data_file).write_text(json.dumps(collection), encoding="utf-8")


def _items(content: object, data_file: StrPath) -> list[Any]:
    """Return the features of a collection, of a list, or the only one."""
    match content:
        case {"type": "FeatureCollection", "features": list() as features}:
            return features
        case {"type": "Feature"}:
            return [content]
        case list():
            return content
        case _:
            msg = f"{data_file} is no GeoJSON: it has no features"
            raise InvalidPolygonError(msg)


def _feature(item: object, number: int) -> Feature:
    match item:
        case {"geometry": {"type": str() as kind, **geometry}, **rest}:
            properties = rest.get("properties") or {}
        case _:
            msg = "it is no GeoJSON feature with a geometry"
            raise InvalidPolygonError(msg)
    if not isinstance(properties, Mapping):
        msg = "its properties are no object"
        raise InvalidPolygonError(msg)
    return Feature(
        number=number,
        kind=kind,
        coordinates=geometry.get("coordinates"),
        attributes=_attributes(properties, rest.get("id")),
    )


def _attributes(properties: Mapping[str, Any], identity: object) -> dict[str, Any]:
    """Return what QuPath, of whatever version, says of an object."""
    class_name, class_color = _classification(properties.get("classification"))
    kinds = [properties[key] for key in _TYPE_KEYS if key in properties]
    return {
        "name": properties.get("name") or "",
        "classification": class_name,
        "color": _rgb(properties.get("color", class_color)),
        "object_type": str(kinds[0]) if kinds else _kind_in(identity),
        "measurements": properties.get("measurements") or {},
    }


def _kind_in(identity: object) -> str:
    """Return the kind of an object of QuPath 0.2, whose id is the name of a class."""
    found = re.fullmatch(r"Path(\w+)Object", str(identity))
    return found[1].lower() if found else ""


def _classification(given: object) -> tuple[str, object]:
    """Return name and colour of a class: an object, the JSON text of one, or a name."""
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            return str(given), None
    match given:
        case {"name": str() as name, **rest}:
            return name, rest.get("color", rest.get("colorRGB"))
        case {"names": [*names], **rest}:
            return ": ".join(map(str, names)), rest.get("color")
        case str():
            return given, None
        case _:
            return "", None


def _rgb(color: object) -> list[int] | None:
    """Return a colour as [r, g, b]; it may be packed into one number."""
    match color:
        case bool():
            return None
        case int():
            return [color >> 16 & 255, color >> 8 & 255, color & 255]
        case [int() as red, int() as green, int() as blue, *_]:
            return [red, green, blue]
        case _:
            return None


def _polygons(feature: Feature) -> list[list[Any]]:
    """Return the rings of each polygon of a feature: the outline, then the holes."""
    polygons: Any
    match feature.kind:
        case "Polygon":
            polygons = [feature.coordinates]
        case "MultiPolygon":
            polygons = feature.coordinates
        case _:
            return []
    if not isinstance(polygons, list) or not all(
        isinstance(rings, list) and rings for rings in polygons
    ):
        msg = f"its {feature.kind} has no rings"
        raise InvalidPolygonError(msg)
    return [[_open(ring) for ring in rings] for rings in polygons]


def _open(ring: object) -> object:
    """Return a ring without the last point, where it repeats the first."""
    if not isinstance(ring, list):
        return ring
    points = [point[:2] if isinstance(point, list) else point for point in ring]
    return points[:-1] if len(points) > 1 and points[0] == points[-1] else points
