"""Patches at several resolutions around one centre (MRP)."""

from __future__ import annotations

import numpy as np

from dplabtools._typing import IntArray
from dplabtools.geometry.boxes import half_even
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.geometry.resolution import Resolution

__all__ = ["concentric_origins"]


def concentric_origins(
    origins: IntArray,
    sizes: IntArray,
    *,
    base: Resolution,
    target: Resolution,
    pyramid: Pyramid,
) -> IntArray:
    """Return where patches of the same pixel size and centre begin at another resolution.

    Parameters
    ----------
    origins : ndarray of int, shape (n, 2)
        (x, y) of the base patches, in level 0 pixels.
    sizes : ndarray of int, shape (n, 2)
        (width, height) in pixels; the same at both resolutions.
    base, target : Level or Mpp
        Resolution of the base patches, and of the wanted ones.
    pyramid : Pyramid
        Levels of the slide, with its mpp.

    Returns
    -------
    ndarray of int64, shape (n, 2)
        (x, y), in level 0 pixels; may be negative. Never clamped.

    Raises
    ------
    MissingMppError
        If the slide states no mpp, and not both resolutions are levels.
    LevelOutOfRangeError
        If there is no such level.

    Notes
    -----
    With ``b``, ``t`` and ``m0`` the mpp of base, target and level 0, the centre is
    ``c = origin + size * (b / m0) / 2`` and the result
    ``round((c / (t / m0) - size / 2) * (t / m0))``, halves to even, evaluated in this
    order.
    """
    base_factor, factor = pyramid.relative_mpp(base), pyramid.relative_mpp(target)
    if base == target:
        return origins.astype(np.int64)
    centres = origins + sizes * base_factor / 2
    return half_even((centres / factor - sizes / 2) * factor)
