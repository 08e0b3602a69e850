"""Decoded tiles that will be needed again soon."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

from dplabtools._typing import Pixels, Size
from dplabtools.readers.workspace import decoding_memory

__all__ = ["ALL_AROUND", "TILES", "DecodedTile", "LevelKey", "TileCache"]

LevelKey: TypeAlias = tuple[int, int]
"""Number of the reader, and level."""
_TileKey: TypeAlias = tuple[LevelKey, int]

_AT_HAND = 2 << 20  # bytes beyond those of the tiles: who makes room gives its memory
_GROWTH = 1  # tiles that are kept more for each that should have been
ALL_AROUND: Final = 0xFF
"""One bit for each of the eight directions from a tile."""


@dataclass(slots=True, eq=False)
class DecodedTile:
    """Memory for the pixels of a tile.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        Contiguous.
    address : int
        Where they begin, for compiled code; to ask numpy takes longer than all else that is
        done to look a tile up.
    around : int
        Bits of the tiles around it that were read along with it; see `TilePlan`.
    """

    pixels: Pixels
    address: int
    around: int = 0

    @classmethod
    def of(cls, pixels: Pixels) -> Self:
        """Return these pixels as a tile."""
        return cls(pixels, pixels.ctypes.data)


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
        self._gone: OrderedDict[_TileKey, int] = OrderedDict()  # bytes of what made room
        self._gone_bytes = 0
        self.nbytes = 0
        self._tiles: OrderedDict[_TileKey, DecodedTile] = OrderedDict()
        self._spare: defaultdict[Size, list[DecodedTile]] = defaultdict(list)
        self._spare_bytes = 0
        self._lock = threading.Lock()
        self._owners = itertools.count()

    def new_owner(self) -> int:
        """Return a number for a reader to keep its tiles under."""
        return next(self._owners)

    def take(self, level: LevelKey, numbers: Iterable[int]) -> dict[int, DecodedTile]:
        """Return those tiles of a level that are there, by number.

        They are the caller's from now on.
        """
        found: dict[int, DecodedTile] = {}
        with self._lock:
            for key in [(level, number) for number in numbers]:
                if key in self._tiles:
                    found[key[1]] = tile = self._tiles.pop(key)
                    self.nbytes -= tile.pixels.nbytes
                elif key in self._gone:
                    self._note_missed(self._gone.pop(key))
        return found

    def among(self, level: LevelKey, numbers: Iterable[int]) -> list[int]:
        """Return which tiles of a level are there; they stay."""
        with self._lock:
            return [number for number in numbers if (level, number) in self._tiles]

    def _note_missed(self, nbytes: int) -> None:
        self._gone_bytes -= nbytes
        self._limit = min(self._limit + _GROWTH * nbytes, self.max_bytes)

    def keep(self, level: LevelKey, number: int, tile: DecodedTile) -> bool:
        """Keep a tile, unless it has met all that is around it.

        Parameters
        ----------
        level : LevelKey
            Of which level.
        number : int
            Which tile.
        tile : DecodedTile
            The tile.

        Returns
        -------
        bool
            Whether it is the cache's from now on; else it is still the caller's.
        """
        if tile.around == ALL_AROUND:
            return False
        key, nbytes = (level, number), tile.pixels.nbytes
        with self._lock:
            if key in self._tiles or nbytes > self._limit:
                return False
            self._tiles[key] = tile
            self.nbytes += nbytes
            self._make_room()
        return True

    def room(self, size: Size) -> DecodedTile:
        """Return memory for a tile of (width, height); its content is undefined."""
        with self._lock:
            spare = self._spare[size]
            if spare:
                tile = spare.pop()
                self._spare_bytes -= tile.pixels.nbytes
                tile.around = 0
                return tile
        width, height = size
        memory = decoding_memory(width * height * 3)
        return DecodedTile.of(memory.reshape(height, width, 3))

    def give_back(self, tile: DecodedTile) -> None:
        """Take memory of a tile that is not kept, to be used again."""
        with self._lock:
            self._put_by(tile)

    def clear(self) -> None:
        """Forget all tiles; their memory is used again."""
        with self._lock:
            while self._tiles:
                self._evict()

    def drop(self, owner: int) -> None:
        """Forget all tiles of a reader, and all memory that nobody uses."""
        with self._lock:
            for key in [key for key in self._tiles if key[0][0] == owner]:
                self.nbytes -= self._tiles.pop(key).pixels.nbytes
            self._forget_spare()

    def _make_room(self) -> None:
        while self.nbytes > self._limit:
            self._evict()
        if self.nbytes + self._spare_bytes > self._limit + _AT_HAND:
            self._forget_spare()

    def _evict(self) -> None:
        """Let the tile go that has not been used for longest."""
        key, tile = self._tiles.popitem(last=False)
        nbytes = tile.pixels.nbytes
        self.nbytes -= nbytes
        self._gone[key] = nbytes
        self._gone_bytes += nbytes
        while self._limit + self._gone_bytes > self.max_bytes:
            self._gone_bytes -= self._gone.popitem(last=False)[1]
        self._put_by(tile)

    def _put_by(self, tile: DecodedTile) -> None:
        height, width, _ = tile.pixels.shape
        nbytes = tile.pixels.nbytes
        if self.nbytes + self._spare_bytes + nbytes <= self._limit + _AT_HAND:
            self._spare[width, height].append(tile)
            self._spare_bytes += nbytes

    def _forget_spare(self) -> None:
        self._spare.clear()
        self._spare_bytes = 0


TILES: Final = TileCache(16 << 20, 128 << 20)
"""The tiles of all open slides of this process."""
