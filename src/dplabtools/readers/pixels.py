"""From what a library decodes to RGB on the background."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from dplabtools._typing import IntArray, Pixels, Point, Size
from dplabtools.readers.base import Colour

__all__ = [
    "level_origin",
    "level_origins",
    "opaque",
    "read_clipped",
    "rgb_pixels",
    "with_profile",
]

_NEARLY = 1e-9  # of a pixel: what rounding may take from a whole quotient


def rgb_pixels(image: Image.Image, background: Colour) -> Pixels:
    """Return the pixels of an RGBA image, composed on a background.

    Where all is opaque, as nearly everywhere on a slide, nothing is computed.

    Parameters
    ----------
    image : PIL.Image.Image
        Mode RGBA, not premultiplied, not empty.
    background : (int, int, int)
        RGB to stand behind it.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        Writable, owned by the caller.
    """
    width, height = image.size
    alpha = np.frombuffer(image.tobytes("raw", "A"), np.uint8)
    solid = image if alpha.min() == 255 else opaque(image, background)
    # Packing in Pillow takes a fifth of the time of copying three of four bytes in numpy.
    packed = bytearray(solid.tobytes("raw", "RGB"))
    return np.frombuffer(packed, np.uint8).reshape(height, width, 3)


def opaque(image: Image.Image, background: Colour) -> Image.Image:
    """Return an image as RGB, its transparency composed on a background."""
    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    canvas = Image.new("RGB", rgba.size, background)
    canvas.paste(rgba, (0, 0), rgba)
    return with_profile(canvas, image.info.get("icc_profile"))


def with_profile(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return an image that carries its colour profile, where Pillow looks for it."""
    if profile is not None:
        image.info["icc_profile"] = profile
    return image


def level_origin(origin: Point, downsample: float) -> Point:
    """Return the whole pixel of a level in which a level 0 pixel lies."""
    x, y = (math.floor(value / downsample + _NEARLY) for value in origin)
    return x, y


def level_origins(origins: IntArray, downsample: float) -> IntArray:
    """Return the whole pixels of a level in which level 0 pixels lie, as `level_origin`."""
    if downsample == 1.0:
        return origins
    return np.floor(origins / downsample + _NEARLY).astype(np.int64)


def read_clipped(
    fetch: Callable[[Point, Size], Pixels],
    origin: Point,
    size: Size,
    *,
    level_size: Size,
    background: Colour,
) -> Pixels:
    """Read the part of a region that lies within a level; the rest is background.

    Parameters
    ----------
    fetch : callable
        Returns the pixels of (origin, size), which lies within the level.
    origin : (int, int)
        (x, y) of the top-left corner, in pixels of the level.
    size : (int, int)
        (width, height) of the region.
    level_size : (int, int)
        (width, height) of the level.
    background : (int, int, int)
        RGB.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        RGB.
    """
    (x, y), (width, height) = origin, size
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + width, level_size[0]), min(y + height, level_size[1])
    if (left, top, right, bottom) == (x, y, x + width, y + height):
        return fetch(origin, size)
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = background
    if left < right and top < bottom:
        part = fetch((left, top), (right - left, bottom - top))
        canvas[top - y : bottom - y, left - x : right - x] = part
    return canvas
