"""Decoded tiles that will be needed again soon."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict, defaultdict
from typing import Final, TypeAlias

import numpy as np

from dplabtools._typing import BoolArray, IntArray, Pixels, Size

__all__ = ["ALL_AROUND", "TILES", "TileCache", "TileKey"]

TileKey: TypeAlias = tuple[int, int, int]
"""Number of the reader, level, and number of the tile in the level."""

_VECTOR = 64  # bytes, at most
_AT_HAND = 2 << 20  # bytes beyond those of the tiles: who makes room gives its memory
_GROWTH = 1  # tiles that are kept more for each that should have been
ALL_AROUND: Final = 0xFF
"""One bit for each of the eight directions from a tile."""


class TileCache:
    """Keeps tiles until their neighbours have been read.

    A patch takes a tile and some of its neighbours. Once all around them have been read
    along with it, the tile is hardly needed again. Of the others, those unused for longest
    make room. More is kept whenever a tile is asked for that had to make room not long ago.
    Memory is used again and again: new memory takes the system a third of the time of
    decoding.

    Threads may share a cache. A tile belongs to the cache or to whoever has taken it,
    never to both, so nobody overwrites what another one reads.

    Parameters
    ----------
    min_bytes, max_bytes : int
        Bytes of all that is kept, at first and at most.
    """

    def __init__(self, min_bytes: int, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._limit = min_bytes
        self._gone: OrderedDict[TileKey, int] = (
            OrderedDict()
        )  # bytes of those that made room
        self._gone_bytes = 0
        self.nbytes = 0
        self._tiles: OrderedDict[TileKey, tuple[Pixels, int]] = OrderedDict()
        self._spare: defaultdict[Size, list[Pixels]] = defaultdict(list)
        self._spare_bytes = 0
        self._lock = threading.Lock()
        self._owners = itertools.count()

    def new_owner(self) -> int:
        """Return a number for a reader to keep its tiles under."""
        return next(self._owners)

    def take(self, key: TileKey) -> tuple[Pixels, int] | None:
        """Return a tile and what it has met around it; None if it is not there.

        It is the caller's from now on, to be given back by `keep`.
        """
        with self._lock:
            found = self._tiles.pop(key, None)
            if found is None:
                missed = self._gone.pop(key, 0)
                self._gone_bytes -= missed
                self._limit = min(self._limit + _GROWTH * missed, self.max_bytes)
            else:
                self.nbytes -= found[0].nbytes
            return found

    def holds(self, level: tuple[int, int], numbers: IntArray) -> BoolArray:
        """Tell which tiles of a level of a reader are here."""
        with self._lock:
            found = [(*level, number) in self._tiles for number in numbers.tolist()]
        return np.array(found, dtype=np.bool_)

    def keep(self, key: TileKey, pixels: Pixels, around: int) -> None:
        """Keep a tile, unless it has met all that is around it.

        Parameters
        ----------
        key : TileKey
            Which tile.
        pixels : ndarray of uint8, shape (height, width, 3)
            Its pixels; the cache's from now on.
        around : int
            Bits of the tiles around it that were read along with it; see `TilePlan`.
        """
        with self._lock:
            if around == ALL_AROUND or key in self._tiles or pixels.nbytes > self._limit:
                self._put_by(pixels)
                return
            self._tiles[key] = pixels, around
            self.nbytes += pixels.nbytes
            self._make_room()

    def room(self, size: Size) -> Pixels:
        """Return memory for a tile of (width, height); its content is undefined."""
        with self._lock:
            spare = self._spare[size]
            if spare:
                pixels = spare.pop()
                self._spare_bytes -= pixels.nbytes
                return pixels
        return _misaligned(size)

    def give_back(self, pixels: Pixels) -> None:
        """Take back what `room` gave."""
        with self._lock:
            self._put_by(pixels)

    def clear(self) -> None:
        """Forget all tiles; their memory is used again."""
        with self._lock:
            while self._tiles:
                self._evict()

    def drop(self, owner: int) -> None:
        """Forget all tiles of a reader, and all memory that nobody uses."""
        with self._lock:
            for key in [key for key in self._tiles if key[0] == owner]:
                self.nbytes -= self._tiles.pop(key)[0].nbytes
            self._forget_spare()

    def _make_room(self) -> None:
        while self.nbytes > self._limit:
            self._evict()
        if self.nbytes + self._spare_bytes > self._limit + _AT_HAND:
            self._forget_spare()

    def _evict(self) -> None:
        """Let the tile go that has not been used for longest."""
        key, (pixels, _) = self._tiles.popitem(last=False)
        self.nbytes -= pixels.nbytes
        self._gone[key] = pixels.nbytes
        self._gone_bytes += pixels.nbytes
        while self._limit + self._gone_bytes > self.max_bytes:
            self._gone_bytes -= self._gone.popitem(last=False)[1]
        self._put_by(pixels)

    def _put_by(self, pixels: Pixels) -> None:
        if self.nbytes + self._spare_bytes + pixels.nbytes <= self._limit + _AT_HAND:
            self._spare[pixels.shape[1], pixels.shape[0]].append(pixels)
            self._spare_bytes += pixels.nbytes

    def _forget_spare(self) -> None:
        self._spare.clear()
        self._spare_bytes = 0


def _misaligned(size: Size) -> Pixels:
    """Return new memory for a tile, which begins in the middle of a vector.

    Where rows begin with a vector, libjpeg-turbo stores them past the caches, and a tile
    that is copied next is fetched back from memory: a sixth of the time of decoding it.
    Where every other row does, as in tiles of 240 pixels, decoding takes a quarter longer.
    """
    width, height = size
    count = height * width * 3
    memory = np.empty(count + _VECTOR, dtype=np.uint8)
    start = (_VECTOR // 8 - memory.ctypes.data) % _VECTOR
    return memory[start : start + count].reshape(height, width, 3)


TILES: Final = TileCache(16 << 20, 128 << 20)
"""The tiles of all open slides of this process."""
