"""How good patches are: how sharp, and how much of them is pen or bare glass."""

from __future__ import annotations

from typing import Final

import numpy as np

from dplabtools._typing import BoolArray, FloatArray, IntArray, Pixels
from dplabtools.masks.stains import Background

__all__ = ["measure", "shares_in_boxes"]

_MPP: Final = 1.0  # microns per pixel at which sharpness compares between scanners
_SAMPLES: Final = 64  # pixels of a row, or of a column, whose colours are looked at


def measure(
    picture: Pixels, *, mpp: float | None, background: Background
) -> tuple[float, float, float, float]:
    """Return what the pixels of a patch tell of its quality: `PIXEL_COLUMNS`.

    Sharpness is measured at about 1 micron per pixel, on means of blocks of pixels, so
    that it compares between scanners; or on the pixels themselves, where these are coarser
    or nobody knows their size. Colours are those of a sample of pixels.

    Parameters
    ----------
    picture : ndarray of uint8, shape (height, width, 3)
        RGB.
    mpp : float or None
        Microns per pixel.
    background : Background
        Which pixels of the slide show no specimen.

    Returns
    -------
    sharpness : float
        Variance of the Laplacian of the grey values [1]_; low out of focus, and where there
        is nothing to be seen.
    brightness, saturation : float
        Mean of the grey values and of the saturation (of HSV), 0 to 255.
    background_share : float
        Share of the pixels that are background.

    References
    ----------
    .. [1] J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a
       comparative study", ICPR 2000, https://doi.org/10.1109/ICPR.2000.903548
    """
    import cv2

    light = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    grey = _in_blocks(light, 1 if mpp is None else round(_MPP / mpp))
    laplacian = cv2.Laplacian(grey, cv2.CV_16S)
    squares, total = cv2.norm(laplacian, cv2.NORM_L2SQR), cv2.sumElems(laplacian)[0]
    step = max(1, min(picture.shape[:2]) // _SAMPLES)
    few = cv2.resize(
        picture, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_NEAREST
    )
    empty = cv2.inRange(few, background.least, background.most)
    return (
        squares / grey.size - (total / grey.size) ** 2,
        cv2.mean(light)[0],
        cv2.mean(cv2.cvtColor(few, cv2.COLOR_RGB2HSV))[1],
        cv2.countNonZero(empty) / empty.size,
    )


def _in_blocks(plane: Pixels, block: int) -> Pixels:
    """Return the means of blocks of so many pixels each way; what is over is left out."""
    import cv2

    block = min(block, *plane.shape)
    while block > 1:
        part = block if block % 2 else 2  # halving is five times as fast
        rows, columns = (length // part for length in plane.shape)
        whole = plane[: rows * part, : columns * part]
        shrunk = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
        plane, block = np.asarray(shrunk, dtype=np.uint8), block // part
    return plane


def shares_in_boxes(mask: BoolArray, boxes: FloatArray) -> FloatArray:
    """Return how much of each box a mask covers.

    Parameters
    ----------
    mask : ndarray of bool, shape (height, width)
        Of a whole slide.
    boxes : ndarray of float64, shape (n, 4)
        x0, y0, x1, y1 in pixels of the mask. A box counts pixels that it covers in part as
        a whole, and what lies outside the mask not at all.

    Returns
    -------
    ndarray of float64, shape (n,)
        0 to 1.
    """
    height, width = mask.shape
    sums = np.zeros((height + 1, width + 1), dtype=np.int64)
    np.cumsum(mask, axis=0, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    begin, end = _cells(boxes[:, :2], (width, height)), _cells(-boxes[:, 2:], None)
    end = np.clip(-end, begin + 1, (width, height))
    (x0, y0), (x1, y1) = begin.T, end.T
    covered = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    return np.asarray(covered / ((x1 - x0) * (y1 - y0)))


def _cells(corners: FloatArray, size: tuple[int, int] | None) -> IntArray:
    """Return the pixels that corners lie in; inside of a size, where one is given."""
    cells = np.floor(corners).astype(np.int64)
    if size is None:
        return cells
    return np.clip(cells, 0, np.array(size) - 1)
