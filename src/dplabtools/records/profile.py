"""Where the time of a run went."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from dplabtools._typing import IntArray
from dplabtools.notebook import facts_card, never_raises, rows_table

__all__ = ["Profile"]

_MUCH = 0.5  # share of the time from which on it is worth a word


@dataclass(slots=True, eq=False)
class Profile:
    """Seconds by stage.

    Attributes
    ----------
    workers : dict of (str, int) to dict of str to float
        For each worker process, by machine and number, the seconds that its threads spent
        in ``read`` (reading the file, and decoding where the library does not tell),
        ``decode``, ``resample``, ``copy`` (to shared memory), ``write`` (encoding, and
        writing files) and ``wait``
        (for something to do).
    plan : float
        Seconds until slides were opened and planned; of a stream, until the first was.
    caller : float
        Seconds that a stream spent in the hands of whoever iterates.
    total : float
        Seconds of the whole run so far.
    """

    workers: dict[tuple[str, int], dict[str, float]] = field(default_factory=dict)
    plan: float = 0.0
    caller: float = 0.0
    total: float = 0.0
    _tiles: dict[int, list[IntArray]] = field(default_factory=dict, repr=False)

    def add_tiles(self, slide: int, tiles: Iterable[IntArray]) -> None:
        """Add the numbers of the tiles of a slide that a worker decoded."""
        self._tiles.setdefault(slide, []).extend(tiles)

    @property
    def tiles_decoded(self) -> int:
        """How often the native reader decoded a stored tile."""
        return sum(len(part) for parts in self._tiles.values() for part in parts)

    @property
    def tiles_distinct(self) -> int:
        """How many tiles these are."""
        slides = [np.concatenate(parts) for parts in self._tiles.values() if parts]
        return sum(len(np.unique(numbers)) for numbers in slides)

    @property
    def excess(self) -> float:
        """How much more was decoded than if no tile had been decoded twice.

        0.1 is a tenth more. Tiles at the border of chunks are decoded by two workers, or
        by one that no longer had them.
        """
        distinct = self.tiles_distinct
        return self.tiles_decoded / distinct - 1 if distinct else 0.0

    def add(self, worker: tuple[str, int], seconds: Mapping[str, float]) -> None:
        """Add what a worker spent."""
        mine = self.workers.setdefault(worker, {})
        for name, value in seconds.items():
            mine[name] = mine.get(name, 0.0) + value

    def stages(self) -> dict[str, float]:
        """Return the seconds of all workers together, by stage, longest first."""
        joined: dict[str, float] = {}
        for mine in self.workers.values():
            for name, value in mine.items():
                joined[name] = joined.get(name, 0.0) + value
        return dict(sorted(joined.items(), key=lambda each: -each[1]))

    @property
    def advice(self) -> str:
        """A line about what holds the run back, and what may help."""
        stages = self.stages()
        spent = sum(stages.values())
        if not spent:
            return "Nothing was read."
        cores = os.cpu_count() or 1
        if self.caller > _MUCH * self.total:
            return (
                f"The workers wait for whoever takes the batches, who was busy for "
                f"{self.caller / self.total:.0%} of the time: more processes will not help."
            )
        if self.plan > _MUCH * self.total:
            return (
                f"Opening slides and planning took {self.plan / self.total:.0%} of the "
                f"time: extract more patches in one run."
            )
        if len(self.workers) < cores:
            used = len(self.workers)
            return f"{used} of {cores} cores read: raise proc_num_workers to {cores}."
        if stages.get("wait", 0.0) > _MUCH * spent:
            return (
                f"The workers wait {stages['wait'] / spent:.0%} of their time: the run is "
                f"too small for so many, or batches are too small."
            )
        return self._advice_for_busy_workers(stages)

    def _advice_for_busy_workers(self, stages: Mapping[str, float]) -> str:
        if self.excess > _MUCH:
            return (
                f"Each tile was decoded {1 + self.excess:.1f} times, as neighbours do not "
                f'follow each other: order="near" of a stream takes each tile once, and '
                f"more max_memory helps."
            )
        longest, share = next(iter(stages)), max(stages.values()) / sum(stages.values())
        return (
            f"All {os.cpu_count() or 1} cores are busy; most of it is {longest} "
            f"({share:.0%}). {_REMEDIES.get(longest, '')}".rstrip()
        )

    @never_raises
    def _repr_html_(self) -> str:
        stages = self.stages()
        spent = sum(stages.values()) or 1.0
        rows = [
            (name, f"{value:.2f}", f"{value / spent:.0%}") for name, value in stages.items()
        ]
        facts = {
            "seconds": f"{self.total:.2f}",
            "planning": f"{self.plan:.2f}" if self.plan else "",
            "the caller's": f"{self.caller:.2f}" if self.caller else "",
            "workers": len(self.workers),
            "tiles decoded": f"{self.tiles_decoded:,}" if self.tiles_decoded else "",
            "of them again": f"{self.excess:.1%}" if self.tiles_decoded else "",
            "advice": self.advice,
        }
        below = rows_table(("stage", "seconds of all workers", "share"), rows)
        return facts_card("Profile", facts, below=below if rows else "")

    def __str__(self) -> str:
        stages = ", ".join(f"{name} {value:.2f} s" for name, value in self.stages().items())
        return (
            f"{self.total:.2f} s (plan {self.plan:.2f} s; workers: {stages}). {self.advice}"
        )


_REMEDIES = {
    "resample": "With set_level_zero_resampling(False) there is less to resample.",
    "encode": 'A faster encoding helps: image_type="jpg", or save_options.',
}
