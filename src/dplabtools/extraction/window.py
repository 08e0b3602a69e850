"""The batches that a stream is at, and what is still to be read of them.

What is delivered next and what is read next are two orders. Batches are opened in the order
of delivery, each in a slot of the pool; what lies together on a slide, in whichever open
batches, is read together.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from dplabtools._typing import BoolArray, IntArray
from dplabtools.extraction.slot_pool import SlotPool
from dplabtools.output.memory import SegmentRows
from dplabtools.records.slide_plan import SlidePlan
from dplabtools.records.upcoming import Upcoming

__all__ = ["OpenBatch", "Piece", "Window"]

_AHEAD = 8  # times as many patches as have room: of most of them there are only parts
_GROUPS = 2  # at least: some are read while others are delivered


@dataclass(slots=True, eq=False, kw_only=True)
class OpenBatch:
    """Patches that are delivered together, while they are read.

    Attributes
    ----------
    slides, rows : ndarray of int64, shape (n,)
        Slide and row of each.
    slot : int
        Where their pixels go.
    delivered : ndarray of bool, shape (n,)
        Which of them are there, or still may be.
    unread : int
        Patches that are to be read.
    """

    slides: IntArray
    rows: IntArray
    slot: int
    delivered: BoolArray
    unread: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Piece:
    """Patches of a slide that lie together.

    Attributes
    ----------
    slide, lane : int
        Which slide, and which worker has its neighbours.
    rows, places : ndarray of int, shape (n,)
        Rows of the table, and which patches of the stream these are, ascending.
    parts_read : int
        How often a part of it has been taken.
    call : int or None
        Which of the pieces of its slide that are read in the order of delivery it is;
        None if the order in which they are read is another one.
    """

    slide: int
    lane: int
    rows: IntArray
    places: IntArray
    parts_read: int = 0
    call: int | None = None

    def part(self, chosen: slice | IntArray) -> Piece:
        """Return some of it, or all in another order."""
        return replace(self, rows=self.rows[chosen], places=self.places[chosen])


class Window:
    """Patches that have been planned, and those among them that have memory.

    Parameters
    ----------
    slot_pool : SlotPool
        Memory of the batches.
    least : int
        Patches that are read together, if fewer are planned at once.
    groups : int, default 2
        How many times as many may be in open batches.

    Attributes
    ----------
    slot_pool : SlotPool
        As given.
    pieces : list of Piece
        What has not been handed out to be read.
    """

    def __init__(self, slot_pool: SlotPool, *, least: int, groups: int = _GROUPS) -> None:
        self.slot_pool = slot_pool
        self.pieces: list[Piece] = []
        self._size = slot_pool.shape[0]
        self._slides = self._rows = np.zeros(0, dtype=np.int64)  # planned, not yet opened
        self._delivered = np.zeros(0, dtype=np.bool_)
        self._batches: dict[int, OpenBatch] = {}  # by number
        self._least = least
        self._groups = max(_GROUPS, groups)
        self._opened = 0  # batches
        self._most = 2  # batches that may be open

    @property
    def waiting(self) -> int:
        """Patches that have been planned, and have no memory yet."""
        return len(self._rows)

    @property
    def planned(self) -> int:
        """Patches that have been planned, from the first of the stream on."""
        return self._with_memory + len(self._rows)

    @property
    def _with_memory(self) -> int:
        """Patches that have been given memory, from the first of the stream on."""
        return self._opened * self._size

    def plan(
        self, slides: IntArray, rows: IntArray, *, there: BoolArray, together: int
    ) -> None:
        """Add patches, which follow those before in the order of delivery.

        Parameters
        ----------
        slides, rows : ndarray of int, shape (n,)
            Slide and row of each.
        there : ndarray of bool, shape (n,)
            Which of them there are to read; their pieces are added to `pieces`.
        together : int
            How many of them are read at once, while others are delivered; at least as many
            as is the `least` of all.
        """
        self._slides = np.concatenate([self._slides, slides])
        self._rows = np.concatenate([self._rows, rows])
        self._delivered = np.concatenate([self._delivered, there])
        self._most = max(2, self._groups * max(together, self._least) // self._size)

    def may_open(self) -> bool:
        """Tell whether there is memory for another batch, and few enough are open."""
        return bool(self.slot_pool.free) and len(self._batches) < self._most

    def open(self) -> None:
        """Give memory to the next patches that have none."""
        count = [min(self._size, len(self._rows))]
        slides, self._slides = np.split(self._slides, count)
        rows, self._rows = np.split(self._rows, count)
        delivered, self._delivered = np.split(self._delivered, count)
        self._batches[self._opened] = OpenBatch(
            slides=slides,
            rows=rows,
            slot=self.slot_pool.free.pop(),
            delivered=delivered,
            unread=int(delivered.sum()),
        )
        self._opened += 1

    def whole(self) -> list[Piece]:
        """Return the pieces of which all patches have memory."""
        end = self._with_memory
        return [piece for piece in self.pieces if piece.places[-1] < end]

    def upcoming(self, piece: Piece, plan: SlidePlan, *, workers: int) -> Upcoming | None:
        """Return what the same worker reads later, if that is in the order of delivery."""
        if piece.call is None:
            return None
        max_bytes = self._spare_bytes() // workers
        most = _AHEAD * max_bytes // self.slot_pool.patch_bytes
        own = (each for each in self.pieces if each.slide == piece.slide)
        later = [each for each in own if each.lane == piece.lane]
        none = piece.rows[:0]
        rows = np.concatenate([none, *(each.rows for each in later)])[:most]
        calls = [np.full(len(each.rows), each.call) for each in later]
        return Upcoming(
            call=piece.call,
            now=piece.rows,
            numbers=rows,
            calls=np.concatenate([none, *calls])[:most],
            origins=plan.origins[rows],
            sizes=plan.table.sizes[rows],
            max_bytes=max_bytes,
        )

    def _spare_bytes(self) -> int:
        """Return the memory that no batch will take, unless the caller holds some."""
        taken = self._most - len(self._batches)
        return max(0, len(self.slot_pool.free) - taken) * self.slot_pool.slot_bytes

    def part(self, busy: Collection[int]) -> Piece | None:
        """Take what has memory of a piece; None if nothing has, or it is too early.

        It is too early while a third of the memory is left to batches that wait for the
        caller, and for a slide that the next batch has nothing of: the more patches are
        read together, the fewer tiles are decoded again.

        Pieces take turns, as they lie on the slide, forth and then back: what one has in
        common with the next has just been read, and of the last ones most is still there
        when they are the first. Those of workers that are busy come last, and, in order,
        not at all: only these have the parts that were kept.

        Parameters
        ----------
        busy : collection of int
            Lanes of workers that have something to do.
        """
        batches = list(self._batches.values())
        waiting = sum(1 for _ in takewhile(_is_complete, batches))
        if waiting > len(batches) // 3 or not batches:
            return None
        end, slides = self._with_memory, batches[waiting].slides
        there = [
            n
            for n, piece in enumerate(self.pieces)
            if piece.places[0] < end
            and piece.slide in slides
            and (piece.call is None or piece.lane not in busy)
        ]
        if not there:
            return None
        index = min(there, key=lambda n: self.pieces[n].lane in busy)
        piece = self.pieces.pop(index)
        count = int(np.searchsorted(piece.places, end))
        self._put_back(piece.part(slice(count, None)), index)
        return piece.part(slice(count))

    def _put_back(self, rest: Piece, index: int) -> None:
        """Put back what is left of a piece: it is the first of the next turn."""
        rest = replace(rest, parts_read=rest.parts_read + 1)
        while index < len(self.pieces):
            other = self.pieces[index]
            if other.slide != rest.slide or other.parts_read >= rest.parts_read:
                break
            index += 1
        self.pieces.insert(index, rest)

    def writer(self, piece: Piece) -> SegmentRows:
        """Return where the pixels of a piece go."""
        numbers, nth = np.divmod(piece.places, self._size)
        pool = self.slot_pool
        slots = np.array([self._batches[number].slot for number in numbers.tolist()])
        return SegmentRows(pool.segment, pool.starts(slots) + nth * pool.patch_bytes)

    def note_read(self, piece: Piece, *, failed: BoolArray) -> None:
        """Enter that a piece has been read, and which of its patches were not."""
        numbers, nth = np.divmod(piece.places, self._size)
        for number in set(numbers.tolist()):
            batch, here = self._batches[number], numbers == number
            batch.unread -= int(here.sum())
            batch.delivered[nth[here & failed]] = False

    def complete(self, *, in_turn: bool) -> OpenBatch | None:
        """Take a batch of which all is read: the next one, or any; None if it is not."""
        for number, batch in self._batches.items():
            if _is_complete(batch):
                return self._batches.pop(number)
            if in_turn:
                break
        return None


def _is_complete(batch: OpenBatch) -> bool:
    return not batch.unread
