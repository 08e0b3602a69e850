"""Masks drawn on the images they belong to."""

from __future__ import annotations

import numpy as np

from dplabtools._typing import BoolArray, Pixels
from dplabtools.errors import ParameterError
from dplabtools.masks.colors import Rgb

__all__ = ["draw_outline", "tint"]


def tint(image: Pixels, mask: BoolArray, *, color: Rgb, alpha: float) -> Pixels:
    """Return an image with a colour laid over the mask.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        RGB; not changed.
    mask : ndarray of bool, shape (height, width)
        Where to lay the colour.
    color : (int, int, int)
        RGB.
    alpha : float
        From 0 (image only) to 1 (colour only).

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        A new image.

    Raises
    ------
    ParameterError
        If `alpha` is out of its range.
    """
    if not 0 <= alpha <= 1:
        msg = f"mask_alpha must be from 0 to 1, not {alpha}"
        raise ParameterError(msg)
    grey_values = np.arange(256)
    tinted = image.copy()
    for channel, value in enumerate(color):
        blend = np.rint((1 - alpha) * grey_values + alpha * value).astype(np.uint8)
        plane = image[..., channel]
        tinted[..., channel] = np.where(mask, blend[plane], plane)
    return tinted


def draw_outline(image: Pixels, mask: BoolArray, *, color: Rgb, thickness: int) -> Pixels:
    """Return an image with lines around the mask and around its holes.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        RGB; not changed.
    mask : ndarray of bool, shape (height, width)
        What to outline.
    color : (int, int, int)
        RGB.
    thickness : int
        In pixels.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        A new image.

    Raises
    ------
    ParameterError
        If `thickness` is below 1.
    """
    if thickness < 1:
        msg = f"the thickness of a line must be >= 1, not {thickness}"
        raise ParameterError(msg)
    import cv2

    contours, _ = cv2.findContours(
        np.ascontiguousarray(mask).view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    drawn = image.copy()
    cv2.drawContours(drawn, contours, -1, color, thickness)
    return drawn
