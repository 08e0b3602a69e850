"""Patches of many slides, batch by batch."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Literal

from dplabtools.arguments import check_choice, parse_count
from dplabtools.engine.base import EngineLike
from dplabtools.engine.limits import limits_named
from dplabtools.extraction.pool_run import OnError
from dplabtools.extraction.progress import ProgressArgument
from dplabtools.extraction.run_state import RunState
from dplabtools.extraction.selection import LocationLike
from dplabtools.extraction.stream import BatchStream
from dplabtools.extraction.stream_options import StreamOptions
from dplabtools.extraction.transform import TransformLike
from dplabtools.geometry.resolution import Number
from dplabtools.notebook import never_raises
from dplabtools.records.failure import Failure
from dplabtools.records.pixel_batch import PixelBatch
from dplabtools.records.profile import Profile
from dplabtools.slides.patches._extractor_pool import pool_run
from dplabtools.slides.patches._html import result_html

__all__ = ["StreamPatchExtractorPool"]

_AHEAD = 2  # chunks given to a worker at once: it goes on while the caller is busy


class StreamPatchExtractorPool:
    """Patches of many slides, batch by batch, in bounded memory.

    Iterating starts the workers, and yields batches whose pixels lie in memory shared with
    them. Leaving the loop, by whatever way, ends the workers at once; iterating again runs
    again. A caller who is slow makes the workers wait.

    A batch stays valid as long as somebody holds its pixels, or a view or tensor made of
    them; its memory is used again after that. Batches that are held make the ring of
    memory grow, up to `max_memory`; if all of it is held for a minute while the next batch
    is waited for, that is an error.

    Parameters
    ----------
    patches_pool : iterable of location objects
        A pool of locations, or any list of location objects and `PatchesMock`. All patches
        must have the same size.
    proc_num_workers : int
        Worker processes. They share the patches of all slides, also those of one.
    thread_num_workers : int
        Threads in each, which share an open slide.
    batch_size : int, default 256
        Patches of a batch; the last may have fewer, and so may one with patches that
        failed and were skipped.
    levels_or_mpps : sequence of int or float, default None
        Resolutions of multi-resolution patches.
    order : {"table", "near", "ready"}, default "table"
        ``"table"``: slides as given, patches in their order. ``"near"``: slides as given,
        patches from top to bottom, whatever their order: neighbours come together, and each
        tile is decoded once. ``"ready"``: nearly so, whatever is ready first.
    shuffle_buffer : int, default 0
        Patches that change places at random: slides are read in random order of
        neighbourhoods, and at least so many patches are shuffled together, whatever the
        `order`. It depends on `seed` alone, not on the workers. 0 does not shuffle.
    seed : int, default None
        Decides the shuffled order; None for another at each iteration.
    max_memory : int, default 2**30
        Bytes that the batches may take, and what workers keep for batches to come: of
        patches that lie anywhere (random ones, or a list of your own) the parts that lie in
        tiles decoded earlier. The more have room, the fewer tiles are decoded twice.
    on_error : {"raise", "skip"}, default "raise"
        Whether the first error ends the iteration, or is recorded in `errors`.
    progress : bool or callable, default False
        Who is told how far it has come.
    resampling_mode : {None, "tile", "fast", "wsi"}, default None
        How to get pixels at an mpp that no level has.
    included_labels, excluded_labels : collection of str, default ()
        Extract only these labels, or all but these.
    chunk_timeout_s : float, default 900
        A worker that takes longer over a chunk (up to 256 patches) counts as hanging; it
        is replaced, and the chunk read once more.
    transform : callable or str, default None
        A function of a module (or ``"package.module:function"``), or an object that
        pickles, which each patch goes through in the workers, before it is delivered: it
        takes an array of uint8, shape (height, width, 3), and returns one of the same shape
        and type.
    engine : Engine or str, default None
        Where to work, by a name that `config.engine` takes; or an engine of your own, which
        stays open. None for what `config.engine` says.

    Raises
    ------
    ParameterError, ParameterTypeError
        If an argument makes no sense. What concerns slides and memory is raised by
        iterating.
    """

    def __init__(
        self,
        *,
        patches_pool: Iterable[LocationLike],
        proc_num_workers: int,
        thread_num_workers: int,
        batch_size: int = 256,
        levels_or_mpps: Sequence[Number] | None = None,
        order: Literal["table", "near", "ready"] = "table",
        shuffle_buffer: int = 0,
        seed: int | None = None,
        max_memory: int = 1 << 30,
        on_error: OnError = "raise",
        progress: ProgressArgument = False,
        resampling_mode: str | None = None,
        included_labels: Collection[str] = (),
        excluded_labels: Collection[str] = (),
        chunk_timeout_s: float = 900.0,
        transform: TransformLike | None = None,
        engine: EngineLike | None = None,
    ) -> None:
        check_choice(order, ("table", "near", "ready"), name="order")
        self._run = pool_run(
            {
                "patches_pool": patches_pool,
                "proc_num_workers": proc_num_workers,
                "thread_num_workers": thread_num_workers,
                "proc_mp_chunksize": 1,
                "thread_mp_chunksize": 1,
                **({} if levels_or_mpps is None else {"levels_or_mpps": levels_or_mpps}),
                "resampling_mode": resampling_mode,
                "included_labels": included_labels,
                "excluded_labels": excluded_labels,
                "on_error": on_error,
                "progress": progress,
                "chunk_timeout_s": chunk_timeout_s,
                "transform": transform,
                "engine": engine,
            }
        )
        self._multires = levels_or_mpps is not None
        self._options = StreamOptions(
            batch_size=parse_count(batch_size, name="batch_size"),
            order=order,
            shuffle_buffer=parse_count(shuffle_buffer, name="shuffle_buffer", least=0),
            seed=seed,
            max_memory=parse_count(max_memory, name="max_memory"),
        )
        self._errors: list[Failure] = []
        self._profile = Profile()

    @property
    def errors(self) -> list[Failure]:
        """What the iteration that ended last has skipped."""
        return list(self._errors)

    @property
    def profile(self) -> Profile:
        """Where the time of the iteration that ended last went."""
        return self._profile

    @property
    def patch_count(self) -> int:
        """Number of patches asked for."""
        return sum(map(len, self._run.tables))

    def __len__(self) -> int:
        """Return the number of batches, if no patch fails."""
        return math.ceil(self.patch_count / self._options.batch_size)

    def __iter__(self) -> Iterator[PixelBatch]:
        """Run, and yield batches.

        Yields
        ------
        PixelBatch
            `pixels` uint8 of shape (n, height, width, 3), with `levels_or_mpps` (n, levels,
            height, width, 3); `labels`, `locations` (level 0 pixels), `slides`, `rows`.

        Raises
        ------
        SlideError
            If a slide cannot be opened or read where it was asked to, or changes during
            the run. Slides are opened some 64 ahead of those that are read.
        NotEnoughMemoryError
            If `max_memory` does not hold a few batches, or the caller holds all of it.
        WorkerError
            If worker processes die, twice, on the same patches.
        """
        started = time.monotonic()
        extraction, clock = self._run.extraction(), self._run.clock()
        state = RunState(extraction.tables, extraction.options)
        with ExitStack() as stack:
            stack.callback(self._keep, state)
            stack.enter_context(limits_named("patches cannot be streamed"))
            engine = stack.enter_context(self._run.engine(ahead=_AHEAD))
            stream = BatchStream(
                extraction, state, options=self._options, engine=engine, clock=clock
            )
            stack.callback(stream.close)
            work = extraction.work(segments=stream.segments)
            engine.begin(work, segments=stream.segments)
            for batch in stream:
                yield batch if self._multires else _one_view(batch)
                del batch
                state.profile.total = time.monotonic() - started

    @never_raises
    def _repr_html_(self) -> str:
        facts = {
            "patches": self.patch_count,
            "batches": f"{len(self):,} of up to {self._options.batch_size:,}",
            "slides": len(self._run.tables),
            "errors": len(self._errors) or "",
            "last time": self._profile.advice if self._profile.total else "",
        }
        return result_html(type(self).__name__, facts, errors=self._errors)

    def _keep(self, state: RunState) -> None:
        self._errors = state.errors()
        self._profile = state.profile


def _one_view(batch: PixelBatch) -> PixelBatch:
    """Return a batch without the axis of resolutions."""
    return replace(batch, pixels=batch.pixels[:, 0])
