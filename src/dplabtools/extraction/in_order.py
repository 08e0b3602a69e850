"""The patches of one slide one by one, in the order of their table, read ahead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from dplabtools._typing import IntArray, Pixels
from dplabtools.engine.base import run_in_order
from dplabtools.engine.choose import RunOptions, open_engine
from dplabtools.extraction.chunk_reader import Chunk, ReadChunk
from dplabtools.extraction.inspection import InspectSlide, SlideSpec
from dplabtools.extraction.plan import ReadOptions, chunk_rows, plan_slide, rows_outside
from dplabtools.extraction.returned import ReturnedPatches
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.records.patch_table import PatchTable

__all__ = ["PatchesInOrder"]

_ROWS_AHEAD: Final = 16  # patches of a chunk at most: the first is not to wait for many


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PatchesInOrder:
    """Reads the patches of a slide, one by one; threads read a few ahead.

    Attributes
    ----------
    table : PatchTable
        The patches.
    reading : ReadOptions
        How to read them.
    spec : SlideSpec
        How to open the slide.
    pyramid : Pyramid
        Its levels.
    icc_profile : bytes or None
        Its colour profile.
    threads : int
        How many read.
    """

    table: PatchTable
    reading: ReadOptions
    spec: SlideSpec
    pyramid: Pyramid
    icc_profile: bytes | None
    threads: int

    @classmethod
    def of(cls, table: PatchTable, *, reading: ReadOptions, threads: int) -> PatchesInOrder:
        """Open the slide to see what it is like.

        Raises
        ------
        SlideError
            If it cannot be opened.
        """
        spec = SlideSpec(path=table.slide, extra_mpps=reading.extra_mpps(table))
        facts = InspectSlide(reading=reading)(spec)
        return cls(
            table=table,
            reading=reading,
            spec=facts.known(spec),
            pyramid=facts.pyramid,
            icc_profile=facts.icc_profile,
            threads=threads,
        )

    def __iter__(self) -> Iterator[tuple[int, Sequence[Pixels], str]]:
        """Yield row, pixels at each resolution, and label of each patch."""
        plan = plan_slide(0, self.table, pyramid=self.pyramid, reading=self.reading)
        for _, error in rows_outside(plan, self.reading):
            raise error
        labels: list[str] = self.table.row_labels().tolist()
        work = ReadChunk(slides=(self.spec,), reading=self.reading, options=RunOptions())
        parts = self._consecutive()
        writers = [ReturnedPatches() for _ in parts]
        chunks = [
            Chunk.of(plan, rows, writer=writer)
            for rows, writer in zip(parts, writers, strict=True)
        ]
        with open_engine("threads", RunOptions(workers=self.threads)) as engine:
            for outcome in run_in_order(engine, work, chunks, ahead=engine.capacity):
                outcome.value()
                patches = writers[outcome.index].take()
                for item, row in enumerate(parts[outcome.index].tolist()):
                    yield row, patches.pop(item), labels[row]

    def _consecutive(self) -> list[IntArray]:
        """Cut the rows into chunks in the order of the table."""
        every = np.arange(len(self.table))
        if not len(every):
            return []
        views = len(self.reading.views_of(self.table))
        most = chunk_rows(
            self.table, every, views=views, total=len(every), workers=self.threads
        )
        count = min(_ROWS_AHEAD, most)
        return [every[start : start + count] for start in range(0, len(every), count)]
