"""Telling tissue from glass by its colour."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from dplabtools._typing import BoolArray, Pixels
from dplabtools.errors import ParameterError
from dplabtools.masks.strips import Strips, row_blocks

__all__ = ["MODES", "find_tissue"]

MODES: Final = ("hsv", "lab", "otsu")
_FLOAT_PIXELS: Final = 1 << 19
_Floats: TypeAlias = npt.NDArray[np.float32]


def find_tissue(image: Strips, *, mode: str, color_threshold: float) -> BoolArray:
    """Return where an image shows tissue.

    Beside the result, no more is held than a strip.

    Parameters
    ----------
    image : Strips
        The image; read twice by ``"lab"``, where it is of more than one strip.
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
            values = _plane(image, _saturation)
            return _above(values, _raised(float(values.mean()), color_threshold))
        case "lab":
            return _redder(image, color_threshold)
        case "otsu":
            return _darker(_plane(image, _grey))
        case _:
            msg = f"mode must be one of {MODES}, not {mode!r}"
            raise ParameterError(msg)


def _plane(image: Strips, value: Callable[[Pixels], Pixels]) -> Pixels:
    """Return a value of each pixel, shape (height, width); it takes as much as a mask."""
    plane = np.empty(image.size[::-1], dtype=np.uint8)
    for rows, pixels in image:
        plane[rows] = value(pixels)
    return plane


def _raised(mean: float, excess: float) -> float:
    """Return what lies above a mean by a fraction of it."""
    # A mean below zero (greenish images, in a*) must not turn the excess around.
    return mean + excess * abs(mean)


def _above(plane: Pixels, threshold: float) -> BoolArray:
    """Return where values exceed a threshold, in the memory of the values."""
    above: BoolArray = plane.view(bool)
    for rows in row_blocks(len(plane), width=plane.shape[1]):
        above[rows] = plane[rows].astype(np.float32) > threshold
    return above


def _saturation(image: Pixels) -> Pixels:
    """Return the saturation, 0 to 255."""
    import cv2

    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1], dtype=np.uint8)


def _grey(image: Pixels) -> Pixels:
    import cv2

    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _redder(image: Strips, excess: float) -> BoolArray:
    """Return where a* exceeds its mean by a fraction of it."""
    width, height = image.size
    held = list(_red_strips(image)) if image.single else None
    sums = [
        float(redness.sum(dtype=np.float64)) for _, redness in held or _red_strips(image)
    ]
    threshold = _raised(sum(sums) / (width * height), excess)
    above = np.empty((height, width), dtype=bool)
    for rows, redness in held or _red_strips(image):
        above[rows] = redness > threshold
    return above


def _red_strips(image: Strips) -> Iterator[tuple[slice, _Floats]]:
    """Yield slices of rows, and a* there."""
    for rows, pixels in image:
        yield rows, _redness(pixels)


def _redness(image: Pixels) -> _Floats:
    """Return a* of CIE L*a*b*, a few rows at a time: it takes floats."""
    import cv2

    redness = np.empty(image.shape[:2], dtype=np.float32)
    step = max(1, _FLOAT_PIXELS // image.shape[1])
    for row in range(0, len(image), step):
        block = image[row : row + step].astype(np.float32) / 255
        redness[row : row + step] = cv2.cvtColor(block, cv2.COLOR_RGB2LAB)[..., 1]
    return redness


def _darker(grey: Pixels) -> BoolArray:
    """Return where grey values are below Otsu's threshold, in their memory."""
    import cv2

    if grey.min() == grey.max():
        grey[:] = 0
        return grey.view(bool)
    # 1 for what is dark: the bytes of the bools.
    cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU, dst=grey)
    return grey.view(bool)
