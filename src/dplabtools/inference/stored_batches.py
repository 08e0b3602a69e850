"""Patches that are on disk, batch by batch, read ahead by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dplabtools._typing import IntArray, Pixels
from dplabtools.errors import StoredPatchesError
from dplabtools.records.failure import Failure
from dplabtools.records.patch_table import PatchTable
from dplabtools.records.pixel_batch import PixelBatch

__all__ = ["StoredBatches"]

_AHEAD = 4  # batches that are being read


@dataclass(slots=True, eq=False, kw_only=True)
class StoredBatches:
    """Patches on disk as a stream would deliver them; it pickles.

    Attributes
    ----------
    patches : sequence of StoredPatch
        What `open_patches` returns.
    tables : sequence of PatchTable
        Patches of each slide.
    numbers : sequence of ndarray of int64, shape (n,)
        For each slide, where these are in `patches`.
    batch_size : int
        Patches of a batch.
    threads : int
        How many read.
    skip_errors : bool
        Leave out what cannot be read.
    errors : list of Failure
        What the last iteration has left out.
    """

    patches: Sequence[Any]
    tables: Sequence[PatchTable]
    numbers: Sequence[IntArray]
    batch_size: int
    threads: int
    skip_errors: bool
    errors: list[Failure] = field(default_factory=list)

    def __iter__(self) -> Iterator[PixelBatch]:
        """Yield batches, slides as given and patches in their order.

        Raises
        ------
        StoredPatchesError
            If a patch cannot be read, unless errors are to be skipped.
        """
        self.errors = []
        counts = [len(each) for each in self.numbers]
        slides = np.repeat(np.arange(len(counts)), counts)
        rows = np.concatenate([*map(np.arange, counts), np.zeros(0, dtype=np.int64)])
        waiting: deque[tuple[IntArray, IntArray, list[Future[Any]]]] = deque()
        with ThreadPoolExecutor(self.threads) as threads:
            for begin in range(0, len(rows), self.batch_size):
                part = slice(begin, begin + self.batch_size)
                pairs = zip(slides[part].tolist(), rows[part].tolist(), strict=True)
                read = [threads.submit(self._read, *pair) for pair in pairs]
                waiting.append((slides[part], rows[part], read))
                if len(waiting) > _AHEAD:
                    yield from self._batch(*waiting.popleft())
            while waiting:
                yield from self._batch(*waiting.popleft())

    def _read(self, slide: int, row: int) -> Pixels | StoredPatchesError:
        try:
            pixels: Pixels = self.patches[int(self.numbers[slide][row])].array
        except StoredPatchesError as error:
            if not self.skip_errors:
                raise
            return error
        return pixels

    def _batch(
        self, slides: IntArray, rows: IntArray, read: list[Future[Any]]
    ) -> Iterator[PixelBatch]:
        """Yield the batch, unless nothing of it could be read."""
        found = [each.result() for each in read]
        kept = np.array([isinstance(each, np.ndarray) for each in found], dtype=np.bool_)
        for place in np.flatnonzero(~kept).tolist():
            wsi_file = self.tables[int(slides[place])].slide
            failure = Failure(wsi_file=wsi_file, row=int(rows[place]), error=found[place])
            self.errors.append(failure)
        if not kept.any():
            return
        slides, rows = slides[kept], rows[kept]
        tables = [self.tables[slide] for slide in slides.tolist()]
        pairs = list(zip(tables, rows.tolist(), strict=True))
        yield PixelBatch(
            pixels=np.stack([each for each in found if isinstance(each, np.ndarray)]),
            labels=np.array([""] * len(rows), dtype=np.object_),
            locations=np.array([table.origins[row] for table, row in pairs]),
            slides=slides,
            rows=rows,
        )
