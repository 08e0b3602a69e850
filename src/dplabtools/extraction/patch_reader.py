"""Patches of one slide by their rows, read in this process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dplabtools._typing import Pixels
from dplabtools.engine.choose import RunOptions
from dplabtools.extraction.plan import Reading, plan_slide
from dplabtools.extraction.returned import ReturnedPatches
from dplabtools.extraction.source import Chunk, InspectSlide, ReadChunk, SlideSpec
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.records.patch_table import PatchTable
from dplabtools.records.slide_plan import SlidePlan

__all__ = ["PatchReader"]


@dataclass(slots=True, eq=False, kw_only=True)
class PatchReader:
    """Reads any patches of a slide, several at once, each tile of the slide once.

    The slide is opened when the first patch is read, in each process anew: copies that
    were pickled or forked share nothing with this one.

    Attributes
    ----------
    table : PatchTable
        The patches.
    reading : Reading
        How to read them.
    extra_mpps : tuple of float
        Resolutions that whole-slide resampling prepares for.
    """

    table: PatchTable
    reading: Reading
    extra_mpps: tuple[float, ...] = ()
    _facts: tuple[SlideSpec, Pyramid] | None = field(default=None, repr=False)
    _open: tuple[int, ReadChunk, SlidePlan] | None = field(default=None, repr=False)

    @property
    def views(self) -> int:
        """Number of resolutions of each patch."""
        return len(self.reading.views_of(self.table))

    @property
    def pyramid(self) -> Pyramid:
        """The levels of the slide.

        Raises
        ------
        SlideError
            If it cannot be opened.
        """
        return self._inspected()[1]

    def open(self) -> None:
        """Open the slide, unless this process has it open.

        Raises
        ------
        SlideError
            If it cannot be opened, or not be read at the resolutions asked for.
        """
        self._source()

    def read(self, rows: Sequence[int]) -> list[list[Pixels]]:
        """Return patches, in the order of the rows.

        Parameters
        ----------
        rows : sequence of int
            Rows of the table.

        Returns
        -------
        list of list of ndarray of uint8, shape (height, width, 3)
            For each row, its pixels at each resolution, which nobody else writes to.

        Raises
        ------
        SlideError
            If a patch cannot be read.
        """
        work, plan = self._source()
        numbers = np.asarray(rows, dtype=np.int64)
        place = ReturnedPatches()
        work(Chunk.of(plan, numbers, place=place))
        found = place.take()
        return [found[item] for item in range(len(numbers))]

    def close(self) -> None:
        """Close the slide; reading opens it again."""
        if self._open is not None and self._open[0] == os.getpid():
            self._open[1].close()
        self._open = None

    def _inspected(self) -> tuple[SlideSpec, Pyramid]:
        if self._facts is None:
            spec = SlideSpec(path=self.table.slide, extra_mpps=self.extra_mpps)
            facts = InspectSlide(reading=self.reading)(spec)
            self._facts = (facts.known(spec), facts.pyramid)
        return self._facts

    def _source(self) -> tuple[ReadChunk, SlidePlan]:
        if self._open is None or self._open[0] != os.getpid():
            spec, pyramid = self._inspected()
            plan = plan_slide(0, self.table, pyramid=pyramid, reading=self.reading)
            work = ReadChunk(slides=(spec,), reading=self.reading, options=RunOptions())
            self._open = (os.getpid(), work, plan)
        return self._open[1], self._open[2]

    def __getstate__(self) -> dict[str, Any]:
        return {
            "table": self.table,
            "reading": self.reading,
            "extra_mpps": self.extra_mpps,
            "_facts": self._facts,
            "_open": None,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
