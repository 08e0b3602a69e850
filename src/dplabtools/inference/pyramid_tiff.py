"""Maps of a slide as pyramidal TIFF files that viewers of slides open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import tifffile

from dplabtools._typing import IntArray, Pixels, Size, StrPath
from dplabtools.errors import OutputError

__all__ = ["nearest", "save_pyramid"]

ReadRows: TypeAlias = Callable[[int, int], Pixels]
"""Given the first row and the one behind the last, their pixels."""

_TILE: Final = 256
_LEAST: Final = 256  # pixels of the longer side of the coarsest level
_MICRONS_PER_CENTIMETRE: Final = 10_000


def nearest(places: IntArray, *, stored: int, shown: int) -> IntArray:
    """Return which of the stored pixels of a row or column the centres of some lie on.

    Parameters
    ----------
    places : ndarray of int
        Numbers of the pixels that are shown.
    stored, shown : int
        How many pixels are stored, and how many are shown of them.
    """
    return (places * 2 + 1) * stored // (2 * shown)


def save_pyramid(
    file: StrPath,
    read_rows: ReadRows,
    size: Size,
    *,
    mpp: float | None,
    compression: str | None,
) -> None:
    """Write a tiled TIFF file with levels of half the size each.

    In memory are a strip of tiles, and all of the second level, a quarter of the first.

    Parameters
    ----------
    file : path
        Where to write; replaced if it is there, and removed if writing fails.
    read_rows : callable
        Returns rows of level 0: uint8 of shape (rows, width) or (rows, width, 3).
    size : (int, int)
        (width, height) of level 0.
    mpp : float or None
        Microns per pixel of level 0, for the resolution tags of each level.
    compression : {None, "jpeg", "adobe_deflate"}
        Of the tiles.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    try:
        _write(Path(file), read_rows, size, mpp=mpp, compression=compression)
    except OSError as error:
        Path(file).unlink(missing_ok=True)
        msg = f"{file} cannot be written: {error}"
        raise OutputError(msg) from error


def _write(
    path: Path,
    read_rows: ReadRows,
    size: Size,
    *,
    mpp: float | None,
    compression: str | None,
) -> None:
    colour = read_rows(0, 1).ndim == 3
    with tifffile.TiffWriter(path, bigtiff=size[0] * size[1] > 1 << 30) as tiff:
        rows, (width, height), scale = read_rows, size, mpp
        first = True
        while True:
            half = _Halved(rows, (width, height))
            resolution: dict[str, Any] = {}
            if scale is not None:
                per = _MICRONS_PER_CENTIMETRE / scale
                resolution = {"resolution": (per, per), "resolutionunit": "CENTIMETER"}
            tiff.write(
                _tiles(half.passing, (width, height)),
                shape=(height, width, 3) if colour else (height, width),
                dtype=np.uint8,
                tile=(_TILE, _TILE),
                photometric="rgb" if colour else "minisblack",
                compression=compression,
                subfiletype=0 if first else 1,
                metadata=None,
                software="dplabtools",
                **resolution,
            )
            first = False
            if max(width, height) <= _LEAST:
                return
            reduced = half.result()
            height, width = reduced.shape[:2]
            scale = None if scale is None else scale * 2
            rows = _rows_of(reduced)


class _Halved:
    """Halves a picture while its rows pass by."""

    def __init__(self, read_rows: ReadRows, size: Size) -> None:
        self._read_rows = read_rows
        self._height = size[1]
        self._strips: list[Pixels] = []

    def passing(self, begin: int, end: int) -> Pixels:
        """Return rows, and keep their half; they come in order, an even number at once."""
        rows = self._read_rows(begin, end)
        self._strips.append(_half(rows))
        return rows

    def result(self) -> Pixels:
        """Return the picture of half the size."""
        return np.concatenate(self._strips)


def _half(pixels: Pixels) -> Pixels:
    """Return means of 2 x 2 pixels; an odd edge counts twice."""
    height, width = pixels.shape[:2]
    edges = [(0, height % 2), (0, width % 2)] + [(0, 0)] * (pixels.ndim - 2)
    even = np.pad(pixels, edges, mode="edge").astype(np.uint16)
    sums = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    return ((sums + 2) // 4).astype(np.uint8)


def _rows_of(pixels: Pixels) -> ReadRows:
    def read_rows(begin: int, end: int) -> Pixels:
        return pixels[begin:end]

    return read_rows


def _tiles(read_rows: ReadRows, size: Size) -> Iterator[Pixels]:
    """Yield the tiles of a picture, row by row, those at the edge filled up."""
    width, height = size
    for top in range(0, height, _TILE):
        strip = read_rows(top, min(height, top + _TILE))
        for left in range(0, width, _TILE):
            part = strip[:, left : left + _TILE]
            gaps = [(0, _TILE - part.shape[0]), (0, _TILE - part.shape[1])]
            gaps += [(0, 0)] * (part.ndim - 2)
            yield np.ascontiguousarray(np.pad(part, gaps, mode="edge"))
