"""Columns of whole numbers as short text, for the script of the page to unpack."""

from __future__ import annotations

import base64
import zlib

import numpy as np

from dplabtools._typing import IntArray

__all__ = ["packed"]


def packed(values: IntArray) -> str:
    """Return a column as text.

    Differences of neighbours are small and alike where patches lie on a grid, and their
    upper bytes are all the same: stored byte by byte (all lowest bytes, then the next), a
    column of a grid shrinks to almost nothing.

    Parameters
    ----------
    values : ndarray of int, shape (n,)
        Each fits 32 bits.

    Returns
    -------
    str
        Base64 of deflated (zlib) bytes; ``unpack`` of the page's script reads it.
    """
    steps = np.diff(values.astype(np.int64), prepend=0).astype("<i4")
    planes = np.ascontiguousarray(steps).view(np.uint8).reshape(-1, 4).T
    data = zlib.compress(np.ascontiguousarray(planes).tobytes())
    return base64.b64encode(data).decode("ascii")
