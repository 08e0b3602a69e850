"""What the documented extractor pools share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import InitVar
from typing import Any

from PIL import Image

from dplabtools import config
from dplabtools.extraction.pool_run import OnError, PoolRun
from dplabtools.extraction.progress import ProgressArgument
from dplabtools.extraction.run_state import RunState
from dplabtools.extraction.selection import LocationLike
from dplabtools.extraction.transform import TransformLike
from dplabtools.notebook import never_raises
from dplabtools.records.failure import Failure
from dplabtools.records.profile import Profile
from dplabtools.records.quality import QualityLimits
from dplabtools.slides._declared import Declared, declared
from dplabtools.slides.patches._html import result_html

__all__ = ["ExtractorPool", "pool_run"]


def pool_run(arguments: Mapping[str, Any]) -> PoolRun:
    """Return a run over the slides of a pool, with the configuration as it stands."""
    return PoolRun(arguments, settings=config.snapshot(), engine=config.chosen_engine())


@declared
class ExtractorPool(Declared):
    """Parameters of every extractor pool, and what it tells of its run."""

    patches_pool: InitVar[Iterable[LocationLike]]
    proc_num_workers: InitVar[int]
    thread_num_workers: InitVar[int]
    proc_mp_chunksize: InitVar[int] = 1
    thread_mp_chunksize: InitVar[int] = 1
    resampling_mode: InitVar[str | None] = None
    included_labels: InitVar[Collection[str]] = ()
    excluded_labels: InitVar[Collection[str]] = ()
    on_error: InitVar[OnError] = "raise"
    progress: InitVar[ProgressArgument] = False
    chunk_timeout_s: InitVar[float] = 900.0
    transform: InitVar[TransformLike | None] = None
    quality: InitVar[bool | QualityLimits] = False

    def _keep(self, state: RunState, *, views: int) -> None:
        """Keep what became of the run."""
        self._errors = state.errors()
        self._pids = state.pids
        self._profile = state.profile
        self._seconds = state.seconds
        self._delivered = sum(int(rows.sum()) for rows in state.delivered)
        self._views = views

    @property
    def errors(self) -> list[Failure]:
        """What was skipped: slides as given, patches in their order."""
        return list(self._errors)

    @property
    def pids(self) -> list[int]:
        """For each slide as given, the process that finished it."""
        return list(self._pids)

    @property
    def slide_seconds(self) -> list[float]:
        """For each slide as given, how long workers were at it, all together."""
        return list(self._seconds)

    @property
    def profile(self) -> Profile:
        """Where the time went, by worker and stage, with a line of advice."""
        return self._profile

    @property
    def patch_count(self) -> int:
        """Number of images produced."""
        return self._delivered * self._views

    def _facts(self) -> dict[str, object]:
        """Return what is shown of the result, beside numbers and errors."""
        return {}

    def _pictures(self) -> list[Image.Image]:
        """Return some of the patches, small."""
        return []

    @never_raises
    def _repr_html_(self) -> str:
        facts = {
            "images": self.patch_count,
            "errors": len(self._errors) or "none",
            **self._facts(),
            "seconds": f"{self._profile.total:.1f}",
            "advice": self._profile.advice,
        }
        name = type(self).__name__
        return result_html(name, facts, pictures=self._pictures(), errors=self._errors)
