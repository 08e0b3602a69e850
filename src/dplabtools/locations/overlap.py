"""How much of a square lies in a shape, for many squares at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from dplabtools._typing import FloatArray

if TYPE_CHECKING:
    from shapely import MultiPolygon, Polygon

__all__ = ["area_inside"]

_BLOCK = 2**17  # pairs of a square and a side of the shape at a time
_CUTS_PER_SIDE = 4
_CUTS_ANYWAY = 2**20


def area_inside(
    corners: FloatArray, edge: float, shape: Polygon | MultiPolygon
) -> FloatArray:
    """Return the area that each square shares with a shape.

    Parameters
    ----------
    corners : ndarray of float64, shape (n, 2)
        (x, y) of top-left corners.
    edge : float
        Edge of the squares.
    shape : shapely.Polygon or shapely.MultiPolygon
        Valid, in the same unit.

    Returns
    -------
    ndarray of float64, shape (n,)
        In squares of that unit.

    Notes
    -----
    Green's theorem: the area is the integral of x dy along the outline, with x and y held
    within the square. Each side of the outline adds its part, whatever the others do, so
    nothing has to be cut out or put together.
    """
    areas = np.zeros(len(corners))
    if shape.is_empty:
        return areas
    bounds = shape.bounds
    near = np.flatnonzero(
        (corners < bounds[2:]).all(axis=1) & (corners + edge > bounds[:2]).all(axis=1)
    )
    if _is_box(shape):
        low = np.maximum(corners[near], bounds[:2])
        high = np.minimum(corners[near] + edge, bounds[2:])
        areas[near] = np.prod(high - low, axis=1)
        return areas
    sides = _Sides.of(shape, edge)
    for rows, start, count in _blocks(near, *sides.touching(corners[near, 1], edge)):
        areas[rows] = sides.areas(corners[rows], edge, start=start, count=count)
    return areas


def _is_box(shape: Polygon | MultiPolygon) -> bool:
    x0, y0, x1, y1 = shape.bounds
    return math.isclose(shape.area, (x1 - x0) * (y1 - y0), rel_tol=1e-12)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sides:
    """Sides of a shape, cut where they leave a band, and in the order of the bands.

    A band is a range of y. Those that a square touches are one run of sides.

    Attributes
    ----------
    low, high : ndarray of float64, shape (n,)
        Range of y.
    x, slope : ndarray of float64, shape (n,)
        x at `low`, and its change with y.
    right : ndarray of float64, shape (n,)
        Largest x.
    sign : ndarray of float64, shape (n,)
        1 where the shape lies to the left of the side, -1 to the right.
    cuts : ndarray of float64, shape (bands - 1,)
        Where the bands meet.
    first : ndarray of int64, shape (bands + 1,)
        First side of each band.
    """

    low: FloatArray
    high: FloatArray
    x: FloatArray
    slope: FloatArray
    right: FloatArray
    sign: FloatArray
    cuts: FloatArray
    first: npt.NDArray[np.int64]

    @classmethod
    def of(cls, shape: Polygon | MultiPolygon, edge: float) -> Self:
        """Cut the sides of a shape into bands of the height of a square, or higher."""
        low, high, x, slope, sign = _sides(shape).T
        _, bottom, _, top = shape.bounds
        abreast = float((high - low).sum()) / (top - bottom)  # sides that a cut meets
        most = (_CUTS_PER_SIDE * len(low) + _CUTS_ANYWAY) / abreast
        bands = math.ceil(min((top - bottom) / edge, most))
        cuts = np.linspace(bottom, top, bands + 1)[1:-1]
        begin = np.searchsorted(cuts, low, side="right")
        end = np.searchsorted(cuts, high, side="left")
        side, band = _runs(begin, np.maximum(end - begin, 0) + 1)
        order = np.argsort(band, kind="stable")
        side, band = side[order], band[order]
        limits = np.concatenate([[-np.inf], cuts, [np.inf]])
        cut_low = np.maximum(low[side], limits[band])
        cut_high = np.minimum(high[side], limits[band + 1])
        start = x[side] + (cut_low - low[side]) * slope[side]
        stop = x[side] + (cut_high - low[side]) * slope[side]
        return cls(
            low=cut_low,
            high=cut_high,
            x=start,
            slope=slope[side],
            right=np.maximum(start, stop),
            sign=sign[side],
            cuts=cuts,
            first=np.searchsorted(band, np.arange(bands + 1)),
        )

    def touching(
        self, y: FloatArray, edge: float
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the first side, and the number of sides, of the bands of each square."""
        begin = self.first[np.searchsorted(self.cuts, y, side="right")]
        end = self.first[np.searchsorted(self.cuts, y + edge, side="left") + 1]
        return begin, end - begin

    def areas(
        self,
        corners: FloatArray,
        edge: float,
        *,
        start: npt.NDArray[np.int64],
        count: npt.NDArray[np.int64],
    ) -> FloatArray:
        """Add up what the sides in the bands of each square contribute."""
        square, side = _runs(start, count)
        x, y = np.ascontiguousarray(corners.T)
        # What lies to the left of a square contributes nothing.
        kept = np.flatnonzero(self.right[side] > x[square])
        square, side = square[kept], side[kept]
        top = y[square]
        low = np.maximum(self.low[side], top)
        length = np.minimum(self.high[side], top + edge) - low
        kept = np.flatnonzero(length > 0)
        square, side, low, length = square[kept], side[kept], low[kept], length[kept]
        slope = self.slope[side]
        begin = self.x[side] + (low - self.low[side]) * slope - x[square]
        width = _mean_within(begin, begin + length * slope, edge)
        parts = self.sign[side] * length * width
        sums = np.bincount(square, weights=parts, minlength=len(corners))
        return np.asarray(sums, dtype=np.float64)


def _mean_within(begin: FloatArray, end: FloatArray, edge: float) -> FloatArray:
    """Return the mean of values that go evenly from begin to end, held within 0 to edge."""
    low, high = np.minimum(begin, end), np.maximum(begin, end)
    inner_low = np.clip(low, 0, edge)
    inner_high = np.clip(high, 0, edge)
    mean: FloatArray = (inner_low + inner_high) / 2
    sloping = np.flatnonzero((inner_low != low) | (inner_high != high))
    low, high = low[sloping], high[sloping]
    inner_low, inner_high = inner_low[sloping], inner_high[sloping]
    span = high - low
    above = high - np.maximum(low, edge)
    within = (inner_high - inner_low) * mean[sloping]
    total = within + edge * np.maximum(above, 0)
    upright = span <= 0
    mean[sloping] = np.where(upright, mean[sloping], total / np.where(upright, 1.0, span))
    return mean


def _sides(shape: Polygon | MultiPolygon) -> FloatArray:
    """Return (low y, high y, x at low, dx/dy, sign) of each side that is not level."""
    import shapely

    parts: list[FloatArray] = []
    for polygon in shapely.get_parts(shape):
        for number, ring in enumerate(shapely.get_rings(polygon)):
            points = shapely.get_coordinates(ring)
            inward = 1.0 if shapely.is_ccw(ring) == (number == 0) else -1.0
            parts.append(_ring_sides(points, inward))
    return np.concatenate(parts)


def _ring_sides(points: FloatArray, inward: float) -> FloatArray:
    begin, end = points[:-1], points[1:]
    rising = np.sign(end[:, 1] - begin[:, 1])
    kept = rising != 0
    begin, end, rising = begin[kept], end[kept], rising[kept]
    up = (rising > 0)[:, None]
    low, high = np.where(up, begin, end), np.where(up, end, begin)
    slope = (high[:, 0] - low[:, 0]) / (high[:, 1] - low[:, 1])
    return np.column_stack([low[:, 1], high[:, 1], low[:, 0], slope, rising * inward])


def _runs(
    start: npt.NDArray[np.int64], count: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Write out runs: which one each member is of, and start, start + 1, ... of each."""
    run = np.repeat(np.arange(len(start)), count)
    before = np.cumsum(count) - count
    return run, np.arange(len(run)) + (start - before)[run]


def _blocks(
    rows: npt.NDArray[np.int64],
    start: npt.NDArray[np.int64],
    count: npt.NDArray[np.int64],
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Split rows so that each part has not many more members of runs than a block."""
    blocks = np.cumsum(count) // _BLOCK
    cuts = np.flatnonzero(np.diff(blocks)) + 1
    yield from zip(
        np.split(rows, cuts), np.split(start, cuts), np.split(count, cuts), strict=True
    )
