"""Masks, polygons and points, in whatever form they are given."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from dplabtools._typing import StrPath
from dplabtools.annotations.choosing import Choice
from dplabtools.annotations.geojson import read_geojson
from dplabtools.annotations.json import PolygonsGiven, parse_polygons
from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.errors import ParameterError
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.masks.files import NPZ_KEY, AnyMask, describe_mask, load_mask
from dplabtools.masks.raster import fill_polygons
from dplabtools.records.labels import LabelFilter

__all__ = [
    "MaskGiven",
    "Points",
    "chosen_polygons",
    "describe_mask_input",
    "describe_points",
    "describe_polygons",
    "has_outlines",
    "read_mask",
]

MaskGiven: TypeAlias = AnyMask | list[AnnotationPolygon]
"""A mask, or polygons in level 0 pixels whose inside is foreground."""
Points: TypeAlias = Sequence[Sequence[float]] | npt.NDArray[Any]
"""(x, y) of each point."""

_LONGEST: Final = 4096  # pixels of a mask made of polygons


def read_mask(
    mask_data: MaskGiven, pyramid: Pyramid, *, npz_key: str = NPZ_KEY
) -> npt.NDArray[Any]:
    """Return a mask as an array, shape (width, height).

    Polygons, and those of a ``.geojson`` file, become a mask of 4096 pixels at most in
    width and height. `npz_key` names the array of an ``.npz`` file.

    Raises
    ------
    MaskError, MaskTypeError, MissingMaskError
        If it is none.
    InvalidPolygonError
        If a list holds something else than polygons, or a file is no GeoJSON.
    MissingAnnotationError
        If there is no such file of GeoJSON.
    """
    if isinstance(mask_data, list):
        polygons: Sequence[AnnotationPolygon] = parse_polygons(
            mask_data, slide=pyramid.slide
        )
    elif isinstance(mask_data, str | os.PathLike) and has_outlines(mask_data):
        # What is drawn to mend a mask needs no class.
        polygons = read_geojson(mask_data, choice=Choice(unclassified=True))
    else:
        return load_mask(mask_data, slide=pyramid.slide, npz_key=npz_key)
    downsample = max(1.0, max(pyramid.size) / _LONGEST)
    width, height = (max(1, round(each / downsample)) for each in pyramid.size)
    scale = np.array([width / pyramid.size[0], height / pyramid.size[1]])
    mask = fill_polygons(
        [
            [np.asarray(ring) * scale for ring in (polygon.points, *polygon.holes)]
            for polygon in polygons
        ],
        (width, height),
    )
    return mask.T


def has_outlines(mask_file: StrPath) -> bool:
    """Tell whether a mask file holds outlines in level 0 pixels, by its name."""
    return os.fspath(mask_file).lower().endswith((".geojson", ".geojson.gz"))


def describe_mask_input(mask_data: MaskGiven) -> str:
    """Return a mask as one line of text."""
    if isinstance(mask_data, list):
        return describe_polygons(mask_data)
    return describe_mask(mask_data)


def chosen_polygons(arguments: Mapping[str, Any]) -> tuple[AnnotationPolygon, ...]:
    """Return the polygons of a location class with the wanted labels, in their order.

    Raises
    ------
    ParameterError
        If both lists of labels are given.
    ParameterTypeError
        If a list of labels is none, or `polygon_data` neither a list nor text nor a path.
    InvalidPolygonError, MissingAnnotationError
        If there are no polygons, or no file of them.
    """
    slide = Path(arguments["wsi_file"]).name
    try:
        labels = LabelFilter(arguments["included_labels"], arguments["excluded_labels"])
    except ParameterError as error:
        raise ParameterError(str(error), slide=slide) from error
    polygons = parse_polygons(arguments["polygon_data"], slide=slide)
    return tuple(polygon for polygon in polygons if labels.wants(polygon.label))


def describe_polygons(polygon_data: PolygonsGiven) -> str:
    """Return polygons as one line of text: their path, or what there is."""
    if not isinstance(polygon_data, list):
        text = os.fspath(polygon_data)
        if not text.lstrip().startswith("["):
            return text
    polygons = parse_polygons(polygon_data)
    labels = ", ".join(sorted({polygon.label for polygon in polygons}))
    return f"{len(polygons)} polygons [labels: {labels}]"


def describe_points(points: Points) -> str:
    """Return points as one line of text."""
    return f"{len(points)} points"
