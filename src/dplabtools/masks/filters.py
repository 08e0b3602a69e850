"""What is done to pictures of slides before they are judged: blurring, growing, spread."""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from dplabtools._typing import BoolArray

__all__ = ["Plane", "blurred", "brightest", "darkest", "grown", "otsu", "spread"]

_Picture = TypeVar("_Picture", bound=npt.NDArray[Any])

Plane: TypeAlias = npt.NDArray[np.float32]
"""float32, shape (height, width), or (height, width, 3) where that is said."""


def brightest(picture: _Picture) -> _Picture:
    """Return the largest of the three channels of each pixel.

    Ten times as fast as ``max(axis=2)``, which goes through them pixel by pixel.
    """
    red, green, blue = (picture[..., channel] for channel in range(3))
    return np.maximum(np.maximum(red, green), blue)  # type: ignore[no-any-return]


def darkest(picture: _Picture) -> _Picture:
    """Return the smallest of the three channels of each pixel."""
    red, green, blue = (picture[..., channel] for channel in range(3))
    return np.minimum(np.minimum(red, green), blue)  # type: ignore[no-any-return]


def blurred(plane: Plane, sigma: float) -> Plane:
    """Return a plane, or several, blurred by a Gaussian of so many pixels."""
    import cv2

    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), dtype=np.float32)


def spread(plane: Plane, side: int) -> Plane:
    """Return the standard deviation within the square of this side around each pixel."""
    import cv2

    mean = cv2.blur(plane, (side, side))
    square = cv2.blur(plane * plane, (side, side))
    deviation: Plane = np.sqrt(np.maximum(square - mean * mean, 0))
    return deviation


def grown(mask: BoolArray, pixels: float) -> BoolArray:
    """Return a mask and all that lies within so many pixels of it; at least one."""
    import cv2

    reach = max(1, round(pixels))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(mask.view(np.uint8), disk) != 0)


def otsu(values: npt.NDArray[np.float32], *, most: float) -> float:
    """Return Otsu's threshold of values from 0 up; what exceeds `most` counts as that.

    https://doi.org/10.1109/TSMC.1979.4310076
    """
    import cv2

    steps = np.rint(np.clip(values / most, 0, 1) * 255).astype(np.uint8)
    threshold, _ = cv2.threshold(steps.reshape(-1, 1), 0, 255, cv2.THRESH_OTSU)
    return float(threshold) / 255 * most
