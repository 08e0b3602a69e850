"""Polygons and masks on their own."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from dplabtools.annotations.json import PolygonsGiven, parse_polygons
from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.masks.files import AnyMask, load_mask

__all__ = ["AnnotationPolygon", "MaskData", "PolygonData"]


class MaskData:
    """A mask, whatever form it comes in.

    Parameters
    ----------
    mask_data : path, ndarray or PIL image
        A ``.npy`` file, an ``.npz`` file with the key ``data``, an image file of one
        channel, an array indexed [x, y], or an image of one channel.

    Raises
    ------
    MissingMaskError
        If there is no such file.
    MaskTypeError
        If the file cannot be read, or `mask_data` is nothing of the above.
    MaskError
        If there are not exactly two axes.
    """

    def __init__(self, *, mask_data: AnyMask) -> None:
        self._array = load_mask(mask_data)

    @property
    def mask_array(self) -> npt.NDArray[Any]:
        """The mask, shape (width, height), indexed [x, y], with the values given."""
        return self._array


class PolygonData:
    """Polygons, whatever form they come in.

    Parameters
    ----------
    polygon_data : list of AnnotationPolygon, str or path
        Polygons, JSON text, or the path of a JSON file: a list of objects with the keys
        ``points``, ``label`` and ``holes``.

    Raises
    ------
    ParameterTypeError
        If `polygon_data` is neither a list nor text nor a path.
    InvalidPolygonError
        If a list is empty or holds something else, or the JSON is not as above.
    MissingAnnotationError
        If there is no such file.
    """

    def __init__(self, *, polygon_data: PolygonsGiven) -> None:
        self._polygons = parse_polygons(polygon_data)

    @property
    def polygons(self) -> list[AnnotationPolygon]:
        """The polygons, in the order given; a new list each time."""
        return list(self._polygons)
