"""Telling tissue from glass by its colour."""

from __future__ import annotations

from typing import Final

import numpy as np

from dplabtools._typing import BoolArray, Pixels
from dplabtools.errors import ParameterError

__all__ = ["MODES", "find_tissue"]

MODES: Final = ("hsv", "lab", "otsu")


def find_tissue(image: Pixels, *, mode: str, color_threshold: float) -> BoolArray:
    """Return where an image shows tissue.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        RGB.
    mode : {"hsv", "lab", "otsu"}
        ``"hsv"``: saturation above its mean; ``"lab"``: a* (green to red) above its
        mean; ``"otsu"``: darker than Otsu's threshold of the grey values.
    color_threshold : float
        How far above the mean, as a fraction of it; unused by ``"otsu"``.

    Returns
    -------
    ndarray of bool, shape (height, width)
        All False for an image of one colour.

    Raises
    ------
    ParameterError
        If there is no such mode.
    """
    match mode:
        case "hsv":
            return _above_mean(_saturation(image), color_threshold)
        case "lab":
            return _above_mean(_redness(image), color_threshold)
        case "otsu":
            return _darker(image)
        case _:
            msg = f"mode must be one of {MODES}, not {mode!r}"
            raise ParameterError(msg)


def _above_mean(
    values: np.ndarray[tuple[int, ...], np.dtype[np.generic]], excess: float
) -> BoolArray:
    """Return where values exceed their mean by a fraction of it."""
    mean = float(values.mean(dtype=np.float64))
    # A mean below zero (greenish images, in a*) must not turn the excess around.
    above: BoolArray = values.astype(np.float32) > mean + excess * abs(mean)
    return above


def _saturation(image: Pixels) -> Pixels:
    """Return the saturation, 0 to 255."""
    import cv2

    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1], dtype=np.uint8)


def _redness(image: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return a* of CIE L*a*b*, row block by row block: it takes floats."""
    import cv2

    redness = np.empty(image.shape[:2], dtype=np.float32)
    for row in range(0, len(image), 256):
        block = image[row : row + 256].astype(np.float32) / 255
        redness[row : row + 256] = cv2.cvtColor(block, cv2.COLOR_RGB2LAB)[..., 1]
    return redness


def _darker(image: Pixels) -> BoolArray:
    """Return where grey values lie on the dark side of Otsu's threshold."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if grey.min() == grey.max():
        return np.zeros(grey.shape, dtype=bool)
    _, dark = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)
    return np.asarray(dark != 0)
