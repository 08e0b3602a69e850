"""Pictures of the page: slides, small and large, and outlines of masks."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from dplabtools._typing import FloatArray, IntArray
from dplabtools.masks.files import load_mask
from dplabtools.report.packing import packed

__all__ = ["COLOURS", "data_uri", "draw_thumbnail", "encoded_outline", "outline_of"]

COLOURS: Final = (
    *("#0072b2", "#d55e00", "#009e73", "#000000"),
    *("#e69f00", "#56b4e9", "#cc79a7", "#f0e442"),
)
"""The palette of Okabe and Ito, which the colour-blind tell apart; on tissue and glass."""
_THUMBNAIL: Final = 160  # pixels, twice what is shown: screens have two to a point
_QUALITY: Final = 70
_SMALLEST: Final = 64  # pixels; nothing is recognised below
_UNITS: Final = 30_000  # of outlines, across the longer side of the slide
_OUTLINE: Final = "#1d2329"


def data_uri(image: Image.Image, limit: int) -> str:
    """Return an image as text, as small as it takes to keep to a limit.

    Parameters
    ----------
    image : PIL.Image.Image
        RGB.
    limit : int
        Characters, if that is possible at all.

    Returns
    -------
    str
        ``data:image/jpeg;base64,...``; JPEG, as tissue is no smaller in newer formats at
        this quality, and takes ten times as long.
    """
    while True:
        out = io.BytesIO()
        image.save(out, format="jpeg", quality=_QUALITY)
        text = base64.b64encode(out.getvalue()).decode("ascii")
        if len(text) <= limit or max(image.size) <= _SMALLEST:
            return f"data:image/jpeg;base64,{text}"
        shrink = 0.95 * math.sqrt(limit / len(text))
        width, height = (max(1, round(side * shrink)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)


def outline_of(mask: Path) -> list[FloatArray]:
    """Return the lines around a mask and its holes.

    Returns
    -------
    list of ndarray of float64, shape (n, 2)
        (x, y) in shares of the width and height of the slide, longest line first.

    Raises
    ------
    MaskError, MaskTypeError, MissingMaskError
        If the file is no mask.
    """
    import cv2

    pixels = np.ascontiguousarray((load_mask(mask) != 0).T).view(np.uint8)
    rings, _ = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    simple = [cv2.approxPolyDP(ring, 1.0, True)[:, 0] for ring in rings]
    simple.sort(key=len, reverse=True)
    height, width = pixels.shape
    return [(ring + 0.5) / (width, height) for ring in simple if len(ring) > 2]


def encoded_outline(rings: Sequence[FloatArray], limit: int) -> dict[str, object]:
    """Return lines as columns; the shortest are left out, until they keep to a limit.

    Parameters
    ----------
    rings : sequence of ndarray of float64, shape (n, 2)
        From `outline_of`.
    limit : int
        Characters.

    Returns
    -------
    dict
        ``lengths``, ``x`` and ``y`` packed, ``n`` (lines), ``points`` and ``units``.
    """
    while True:
        points = np.concatenate([*rings, np.zeros((0, 2))])
        whole: IntArray = np.rint(points * _UNITS).astype(np.int64)
        lengths = np.array([len(ring) for ring in rings], dtype=np.int64)
        columns = {
            "lengths": packed(lengths),
            "x": packed(whole[:, 0]),
            "y": packed(whole[:, 1]),
        }
        if sum(map(len, columns.values())) <= limit or not len(rings):
            return {**columns, "n": len(rings), "points": len(whole), "units": _UNITS}
        rings = rings[: len(rings) * 2 // 3]


def draw_thumbnail(
    overview: Image.Image,
    rings: Sequence[FloatArray],
    *,
    boxes: FloatArray,
    colours: Sequence[str],
) -> Image.Image:
    """Return a slide small, with the outline of its mask and its patches.

    Parameters
    ----------
    overview : PIL.Image.Image
        The slide; not changed.
    rings : sequence of ndarray of float64, shape (n, 2)
        From `outline_of`.
    boxes : ndarray of float64, shape (n, 4)
        x0, y0, x1, y1 of each patch, in shares of the width and height of the slide.
    colours : sequence of str
        Colour of each.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    small = overview.copy()
    small.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    inked = small.copy()
    canvas = ImageDraw.Draw(inked)
    corners = np.rint(boxes * (*small.size, *small.size))
    corners[:, 2:] = np.maximum(corners[:, 2:] - 1, corners[:, :2])
    for box, colour in zip(corners.tolist(), colours, strict=True):
        canvas.rectangle(box, fill=colour)
    mixed = Image.blend(small, inked, 0.3)
    lines = ImageDraw.Draw(mixed)
    for ring in rings:
        line = (ring * small.size).ravel().tolist()
        lines.polygon(line, outline=_OUTLINE)
    return mixed
