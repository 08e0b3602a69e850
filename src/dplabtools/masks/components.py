"""Which connected parts of a mask stay, found strip by strip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from dplabtools._typing import BoolArray, IntArray
from dplabtools.masks.strips import row_blocks

__all__ = ["keep_bordering", "keep_large"]

_Weigh: TypeAlias = Callable[["_Labels"], IntArray]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Labels:
    """The connected parts of a strip.

    Attributes
    ----------
    numbers : ndarray of int32, shape (rows, width)
        Number of the part that each pixel belongs to; 0 is no part.
    areas : ndarray of int32, shape (n,)
        Pixels of each part.
    first, last : bool
        This is the first, the last strip of the mask.
    """

    numbers: IntArray
    areas: IntArray
    first: bool
    last: bool

    @property
    def edges(self) -> IntArray:
        """Numbers of the parts that reach the rows above or below."""
        found: IntArray = np.unique(self.numbers[[0, -1]])
        return found[found > 0]


def keep_large(mask: BoolArray, smallest: int) -> None:
    """Clear the connected parts of a mask that have fewer pixels.

    Parameters
    ----------
    mask : ndarray of bool, shape (height, width)
        Changed in place. Pixels touch by their edges, not their corners.
    smallest : int
        Pixels of the smallest part that stays.
    """
    if smallest > 1:
        _keep(mask, weigh=lambda labels: labels.areas, least=smallest)


def keep_bordering(mask: BoolArray) -> None:
    """Clear the connected parts of a mask that do not reach its border.

    Parameters
    ----------
    mask : ndarray of bool, shape (height, width)
        Changed in place. Pixels touch by their edges, not their corners.
    """
    _keep(mask, weigh=_at_border, least=1)


def _at_border(labels: _Labels) -> IntArray:
    """Return 1 for each part of a strip that reaches the border of the mask, else 0."""
    numbers = labels.numbers
    sides = [numbers[:, 0], numbers[:, -1]]
    sides += [numbers[0]] * labels.first + [numbers[-1]] * labels.last
    reaches = np.zeros(len(labels.areas), dtype=np.int64)
    reaches[np.unique(np.concatenate(sides))] = 1
    return reaches


def _keep(mask: BoolArray, *, weigh: _Weigh, least: int) -> None:
    """Clear the connected parts whose weights, of all strips together, are too little.

    Only one strip is labelled at a time: of the others just the parts are known that go on
    in the next.
    """
    height, width = mask.shape
    blocks = row_blocks(height, width=width)
    if len(blocks) == 1:
        labels = _labelled(mask, blocks[0])
        _clear(mask, blocks[0], labels, keep=weigh(labels) >= least)
        return
    parts = _Parts()
    for rows in blocks:
        labels = _labelled(mask, rows)
        parts.add(labels, weigh(labels))
    totals = parts.totals()
    for rows, edges, found in zip(blocks, parts.edges, totals, strict=True):
        labels = _labelled(mask, rows)  # as before: nothing has changed in these rows
        keep = weigh(labels) >= least
        keep[edges] = found >= least
        _clear(mask, rows, labels, keep=keep)


def _labelled(mask: BoolArray, rows: slice) -> _Labels:
    import cv2

    _, numbers, stats, _ = cv2.connectedComponentsWithStats(
        mask[rows].view(np.uint8), connectivity=4
    )
    return _Labels(
        numbers=np.asarray(numbers, dtype=np.int32),
        areas=np.asarray(stats[:, cv2.CC_STAT_AREA], dtype=np.int32),
        first=rows.start == 0,
        last=rows.stop == len(mask),
    )


def _clear(mask: BoolArray, rows: slice, labels: _Labels, *, keep: BoolArray) -> None:
    keep[0] = False
    np.take(keep, labels.numbers, out=mask[rows])


class _Parts:
    """The parts that reach other strips, joined where they touch."""

    def __init__(self) -> None:
        self.edges: list[IntArray] = []
        self._weights: list[IntArray] = []
        self._joints: list[IntArray] = []
        self._count = 0
        self._above: IntArray | None = None

    def add(self, labels: _Labels, weights: IntArray) -> None:
        """Take in the next strip."""
        edges = labels.edges
        names = np.zeros(len(labels.areas), dtype=np.int64)
        names[edges] = np.arange(1, len(edges) + 1) + self._count  # 0 is none
        below = names[labels.numbers[0]]
        if self._above is not None:
            touch = (self._above > 0) & (below > 0)
            pairs = np.stack((self._above[touch], below[touch]), axis=1)
            self._joints.append(np.unique(pairs, axis=0))
        self.edges.append(edges)
        self._weights.append(weights[edges].astype(np.int64))
        self._count += len(edges)
        self._above = names[labels.numbers[-1]]

    def totals(self) -> list[IntArray]:
        """Return for each strip the weights of its `edges`, with all they are joined to."""
        parents = np.arange(self._count + 1).tolist()
        for upper, lower in np.concatenate(self._joints).tolist():
            one, other = _root(parents, upper), _root(parents, lower)
            parents[max(one, other)] = min(one, other)
        roots = np.array(
            [_root(parents, name) for name in range(1, len(parents))], np.int64
        )
        summed = np.zeros(len(parents), dtype=np.int64)
        np.add.at(summed, roots, np.concatenate(self._weights))
        starts = np.cumsum([0, *map(len, self.edges)]).tolist()
        return [summed[roots[start:stop]] for start, stop in pairwise(starts)]


def _root(parents: list[int], name: int) -> int:
    """Return what a part is joined to, shortening the way there."""
    while parents[name] != name:
        parents[name] = parents[parents[name]]
        name = parents[name]
    return name
