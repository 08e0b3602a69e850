"""Points that are evenly scattered, but never close to each other."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dplabtools._typing import BoolArray, FloatArray
from dplabtools.errors import ParameterError
from dplabtools.locations.regions import Bounds

__all__ = ["poisson_disk"]

_TRIES = 30
_MOST_CELLS = 2**26
_FREE = -1
_REACH = 2  # cells; their diagonal is the spacing
# Nearest first: most candidates are refused by the first few.
_AROUND = sorted(
    (
        (dx, dy)
        for dx in range(-_REACH, _REACH + 1)
        for dy in range(-_REACH, _REACH + 1)
        if (dx, dy) != (0, 0) and (abs(dx), abs(dy)) != (_REACH, _REACH)
    ),
    key=lambda offset: math.hypot(*offset),
)


def poisson_disk(bounds: Bounds, spacing: float, rng: np.random.Generator) -> FloatArray:
    """Return points of a box, no two closer than the spacing, with no room for more.

    Parameters
    ----------
    bounds : (float, float, float, float)
        (x0, y0, x1, y1).
    spacing : float
        Smallest distance of two points.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        (x, y), in the order in which they were found; at least one.

    Raises
    ------
    ParameterError
        If the spacing is so small that tens of millions of points would fit.

    Notes
    -----
    R. Bridson, "Fast Poisson disk sampling in arbitrary dimensions", SIGGRAPH 2007
    (https://www.cs.ubc.ca/~rbridson/docs/bridson-siggraph07-poissondisk.pdf), with
    30 tries a point; from many points at random rather than one, and all points trying
    at once: of candidates that exclude each other only the first stays.
    """
    field_ = _Field(bounds, spacing)
    x0, y0, x1, y1 = bounds
    darts = rng.uniform((x0, y0), (x1, y1), size=(1 + field_.capacity // 64, 2))
    front = field_.add(darts[field_.first_come(darts)])
    failures = np.zeros(len(front), dtype=np.int64)
    while len(front):
        tried, found, parents = field_.grow(field_.points[front], rng)
        failures[tried] += 1
        failures[parents] = 0
        alive = failures < _TRIES
        front = np.concatenate([front[alive], found])
        failures = np.concatenate([failures[alive], np.zeros(len(found), dtype=np.int64)])
    return field_.points[: field_.count].copy()


@dataclass(slots=True)
class _Field:
    """The points so far, and which of them is in which cell.

    A cell's diagonal is the spacing, so it holds one point at most, and all points that
    are too close to another lie within two cells of it.
    """

    bounds: Bounds
    spacing: float
    count: int = field(init=False, default=0)
    points: FloatArray = field(init=False)
    _cell: float = field(init=False)
    _columns: int = field(init=False)
    _x: FloatArray = field(init=False)  # of the point in each cell; infinite if none is
    _y: FloatArray = field(init=False)
    _claims: npt.NDArray[np.int32] = field(init=False)

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.bounds
        self._cell = self.spacing / math.sqrt(2)
        across = math.floor((x1 - x0) / self._cell) + 1
        down = math.floor((y1 - y0) / self._cell) + 1
        self._columns = across + 2 * _REACH  # a rim of empty cells spares all clipping
        cells = self._columns * (down + 2 * _REACH)
        if cells > _MOST_CELLS:
            msg = f"a spacing of {self.spacing:g} mask pixels is too small for this mask"
            raise ParameterError(msg)
        self._x = np.full(cells, np.inf)
        self._y = np.full(cells, np.inf)
        self._claims = np.full(cells, _FREE, dtype=np.int32)
        self.points = np.empty((1024, 2))

    @property
    def capacity(self) -> int:
        """More points than can have room."""
        return len(self._x)

    def grow(
        self, parents: FloatArray, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Try one candidate around most parents.

        Returns
        -------
        tried : ndarray of int64
            The parents that had a candidate.
        found : ndarray of int64
            Numbers of the new points.
        having : ndarray of int64
            For each of them, which of the parents it was found for.
        """
        # Even over the ring from one spacing to two: of a square, what is in the ring.
        # Unlike sines, this is the same on all machines.
        reach = 2 * self.spacing
        shift = rng.uniform(-reach, reach, size=parents.shape)
        square = shift[:, 0] ** 2 + shift[:, 1] ** 2
        tried = np.flatnonzero((square >= self.spacing**2) & (square <= reach**2))
        candidates = parents[tried] + shift[tried]
        x0, y0, x1, y1 = self.bounds
        x, y = candidates.T
        inside = (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
        free = np.flatnonzero(inside)
        free = free[self._is_free(candidates[free])]
        free = free[self.first_come(candidates[free])]
        return tried, self.add(candidates[free]), tried[free]

    def add(self, points: FloatArray) -> npt.NDArray[np.int64]:
        """Take points in, and return their numbers."""
        numbers = np.arange(self.count, self.count + len(points))
        self.count += len(points)
        while len(self.points) < self.count:
            self.points = np.concatenate([self.points, np.empty_like(self.points)])
        self.points[numbers] = points
        cells = self._cell_of(points)
        self._x[cells], self._y[cells] = points.T
        return numbers

    def _cell_of(self, points: FloatArray) -> npt.NDArray[np.int64]:
        column, row = ((points - self.bounds[:2]) / self._cell).astype(np.int64).T
        return np.asarray((row + _REACH) * self._columns + column + _REACH)

    def _is_free(self, candidates: FloatArray) -> BoolArray:
        """Tell which candidates are far enough from all points."""
        least = self.spacing**2
        cells = self._cell_of(candidates)
        rows = np.flatnonzero(np.isinf(self._x[cells]))
        cells = cells[rows]
        x, y = candidates[rows].T
        for dx, dy in _AROUND:
            beside = cells + (dy * self._columns + dx)
            # Nothing is infinitely far away.
            far = (self._x[beside] - x) ** 2 + (self._y[beside] - y) ** 2 >= least
            rows, cells, x, y = rows[far], cells[far], x[far], y[far]
        free = np.zeros(len(candidates), dtype=bool)
        free[rows] = True
        return free

    def first_come(self, candidates: FloatArray) -> BoolArray:
        """Tell which candidates are far enough from all that come before them.

        None of them may lie in the cell of a point.
        """
        cells = self._cell_of(candidates)
        _, first = np.unique(cells, return_index=True)
        keep = np.zeros(len(candidates), dtype=bool)
        keep[first] = True
        self._claims[cells[first]] = first
        for dx, dy in _AROUND:
            rows = np.flatnonzero(keep)
            neighbours = self._claims[cells[rows] + dy * self._columns + dx]
            earlier = (neighbours != _FREE) & (neighbours < rows)
            rows, neighbours = rows[earlier], neighbours[earlier]
            gap = candidates[rows] - candidates[neighbours]
            keep[rows[np.einsum("ij,ij->i", gap, gap) < self.spacing**2]] = False
        self._claims[cells[first]] = _FREE
        return keep
