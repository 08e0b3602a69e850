"""Masks as outlines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dplabtools._typing import BoolArray, Size

__all__ = ["outlines_of"]

_Ring: TypeAlias = list[tuple[float, float]]
_Indices: TypeAlias = npt.NDArray[np.intp]


def outlines_of(mask: BoolArray, size: Size) -> Iterator[list[_Ring]]:
    """Yield the outline of each connected part of a mask, followed by those of its holes.

    They run along the edges of the pixels, so that filling them gives the mask again.

    Parameters
    ----------
    mask : ndarray of bool, shape (height, width)
        Pixels touch by their edges, not their corners.
    size : (int, int)
        (width, height) of the picture whose pixels the outlines count.

    Yields
    ------
    list of list of (float, float)
        (x, y) of the corners of each ring; the last is not repeated.
    """
    import cv2

    _, parts = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)
    corners = _corners(np.pad(np.asarray(parts, dtype=np.int32), 1))
    scale = np.array(size) / (mask.shape[1], mask.shape[0])
    of_part: dict[int, list[npt.NDArray[np.float64]]] = {}
    for ring in _rings(corners):
        part = int(corners[ring[0], 2])
        of_part.setdefault(part, []).append(corners[ring, :2] * scale)
    for number in sorted(of_part):
        rings = sorted(of_part[number], key=_area, reverse=True)
        yield [[(x, y) for x, y in ring.tolist()] for ring in rings]


def _corners(parts: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Return the corners of outlines: x, y, part, goes left (0) or right, up (0) or down.

    Where two pixels touch by their corners only, two lie there.

    Parameters
    ----------
    parts : ndarray of int32, shape (height + 2, width + 2)
        Number of the part of each pixel, in a frame of 0.
    """
    cells = [parts[:-1, :-1], parts[:-1, 1:], parts[1:, :-1], parts[1:, 1:]]
    owner = np.maximum.reduce(cells)
    filled = np.count_nonzero(cells, axis=0)
    touching = (filled == 2) & ((cells[0] != 0) == (cells[3] != 0))
    # Free pixels that touch between pixels of one part are holes of their own.
    within = touching & (cells[0] == cells[3]) & (cells[1] == cells[2])
    found = []
    ways = ((0, 0), (1, 0), (0, 1), (1, 1))  # of the edges of a pixel that lies there
    for cell, way in zip(cells, ways, strict=True):
        alone = (cell != 0) & ((filled == 1) | (touching & ~within))
        # Three pixels leave one free, whose edges are those of the outline.
        free = (cell == 0) & ((filled == 3) | within)
        for where, part in ((alone, cell), (free, owner)):
            y, x = np.nonzero(where)
            edges = np.broadcast_to(way, (len(x), 2))
            found.append(np.column_stack([x, y, part[where], edges]))
    return np.concatenate(found).astype(np.int64)


def _rings(corners: npt.NDArray[np.int64]) -> Iterator[list[int]]:
    """Yield the corners of each closed outline, by number, in order.

    Corners in one row are joined in pairs, from left to right, and so are those in one
    column: outlines turn at each of them.
    """
    x, y, _, right, down = corners.T
    beside = _paired(np.lexsort((right, x, y)))
    below = _paired(np.lexsort((down, y, x)))
    left = np.ones(len(corners), dtype=bool)
    for start in range(len(corners)):
        ring: list[int] = []
        at = start
        while left[at]:
            across = int(beside[at])
            ring += (at, across)
            left[[at, across]] = False
            at = int(below[across])
        if ring:
            yield ring


def _paired(order: _Indices) -> _Indices:
    """Return the partner of each, where neighbours in this order belong together."""
    partner = np.empty_like(order)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    return partner


def _area(ring: npt.NDArray[np.float64]) -> float:
    """Return what a ring encloses."""
    x, y = ring.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
