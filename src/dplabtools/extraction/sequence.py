"""In which order the patches of a stream are read, while slides are still looked at."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from dplabtools._typing import BoolArray, IntArray

__all__ = ["PatchSequence"]

_LOOK_AHEAD = 64  # slides that are looked at before their turn: a bad one is found early


class PatchSequence:
    """The patches of all slides in the order of reading, known as far as slides are.

    Whoever reads asks for the slides to look at, says which of their patches there are,
    and takes patches from the front. So a run over many slides begins when its first ones
    have been looked at, and what is known of slides takes no more memory for there being
    many.

    Parameters
    ----------
    parts : iterable of (int, ndarray of int)
        Slide and rows, in the order of reading. Each slide that is to be looked at has at
        least one part, if only without rows.
    slides : iterable of int
        The slides in the order in which their first parts come.
    """

    def __init__(
        self, parts: Iterable[tuple[int, IntArray]], slides: Iterable[int]
    ) -> None:
        self._parts = iter(parts)
        self._next = next(self._parts, None)
        self._slides = iter(slides)
        self._ahead = 0  # slides asked for, none of whose parts has come
        self._inside: dict[int, BoolArray] = {}
        self._begun: set[int] = set()
        self._pending: deque[tuple[int, IntArray]] = deque()
        self._held = 0

    @classmethod
    def of(cls, slides: IntArray, rows: IntArray) -> PatchSequence:
        """Make a sequence of the slide and the row of each patch."""
        ends = [*(np.flatnonzero(np.diff(slides)) + 1).tolist(), len(slides)]
        starts = [0, *ends[:-1]] if len(slides) else []
        parts = (
            (int(slides[start]), rows[start:end])
            for start, end in zip(starts, ends, strict=False)
        )
        return cls(parts, dict.fromkeys(slides[starts].tolist()))

    def next_slide(self) -> int | None:
        """Return a slide to look at now; None if enough have been asked for."""
        if self._ahead >= _LOOK_AHEAD:
            return None
        slide = next(self._slides, None)
        self._ahead += slide is not None
        return slide

    def known(self, slide: int, inside: BoolArray) -> None:
        """Note which rows of a slide there are to read; none, if it cannot be read."""
        self._inside[slide] = inside

    def ready(self, count: int) -> int | None:
        """Return how many patches can be taken.

        Parameters
        ----------
        count : int
            How many are wanted.

        Returns
        -------
        int or None
            At most `count`; fewer at the end, and then 0. None if slides have to be looked
            at before that is known.
        """
        while self._held < count and self._next is not None:
            slide, rows = self._next
            if slide not in self._inside:
                return None
            if slide not in self._begun:
                self._begun.add(slide)
                self._ahead -= 1
            rows = rows[self._inside[slide][rows]]
            if len(rows):
                self._pending.append((slide, rows))
                self._held += len(rows)
            self._next = next(self._parts, None)
        return min(count, self._held)

    def take(self, count: int) -> tuple[IntArray, IntArray]:
        """Take patches that are `ready`.

        Returns
        -------
        slides, rows : ndarray of int64, shape (count,)
            Of each patch.
        """
        taken = list(self._cut(count))
        lengths = [len(rows) for _, rows in taken]
        slides = np.array([slide for slide, _ in taken], dtype=np.int64)
        none = np.zeros(0, dtype=np.int64)
        rows = np.concatenate([none, *(rows for _, rows in taken)])
        return np.repeat(slides, lengths), rows

    def _cut(self, count: int) -> Iterator[tuple[int, IntArray]]:
        self._held -= count
        while count:
            slide, rows = self._pending.popleft()
            if len(rows) > count:
                self._pending.appendleft((slide, rows[count:]))
            yield slide, rows[:count]
            count -= min(count, len(rows))
