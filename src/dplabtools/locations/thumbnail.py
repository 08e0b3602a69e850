"""Patches on a small picture of their slide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image

from dplabtools._typing import FloatArray, IntArray
from dplabtools.masks.colors import LABEL_COLOURS

__all__ = ["draw_thumbnail"]

_OUTLINE: Final = "#1d2329"
_EDGE: Final = "#ffffff"
_OPACITY: Final = 0.3  # of the patches: the tissue has to be seen
_MOST: Final = 20_000  # patches that are drawn; more would hide each other


def draw_thumbnail(
    overview: Image.Image,
    *,
    edge: int,
    boxes: FloatArray,
    colours: IntArray,
    rings: Sequence[FloatArray] = (),
) -> Image.Image:
    """Return a slide small, with its patches and the outline of its mask.

    Parameters
    ----------
    overview : PIL.Image.Image
        The slide; not changed.
    edge : int
        Longer side of the result at most, in pixels.
    boxes : ndarray of float64, shape (n, 4)
        x0, y0, x1, y1 of each patch, in shares of the width and height of the slide. Of
        very many some are left out.
    colours : ndarray of int, shape (n,)
        Number of the colour of each, counted through `LABEL_COLOURS`.
    rings : sequence of ndarray of float64, shape (m, 2)
        Lines to draw, in shares of the width and height of the slide.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    from PIL import ImageDraw

    small = overview.copy()
    small.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    inked = small.copy()
    canvas = ImageDraw.Draw(inked)
    step = -(-len(boxes) // _MOST) or 1
    corners = np.rint(boxes[::step] * (*small.size, *small.size))
    corners[:, 2:] = np.maximum(corners[:, 2:] - 1, corners[:, :2])
    inks = (colours[::step] % len(LABEL_COLOURS)).tolist()
    for box, ink in zip(corners.tolist(), inks, strict=True):
        canvas.rectangle(box, fill=LABEL_COLOURS[ink])
    mixed = Image.blend(small, inked, _OPACITY)
    lines = ImageDraw.Draw(mixed)
    paths = [(ring * small.size).ravel().tolist() for ring in rings]
    for path in paths:  # a light edge, so that the line is seen on dark tissue
        lines.polygon(path, outline=_EDGE, width=3)
    for path in paths:
        lines.polygon(path, outline=_OUTLINE)
    return mixed
