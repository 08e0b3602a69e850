"""Decoded tiles that will be needed again soon."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from typing import Final, TypeAlias

from dplabtools._typing import Pixels

__all__ = ["TILES", "TileCache", "TileKey"]

TileKey: TypeAlias = tuple[int, int, int]
"""Number of the reader, level, and number of the tile in the level."""


class TileCache:
    """Keeps the tiles used last, up to a number of bytes; threads may share it.

    Parameters
    ----------
    max_bytes : int
        Bytes of pixels to keep.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.nbytes = 0
        self._tiles: OrderedDict[TileKey, Pixels] = OrderedDict()
        self._lock = threading.Lock()
        self._owners = itertools.count()

    def new_owner(self) -> int:
        """Return a number for a reader to keep its tiles under."""
        return next(self._owners)

    def get(self, key: TileKey) -> Pixels | None:
        """Return a tile, not to be written to, or None if it is not there."""
        with self._lock:
            pixels = self._tiles.get(key)
            if pixels is not None:
                self._tiles.move_to_end(key)
            return pixels

    def put(self, key: TileKey, pixels: Pixels) -> None:
        """Keep a tile; those unused for longest go."""
        with self._lock:
            if key in self._tiles or pixels.nbytes > self.max_bytes:
                return
            self._tiles[key] = pixels
            self.nbytes += pixels.nbytes
            while self.nbytes > self.max_bytes:
                self.nbytes -= self._tiles.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        """Forget all tiles."""
        with self._lock:
            self._tiles.clear()
            self.nbytes = 0

    def drop(self, owner: int) -> None:
        """Forget all tiles of a reader."""
        with self._lock:
            for key in [key for key in self._tiles if key[0] == owner]:
                self.nbytes -= self._tiles.pop(key).nbytes


TILES: Final = TileCache(64 << 20)
"""The tiles of all open slides of this process."""
