"""What TRIDENT and CLAM call the measures of patches, in the attributes of HDF5 files."""

from __future__ import annotations

from typing import Final

import numpy as np

from dplabtools._typing import IntArray
from dplabtools.geometry.pyramid import Pyramid

__all__ = ["OWN_RESOLUTION", "clam_attributes", "trident_attributes"]

OWN_RESOLUTION: Final = "dplabtools_level_or_mpp"
"""An attribute of our own: exact, where the others are rounded."""


def trident_attributes(
    pyramid: Pyramid, *, edge: int, downsample: float, origins: IntArray
) -> dict[str, object]:
    """Return the attributes of TRIDENT (https://github.com/mahmoodlab/TRIDENT).

    Parameters
    ----------
    pyramid : Pyramid
        The slide.
    edge : int
        Pixels of the side of a patch.
    downsample : float
        Level 0 pixels that one of them is wide.
    origins : ndarray of int64, shape (n, 2)
        (x, y) of their corners, in level 0 pixels.
    """
    power = pyramid.power
    return {
        "patch_size": edge,
        "patch_size_level0": round(edge * downsample),
        "level0_magnification": _none_as_text(power),
        "target_magnification": _none_as_text(
            None if power is None else power / downsample
        ),
        "overlap": _overlap(origins, edge=edge, downsample=downsample),
        "level0_width": pyramid.size[0],
        "level0_height": pyramid.size[1],
    }


def clam_attributes(pyramid: Pyramid, *, edge: int, level: int) -> dict[str, object]:
    """Return the attributes of CLAM (https://github.com/mahmoodlab/CLAM).

    Parameters
    ----------
    pyramid : Pyramid
        The slide.
    edge : int
        Pixels of the side of a patch.
    level : int
        Level of the slide that they are of.
    """
    return {
        "patch_size": edge,
        "patch_level": level,
        "downsample": (pyramid.downsamples[level],) * 2,
        "downsampled_level_dim": pyramid.sizes[level],
        "level_dim": pyramid.sizes[level],
    }


def _overlap(origins: IntArray, *, edge: int, downsample: float) -> int:
    """Return the pixels that neighbours on a grid share; 0 if they lie on none."""
    rows = origins[np.lexsort((origins[:, 0], origins[:, 1]))]
    along = np.diff(rows, axis=0)
    steps = along[along[:, 1] == 0, 0]
    if not len(steps):
        return 0
    each, counts = np.unique(steps, return_counts=True)
    if counts.max() < max(2, len(steps) / 2):  # chance, not a grid
        return 0
    return max(0, edge - round(float(each[counts.argmax()]) / downsample))


def _none_as_text(value: float | None) -> float | int | str:
    if value is None:
        return "None"
    return int(value) if value == int(value) else value
