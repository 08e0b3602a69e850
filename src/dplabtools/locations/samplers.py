"""Strategies that propose where patches might lie.

A sampler only proposes. Whether a proposal holds enough foreground, and lies far enough
inside its region, is for `dplabtools.locations.acceptance` to say, and when to stop asking
is for `dplabtools.locations.locate`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dplabtools._typing import FloatArray
from dplabtools.errors import ParameterError, ParameterTypeError
from dplabtools.locations.poisson import poisson_disk
from dplabtools.locations.regions import Bounds, Frame

__all__ = ["CustomPoints", "Grid", "PoissonDisk", "Random", "Sampler"]

_BLOCK = 2**18  # candidates at a time, so that memory does not grow with the slide
_PATIENCE = 100  # candidates tried for each patch wanted before giving up
_LARGEST_STRIDE = 5
_MOST_CANDIDATES = 1e9


class Sampler(Protocol):
    """Proposes corners of patches in a region."""

    @property
    def quota(self) -> int | None:
        """Number of patches wanted; None, unless it says otherwise, for all proposed."""
        return None

    def propose(
        self, bounds: Bounds, frame: Frame, rng: np.random.Generator
    ) -> Iterator[FloatArray]:
        """Yield batches of candidates.

        Parameters
        ----------
        bounds : (float, float, float, float)
            (x0, y0, x1, y1) of the region, in mask pixels.
        frame : Frame
            Scale of the mask and edge of a patch.
        rng : numpy.random.Generator
            Source of chance; untouched by samplers that need none.

        Yields
        ------
        ndarray of float64, shape (n, 2)
            (x, y) of top-left corners, in mask pixels.
        """
        ...


@dataclass(frozen=True, slots=True)
class Grid(Sampler):
    """Every corner of a regular grid, row by row.

    Attributes
    ----------
    stride : float
        Distance of neighbours, in patch edges; below 1 they overlap.
    """

    stride: float

    def __post_init__(self) -> None:
        if not 0 < self.stride <= _LARGEST_STRIDE:
            msg = (
                f"patch_stride is a ratio of the patch size, above 0 and up to "
                f"{_LARGEST_STRIDE}, not {self.stride}"
            )
            raise ParameterError(msg)

    def propose(
        self, bounds: Bounds, frame: Frame, rng: np.random.Generator
    ) -> Iterator[FloatArray]:
        """Yield the grid in blocks of rows.

        It begins at the lower bounds, and ends with the first row and column that lie on
        or beyond the upper ones.

        Raises
        ------
        ParameterError
            If neighbours are less than a patch pixel apart, or the grid has a thousand
            million points.
        """
        if self.stride * frame.patch_size < 1:
            msg = (
                f"patch_stride {self.stride} of patch_size {frame.patch_size} is less than "
                f"a pixel"
            )
            raise ParameterError(msg)
        step = self.stride * frame.patch_size / frame.scale
        x0, y0, x1, y1 = bounds
        if (count := (x1 - x0) / step * (y1 - y0) / step) > _MOST_CANDIDATES:
            msg = f"a grid of {count:.1e} points is too large"
            raise ParameterError(
                msg, remedy="are the polygons in level 0 pixels, and is patch_size right?"
            )
        columns, rows = _ticks(x0, x1, step), _ticks(y0, y1, step)
        height = max(1, _BLOCK // len(columns))
        for row in range(0, len(rows), height):
            x, y = np.meshgrid(columns, rows[row : row + height])
            yield np.column_stack([x.ravel(), y.ravel()])


@dataclass(frozen=True, slots=True)
class Random(Sampler):
    """Corners drawn evenly from the bounds of the region.

    Attributes
    ----------
    count : float
        Number of patches wanted, a whole number.
    """

    count: float

    def __post_init__(self) -> None:
        if self.count < 0 or self.count != int(self.count):
            msg = f"num_patches must be a whole number >= 0, not {self.count}"
            raise ParameterError(msg)

    @property
    def quota(self) -> int | None:
        """Number of patches wanted."""
        return int(self.count)

    def propose(
        self, bounds: Bounds, frame: Frame, rng: np.random.Generator
    ) -> Iterator[FloatArray]:
        """Yield a hundred candidates for each patch wanted, in batches."""
        x0, y0, x1, y1 = bounds
        left = _PATIENCE * int(self.count)
        while left:
            size = min(left, max(1024, int(self.count)), _BLOCK)
            yield rng.uniform((x0, y0), (x1, y1), size=(size, 2))
            left -= size


@dataclass(frozen=True, slots=True)
class PoissonDisk(Sampler):
    """Corners evenly scattered, no two close to each other.

    Attributes
    ----------
    spacing : float
        Smallest distance of two corners, in mask pixels.
    """

    spacing: float

    def __post_init__(self) -> None:
        if not 0 < self.spacing < np.inf:
            msg = f"poisson_spacing must be > 0 and finite, not {self.spacing}"
            raise ParameterError(msg)

    def propose(
        self, bounds: Bounds, frame: Frame, rng: np.random.Generator
    ) -> Iterator[FloatArray]:
        """Yield all points at once."""
        yield poisson_disk(bounds, self.spacing, rng)


class CustomPoints(Sampler):
    """Corners given by the caller.

    Parameters
    ----------
    points : sequence of (float, float)
        (x, y), in level 0 pixels.

    Raises
    ------
    ParameterTypeError
        If `points` is no sequence of pairs of numbers.
    ParameterError
        If a number is not finite.
    """

    def __init__(self, points: object) -> None:
        try:
            given = np.asarray(points, dtype=np.float64)
        except (TypeError, ValueError) as error:
            msg = f"points must be a list of (x, y) pairs of numbers: {error}"
            raise ParameterTypeError(msg) from error
        if given.size == 0:
            given = given.reshape(0, 2)
        if given.ndim != 2 or given.shape[1] != 2:
            msg = f"points must be a list of (x, y) pairs, not of shape {given.shape}"
            raise ParameterTypeError(msg)
        if not np.isfinite(given).all():
            msg = "points must be finite"
            raise ParameterError(msg)
        self.points: FloatArray = given

    def propose(
        self, bounds: Bounds, frame: Frame, rng: np.random.Generator
    ) -> Iterator[FloatArray]:
        """Yield the points in blocks, in mask pixels."""
        for row in range(0, len(self.points), _BLOCK):
            yield self.points[row : row + _BLOCK] / frame.downsample


def _ticks(start: float, end: float, step: float) -> FloatArray:
    """Return start, start + step, ... up to the first one that reaches the end."""
    count = int((end - start) / step) + 3
    ticks = start + np.arange(count, dtype=np.float64) * step
    return ticks[: int(np.searchsorted(ticks, end)) + 1]
