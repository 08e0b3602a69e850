"""Annotation files of whatever program, told apart by what is in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from dplabtools._typing import StrPath
from dplabtools.annotations.asap import read_asap
from dplabtools.annotations.choosing import Choice, Classes, rename
from dplabtools.annotations.files import read_bytes, read_xml
from dplabtools.annotations.geojson import read_geojson
from dplabtools.annotations.json import parse_polygons
from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.annotations.sedeen import read_sedeen
from dplabtools.errors import InvalidPolygonError

__all__ = ["ANNOTATION_SUFFIXES", "read_annotations"]

ANNOTATION_SUFFIXES: Final = (".geojson", ".geojson.gz", ".json", ".json.gz", ".xml")
"""Ends of the names of files that `read_annotations` may understand."""

_NO_GROUP: Final = ("", "None")


def read_annotations(
    data_file: StrPath,
    *,
    classes: Classes | None = None,
    all_objects: bool = False,
    unclassified: bool = False,
) -> tuple[AnnotationPolygon, ...]:
    """Return the polygons of a file of ASAP, Sedeen, QuPath (GeoJSON) or this package.

    Parameters
    ----------
    data_file : path
        XML, GeoJSON, or JSON as `AsapReader.save_json` writes it; JSON may be gzipped.
    classes : mapping of str to str or int, optional
        The labels that are wanted, and what they become.
    all_objects, unclassified : bool
        GeoJSON: take all objects, or those without a class, too; see `Choice`.

    Returns
    -------
    tuple of AnnotationPolygon
        In the order of the file. Labels are the names of classes in GeoJSON, of groups in
        ASAP (of the annotation itself if it is in none), and of the graphics in Sedeen.

    Raises
    ------
    MissingAnnotationError
        If there is no such file.
    InvalidPolygonError
        If it is none of these, or has no polygon that can be used.
    """
    content = read_bytes(data_file).lstrip(b"\xef\xbb\xbf \t\r\n")
    choice = Choice(classes, all_objects=all_objects, unclassified=unclassified)
    given = None if content[:1] == b"<" else _json(data_file, content)
    if _is_geojson(given):
        polygons = read_geojson(data_file, choice=choice)
    else:
        polygons = _read_xml(data_file) if given is None else _parse(given)
        polygons = rename(polygons, classes, source=data_file) if classes else polygons
    if not polygons:
        msg = f"the annotation file {data_file} has no polygons"
        raise InvalidPolygonError(msg)
    return polygons


def _read_xml(data_file: StrPath) -> tuple[AnnotationPolygon, ...]:
    root = read_xml(data_file)
    if root.find(".//Annotation") is not None:
        return read_asap(data_file, _asap_label)
    if root.find(".//graphic") is not None:
        return read_sedeen(data_file, _sedeen_label)
    msg = f"the annotation file {data_file} is neither of ASAP nor of Sedeen"
    raise InvalidPolygonError(msg)


def _json(data_file: StrPath, content: bytes) -> object:
    """Return what is in a JSON file; never None."""
    try:
        given: object = json.loads(content.decode("utf-8"))
    except ValueError as error:
        msg = f"the annotation file {data_file} is no valid JSON: {error}"
        raise InvalidPolygonError(msg) from error
    return {} if given is None else given


def _is_geojson(given: object) -> bool:
    first = given[0] if isinstance(given, list) and given else given
    return isinstance(first, Mapping) and "type" in first


def _parse(given: object) -> tuple[AnnotationPolygon, ...]:
    """Return the polygons of a list in JSON; nothing else has any."""
    return parse_polygons(json.dumps(given)) if isinstance(given, list) else ()


def _asap_label(*, Name: str, PartOfGroup: str, **_: object) -> str:  # noqa: N803 - ASAP's
    return Name if PartOfGroup in _NO_GROUP else PartOfGroup


def _sedeen_label(*, name: str, **_: object) -> str:
    return name
