"""Polygons and masks on their own."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import numpy.typing as npt

from dplabtools.annotations.json import PolygonsGiven, parse_polygons
from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.masks.files import NPZ_KEY, AnyMask, describe_mask, load_mask

__all__ = ["AnnotationPolygon", "MaskData", "PolygonData"]


class MaskData:
    """A mask, whatever form it comes in.

    Parameters
    ----------
    mask_data : path, ndarray or PIL image
        A ``.npy`` file, an ``.npz`` file with the key ``npz_data_key``, an image file of
        one channel, an array indexed [x, y], or an image of one channel.

    Attributes
    ----------
    npz_data_key : str
        Name of the array in ``.npz`` files, ``data`` by default. It belongs to the class:
        ``MaskData.npz_data_key = "mask"`` holds for all masks that are read or saved from
        then on, by every class, and in their workers.

    Raises
    ------
    MissingMaskError
        If there is no such file.
    MaskTypeError
        If the file cannot be read, or `mask_data` is nothing of the above.
    MaskError
        If there are not exactly two axes.
    """

    npz_data_key: ClassVar[str] = NPZ_KEY

    def __init__(self, *, mask_data: AnyMask) -> None:
        self._array = load_mask(mask_data, npz_key=self.npz_data_key)
        self._text = describe_mask(mask_data)

    def __str__(self) -> str:
        return self._text

    __repr__ = __str__

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
        self._text = (
            str(list(self._polygons))
            if isinstance(polygon_data, list)
            else os.fspath(polygon_data)
        )

    def __str__(self) -> str:
        return self._text

    __repr__ = __str__

    @property
    def polygons(self) -> list[AnnotationPolygon]:
        """The polygons, in the order given; a new list each time."""
        return list(self._polygons)
