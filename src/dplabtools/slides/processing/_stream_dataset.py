"""The stream of patches as a dataset of PyTorch."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from dplabtools._typing import IntArray
from dplabtools.arguments import check_choice, parse_count
from dplabtools.engine.limits import limits_named
from dplabtools.errors import ParameterError
from dplabtools.extraction.epoch import Epochs, RankShare
from dplabtools.extraction.pool_run import OnError, PoolRun
from dplabtools.extraction.run_state import RunState
from dplabtools.extraction.selection import LocationLike
from dplabtools.extraction.stream import BatchStream
from dplabtools.extraction.stream_options import StreamOptions
from dplabtools.extraction.transform import TransformLike
from dplabtools.geometry.resolution import Number
from dplabtools.inference.streaming import Delivery, StreamedPatches
from dplabtools.records.failure import Failure
from dplabtools.records.pixel_batch import PixelBatch
from dplabtools.slides.patches._extractor_pool import pool_run

__all__ = ["PatchStreamDataset"]

_AHEAD = 2  # chunks given to a worker at once: it goes on while the caller is busy


@dataclass(slots=True, kw_only=True)
class _Pool:
    """Reads any patches of the slides, in the order asked for.

    Attributes
    ----------
    run : PoolRun
        Slides, and how to read them.
    options : StreamOptions
        Batches and memory.
    multires : bool
        Whether pixels have an axis of resolutions.
    errors : list of Failure
        What the iteration that ended last has skipped.
    """

    run: PoolRun
    options: StreamOptions
    multires: bool
    errors: list[Failure]

    def batches(
        self, slides: IntArray, rows: IntArray, /, *, in_worker: bool
    ) -> Iterator[PixelBatch]:
        """Yield batches of these patches; only their slides are opened."""
        used, numbers = np.unique(slides, return_inverse=True)
        wanted = [np.unique(rows[slides == slide]) for slide in used]
        places = np.empty_like(rows)
        for number, of_slide in enumerate(wanted):
            here = numbers == number
            places[here] = np.searchsorted(of_slide, rows[here])
        run = copy.copy(self.run)
        run.tables = [
            self.run.tables[slide].take(of_slide)
            for slide, of_slide in zip(used.tolist(), wanted, strict=True)
        ]
        if in_worker:
            run.processes = 1
        options = replace(self.options, sequence=(numbers.astype(np.int64), places))
        for batch in self._stream(run, options, wanted, in_worker=in_worker):
            first = [
                wanted[slide][row]
                for slide, row in zip(batch.slides, batch.rows, strict=True)
            ]
            yield replace(
                batch,
                pixels=batch.pixels if self.multires else batch.pixels[:, 0],
                slides=used[batch.slides],
                rows=np.array(first, dtype=np.int64),
            )
            del batch

    def _stream(
        self,
        run: PoolRun,
        options: StreamOptions,
        wanted: Sequence[IntArray],
        *,
        in_worker: bool,
    ) -> Iterator[PixelBatch]:
        extraction, clock = run.extraction(), run.clock()
        state = RunState(extraction.tables, extraction.options)
        with ExitStack() as stack:
            stack.callback(self._keep, state, wanted)
            stack.enter_context(limits_named("patches cannot be streamed"))
            engine = stack.enter_context(run.engine(ahead=_AHEAD, here=in_worker))
            stream = BatchStream(
                extraction, state, options=options, engine=engine, clock=clock
            )
            stack.callback(stream.close)
            work = extraction.work(segments=stream.segments)
            engine.begin(work, segments=stream.segments)
            yield from stream

    def _keep(self, state: RunState, wanted: Sequence[IntArray]) -> None:
        """Keep what was skipped, with rows of the slides and not of what was read."""
        self.errors = [
            failure if failure.row is None else replace(failure, row=int(rows[failure.row]))
            for rows, errors in zip(wanted, state.errors_by_slide(), strict=True)
            for failure in errors
        ]


class PatchStreamDataset(StreamedPatches):
    """Patches of many slides as an ``IterableDataset``, in batches or one by one.

    Without a `DataLoader`, or with ``num_workers=0``, worker processes of its own read
    ahead, and batches are views on memory shared with them. In the workers of a
    `DataLoader` each reads its own batches itself. Samples and their order are the same.

    An item is a dict: ``pixels`` (uint8), ``targets`` (or ``labels``, text), ``locations``
    ((x, y) in level 0 pixels), ``slides`` (place in the pool), ``rows`` (of the slide).

    Parameters
    ----------
    patches_pool : iterable of location objects
        A pool of locations, or any list of location objects and `PatchesMock`. All patches
        must have the same size.
    batch_size : int, default 256
        Patches of a batch; the last may have fewer, and so may one with patches that
        failed and were skipped.
    samples : bool, default False
        Yield patches one by one, for a `DataLoader` to put together: give it the same
        `batch_size`, for the order not to depend on its workers.
    labels : mapping of str to number, default None
        Number of each label, as ``targets``. None for the text, as ``labels``.
    levels_or_mpps : sequence of int or float, default None
        Resolutions of multi-resolution patches.
    resampling_mode : {None, "tile", "fast", "wsi"}, default None
        How to get pixels at an mpp that no level has.
    transform : callable or str, default None
        As for `StreamPatchExtractorPool`.
    channels : {"last", "first"}, default "last"
        ``pixels`` of shape (n, height, width, 3), or a view of them as (n, 3, height,
        width), in PyTorch's memory format ``channels_last``
        (https://docs.pytorch.org/tutorials/intermediate/memory_format_tutorial.html);
        several resolutions lie behind the first axis.
    shuffle_buffer : int, default 0
        Patches that change places at random: slides are read in random order of
        neighbourhoods, and so many patches are shuffled together. 0 does not shuffle.
    seed : int, default 0
        Decides the order, together with ``set_epoch``; the same on all ranks.
    rank, world_size : int, default None
        Which share to take. None for those of ``torch.distributed``, if it has been
        initialised by now; else all.
    proc_num_workers : int, default 2
        Worker processes of its own, without workers of a `DataLoader`.
    thread_num_workers : int, default 1
        Threads in each.
    pin_memory : bool, default None
        Copy batches to page-locked memory, outside the workers of a `DataLoader` (which
        has an option for them). None if there is a GPU.
    max_memory : int, default 2**30
        Bytes that the batches may take, and what workers keep for batches to come, in each
        process that iterates.
    on_error : {"raise", "skip"}, default "raise"
        Whether the first error ends the iteration, or is recorded in `errors`.

    Raises
    ------
    ParameterError, ParameterTypeError
        If an argument makes no sense, a label has no number, or there are fewer patches
        than ranks. What concerns slides and memory is raised by iterating.
    """

    def __init__(
        self,
        *,
        patches_pool: Iterable[LocationLike],
        batch_size: int = 256,
        samples: bool = False,
        labels: Mapping[str, float] | None = None,
        levels_or_mpps: Sequence[Number] | None = None,
        resampling_mode: str | None = None,
        transform: TransformLike | None = None,
        channels: Literal["last", "first"] = "last",
        shuffle_buffer: int = 0,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        proc_num_workers: int = 2,
        thread_num_workers: int = 1,
        pin_memory: bool | None = None,
        max_memory: int = 1 << 30,
        on_error: OnError = "raise",
    ) -> None:
        check_choice(channels, ("last", "first"), name="channels")
        run = pool_run(
            {
                "patches_pool": patches_pool,
                "proc_num_workers": proc_num_workers,
                "thread_num_workers": thread_num_workers,
                "proc_mp_chunksize": 1,
                "thread_mp_chunksize": 1,
                **({} if levels_or_mpps is None else {"levels_or_mpps": levels_or_mpps}),
                "resampling_mode": resampling_mode,
                "included_labels": (),
                "excluded_labels": (),
                "on_error": on_error,
                "progress": False,
                "chunk_timeout_s": 900.0,
                "transform": transform,
            }
        )
        run.selections = []  # parameters of locations, which workers need not get
        options = StreamOptions(
            batch_size=parse_count(batch_size, name="batch_size"),
            order="table",
            shuffle_buffer=parse_count(shuffle_buffer, name="shuffle_buffer", least=0),
            seed=parse_count(seed, name="seed", least=0),
            max_memory=parse_count(max_memory, name="max_memory"),
        )
        if labels is not None:
            _check_labels(run, labels)
        rank, world_size = _place(rank, world_size)
        self._pool = _Pool(
            run=run, options=options, multires=levels_or_mpps is not None, errors=[]
        )
        super().__init__(
            self._pool,
            epochs=Epochs(
                tables=run.tables,
                views=run.views,
                shuffle_buffer=options.shuffle_buffer,
                seed=seed,
            ),
            share=RankShare(
                patches=sum(map(len, run.tables)),
                batch_size=options.batch_size,
                rank=rank,
                world_size=world_size,
            ),
            delivery=Delivery(
                samples=samples,
                channels_first=channels == "first",
                pin=torch.cuda.is_available() if pin_memory is None else pin_memory,
                targets=None if labels is None else dict(labels),
            ),
        )

    @property
    def errors(self) -> list[Failure]:
        """What the iteration of this process that ended last has skipped.

        What workers of a `DataLoader` skip they alone know.
        """
        return list(self._pool.errors)


def _check_labels(run: PoolRun, labels: Mapping[str, float]) -> None:
    """Raise if a label of a patch has no number.

    Raises
    ------
    ParameterError
        If there is one.
    """
    for table in run.tables:
        for label, count in table.counts().items():
            if count and label not in labels:
                msg = (
                    f"{table.slide_name}: {count} patches have the label {label!r}, which "
                    "labels gives no number"
                )
                raise ParameterError(
                    msg, remedy="add it, or select the locations to stream"
                )


def _place(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Return this process's number and how many there are.

    Raises
    ------
    ParameterError
        If only one of the two is given.
    """
    if (rank is None) != (world_size is None):
        msg = "give rank and world_size, or neither"
        raise ParameterError(msg)
    if rank is not None and world_size is not None:
        count = parse_count(world_size, name="world_size")
        return parse_count(rank, name="rank", least=0), count
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
