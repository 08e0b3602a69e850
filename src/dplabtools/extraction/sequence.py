"""In which order the patches of a stream are read, while slides are still looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np

from dplabtools._typing import BoolArray, IntArray

__all__ = ["PatchSequence"]

_Cut: TypeAlias = Callable[[int, IntArray], Iterable[IntArray]]

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
        self._pending: list[tuple[int, IntArray]] = []
        self._held = 0

    @classmethod
    def of(cls, slides: IntArray, rows: IntArray, *, cut: _Cut) -> PatchSequence:
        """Make a sequence of the slide and the row of each patch.

        Parameters
        ----------
        slides, rows : ndarray of int, shape (n,)
            In the order of reading.
        cut : callable
            Makes parts of a slide, and rows of it that follow each other.
        """
        ends = [*(np.flatnonzero(np.diff(slides)) + 1).tolist(), len(slides)]
        starts = [0, *ends[:-1]] if len(slides) else []
        parts = (
            (int(slides[start]), part)
            for start, end in zip(starts, ends, strict=False)
            for part in cut(int(slides[start]), rows[start:end])
        )
        return cls(parts, dict.fromkeys(slides[starts].tolist()))

    def next_slide(self) -> int | None:
        """Return a slide to look at now; None if enough have been asked for."""
        if self._ahead >= _LOOK_AHEAD:
            return None
        slide = next(self._slides, None)
        self._ahead += slide is not None
        return slide

    @property
    def left(self) -> bool:
        """Whether there may be patches that have not been taken."""
        return self._next is not None or bool(self._pending)

    def known(self, slide: int, inside: BoolArray) -> None:
        """Note which rows of a slide there are to read; none, if it cannot be read."""
        self._inside[slide] = inside

    def take(self, least: int) -> list[tuple[int, IntArray]] | None:
        """Take parts from the front, of those rows that there are.

        Parameters
        ----------
        least : int
            How many patches are wanted.

        Returns
        -------
        list of (int, ndarray of int), or None
            Slides and rows: whole parts, with at least as many patches together; with fewer
            at the end, and then none. None if slides have to be looked at before that is
            known.
        """
        while self._held < least and self._next is not None:
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
        taken, self._pending, self._held = self._pending, [], 0
        return taken
