"""From a decoded tile to the rectangles that it serves.

numpy copies as well as compiled code where each pixel goes to one patch: for a grid of
256 pixels across tiles of 240 the processor time of reading is the same, within 5 %, and
so is that of a pool. Where patches overlap by half, reading by numpy takes 8 to 14 %
longer, and by three quarters up to 24 %: there copying is what is left to do for each
patch.
"""

from __future__ import annotations

import numpy as np

from dplabtools._typing import IntArray, Pixels, Size
from dplabtools.readers.base import Colour
from dplabtools.readers.compiled import COPYING
from dplabtools.readers.native.cache import DecodedTile
from dplabtools.records.pixel_buffer import PixelBuffer

__all__ = ["Copier"]

_CACHES = 8 << 20  # bytes; what is larger will not wait in caches for whoever needs it


class Copier:
    """Copies parts of tiles to where they are needed; threads may share it.

    Parameters
    ----------
    copies : ndarray of int64, shape (c, 7)
        What goes from a tile to which rectangle; see `TilePlan`.
    buffer : PixelBuffer
        A picture for each rectangle.
    """

    def __init__(self, copies: IntArray, buffer: PixelBuffer) -> None:
        self._copies = copies = np.ascontiguousarray(copies, dtype=np.int64)
        self._buffer = buffer  # keeps the memory alive that compiled code writes to
        self._compiled = COPYING.worth(len(copies))
        if self._compiled is None:
            self._rows = [_flat(buffer.picture(number)) for number in range(len(buffer))]
        else:
            self._places = np.empty((len(buffer), 2), dtype=np.int64)
            self._places[:, 0] = buffer.addresses()
            self._places[:, 1] = buffer.sizes[:, 0] * 3
            self._past_caches = int(buffer.lengths.sum()) > _CACHES
            self._tables = copies.ctypes.data, self._places.ctypes.data

    def whole(self, number: int, *, size: Size) -> Pixels | None:
        """Return where a tile goes if it goes there as a whole.

        Parameters
        ----------
        number : int
            Which of the copies is of the tile.
        size : (int, int)
            (width, height) of the tile.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3), or None
            Contiguous.
        """
        rectangle, _, _, row, _, rows, columns = self._copies[number].tolist()
        if (columns, rows) != (size[0] * 3, size[1]):
            return None
        picture = self._buffer.picture(rectangle)
        return picture[row : row + rows] if picture.shape[1] == size[0] else None

    def copy(self, tile: DecodedTile, begin: int, end: int) -> None:
        """Copy parts of one tile.

        Parameters
        ----------
        tile : DecodedTile
            The tile.
        begin, end : int
            Which of the copies these are.
        """
        if self._compiled is not None:
            copies, places = self._tables
            past, pitch = self._past_caches, tile.pixels.strides[0]
            self._compiled(tile.address, pitch, None, copies, begin, end, places, past)
            return
        pixels = _flat(tile.pixels)
        for rectangle, y, x, row, column, rows, columns in self._copies[begin:end].tolist():
            part = pixels[y : y + rows, x : x + columns]
            self._rows[rectangle][row : row + rows, column : column + columns] = part

    def copy_each(self, source: PixelBuffer) -> None:
        """Make all copies, each from a picture of its own."""
        if self._compiled is None:
            for number in range(len(source)):
                self.copy(DecodedTile.of(source.picture(number)), number, number + 1)
            return
        tiles = np.stack((source.addresses(), source.sizes[:, 0] * 3), axis=1)
        copies, places = self._tables
        past = self._past_caches
        self._compiled(None, 0, tiles.ctypes.data, copies, 0, len(tiles), places, past)

    def fill(self, background: Colour) -> None:
        """Make all copies from a tile of background, whose rows are one and the same."""
        width, height = self._buffer.sizes.max(axis=0).tolist()
        row = np.full((width, 3), background, dtype=np.uint8)
        tile = DecodedTile.of(np.broadcast_to(row, (height, width, 3)))
        self.copy(tile, 0, len(self._copies))


def _flat(pixels: Pixels) -> Pixels:
    """Return pixels with a row of bytes for each row."""
    return pixels.reshape(pixels.shape[0], pixels.shape[1] * 3)
