"""An outline with a label."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy.typing as npt

from dplabtools.errors import InvalidPolygonError

__all__ = ["AnnotationPolygon", "Ring"]

Ring: TypeAlias = Sequence[Sequence[float]] | npt.NDArray[Any]
"""(x, y) of the corners, in order; the last need not repeat the first."""
_Corners: TypeAlias = tuple[tuple[float, float], ...]


class AnnotationPolygon:
    """An annotated area of a slide.

    Immutable, hashable, and equal to another of the same points, label and holes.

    Parameters
    ----------
    points : sequence of (float, float)
        (x, y) of at least three corners, in level 0 pixels.
    label : str
        What it shows.
    holes : sequence of sequence of (float, float), default ()
        Areas inside that do not belong to it.

    Raises
    ------
    InvalidPolygonError
        If there are fewer than three points, a point is no pair of finite numbers, or
        the label is no text.
    """

    __slots__ = ("_holes", "_label", "_points")

    def __init__(self, points: Ring, label: str, holes: Sequence[Ring] = ()) -> None:
        if not isinstance(label, str):
            msg = f"the label of a polygon must be text, not {label!r}"
            raise InvalidPolygonError(msg)
        self._points = _corners(points, label)
        self._label = label
        self._holes = tuple(_corners(hole, label) for hole in _iterable(holes, label))

    @property
    def points(self) -> list[tuple[float, float]]:
        """(x, y) of the corners, in level 0 pixels; a new list each time."""
        return list(self._points)

    @property
    def label(self) -> str:
        """What it shows."""
        return self._label

    @property
    def holes(self) -> list[list[tuple[float, float]]]:
        """(x, y) of the corners of each hole; new lists each time."""
        return [list(hole) for hole in self._holes]

    @property
    def data_dict(self) -> dict[str, Any]:
        """The polygon as JSON has it, with the keys points, label and holes."""
        return {
            "points": [list(point) for point in self._points],
            "label": self._label,
            "holes": [[list(point) for point in hole] for hole in self._holes],
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AnnotationPolygon):
            return NotImplemented
        return self._values == other._values

    def __hash__(self) -> int:
        return hash(self._values)

    def __str__(self) -> str:
        return str([self.points, self._label, self.holes])

    __repr__ = __str__

    @property
    def _values(self) -> tuple[_Corners, str, tuple[_Corners, ...]]:
        return self._points, self._label, self._holes


def _corners(ring: Ring, label: str) -> _Corners:
    """Return a ring as pairs of finite Python numbers."""
    try:
        corners = tuple((_number(x), _number(y)) for x, y in ring)
    except (TypeError, ValueError) as error:
        msg = f"polygon {label!r}: points must be pairs of finite numbers ({error})"
        raise InvalidPolygonError(msg) from error
    if len(corners) < 3:
        msg = f"polygon {label!r}: {len(corners)} points enclose nothing"
        raise InvalidPolygonError(msg, remedy="give 3 or more")
    return corners


def _number(value: object) -> float:
    """Return a finite int or float, NumPy's included, as a Python number."""
    if isinstance(value, numbers.Integral):
        return int(value)
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        msg = f"{value!r} is no finite number"
        raise ValueError(msg)
    return float(value)


def _iterable(holes: Sequence[Ring], label: str) -> Iterable[Ring]:
    """Return the holes, if they can be gone through."""
    if not isinstance(holes, Iterable):
        msg = f"polygon {label!r}: holes must be a list of lists of points"
        raise InvalidPolygonError(msg)
    return holes
