"""Parts of regions that are read later, out of tiles that are decoded now.

Of regions that lie anywhere, in the order in which they are asked for, each shares its
tiles with others that come much later, and lies on several of them. So of a tile that is
decoded the parts of these are copied, and wait for their turn: together they take what the
regions take, and no tile is kept for a corner.

Where there is not the memory for all, a small part that waits for long is worth as much as
a large one that waits for short: either spares decoding its tile once more. What counts is
how much memory a part takes, times how long. Kept are those for which that is least, as
many as fill the memory if as much is kept of every call: what is there is what comes, times
how long it stays (Little's law: https://doi.org/10.1287/opre.9.3.383). Nothing has to make
room before it is used.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from dplabtools._typing import BoolArray, IntArray
from dplabtools.errors import SlideReadError
from dplabtools.readers.native.assemble import TilePlan, plan_tiles
from dplabtools.readers.native.cache import ALL_AROUND, LevelKey
from dplabtools.readers.native.copying import Copier
from dplabtools.readers.native.levels import TiledLevel
from dplabtools.readers.workspace import lazy_memory
from dplabtools.records.pixel_buffer import PixelBuffer
from dplabtools.records.upcoming import Upcoming

__all__ = ["PARTS", "KeptParts", "PartsOfCall"]

_TILE_BITS: Final = 32  # of the numbers that tell parts apart
_BLOCKS: Final = 4096  # into which memory is cut, if none is too small or too large
_SMALLEST, _LARGEST = 1 << 10, 128 << 10  # bytes of a block
_COLUMNS: Final = 5  # of a table of pieces; see `_Room`
_FALLING: Final = 3  # times as much may be kept: ever fewer tiles are decoded


class _Blocks:
    """Memory in blocks that are used again and again; pages are taken as they are touched.

    Parameters
    ----------
    nbytes : int
        Of all blocks.

    Attributes
    ----------
    size : int
        Bytes of a block.
    memory : ndarray of uint8
        The memory.
    free : list of int
        Numbers of the blocks that nobody uses; last in, first out.
    """

    def __init__(self, nbytes: int) -> None:
        self.size = min(max(nbytes // _BLOCKS, _SMALLEST), _LARGEST)
        count = nbytes // self.size
        self.memory = lazy_memory(max(1, nbytes))
        self.free = list(range(count - 1, -1, -1))


class _Room:
    """Memory for what is kept for a call.

    Attributes
    ----------
    blocks : _Blocks
        Where it is taken from.
    numbers : list of int
        Of the blocks that it has.
    used : int
        How many bytes of these are taken.
    pieces : list of ndarray of int64, shape (n, 5)
        What is there: runs of rows of a part, each in one block. Key of the region and the
        tile; where the run begins in the memory; which row of the part is its first; width
        and height.
    """

    __slots__ = ("blocks", "numbers", "pieces", "used")

    def __init__(self, blocks: _Blocks) -> None:
        self.blocks = blocks
        self.numbers: list[int] = []
        self.used = 0
        self.pieces: list[IntArray] = []

    def __del__(self) -> None:
        """Give the blocks back: nobody copies to or from them any more."""
        self.blocks.free += self.numbers

    def take(self, nbytes: int) -> int:
        """Take memory; return where it begins, as if the blocks were one piece."""
        begin = self.used
        self.used += nbytes
        while len(self.numbers) * self.blocks.size < self.used:
            self.numbers.append(self.blocks.free.pop())
        return begin

    def pictures(self, pieces: IntArray) -> PixelBuffer:
        """Return the memory of pieces, in this room or others."""
        return PixelBuffer.on(self.blocks.memory, pieces[:, 1], pieces[:, 3:])


class KeptParts:
    """What has been kept for calls to come, by level and call; threads may share it."""

    def __init__(self) -> None:
        self._rooms: dict[tuple[LevelKey, int], _Room] = {}
        self._blocks = _Blocks(0)
        self._lock = threading.Lock()

    def of(self, level: LevelKey, call: int) -> _Room:
        """Return what was kept for a call, and forget what was for those before."""
        with self._lock:
            for key in [key for key in self._rooms if key[0] == level and key[1] < call]:
                del self._rooms[key]
            return self._rooms.get((level, call)) or _Room(self._blocks)

    def forget(self, level: LevelKey, call: int) -> None:
        """Forget what was kept for a call."""
        with self._lock:
            self._rooms.pop((level, call), None)

    def reserve(
        self, level: LevelKey, calls: IntArray, copies: IntArray, *, max_bytes: int
    ) -> tuple[IntArray, IntArray, dict[int, _Room]]:
        """Take memory for parts, as long as there is some.

        Parameters
        ----------
        level : LevelKey
            Of which level they are.
        calls : ndarray of int64, shape (n,)
            For which call each is.
        copies : ndarray of int64, shape (n, 7)
            What is copied; see `TilePlan`.
        max_bytes : int
            Of all that is kept.

        Returns
        -------
        nth : ndarray of int64, shape (m,)
            To which part each piece belongs, of as many as there is memory for.
        pieces : ndarray of int64, shape (m, 5)
            See `_Room`; without keys.
        rooms : dict of int to _Room
            Where the pieces are to be entered when they are there, by call.
        """
        with self._lock:
            if len(self._blocks.memory) < max_bytes:
                self._rooms.clear()
                self._blocks = _Blocks(2 * max_bytes)  # by and by it may be a bit more
            size = self._blocks.size
            narrow = np.flatnonzero(copies[:, 6] <= size)
            calls, copies = calls[narrow], copies[narrow]
            rooms = {
                call: self._rooms.setdefault((level, call), _Room(self._blocks))
                for call in np.unique(calls).tolist()
            }
            # The last block of each may have hardly anything in it.
            left = max_bytes - sum(room.used + size for room in self._rooms.values())
            left = min(left, (len(self._blocks.free) - len(rooms)) * size)
            lengths = _most_bytes(copies, size)
            count = int(np.searchsorted(np.cumsum(lengths), left, side="right"))
            starts = [
                rooms[call].take(nbytes)
                for call, nbytes in zip(
                    calls[:count].tolist(), lengths[:count].tolist(), strict=True
                )
            ]
        nth, block, pieces = _runs(np.array(starts, dtype=np.int64), copies[:count], size)
        numbers = [
            rooms[call].numbers[number]
            for call, number in zip(calls[nth].tolist(), block.tolist(), strict=True)
        ]
        pieces[:, 1] += np.array(numbers, dtype=np.int64) * size
        return narrow[nth], pieces, rooms

    def drop(self, owner: int) -> None:
        """Forget all of a reader; if nothing else is kept, the memory, too."""
        with self._lock:
            for key in [key for key in self._rooms if key[0][0] == owner]:
                del self._rooms[key]
            if not self._rooms:
                self._blocks = _Blocks(0)


PARTS: Final = KeptParts()
"""What this process keeps, of all open slides."""


@dataclass(slots=True, eq=False, kw_only=True)
class PartsOfCall:
    """One call: what was kept for it, and what it keeps for others.

    Attributes
    ----------
    level : TiledLevel
        The level that is read.
    key : LevelKey
        Under which its parts are kept.
    upcoming : Upcoming
        What is read later of it.
    corners : ndarray of int64, shape (k, 2)
        (x, y) of that, in pixels of the level.
    """

    level: TiledLevel
    key: LevelKey
    upcoming: Upcoming
    corners: IntArray
    _count: int = 0
    _new: list[tuple[_Room, IntArray]] = field(default_factory=list)

    def share(self, plan: TilePlan, buffer: PixelBuffer) -> tuple[TilePlan, PixelBuffer]:
        """Deliver what was kept; add to a plan what is to be kept of the other tiles.

        Returns
        -------
        TilePlan
            Of the tiles that are to be decoded.
        PixelBuffer
            With pictures for the parts that are kept behind those that it had.
        """
        self._count = len(buffer)
        tile_of = np.repeat(plan.tiles, np.diff(plan.starts))
        keys = self.upcoming.now[plan.copies[:, 0]] << _TILE_BITS | tile_of
        there = self._deliver(keys, plan.copies, buffer)
        copies, tile_of = plan.copies[~there], tile_of[~there]
        needed = np.zeros(len(self.level.counts), dtype=np.bool_)
        needed[tile_of] = True
        later, later_tiles, pictures = self._later(needed)
        rank = np.zeros(len(needed), dtype=np.int64)
        rank[plan.tiles] = np.arange(len(plan.tiles))
        ranks = rank[np.concatenate([tile_of, later_tiles])]
        order = np.argsort(ranks, kind="stable")
        left = needed[plan.tiles]
        return replace(
            plan,
            tiles=plan.tiles[left],
            starts=np.append(
                np.searchsorted(ranks[order], np.flatnonzero(left)), len(order)
            ),
            copies=np.concatenate([copies, later])[order],
            around=np.full(int(left.sum()), ALL_AROUND),
        ), buffer if pictures is None else PixelBuffer.joined([buffer, pictures])

    def finish(self, errors: dict[int, SlideReadError]) -> dict[int, SlideReadError]:
        """Keep the parts, unless one of them failed; return the errors of this call."""
        asked = {place: error for place, error in errors.items() if place < self._count}
        if len(asked) == len(errors):
            for room, pieces in self._new:
                room.pieces.append(pieces)
        return asked

    def _deliver(self, keys: IntArray, copies: IntArray, buffer: PixelBuffer) -> BoolArray:
        """Copy what was kept for this call; tell which of the copies these are."""
        call = self.upcoming.call
        room = PARTS.of(self.key, call)  # as long as it is here, nobody has its memory
        there = np.zeros(len(keys), dtype=np.bool_)
        if not (room.pieces and len(keys)):
            return there
        pieces = np.concatenate(room.pieces)
        order = np.argsort(keys)
        places = np.searchsorted(keys, pieces[:, 0], sorter=order)
        places = order[np.minimum(places, len(keys) - 1)]
        asked = keys[places] == pieces[:, 0]
        places, pieces = places[asked], pieces[asked]
        table = copies[places]
        table[:, 1:3] = 0
        table[:, 3] += pieces[:, 2]
        table[:, 5] = pieces[:, 4]
        Copier(table, buffer).copy_each(room.pictures(pieces))
        there[places] = True
        if asked.all():
            PARTS.forget(self.key, call)
        return there

    def _later(self, needed: BoolArray) -> tuple[IntArray, IntArray, PixelBuffer | None]:
        """Return copies of what is kept of these tiles, their tiles, and room for them."""
        upcoming = self.upcoming
        near = np.flatnonzero(self._touches(needed))
        plan = plan_tiles(self.level, self.corners[near], upcoming.sizes[near])
        tile_of = np.repeat(plan.tiles, np.diff(plan.starts))
        here = np.flatnonzero(needed[tile_of])
        copies, tile_of = plan.copies[here], tile_of[here]
        region = near[copies[:, 0]]
        best = self._best(tile_of, region, copies[:, 5] * copies[:, 6])
        copies, tile_of, region = copies[best], tile_of[best], region[best]
        calls = upcoming.calls[region]
        nth, pieces, rooms = PARTS.reserve(
            self.key, calls, copies, max_bytes=upcoming.max_bytes
        )
        copies, tile_of, calls = copies[nth], tile_of[nth], calls[nth]
        pieces[:, 0] = upcoming.numbers[region[nth]] << _TILE_BITS | tile_of
        order = np.argsort(calls, kind="stable")
        cuts = np.flatnonzero(np.diff(calls[order])) + 1
        self._new = [
            (rooms[int(calls[places[0]])], pieces[places])
            for places in np.split(order, cuts)
            if len(places)
        ]
        copies[:, 0] = self._count + np.arange(len(copies))
        copies[:, 1] += pieces[:, 2]
        copies[:, 3:5] = 0
        copies[:, 5] = pieces[:, 4]
        pictures = next((room.pictures(pieces) for room in rooms.values()), None)
        return copies, tile_of, pictures

    def _best(self, tile_of: IntArray, region: IntArray, lengths: IntArray) -> IntArray:
        """Choose the parts that spare most for the memory they take, the best one first.

        Of a tile, a part is not kept without those that are needed earlier: these will have
        it decoded anyway.
        """
        ahead = self.upcoming.calls - self.upcoming.call
        waits = np.cumsum(np.bincount(ahead) > 0)[ahead[region]]  # the worker's own calls
        order = np.lexsort((waits, tile_of))
        costs = (lengths * waits)[order]
        base = np.cumsum(np.diff(tile_of[order], prepend=-1) != 0)
        base *= costs.max(initial=0) + 1
        best = np.argsort(np.maximum.accumulate(base + costs) - base, kind="stable")
        most = _FALLING * self.upcoming.max_bytes
        count = int(np.searchsorted(np.cumsum(costs[best]), most, side="right"))
        return order[best[:count]]

    def _touches(self, needed: BoolArray) -> BoolArray:
        """Tell which of the regions that are read later may take some of these tiles."""
        if self.level.mosaic is not None:
            return np.ones(len(self.corners), dtype=np.bool_)
        grid = needed.reshape(-1, self.level.columns)
        sums = np.zeros((grid.shape[0] + 1, grid.shape[1] + 1), dtype=np.int64)
        np.cumsum(np.cumsum(grid, axis=0), axis=1, out=sums[1:, 1:])
        tile, most = np.array(self.level.tile), np.array(grid.shape[::-1])
        left, top = np.clip(self.corners // tile, 0, most).T
        ends = self.corners + self.upcoming.sizes
        right, bottom = np.clip(-(-ends // tile), 0, most).T
        found = (
            sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        )
        return np.asarray(found > 0, dtype=np.bool_)


def _most_bytes(copies: IntArray, size: int) -> IntArray:
    """Return what parts take at most in blocks of this size: no row lies in two."""
    rows, pitches = copies[:, 5], copies[:, 6]
    return np.asarray((rows - -rows // (size // pitches)) * pitches, dtype=np.int64)


def _runs(
    starts: IntArray, copies: IntArray, size: int
) -> tuple[IntArray, IntArray, IntArray]:
    """Cut parts into runs of rows that lie in one block each.

    Parameters
    ----------
    starts : ndarray of int64, shape (n,)
        Where each part begins in its room, as if the blocks were one piece.
    copies : ndarray of int64, shape (n, 7)
        What is copied; see `TilePlan`.
    size : int
        Bytes of a block.

    Returns
    -------
    nth : ndarray of int64, shape (m,)
        To which part each run belongs.
    block : ndarray of int64, shape (m,)
        In which of the blocks of the room it lies.
    pieces : ndarray of int64, shape (m, 5)
        See `_Room`; without keys, and where each begins in its block.
    """
    rows, pitches = copies[:, 5], copies[:, 6]
    block, start = np.divmod(starts, size)
    whole = size // pitches
    fit = np.minimum(rows, (size - start) // pitches)
    counts = 1 - (fit - rows) // whole
    nth = np.repeat(np.arange(len(starts)), counts)
    further = np.arange(len(nth)) - np.repeat(np.cumsum(counts) - counts, counts)
    first = np.where(further, fit[nth] + (further - 1) * whole[nth], 0)
    pieces = np.zeros((len(nth), _COLUMNS), dtype=np.int64)
    pieces[:, 1] = np.where(further, 0, start[nth])
    pieces[:, 2] = first
    pieces[:, 3] = pitches[nth] // 3
    pieces[:, 4] = np.minimum(rows[nth] - first, np.where(further, whole[nth], fit[nth]))
    some = pieces[:, 4] > 0
    return nth[some], (block[nth] + further)[some], pieces[some]
