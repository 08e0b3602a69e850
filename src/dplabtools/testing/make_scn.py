"""Small slides as Leica writes them out of nothing, for tests and examples."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile

from dplabtools._typing import Pixels, Point, Size, StrPath
from dplabtools.errors import ParameterError
from dplabtools.testing.make_slide import JPEG_OPTIONS, pyramid_of, tiles_of
from dplabtools.testing.tissue import paint_tissue

__all__ = ["make_scn_slide"]

_DOWNSAMPLE: Final = 4  # from one level to the next
_NANOMETRES: Final = 1000  # in a micron
_PER_CENTIMETRE: Final = 10_000  # microns
_MARGIN: Final = 90  # pixels of glass beyond the last area
_MACRO_TILE: Final = 64
_OPTIONS: Final[dict[str, Any]] = {**JPEG_OPTIONS, "resolutionunit": "CENTIMETER"}


def make_scn_slide(  # noqa: PLR0913 - each is a property of the file
    path: StrPath,
    *,
    size: Size = (640, 400),
    offsets: Sequence[Point] = ((130, 70), (301, 555)),
    levels: int = 2,
    tile: int = 128,
    mpp: float = 0.5,
    sparse: bool = False,
    seed: int = 0,
) -> Path:
    """Write a slide of some areas with tissue-like content, and a macro picture.

    The same arguments give the same file.

    Parameters
    ----------
    path : str or path-like
        File to write; ``.scn`` is usual.
    size : (int, int), default (640, 400)
        (width, height) of each area in pixels.
    offsets : sequence of (int, int), default ((130, 70), (301, 555))
        (x, y) of each area on the glass, in pixels.
    levels : int, default 2
        Number of levels, each of a fourth of the size of the one before.
    tile : int, default 128
        Side of the tiles, a multiple of 16.
    mpp : float, default 0.5
        Microns per pixel of level 0.
    sparse : bool, default False
        Leave every third tile of the areas out, which OpenSlide does not read.
    seed : int, default 0
        Another seed, another slide.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    ParameterError
        If an argument makes no sense.
    """
    if levels < 1 or min(size) < _DOWNSAMPLE**levels or not offsets:
        msg = f"{size} pixels do not make {levels} levels, or there are no areas"
        raise ParameterError(msg)
    glass = _extent(offsets, size)
    areas = [
        list(pyramid_of(paint_tissue(size, seed=seed + number, mpp=mpp), levels, 4))
        for number in range(len(offsets))
    ]
    macro = np.full((glass[1] // 8, glass[0] // 8, 3), 240, dtype=np.uint8)
    text = _description(
        macro, areas, offsets, glass=glass, spacing=round(mpp * _NANOMETRES)
    )
    file = Path(path)
    with tifffile.TiffWriter(file, bigtiff=True) as tiff:
        tiff.write(macro, tile=(_MACRO_TILE, _MACRO_TILE), description=text, **_OPTIONS)
        for area in areas:
            for level, pixels in enumerate(area):
                per_centimetre = _PER_CENTIMETRE / (mpp * _DOWNSAMPLE**level)
                tiff.write(
                    tiles_of(pixels, tile, sparse=sparse),
                    shape=pixels.shape,
                    dtype=np.uint8,
                    tile=(tile, tile),
                    resolution=(per_centimetre, per_centimetre),
                    **_OPTIONS,
                )
    return file


def _extent(offsets: Sequence[Point], size: Size) -> Size:
    """Return (width, height) of the glass that areas take."""
    width, height = (max(each) for each in zip(*offsets, strict=True))
    return width + size[0] + _MARGIN, height + size[1] + _MARGIN


def _description(
    macro: Pixels,
    areas: Sequence[Sequence[Pixels]],
    offsets: Sequence[Point],
    *,
    glass: Size,
    spacing: int,
) -> str:
    """Return what Leica says of a slide, in its XML; lengths are in nanometres."""
    width, height = (side * spacing for side in glass)
    images = [_image([macro], first=0, offset=(0, 0), extent=(width, height))]
    for number, (area, (x, y)) in enumerate(zip(areas, offsets, strict=True)):
        high, wide = area[0].shape[:2]
        images.append(
            _image(
                area,
                first=1 + number * len(area),
                offset=(x * spacing, y * spacing),
                extent=(wide * spacing, high * spacing),
            )
        )
    barcode = base64.b64encode(b"MADE-1").decode()
    return (
        '<?xml version="1.0" encoding="utf-8" standalone="no"?>\n'
        '<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection name="made" sizeX="{width}" sizeY="{height}">'
        f"<barcode>{barcode}</barcode>{''.join(images)}</collection></scn>"
    )


def _image(
    pyramid: Sequence[Pixels], *, first: int, offset: tuple[int, int], extent: Size
) -> str:
    """Return what is said of a picture whose first level is a page of the file."""
    dimensions = "".join(
        f'<dimension sizeX="{pixels.shape[1]}" sizeY="{pixels.shape[0]}" '
        f'r="{level}" ifd="{first + level}"/>'
        for level, pixels in enumerate(pyramid)
    )
    return (
        "<image><creationDate>2020-01-01T00:00:00Z</creationDate>"
        '<device model="Leica SCN400;Leica SCN" version="1.5"/>'
        f'<pixels sizeX="{pyramid[0].shape[1]}" sizeY="{pyramid[0].shape[0]}">'
        f"{dimensions}</pixels>"
        f'<view sizeX="{extent[0]}" sizeY="{extent[1]}" '
        f'offsetX="{offset[0]}" offsetY="{offset[1]}" spacingZ="0"/>'
        "<scanSettings><objectiveSettings><objective>20</objective></objectiveSettings>"
        "<illuminationSettings><numericalAperture>0.4</numericalAperture>"
        "<illuminationSource>brightfield</illuminationSource></illuminationSettings>"
        "</scanSettings></image>"
    )
