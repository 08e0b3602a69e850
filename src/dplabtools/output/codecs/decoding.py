"""From the bytes of image files to pixels."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import simplejpeg
from PIL import Image

from dplabtools._typing import Pixels

__all__ = ["decode_image", "decode_mask"]

_JPEG_XL = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL ")


def decode_image(data: bytes) -> Pixels:
    """Return the pixels of an image, whatever its format.

    Parameters
    ----------
    data : bytes
        The image file.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        RGB.
    """
    if data.startswith(b"\xff\xd8\xff"):
        pixels: Pixels = simplejpeg.decode_jpeg(data)
        return pixels
    if data.startswith(_JPEG_XL):
        return np.asarray(imagecodecs.jpegxl_decode(data), dtype=np.uint8)
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))


def decode_mask(data: bytes) -> Pixels:
    """Return the pixels of an image of one channel, uint8 of shape (height, width)."""
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image)
