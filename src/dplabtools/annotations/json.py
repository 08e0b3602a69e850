"""Polygons as they are given: a list, JSON text, a JSON file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from dplabtools._typing import StrPath
from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.errors import (
    InvalidPolygonError,
    MissingAnnotationError,
    ParameterTypeError,
)

__all__ = ["PolygonsGiven", "dump_polygons", "parse_polygons"]

PolygonsGiven: TypeAlias = list[AnnotationPolygon] | StrPath
"""Polygons, JSON text, or the path of a JSON file."""

_KEYS = ("points", "label", "holes")


def parse_polygons(
    polygon_data: PolygonsGiven, *, slide: str | None = None
) -> tuple[AnnotationPolygon, ...]:
    """Return polygons, whatever form they come in.

    Parameters
    ----------
    polygon_data : list of AnnotationPolygon, str or path
        Polygons; JSON text of a list of objects with the keys ``points``
        (``[[x, y], ...]``), ``label`` and ``holes`` (a list of such lists of points); or
        the path of a file with such text. Coordinates in level 0 pixels.
    slide : str, optional
        Name of the slide, for messages.

    Returns
    -------
    tuple of AnnotationPolygon
        In the order given; empty only for an empty list in JSON.

    Raises
    ------
    ParameterTypeError
        If `polygon_data` is neither a list nor text nor a path.
    InvalidPolygonError
        If a list is empty or holds something else, or the JSON is not as above.
    MissingAnnotationError
        If there is no such file.
    """
    match polygon_data:
        case list():
            return _checked(polygon_data, slide)
        case str() | os.PathLike():
            return _parse(_json_text(os.fspath(polygon_data), slide), slide)
        case _:
            msg = (
                f"polygon_data must be a list of AnnotationPolygon, JSON text or a path, "
                f"not {type(polygon_data).__name__}"
            )
            raise ParameterTypeError(msg, slide=slide)


def dump_polygons(polygons: Iterable[AnnotationPolygon]) -> str:
    """Return polygons as JSON text that `parse_polygons` reads."""
    return json.dumps([polygon.data_dict for polygon in polygons])


def _checked(polygons: list[Any], slide: str | None) -> tuple[AnnotationPolygon, ...]:
    """Return a list of polygons, if it is one."""
    if not polygons:
        msg = "polygon_data is an empty list"
        raise InvalidPolygonError(msg, slide=slide)
    for polygon in polygons:
        if not isinstance(polygon, AnnotationPolygon):
            msg = f"polygon_data must hold AnnotationPolygon, not {type(polygon).__name__}"
            raise InvalidPolygonError(msg, slide=slide)
    return tuple(polygons)


def _json_text(given: str, slide: str | None) -> str:
    """Return JSON text, read from a file if a path was given."""
    if not given.strip() or given.lstrip()[0] in "[{":
        return given
    try:
        return Path(given).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        if _is_json(given):
            return given
        msg = f"there is no file of polygons {given}"
        raise MissingAnnotationError(msg, slide=slide) from error


def _is_json(text: str) -> bool:
    """Tell whether text is JSON of any kind."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _parse(text: str, slide: str | None) -> tuple[AnnotationPolygon, ...]:
    """Return the polygons of JSON text."""
    try:
        items = json.loads(text)
    except ValueError as error:
        msg = f"the polygons are not valid JSON: {error}"
        raise InvalidPolygonError(msg, slide=slide) from error
    if not isinstance(items, list):
        msg = "the JSON of polygons must be a list"
        raise InvalidPolygonError(msg, slide=slide)
    return tuple(_polygon(item, slide) for item in items)


def _polygon(item: object, slide: str | None) -> AnnotationPolygon:
    """Return the polygon of one JSON object."""
    if not isinstance(item, Mapping) or any(key not in item for key in _KEYS):
        msg = f"each polygon in JSON must be an object with the keys {', '.join(_KEYS)}"
        raise InvalidPolygonError(msg, slide=slide)
    return AnnotationPolygon(
        points=item["points"], label=item["label"], holes=item["holes"]
    )
