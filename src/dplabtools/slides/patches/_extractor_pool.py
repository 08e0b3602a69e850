"""What the documented extractor pools share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import InitVar
from typing import Any

from PIL import Image

from dplabtools import config
from dplabtools.engine.base import EngineLike
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
    engine = config.chosen_engine(arguments.get("engine"))
    return PoolRun(arguments, settings=config.snapshot(), engine=engine)


@declared
class ExtractorPool(Declared):
    """Parameters of every extractor pool, and what it tells of its run.

    Parameters
    ----------
    levels_or_mpps : sequence of int or float
        Resolutions of each set: an int is a level, a float microns per pixel. All images
        of a set have the same size in pixels and the same centre.
    patches_pool : iterable of location objects
        A pool of locations, or any list of location objects and `PatchesMock`.
    proc_num_workers : int
        Worker processes. They share the patches of all slides, also those of one.
    thread_num_workers : int
        Threads in each, which share an open slide.
    proc_mp_chunksize, thread_mp_chunksize : int
        Kept for the documented interface, and checked; work is cut up by where patches
        lie, whatever these say.
    resampling_mode : {None, "tile", "fast", "wsi"}
        How to get pixels at an mpp that no level has: None refuses, ``"tile"`` resamples
        each patch, ``"fast"`` does so of tiles decoded at a half, a quarter or an eighth of
        their size, ``"wsi"`` gives the pixels of resampling the whole slide.
    included_labels, excluded_labels : collection of str
        Extract only these labels, or all but these.
    on_error : {"raise", "skip"}
        ``"raise"``: the first error ends everything. ``"skip"``: a patch or slide that
        fails is recorded in `errors`, and everything else is delivered.
    progress : bool or callable
        True writes a line to standard error, or moves a bar in a notebook; a callable is
        given a `dplabtools.extraction.progress.Progress` several times a second.
    chunk_timeout_s : float
        A worker that takes longer over a chunk (up to 256 patches) counts as hanging; it
        is replaced, and the chunk read once more.
    transform : callable or str
        A function of a module (or ``"package.module:function"``), or an object that
        pickles, which each patch goes through in the workers, before it is delivered: it
        takes an array of uint8, shape (height, width, 3), and returns one of the same shape
        and type.
    engine : Engine or str
        Where to work, by a name that `config.engine` takes; or an engine of your own, which
        stays open. None for what `config.engine` says.

    Raises
    ------
    ParameterError
        If an argument makes no sense (also a `ValueError`).
    ParameterTypeError
        If an argument has a wrong type (also a `TypeError`).
    SlideError
        If a slide cannot be opened or read where it was asked to.
    WorkerError
        If worker processes die, twice, on the same patches.
    """

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
    engine: InitVar[EngineLike | None] = None

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
