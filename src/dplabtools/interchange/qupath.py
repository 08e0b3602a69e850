"""Patches as QuPath objects, in GeoJSON.

https://qupath.readthedocs.io/en/stable/docs/advanced/exporting_annotations.html
"""

from __future__ import annotations

import colorsys
import json
import uuid
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from dplabtools._typing import FloatArray
from dplabtools.annotations.geojson import Feature, read_features
from dplabtools.atomic import written_aside
from dplabtools.errors import InvalidPolygonError
from dplabtools.interchange.base import Found, ReadRequest, WriteRequest
from dplabtools.records.patch_table import PatchTable

__all__ = ["read_qupath", "write_qupath"]

_ROUNDING: Final = 1.5  # level 0 pixels that the edge of a square may be off
_HUE_STEP: Final = 0.381966  # the golden angle: neighbouring labels get distant colours


def read_qupath(request: ReadRequest) -> PatchTable:
    """Read squares, or points that are the centres of patches.

    Raises
    ------
    InvalidLocationError
        If it is no GeoJSON, an object is neither an upright rectangle nor a point, or has
        another size than was said.
    """
    resolution = request.resolution
    if resolution is None:
        msg = "GeoJSON says no resolution; give level_or_mpp"
        raise request.error(msg)
    downsample = request.pyramid.downsample(resolution)
    corners: list[tuple[float, float]] = []
    sizes: list[tuple[int, int]] = []
    labels: list[str] = []
    with request.opening():
        try:
            features = list(read_features(request.file))
        except InvalidPolygonError as error:
            raise request.error(str(error)) from error
    for feature in features:
        corner, size = _place(feature, request, downsample)
        corners.append(corner)
        sizes.append(size)
        labels.append(feature.label or request.label)
    return Found(
        corners=np.array(corners, dtype=np.float64).reshape(-1, 2),
        sizes=np.array(sizes, dtype=np.int64).reshape(-1, 2),
        labels=labels,
        resolution=resolution,
    ).table(request)


def write_qupath(request: WriteRequest) -> None:
    """Write squares that QuPath shows as tiles, with a class and colour for each label.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    collection = {"type": "FeatureCollection", "features": list(_features(request))}
    with written_aside(request.file, slide=request.pyramid.slide) as aside:
        aside.write_text(json.dumps(collection), encoding="utf-8")


def _place(
    feature: Feature, request: ReadRequest, downsample: float
) -> tuple[tuple[float, float], tuple[int, int]]:
    """Return corner and size of the patch that an object stands for."""
    number = feature.number
    if feature.kind not in {"Polygon", "Point"}:
        msg = f"object {number} is a {feature.kind}; patches are squares or points"
        raise request.error(msg)
    try:
        given = feature.coordinates
        points = np.array(given[0] if feature.kind == "Polygon" else [given], dtype=float)
        points = points[:, :2]
    except (TypeError, ValueError, IndexError) as error:
        msg = f"object {number} has coordinates that are none"
        raise request.error(msg) from error
    if feature.kind == "Point":
        return _around(points[0], number=number, request=request, downsample=downsample)
    return _square(points, number=number, request=request, downsample=downsample)


def _around(
    centre: FloatArray, *, number: int, request: ReadRequest, downsample: float
) -> tuple[tuple[float, float], tuple[int, int]]:
    """Return the patch around a point."""
    edge = request.patch_size
    if edge is None:
        msg = f"object {number} is a point; give patch_size"
        raise request.error(msg)
    x, y = (centre - edge * downsample / 2).tolist()
    return (x, y), (edge, edge)


def _square(
    points: FloatArray, *, number: int, request: ReadRequest, downsample: float
) -> tuple[tuple[float, float], tuple[int, int]]:
    """Return the patch that a rectangle is."""
    low, high = points.min(axis=0), points.max(axis=0)
    on_edge = ((points == low) | (points == high)).all(axis=1).all()
    corners = {(x, y) for x, y in points.tolist()}
    if not on_edge or len(corners) != 4:
        msg = f"object {number} is no upright rectangle, so it is no patch"
        raise request.error(msg)
    width, height = (high - low).tolist()
    edge = request.patch_size
    if edge is None:
        size = (round(width / downsample), round(height / downsample))
    elif max(abs(width - edge * downsample), abs(height - edge * downsample)) > _ROUNDING:
        msg = (
            f"object {number} has {width:g} x {height:g} level 0 pixels, but a patch of "
            f"{edge} pixels at this resolution has {edge * downsample:g}"
        )
        raise request.error(msg)
    else:
        size = (edge, edge)
    return (float(low[0]), float(low[1])), size


def _features(request: WriteRequest) -> Iterator[dict[str, Any]]:
    """Yield each patch as an object of QuPath."""
    table, scale = request.table, request.footprint()
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, table.slide)
    colors = [_color(index) for index in range(len(table.labels))]
    coverage = table.coverage
    for row, (((x, y), (width, height), label), code) in enumerate(
        zip(table.rows(), table.codes.tolist(), strict=True)
    ):
        right, bottom = x + width * scale, y + height * scale
        ring = [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]
        properties: dict[str, Any] = {"objectType": "tile"}
        if label:
            properties["classification"] = {"name": label, "color": colors[code]}
        if coverage is not None:
            properties["measurements"] = {"coverage": round(float(coverage[row]), 6)}
        yield {
            "type": "Feature",
            "id": str(uuid.uuid5(namespace, str(row))),
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": properties,
        }


def _color(index: int) -> list[int]:
    """Return the colour of a label, as [r, g, b]."""
    rgb = colorsys.hsv_to_rgb(index * _HUE_STEP % 1, 0.8, 0.9)
    return [round(255 * value) for value in rgb]
