"""Pictures of TIFF files in strips: each is read as a tile as wide as the picture."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from dplabtools._typing import IntArray, Size
from dplabtools.errors import UnsupportedSlideError
from dplabtools.readers.native.decode import STORED

__all__ = ["LARGEST_STRIP", "strip_nbytes", "strips_of"]

LARGEST_STRIP: Final = 64 << 20  # bytes of one that is decoded whole for each patch
_CUT: Final = 1 << 20  # bytes; of strips that can be cut


def strips_of(page: Any) -> tuple[Size, IntArray, IntArray]:  # noqa: ANN401 - untyped library
    """Find the strips of a picture; larger ones that are not compressed are cut.

    Parameters
    ----------
    page : tifffile.TiffPage
        Not in tiles.

    Returns
    -------
    size : (int, int)
        (width, height) of all strips but the last, which may be lower.
    offsets, counts : ndarray of int64
        As of a `TiledLevel`.

    Raises
    ------
    UnsupportedSlideError
        If strips are too large for each to be decoded whole.
    """
    width, height = int(page.imagewidth), int(page.imagelength)
    rows = _rows(page)
    offsets = np.array(page.dataoffsets, dtype=np.int64)
    counts = np.array(page.databytecounts, dtype=np.int64)
    pitch = width * int(page.samplesperpixel)
    whole = np.minimum(rows, height - rows * np.arange(len(counts))) * pitch
    if rows * pitch > _CUT and page.compression == STORED and (counts == whole).all():
        few = _divisor(rows, most=_CUT // pitch) if len(counts) > 1 else _CUT // pitch
        few = max(few, 1)
        starts = np.arange(0, height, few)
        offsets = offsets[starts // rows] + starts % rows * pitch
        counts = np.minimum(few, height - starts) * pitch
        rows = few
    if rows * pitch > LARGEST_STRIP:
        msg = (
            f"strips of {width:,} x {rows:,} pixels, each of which has to be decoded "
            f"whole, are not read natively"
        )
        raise UnsupportedSlideError(msg)
    return (width, rows), offsets, counts


def strip_nbytes(page: Any) -> int:  # noqa: ANN401 - untyped library
    """Return how many bytes a strip of a picture has once it is decoded.

    Parameters
    ----------
    page : tifffile.TiffPage
        Of 8 bits a sample; a picture in tiles has no strips, and zero.
    """
    if page.is_tiled:
        return 0
    return int(page.imagewidth) * _rows(page) * int(page.samplesperpixel)


def _rows(page: Any) -> int:  # noqa: ANN401 - untyped library
    return max(1, min(int(page.rowsperstrip), int(page.imagelength)))


def _divisor(number: int, *, most: int) -> int:
    """Return the largest number up to so much by which another can be divided."""
    return max(each for each in range(1, max(most, 1) + 1) if number % each == 0)
