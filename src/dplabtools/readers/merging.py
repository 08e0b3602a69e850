"""Overlapping rectangles, read as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dplabtools._typing import IntArray, Pixels, Point, Size
from dplabtools.errors import SlideReadError
from dplabtools.records.pixel_buffer import PixelBuffer

__all__ = ["merged", "read_merged"]

_PIXELS = 2_600_000  # of what is read at once
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


def read_merged(
    read: Callable[[Point, Size], Pixels],
    origins: IntArray,
    buffer: PixelBuffer,
    *,
    scale: int | None = 1,
    threads: ThreadPoolExecutor | None = None,
) -> dict[int, SlideReadError]:
    """Read rectangles, those that overlap in one piece; see `BatchReader.read_into`.

    Parameters
    ----------
    read : callable
        Given (x, y) as in `origins` and (width, height), returns pixels.
    origins : ndarray of int64, shape (n, 2)
        (x, y) of the top-left corners.
    buffer : PixelBuffer
        Filled with the pixels of each.
    scale : int or None, default 1
        By how much `origins` of neighbouring pixels differ; they are multiples of it.
        None: each is read alone.
    threads : ThreadPoolExecutor, optional
        Share the work.

    Returns
    -------
    dict of int to SlideReadError
        Error of each that cannot be read, alone or with others.
    """
    corners = origins // (scale or 1)
    alone = np.arange(len(origins))[:, np.newaxis]

    def read_part(part: IntArray) -> dict[int, SlideReadError]:
        low = corners[part].min(axis=0)
        width, height = ((corners[part] + buffer.sizes[part]).max(axis=0) - low).tolist()
        left, top = origins[part].min(axis=0).tolist()
        try:
            pixels = read((left, top), (width, height))
        except SlideReadError as error:
            if len(part) == 1:
                return {int(part[0]): error}
            results = map(read_part, part[:, np.newaxis])
            return {item: error for errors in results for item, error in errors.items()}
        offsets = (corners[part] - low).tolist()
        for item, (x, y) in zip(part.tolist(), offsets, strict=True):
            picture = buffer.picture(item)
            picture[:] = pixels[y : y + picture.shape[0], x : x + picture.shape[1]]
        return {}

    parts = alone if scale is None else merged(corners, buffer.sizes)
    results = list((map if threads is None else threads.map)(read_part, parts))
    return {item: error for errors in results for item, error in errors.items()}
