"""Parts of regions that are read later, out of tiles that are decoded now.

Of regions that lie anywhere, in the order in which they are asked for, each shares its
tiles with others that come much later, and lies on several of them. So of a tile that is
decoded the parts of all of these are copied, and wait for their turn: together they take
what the regions take, and no tile is kept for a corner.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dplabtools._typing import BoolArray, IntArray
from dplabtools.errors import SlideReadError
from dplabtools.readers.native.assemble import TilePlan, plan_tiles
from dplabtools.readers.native.cache import ALL_AROUND, DecodedTile
from dplabtools.readers.native.copying import Copier
from dplabtools.readers.native.levels import TiledLevel
from dplabtools.records.pixel_buffer import PixelBuffer
from dplabtools.records.upcoming import Upcoming

__all__ = ["KeptParts", "PartsOfCall"]

_TILE_BITS = 32  # of the numbers that tell parts apart


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Parts:
    """Parts of regions, of which each lies in one tile.

    Attributes
    ----------
    keys : ndarray of int64, shape (n,)
        Region and tile of each.
    buffer : PixelBuffer
        Their pixels.
    nbytes : int
        How many there are.
    """

    keys: IntArray
    buffer: PixelBuffer
    nbytes: int


class KeptParts:
    """What has been kept for calls to come, by level and call; threads may share it."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], list[_Parts]] = {}
        self._lock = threading.Lock()

    def take(self, kind: int, call: int) -> list[_Parts]:
        """Return what was kept for a call, and forget what was for those before."""
        with self._lock:
            for key in [key for key in self._kept if key[1] < call]:
                del self._kept[key]
            return list(self._kept.get((kind, call), ()))

    def last_call(self, calls: IntArray, lengths: IntArray, *, max_bytes: int) -> int:
        """Make room for parts by what is needed last; return the last call that has some.

        Parameters
        ----------
        calls, lengths : ndarray of int64, shape (n,)
            For which call each is, and its bytes.
        max_bytes : int
            Of all that is kept.
        """
        with self._lock:
            old = [
                (call, sum(parts.nbytes for parts in kept))
                for (_, call), kept in self._kept.items()
            ]
            every = np.array([*calls.tolist(), *(call for call, _ in old)], np.int64)
            sizes = np.array([*lengths.tolist(), *(nbytes for _, nbytes in old)], np.int64)
            order = np.argsort(every, kind="stable")
            full = np.searchsorted(np.cumsum(sizes[order]), max_bytes, side="right")
            if full == len(order):
                return int(every.max(initial=-1))
            last = int(every[order[full]]) - 1
            for key in [key for key in self._kept if key[1] > last]:
                del self._kept[key]
            return last

    def keep(self, kind: int, parts: Mapping[int, _Parts]) -> None:
        """Keep parts, by the call that they are for."""
        with self._lock:
            for call, each in parts.items():
                self._kept.setdefault((kind, call), []).append(each)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._kept.clear()


@dataclass(slots=True, eq=False, kw_only=True)
class PartsOfCall:
    """One call: what was kept for it, and what it keeps for others.

    Attributes
    ----------
    kept : KeptParts
        Where things are kept.
    level : TiledLevel
        The level that is read.
    kind : int
        Its number.
    upcoming : Upcoming
        What is read later of it.
    corners : ndarray of int64, shape (k, 2)
        (x, y) of that, in pixels of the level.
    """

    kept: KeptParts
    level: TiledLevel
    kind: int
    upcoming: Upcoming
    corners: IntArray
    _count: int = 0
    _parts: dict[int, _Parts] = field(default_factory=dict)

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
        later, later_tiles, room = self._later(needed)
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
        ), PixelBuffer.joined([buffer, *room])

    def finish(self, errors: dict[int, SlideReadError]) -> dict[int, SlideReadError]:
        """Keep the parts, unless one of them failed; return the errors of this call."""
        asked = {place: error for place, error in errors.items() if place < self._count}
        if len(asked) == len(errors):
            self.kept.keep(self.kind, self._parts)
        return asked

    def _deliver(self, keys: IntArray, copies: IntArray, buffer: PixelBuffer) -> BoolArray:
        """Copy what was kept for this call; tell which of the copies these are."""
        kept = self.kept.take(self.kind, self.upcoming.call)
        there = np.zeros(len(keys), dtype=np.bool_)
        if not kept:
            return there
        have = np.concatenate([parts.keys for parts in kept])
        order = np.argsort(have)
        places = order[np.minimum(np.searchsorted(have, keys, sorter=order), len(have) - 1)]
        there[:] = have[places] == keys
        table = copies[there]
        table[:, 1:3] = 0
        source = PixelBuffer.joined([parts.buffer for parts in kept]).part(places[there])
        copier, addresses = Copier(table, buffer), source.addresses().tolist()
        for nth, address in enumerate(addresses):
            copier.copy(DecodedTile(source.picture(nth), address), nth, nth + 1)
        return there

    def _later(self, needed: BoolArray) -> tuple[IntArray, IntArray, Sequence[PixelBuffer]]:
        """Return copies of what is needed later of these tiles, their tiles, and room."""
        upcoming = self.upcoming
        near = np.flatnonzero(self._touches(needed))
        plan = plan_tiles(self.level, self.corners[near], upcoming.sizes[near])
        tile_of = np.repeat(plan.tiles, np.diff(plan.starts))
        calls = upcoming.calls[near][plan.copies[:, 0]]
        here = np.flatnonzero(needed[tile_of])
        here = here[np.argsort(calls[here], kind="stable")]
        copies, tile_of, calls = plan.copies[here], tile_of[here], calls[here]
        lengths = copies[:, 5] * copies[:, 6]
        last = self.kept.last_call(calls, lengths, max_bytes=upcoming.max_bytes)
        end = int(np.searchsorted(calls, last, side="right"))
        copies, tile_of, calls = copies[:end], tile_of[:end], calls[:end]
        keys = upcoming.numbers[near][copies[:, 0]] << _TILE_BITS | tile_of
        sizes = np.stack((copies[:, 6] // 3, copies[:, 5]), axis=1)
        cuts = np.flatnonzero(np.diff(calls)) + 1
        for part in np.split(np.arange(len(calls)), cuts) if end else ():
            room = PixelBuffer.allocated(sizes[part])
            nbytes = int(lengths[part].sum())
            kept = _Parts(keys=keys[part], buffer=room, nbytes=nbytes)
            self._parts[int(calls[part[0]])] = kept
        copies[:, 0] = self._count + np.arange(len(copies))
        copies[:, 3:5] = 0
        return copies, tile_of, [parts.buffer for parts in self._parts.values()]

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
