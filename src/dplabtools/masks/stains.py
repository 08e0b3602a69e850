"""Stained tissue on bright glass, shining tissue in a dark field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from dplabtools._typing import BoolArray, Pixels
from dplabtools.masks.filters import Plane, blurred, brightest, darkest, otsu, spread

__all__ = [
    "Background",
    "find_shining",
    "find_stained",
    "glass_color",
    "is_dark_field",
    "optical_density",
]

_DARK: Final = 40  # grey values of the field of fluorescence
_DARK_SHARE, _CLEAR_SHARE = 0.1, 0.002  # of a dark field: dark at least, clear at most

_SMOOTH: Final = 2.0  # grey values that glass, blurred, differs by over seven pixels
_MOSTLY: Final = 0.4  # share of the pixels of the colour of glass that are smooth
_LEAST_GLASS: Final = 0.002  # share of the picture
_STEP: Final = 4  # grey values of a bin of colours
_NEAR: Final = 6  # grey values by which glass differs from its colour
_TINT: Final = 0.2  # densities by which tinted glass differs from grey
_DIM: Final = 90  # grey value of the darkest glass
_LAMP: Final = 235.0  # grey value of glass where none is seen

# Densities (natural logarithm). Clean glass differs by 0.01 from its colour, a cover slip
# by 0.02; the palest tissue by 0.05.
_LEAST_COLOR, _MOST_COLOR = 0.035, 0.06
_STRONG: Final = 0.3  # from which on colours count as equally strong
_GREYISH: Final = 0.03  # colour of pictures that have none
_LEAST_GREY, _MOST_GREY, _TEXTURE = 0.08, 0.2, 0.02
_LEAST_LIGHT: Final = 4.0  # grey values above the field
_PASSES: Final = 0.9  # share of the light of glass that background lets through


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """Which pixels of a slide show no specimen.

    Attributes
    ----------
    least, most : (int, int, int)
        Red, green and blue of its darkest and its brightest pixels.
    """

    least: tuple[int, int, int]
    most: tuple[int, int, int]

    @classmethod
    def of_glass(cls, glass: Plane) -> Background:
        """Return what lets through nine tenths of the light of glass, in each channel."""
        red, green, blue = (int(_PASSES * value) for value in glass.tolist())
        return cls(least=(red, green, blue), most=(255, 255, 255))

    @classmethod
    def of_dark_field(cls, image: Pixels) -> Background:
        """Return what is as dark as the field of fluorescence."""
        field = int(np.percentile(brightest(image), 2) + _LEAST_LIGHT)
        return cls(least=(0, 0, 0), most=(field, field, field))


def is_dark_field(image: Pixels) -> bool:
    """Tell whether tissue shines in the dark: some is dark, and nothing is like glass."""
    most, least = brightest(image), darkest(image)
    clear = (least > 140) & (most - least < 50)
    return bool((most < _DARK).mean() > _DARK_SHARE and clear.mean() < _CLEAR_SHARE)


def find_shining(image: Pixels, *, mpp: float) -> BoolArray:
    """Return what is brighter than the field around it.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        Of fluorescence, whatever its colours stand for.
    mpp : float
        Microns per pixel.

    Returns
    -------
    ndarray of bool, shape (height, width)
        True on tissue.
    """
    light = blurred(brightest(image).astype(np.float32), max(0.5, 20 / mpp))
    field = float(np.percentile(light, 2))
    beyond = light - field
    threshold = max(_LEAST_LIGHT, 0.3 * otsu(beyond, most=255.0))
    return np.asarray(beyond > threshold)


def glass_color(image: Pixels, scanned: BoolArray) -> Plane:
    """Return the colour of the glass: what is bright, hardly tinted, and smooth.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        RGB.
    scanned : ndarray of bool, shape (height, width)
        What of it may be glass.

    Returns
    -------
    ndarray of float32, shape (3,)
        Grey, as bright as the picture gets, where all is tissue.
    """
    soft = blurred(image.astype(np.float32), 1.5)
    smooth = scanned & (spread(soft.mean(axis=2), 7) <= _SMOOTH)
    seen, even = soft[scanned], smooth[scanned]
    for color in _commonest(seen[even]):
        near = (np.abs(seen - color) <= _NEAR).all(axis=1)
        glass = near & even
        if glass.sum() >= max(_MOSTLY * near.sum(), _LEAST_GLASS * smooth.size):
            return np.asarray(np.median(seen[glass], axis=0), dtype=np.float32)
    bright = float(np.percentile(seen, 99.5))
    return np.full(3, max(bright, _LAMP), np.float32)


def _commonest(colors: Plane) -> list[Plane]:
    """Return the commonest colours that glass can have, the commonest first."""
    steps = (colors / _STEP).astype(np.int64) @ np.array([1 << 12, 1 << 6, 1])
    counts = np.bincount(steps, minlength=1)
    found = np.argsort(counts)[::-1][:8]
    found = found[counts[found] > 0]
    parts = np.stack([found >> 12, found >> 6 & 63, found & 63], axis=1)
    middles = (parts * _STEP + _STEP / 2).astype(np.float32)
    density = -np.log(middles / 256)
    tint = density.max(axis=1) - density.min(axis=1)
    return list(middles[(tint < _TINT) & (middles.min(axis=1) > _DIM)])


def optical_density(image: Pixels, glass: Plane) -> Plane:
    """Return how much each pixel absorbs beyond glass, shape (height, width, 3); 0 or more.

    What is lighter than glass, such as white padding beside tinted glass, absorbs nothing.
    """
    soft = blurred(image.astype(np.float32), 1.0)
    np.divide(glass + 1, soft + 1, out=soft)
    np.log(soft, out=soft)
    return np.maximum(soft, 0, out=soft)


def find_stained(density: Plane, where: BoolArray) -> BoolArray:
    """Return what is coloured, or, in pictures without colours, dark and uneven.

    Colour is the difference of the densities that are absorbed most and least: it does not
    change where the light falls off, and is nothing on dust. Green counts half: no common
    stain is. The threshold is half of Otsu's, within bounds that hold for any slide.

    Parameters
    ----------
    density : ndarray of float32, shape (height, width, 3)
        Optical density, 0 on glass.
    where : ndarray of bool, shape (height, width)
        What may be tissue.

    Returns
    -------
    ndarray of bool, shape (height, width)
        True on tissue.
    """
    least = darkest(density)
    color = brightest(density) - least
    color[density[..., 1] <= least] *= 0.5
    seen = color[where]
    if not seen.size:
        return where
    if float(np.percentile(seen, 99.9)) < _GREYISH:
        grey = density.mean(axis=2)
        threshold = np.clip(otsu(grey[where], most=1.0) / 2, _LEAST_GREY, _MOST_GREY)
        return np.asarray((grey > threshold) & (spread(grey, 5) > _TEXTURE) & where)
    threshold = np.clip(otsu(seen, most=_STRONG) / 2, _LEAST_COLOR, _MOST_COLOR)
    return np.asarray((color > threshold) & where)
