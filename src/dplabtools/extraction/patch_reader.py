"""Patches of slides by their numbers, read in this process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dplabtools._typing import IntArray, Pixels
from dplabtools.engine.choose import RunOptions
from dplabtools.extraction.chunk_reader import Chunk, ReadChunk
from dplabtools.extraction.inspection import InspectSlide, SlideSpec
from dplabtools.extraction.plan import ReadOptions, plan_slide
from dplabtools.extraction.returned import ReturnedPatches
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.records.patch_table import PatchTable
from dplabtools.records.slide_plan import SlidePlan

__all__ = ["PatchReader"]


@dataclass(slots=True, eq=False, kw_only=True)
class PatchReader:
    """Reads any patches of slides, several at once, each tile of a slide once.

    A slide is opened when the first of its patches is read, in each process anew: copies
    that were pickled or forked share nothing with this one. Few are open at a time.

    Attributes
    ----------
    tables : tuple of PatchTable
        The patches of each slide. Their numbers run through all of them.
    reading : ReadOptions
        How to read them.
    extra_mpps : tuple of float
        Resolutions that whole-slide resampling prepares for.
    """

    tables: tuple[PatchTable, ...]
    reading: ReadOptions
    extra_mpps: tuple[float, ...] = ()
    _facts: dict[int, tuple[SlideSpec, Pyramid]] = field(default_factory=dict, repr=False)
    _plans: dict[int, SlidePlan] = field(default_factory=dict, repr=False)
    _work: tuple[int, ReadChunk] | None = field(default=None, repr=False)

    @property
    def locations(self) -> IntArray:
        """Corners of all patches in level 0 pixels, shape (n, 2)."""
        none = np.zeros((0, 2), dtype=np.int64)
        return np.concatenate([none, *(table.origins for table in self.tables)])

    def pyramid(self, slide: int) -> Pyramid:
        """Return the levels of a slide.

        Raises
        ------
        SlideError
            If it cannot be opened.
        """
        return self._inspected(slide)[1]

    def slide_of(self, number: int) -> str:
        """Return the file of the slide of a patch."""
        return self.tables[self._places([number])[0].item()].slide

    def open(self) -> None:
        """Look at the slides, unless that has been done.

        Raises
        ------
        SlideError
            If one cannot be opened, or not be read at the resolutions asked for.
        """
        for slide in range(len(self.tables)):
            self._plan(slide)

    def read(self, numbers: Sequence[int]) -> list[list[Pixels]]:
        """Return patches, in the order of the numbers.

        Parameters
        ----------
        numbers : sequence of int
            Of patches.

        Returns
        -------
        list of list of ndarray of uint8, shape (height, width, 3)
            For each number, its pixels at each resolution, which nobody else writes to.

        Raises
        ------
        SlideError
            If a patch cannot be read.
        """
        slides, rows = self._places(numbers)
        found: list[list[Pixels]] = [[] for _ in numbers]
        for slide in sorted(set(slides.tolist())):
            mine = np.flatnonzero(slides == slide)
            writer = ReturnedPatches()
            plan, spec = self._plan(slide), self._inspected(slide)[0]
            self._reader()(Chunk.of(plan, rows[mine], writer=writer, spec=spec))
            for item, pictures in writer.take().items():
                found[mine[item]] = pictures
        return found

    def close(self) -> None:
        """Close the slides; reading opens them again."""
        if self._work is not None and self._work[0] == os.getpid():
            self._work[1].close()
        self._work = None

    def _places(self, numbers: Sequence[int]) -> tuple[IntArray, IntArray]:
        """Return slide and row of patches."""
        ends = np.cumsum([len(table) for table in self.tables])
        slides = np.searchsorted(ends, numbers, side="right")
        rows = np.asarray(numbers, dtype=np.int64) - np.array([0, *ends])[slides]
        return slides, rows

    def _inspected(self, slide: int) -> tuple[SlideSpec, Pyramid]:
        if slide not in self._facts:
            spec = SlideSpec(path=self.tables[slide].slide, extra_mpps=self.extra_mpps)
            facts = InspectSlide(reading=self.reading)(spec)
            self._facts[slide] = (facts.known(spec), facts.pyramid)
        return self._facts[slide]

    def _plan(self, slide: int) -> SlidePlan:
        if slide not in self._plans:
            pyramid = self.pyramid(slide)
            self._plans[slide] = plan_slide(
                slide, self.tables[slide], pyramid=pyramid, reading=self.reading
            )
        return self._plans[slide]

    def _reader(self) -> ReadChunk:
        """Return what reads in this process."""
        if self._work is None or self._work[0] != os.getpid():
            work = ReadChunk(slides=(), reading=self.reading, options=RunOptions())
            self._work = (os.getpid(), work)
        return self._work[1]

    def __getstate__(self) -> dict[str, Any]:
        names = ("tables", "reading", "extra_mpps", "_facts")
        kept = {name: getattr(self, name) for name in names}
        return {**kept, "_plans": {}, "_work": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
