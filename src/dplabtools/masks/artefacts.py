"""What is on slides and no tissue: parts that were not scanned, and strokes of pens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from dplabtools._typing import BoolArray, Pixels
from dplabtools.masks.filters import Plane, brightest, darkest, grown, spread

__all__ = ["find_padding", "find_pen"]

_BLACK: Final = 40  # no tissue on bright glass is as dark as this over large areas
_WHITE: Final = 250
_LEAST_PADDING: Final = 0.001  # share of the picture
_RUN: Final = 24  # pixels of an edge that is straight
_STRAIGHT: Final = 0.5  # share of the outline of padding that is

_INK: Final = 0.5  # density from which on a stroke is one
_FAINT: Final = 0.03  # density of what fades beside it
_EVEN: Final = 0.12  # relative spread of ink, which lies out of focus on the cover slip
_SURE: Final = 0.3  # share of a stroke that is as even as that
_STROKE: Final = 0.01  # square millimetres of the smallest
_RIM, _FRINGE = 40.0, 120.0  # microns around ink: all of it; what has its hue


def find_padding(image: Pixels) -> BoolArray:
    """Return what was not scanned.

    That is black that reaches the border, and flat black or white whose outline runs
    straight: the stairs that scanners leave. Flat white with a ragged outline is glass.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        RGB.

    Returns
    -------
    ndarray of bool, shape (height, width)
        True where nothing was scanned.
    """
    import cv2

    block = np.ones((3, 3), np.uint8)
    even = (cv2.dilate(image, block) == cv2.erode(image, block)).all(axis=2)
    extreme = (darkest(image) >= _WHITE) | (brightest(image) < _BLACK)
    flat = cv2.dilate((even & extreme).view(np.uint8), block)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(flat, connectivity=4)
    padding = np.zeros(flat.shape, dtype=bool)
    for number in range(1, count):
        if stats[number, cv2.CC_STAT_AREA] >= _LEAST_PADDING * flat.size:
            part: BoolArray = parts == number
            if _straightness(part) >= _STRAIGHT:
                padding |= part
    return padding | _reaching_border(brightest(image) < _BLACK)


def _straightness(part: BoolArray) -> float:
    """Return the share of an outline, border of the picture aside, that runs straight."""
    import cv2

    straight = total = 0
    for turned in (part, part.T):
        edges = np.ascontiguousarray(turned[:, 1:] != turned[:, :-1]).view(np.uint8)
        runs = cv2.morphologyEx(edges, cv2.MORPH_OPEN, np.ones((_RUN, 1), np.uint8))
        total += int(np.count_nonzero(edges))
        straight += int(np.count_nonzero(runs))
    return straight / total if total else 1.0


def _reaching_border(mask: BoolArray) -> BoolArray:
    """Return the connected parts of a mask that touch the border of the picture."""
    import cv2

    count, labelled = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)
    parts = np.asarray(labelled, dtype=np.int32)
    keep = np.zeros(count, dtype=bool)
    for side in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        keep[side] = True
    keep[0] = False
    reaching: BoolArray = keep[parts]
    return reaching


def find_pen(density: Plane, *, mpp: float) -> BoolArray:
    """Return what strokes of pens cover, with their soft edges.

    A stroke has the hue of an ink that no stain has, is dark, and, out of focus on the
    cover slip, more even than any tissue.

    Parameters
    ----------
    density : ndarray of float32, shape (height, width, 3)
        Optical density of red, green and blue, 0 on glass.
    mpp : float
        Microns per pixel.

    Returns
    -------
    ndarray of bool, shape (height, width)
        True on ink.
    """
    import cv2

    strongest, mean = brightest(density), density.mean(axis=2)
    even = spread(mean, 5) < _EVEN * mean
    pen = np.zeros(mean.shape, dtype=bool)
    for hue in _inks(density, strongest=strongest, mean=mean).values():
        ink = hue & (strongest > _INK)
        count, strokes = cv2.connectedComponents(ink.view(np.uint8), connectivity=8)
        area = np.bincount(strokes.ravel(), minlength=count)
        sure = np.bincount(strokes[ink & even], minlength=count)
        drawn = (sure > _SURE * area) & (area * mpp**2 >= _STROKE * 1e6)
        drawn[0] = False
        if drawn.any():
            stroke = np.asarray(drawn[np.asarray(strokes, dtype=np.int32)])
            fades = grown(stroke, _FRINGE / mpp) & hue & (strongest > _FAINT)
            pen |= grown(stroke, _RIM / mpp) | fades
    return pen


def _inks(density: Plane, *, strongest: Plane, mean: Plane) -> Mapping[str, BoolArray]:
    """Return where the hue is that of an ink.

    Stains absorb green most (haematoxylin, eosin), or blue, but then some red too (DAB);
    haematoxylin alone may absorb red as much as green.
    """
    red, green, blue = (density[..., channel] for channel in range(3))
    return {
        "black": (strongest - darkest(density) < 0.4 * mean) & (mean > _INK),
        "blue": (red > 1.12 * green) & (blue < green),
        "green": (green < 0.92 * np.minimum(red, blue))
        | (red > 1.3 * np.maximum(green, blue)),
        "red": (red < 0.16 * strongest) & (blue > 0.8 * green) & (blue < 1.3 * green),
    }
