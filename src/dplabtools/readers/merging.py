"""Which overlapping rectangles are read as one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dplabtools._typing import IntArray

__all__ = ["merged"]

_PIXELS = 1_500_000  # of what is read at once
_PAYS = 0.8  # of the pixels of the rectangles: what is read at once has to save a fifth
_REGULAR = 1.1  # as many pixels as this, and they hardly overlap in any part of it


def merged(corners: IntArray, sizes: IntArray) -> Iterator[IntArray]:
    """Put rectangles together that are less to read in one piece.

    Parameters
    ----------
    corners, sizes : ndarray of int64, shape (n, 2)
        (x, y) and (width, height).

    Yields
    ------
    ndarray of int64
        Numbers of rectangles; one where it is best read alone.
    """
    waiting = [np.arange(len(corners))] if len(corners) else []
    while waiting:
        part = waiting.pop()
        if len(part) == 1:
            yield part
            continue
        low, ends = corners[part], corners[part] + sizes[part]
        extent = ends.max(axis=0) - low.min(axis=0)
        share = int(extent.prod()) / max(1, int(sizes[part].prod(axis=1).sum()))
        small = extent.prod() <= _PIXELS
        if small and share <= _PAYS:
            yield part
        elif small and share <= _REGULAR:
            yield from part[:, np.newaxis]
        else:
            across = int(extent[1] >= extent[0])
            order = part[np.lexsort((low[:, 1 - across], low[:, across]))]
            waiting += [order[len(order) // 2 :], order[: len(order) // 2]]
