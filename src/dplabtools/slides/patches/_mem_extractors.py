"""The documented extractors of one slide that stream patches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from dplabtools._typing import Pixels
from dplabtools.engine.base import run_in_order
from dplabtools.engine.choose import RunOptions, make_engine
from dplabtools.extraction.plan import Reading, chunk_rows, plan_slide, rows_outside
from dplabtools.extraction.returned import ReturnedPatches
from dplabtools.extraction.source import Chunk, InspectSlide, ReadChunk, SlideSpec
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.geometry.resolution import Number
from dplabtools.readers.pixels import with_profile
from dplabtools.records.patch_table import PatchTable
from dplabtools.records.slide_plan import SlidePlan
from dplabtools.slides._declared import declared
from dplabtools.slides.patches._extractor import Extractor

__all__ = ["MemPatchExtractor", "MultiResMemPatchExtractor"]

Streamed: TypeAlias = tuple[Any, ...]
"""(image, label), or (image, label, index) in inference mode."""
_ROWS_AHEAD = 16  # patches of a chunk of the stream


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Pictures:
    """Reads the patches of a slide, one by one, in order.

    A stream holds this, and not its extractor: so it ends with its extractor.
    """

    table: PatchTable
    reading: Reading
    spec: SlideSpec
    pyramid: Pyramid
    icc_profile: bytes | None
    threads: int

    @classmethod
    def of(cls, table: PatchTable, *, reading: Reading, threads: int) -> _Pictures:
        """Open the slide to see what it is like."""
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
        with make_engine(RunOptions(engine="threads", workers=self.threads)) as engine:
            chunks = _consecutive(plan, threads=self.threads)
            stream = run_in_order(engine, work, chunks, ahead=engine.capacity)
            for outcome in stream:
                outcome.value()
                chunk = chunks[outcome.index]
                patches = chunk.place.take()
                for item, row in enumerate(chunk.rows.tolist()):
                    yield row, patches.pop(item), labels[row]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _HeldChunk(Chunk):
    """A chunk whose pixels come back."""

    place: ReturnedPatches


def _consecutive(plan: SlidePlan, *, threads: int) -> list[_HeldChunk]:
    """Cut a slide into chunks in table order."""
    if not len(plan):
        return []
    every = np.arange(len(plan))
    most = chunk_rows(
        plan.table, every, views=len(plan.views), total=len(plan), workers=threads
    )
    count = min(_ROWS_AHEAD, most)
    return [
        _HeldChunk(
            slide=0,
            views=plan.views,
            rows=rows,
            origins=plan.origins[rows],
            sizes=plan.table.sizes[rows],
            place=ReturnedPatches(),
        )
        for rows in (every[start : start + count] for start in range(0, len(plan), count))
    ]


def _streamed(pictures: _Pictures, *, with_index: bool) -> Iterator[list[Streamed]]:
    """Yield the images of each patch, one for each resolution."""
    for row, arrays, label in pictures:
        rest = (label, row) if with_index else (label,)
        images = map(Image.fromarray, arrays)
        yield [(with_profile(each, pictures.icc_profile), *rest) for each in images]


@declared
class _MemExtractor(Extractor):
    """Extractors whose patches are taken one by one."""

    inference_mode: InitVar[bool] = False

    def _construct(self, arguments: Mapping[str, Any]) -> None:
        self._prepare(arguments)
        pictures = _Pictures.of(self._table, reading=self._reading, threads=self._threads)
        self._sets = _streamed(pictures, with_index=arguments["inference_mode"])


@declared
class MemPatchExtractor(_MemExtractor):
    """Patches of one slide, one by one, read ahead by threads.

    Parameters
    ----------
    patches : location object
        Of any location class, or `PatchesMock`.
    num_workers : int
        Threads.
    mp_chunksize : int, default 1
        Kept for the documented interface, and checked.
    resampling_mode : {None, "tile", "wsi"}, default None
        How to get pixels at an mpp that no level has.
    included_labels, excluded_labels : collection of str, default ()
        Extract only these labels, or all but these.
    inference_mode : bool, default False
        Add to each patch its index into `patch_data`.

    Raises
    ------
    ParameterError, ParameterTypeError
        If an argument makes no sense.
    SlideError
        If the slide cannot be opened. What concerns patches is raised by the stream.
    """

    def _construct(self, arguments: Mapping[str, Any]) -> None:
        super()._construct(arguments)
        sets = self._sets
        self._patch_stream = (patch for (patch,) in sets)

    @property
    def patch_stream(self) -> Iterator[Streamed]:
        """(RGB image, label[, index]) of each patch, in order; can be taken once.

        Threads read a few patches ahead, and wait when nobody takes them.
        """
        return self._patch_stream


@declared
class MultiResMemPatchExtractor(_MemExtractor):
    """Patches of one slide at several resolutions around one centre, set by set.

    Parameters
    ----------
    levels_or_mpps : sequence of int or float
        Resolutions of each set: an int is a level, a float microns per pixel.
    patches : location object
        Of any location class, or `PatchesMock`.
    num_workers : int
        Threads.
    mp_chunksize : int, default 1
        Kept for the documented interface, and checked.
    resampling_mode : {None, "tile", "wsi"}, default None
        How to get pixels at an mpp that no level has.
    included_labels, excluded_labels : collection of str, default ()
        Extract only these labels, or all but these.
    inference_mode : bool, default False
        Add to each patch its index into `patch_data`.

    Raises
    ------
    ParameterError, ParameterTypeError
        If an argument makes no sense.
    SlideError
        If the slide cannot be opened. What concerns patches is raised by the stream.
    """

    levels_or_mpps: InitVar[Sequence[Number]]

    @property
    def patch_stream(self) -> Iterator[list[Streamed]]:
        """Sets of (RGB image, label[, index]), in order; can be taken once."""
        return self._sets
