"""In which order an epoch goes through the patches, and who gets which of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dplabtools._typing import IntArray
from dplabtools.errors import ParameterError
from dplabtools.extraction.plan import blocks
from dplabtools.records.patch_table import PatchTable

__all__ = ["Epochs", "RankShare"]

_ENDLESS = 1 << 62  # patches: neighbourhoods as large as they may be


@dataclass(frozen=True, slots=True, kw_only=True)
class RankShare:
    """Which part of an epoch a process of a distributed run goes through.

    All ranks get the same number of batches. Their numbers of patches differ by one at
    most; where that one patch would need a batch of its own, it is left out.

    Attributes
    ----------
    patches : int
        Patches of all ranks together.
    batch_size : int
        Patches of a batch; the last of each rank may have fewer.
    rank, world_size : int
        This process among all.

    Raises
    ------
    ParameterError
        If there is no such rank, or a rank would get nothing.
    """

    patches: int
    batch_size: int
    rank: int
    world_size: int

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            msg = f"rank must be from 0 to world_size - 1, not {self.rank}"
            raise ParameterError(msg)
        if 0 < self.patches < self.world_size:
            msg = f"{self.patches} patches cannot be shared by {self.world_size} ranks"
            raise ParameterError(msg, remedy="give more patches, or start fewer ranks")

    @property
    def batches(self) -> int:
        """Number of batches of each rank."""
        return -(-(self.patches // self.world_size) // self.batch_size)

    @property
    def left_out(self) -> int:
        """Number of patches of all ranks together that nobody gets in an epoch."""
        fair, rest = divmod(self.patches, self.world_size)
        return rest if fair % self.batch_size == 0 else 0

    @property
    def span(self) -> slice:
        """Part of the epoch that is this rank's."""
        given = self.patches - self.left_out
        first = given * self.rank // self.world_size
        return slice(first, given * (self.rank + 1) // self.world_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Epochs:
    """The order of patches in each epoch, which no number of workers has a say in.

    Attributes
    ----------
    tables : sequence of PatchTable
        The patches, slide by slide.
    views : int
        Resolutions of each.
    shuffle_buffer : int
        Patches that change places with each other; 0 keeps all in the order of the tables.
    seed : int
        Decides the order, together with the number of the epoch.
    """

    tables: Sequence[PatchTable]
    views: int
    shuffle_buffer: int
    seed: int

    def order(self, epoch: int) -> tuple[IntArray, IntArray]:
        """Return slide and row of every patch, in the order of an epoch."""
        rows = [np.arange(len(table)) for table in self.tables]
        if not self.shuffle_buffer:
            slides = np.repeat(np.arange(len(rows)), [len(each) for each in rows])
            return slides, np.concatenate([np.zeros(0, dtype=np.int64), *rows])
        parts = [
            (slide, part)
            for slide, table in enumerate(self.tables)
            for part in blocks(
                table, rows[slide], views=self.views, total=_ENDLESS, workers=1
            )
        ]
        rng = np.random.default_rng([self.seed, epoch])
        parts = [parts[index] for index in rng.permutation(len(parts))]
        slides = np.repeat([slide for slide, _ in parts], [len(part) for _, part in parts])
        every = np.concatenate([np.zeros(0, dtype=np.int64), *(part for _, part in parts)])
        places = np.arange(len(every))
        for start in range(0, len(every), self.shuffle_buffer):
            rng.shuffle(places[start : start + self.shuffle_buffer])
        return slides.astype(np.int64)[places], every[places]
