"""Small slides as Ventana writes them out of nothing, for tests and examples."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile

from dplabtools._typing import Pixels, Point, Size, StrPath
from dplabtools.errors import ParameterError
from dplabtools.testing.make_slide import JPEG_OPTIONS, label_picture, pyramid_of, tiles_of
from dplabtools.testing.tissue import paint_tissue

__all__ = ["make_bif_slide"]

_XMP: Final = 700
_POWER: Final = 40
_SHADES: Final = (0, 5, 10)
"""What frames are darker by, in turn: so it shows which of two lies above the other."""


def make_bif_slide(  # noqa: PLR0913 - each is a property of the file
    path: StrPath,
    *,
    grids: Sequence[Size] = ((4, 3), (3, 2)),
    corners: Sequence[Point] = ((16, 32), (64, 352)),
    tile: int = 128,
    overlaps: Sequence[Point] = ((16, 8),),
    levels: int = 3,
    mpp: float = 0.25,
    sparse: bool = False,
    seed: int = 0,
) -> Path:
    """Write a slide of some areas of overlapping tiles, with tissue-like content.

    The same arguments give the same file. A label is there, as the macro picture, and a
    thumbnail; and an area that was not scanned.

    Parameters
    ----------
    path : str or path-like
        File to write; ``.bif`` is usual.
    grids : sequence of (int, int), default ((4, 3), (3, 2))
        Columns and rows of tiles of each area; not one alone.
    corners : sequence of (int, int), default ((16, 32), (64, 352))
        Pixels of each area from the left, and from below up to it.
    tile : int, default 128
        Side of the tiles, a multiple of 16.
    overlaps : sequence of (int, int), default ((16, 8),)
        Pixels by which tiles overlap across and down, one after the other; their mean
        counts.
    levels : int, default 3
        Number of levels, each of half the size of the one before.
    mpp : float, default 0.25
        Microns per pixel of level 0.
    sparse : bool, default False
        Leave every third tile out, which OpenSlide does not read.
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
    if not grids or len(grids) != len(corners) or min(map(min, grids)) < 2 or levels < 1:
        msg = f"no slide has {levels} levels of areas of {grids} tiles at {corners}"
        raise ParameterError(msg)
    across, down = (round(float(np.mean(each))) for each in zip(*overlaps, strict=True))
    frames = [
        _frames(
            (columns, rows),
            tile,
            steps=(tile - across, tile - down),
            seed=seed + number,
            mpp=mpp,
        )
        for number, (columns, rows) in enumerate(grids)
    ]
    width = max(each.shape[1] for each in frames)
    stored = np.concatenate(
        [np.pad(each, ((0, 0), (0, width - each.shape[1]), (0, 0))) for each in frames]
    )
    file = Path(path)
    scanner = f'<iScan Magnification="{_POWER}" ScanRes="{mpp}" Z-layers="1"/>'
    scan = f"<Metadata>{scanner}</Metadata>"
    stitching = _stitching(grids, corners, tile=tile, overlaps=itertools.cycle(overlaps))
    label = label_picture()
    with tifffile.TiffWriter(file, bigtiff=True) as tiff:
        tiff.write(label, description="Label Image", extratags=_xmp(scan), **JPEG_OPTIONS)
        tiff.write(label[::4, ::4], description="Thumbnail", **JPEG_OPTIONS)
        for level, pixels in enumerate(pyramid_of(stored, levels, 2)):
            tiff.write(
                tiles_of(pixels, tile, sparse=sparse),
                shape=pixels.shape,
                dtype=np.uint8,
                tile=(tile, tile),
                description=f"level={level} mag={_POWER / 2**level:g} quality=85",
                extratags=_xmp(stitching) if level == 0 else [],
                **JPEG_OPTIONS,
            )
    return file


def _frames(
    grid: Size, tile: int, *, steps: tuple[int, int], seed: int, mpp: float
) -> Pixels:
    """Return the frames of an area side by side, each a piece of one picture."""
    (columns, rows), (across, down) = grid, steps
    size = ((columns - 1) * across + tile, (rows - 1) * down + tile)
    picture = paint_tissue(size, seed=seed, mpp=mpp)
    frames = np.empty((rows * tile, columns * tile, 3), dtype=np.uint8)
    for number, (row, column) in enumerate(itertools.product(range(rows), range(columns))):
        y, x = row * down, column * across
        frame = picture[y : y + tile, x : x + tile]
        shade = _SHADES[number % len(_SHADES)]
        frames[row * tile : (row + 1) * tile, column * tile : (column + 1) * tile] = (
            np.maximum(frame, shade) - shade
        )
    return frames


def _xmp(text: str) -> list[tuple[Any, ...]]:
    content = f'<?xml version="1.0" encoding="utf-8"?>{text}'.encode()
    return [(_XMP, 1, len(content), content, True)]


def _stitching(
    grids: Sequence[Size],
    corners: Sequence[Point],
    *,
    tile: int,
    overlaps: Iterator[Point],
) -> str:
    """Return what Ventana says of how tiles are put together."""
    infos, origins, first = "", "", 0
    unscanned = ((2, 2), (0, 0))
    for number, (grid, (x, y)) in enumerate([*zip(grids, corners, strict=True), unscanned]):
        scanned = number < len(grids)
        joints = "".join(_joints(grid, overlaps)) if scanned else ""
        infos += (
            f'<ImageInfo AOIScanned="{scanned:d}" AOIIndex="{number}" '
            f'Width="{tile}" Height="{tile}" NumCols="{grid[0]}" NumRows="{grid[1]}" '
            f'Pos-X="{x}" Pos-Y="{y}">{joints}</ImageInfo>'
        )
        origins += f'<AOI{number} OriginX="0" OriginY="{first * tile}"/>'
        first += grid[1]
    return (
        f'<EncodeInfo Ver="2"><SlideStitchInfo>{infos}</SlideStitchInfo>'
        f"<AoiOrigin>{origins}</AoiOrigin></EncodeInfo>"
    )


def _joints(grid: Size, overlaps: Iterator[Point]) -> Iterator[str]:
    """Yield what is said of each pair of neighbours."""
    columns, rows = grid
    for row, column in itertools.product(range(rows), range(columns)):
        tile = _number(column, row, grid)
        if column + 1 < columns:
            right = _number(column + 1, row, grid)
            yield _joint("RIGHT", (tile, right), overlap=(next(overlaps)[0], 0))
        if row > 0:
            above = _number(column, row - 1, grid)
            yield _joint("UP", (tile, above), overlap=(0, next(overlaps)[1]))


def _joint(direction: str, tiles: tuple[int, int], *, overlap: Point) -> str:
    return (
        f'<TileJointInfo FlagJoined="1" Confidence="95" Direction="{direction}" '
        f'Tile1="{tiles[0]}" Tile2="{tiles[1]}" '
        f'OverlapX="{overlap[0]}" OverlapY="{overlap[1]}"/>'
    )


def _number(column: int, row: int, grid: Size) -> int:
    """Return the number of a tile: from the lowest row upwards, back and forth."""
    columns, rows = grid
    from_below = rows - 1 - row
    along = columns - 1 - column if from_below % 2 else column
    return from_below * columns + along + 1
