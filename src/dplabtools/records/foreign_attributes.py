"""What TRIDENT and CLAM call the measures of patches, in the attributes of HDF5 files."""

from __future__ import annotations

from typing import Final

from dplabtools.geometry.pyramid import Pyramid

__all__ = ["OWN_RESOLUTION", "clam_attributes", "trident_attributes"]

OWN_RESOLUTION: Final = "dplabtools_level_or_mpp"
"""An attribute of our own: exact, where the others are rounded."""


def trident_attributes(
    pyramid: Pyramid, *, edge: int, downsample: float
) -> dict[str, object]:
    """Return the attributes of TRIDENT.

    Parameters
    ----------
    pyramid : Pyramid
        The slide.
    edge : int
        Pixels of the side of a patch.
    downsample : float
        Level 0 pixels that one of them is wide.
    """
    power = pyramid.power
    return {
        "patch_size": edge,
        "patch_size_level0": round(edge * downsample),
        "level0_magnification": _none_as_text(power),
        "target_magnification": _none_as_text(
            None if power is None else power / downsample
        ),
        "overlap": 0,
        "level0_width": pyramid.size[0],
        "level0_height": pyramid.size[1],
    }


def clam_attributes(pyramid: Pyramid, *, edge: int, level: int) -> dict[str, object]:
    """Return the attributes of CLAM.

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


def _none_as_text(value: float | None) -> float | int | str:
    if value is None:
        return "None"
    return int(value) if value == int(value) else value
