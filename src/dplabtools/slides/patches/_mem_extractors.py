"""The documented extractors of one slide that stream patches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from PIL import Image

from dplabtools._typing import Pixels
from dplabtools.engine.base import run_in_order
from dplabtools.engine.threads import ThreadEngine
from dplabtools.extraction.plan import chunk_rows, plan_slide, rows_outside
from dplabtools.extraction.source import Chunk, InspectSlide, ReadChunk, SlideSpec
from dplabtools.geometry.resolution import Number, Resolution
from dplabtools.records.slide_plan import SlidePlan
from dplabtools.slides.patches._extractor import Extractor, ExtractorOptions
from dplabtools.slides.patches._request import LocationLike, parse_views

__all__ = ["MemPatchExtractor", "MultiResMemPatchExtractor"]

Streamed: TypeAlias = tuple[Image.Image, str] | tuple[Image.Image, str, int]
"""(image, label), or (image, label, index) in inference mode."""
_ROWS_AHEAD = 16  # patches of a chunk of the stream


@dataclass(slots=True)
class _Held:
    """Keeps the pixels of a chunk until they are asked for."""

    pictures: dict[int, Sequence[Pixels]] = field(default_factory=dict)

    def put(self, item: int, pictures: Sequence[Pixels], /) -> None:
        """Keep a patch."""
        self.pictures[item] = pictures


class _Stream(Extractor):
    """Extractors whose patches stay in memory until they are taken, one by one."""

    def __init__(
        self, options: ExtractorOptions, views: tuple[Resolution, ...] | None
    ) -> None:
        super().__init__(options, views)
        spec = SlideSpec(
            path=self._table.slide, extra_mpps=self._reading.extra_mpps(self._table)
        )
        self._spec = spec
        self._pyramid = InspectSlide(reading=self._reading)(spec)
        if self._reading.mode is not None:
            self._pyramid.required_mpp()

    def _pictures(self) -> Iterator[tuple[int, Sequence[Pixels], str]]:
        """Yield row, pixels at each resolution, and label of each patch, in order."""
        plan = plan_slide(0, self._table, pyramid=self._pyramid, reading=self._reading)
        _, error = rows_outside(plan, self._reading)
        if error is not None:
            raise error
        labels = self._table.row_labels()
        work = ReadChunk(
            slides=(self._spec,), reading=self._reading, threads=1, skip_errors=False
        )
        with ThreadEngine(workers=self._threads) as engine:
            chunks = _consecutive(plan, threads=self._threads)
            stream = run_in_order(engine, work, chunks, ahead=engine.capacity)
            for outcome in stream:
                outcome.value()
                chunk = chunks[outcome.index]
                for item, row in enumerate(chunk.rows.tolist()):
                    yield row, chunk.place.pictures.pop(item), labels[row]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _HeldChunk(Chunk):
    """A chunk whose pixels come back."""

    place: _Held


def _consecutive(plan: SlidePlan, *, threads: int) -> list[_HeldChunk]:
    """Cut a slide into chunks in table order."""
    if not len(plan):
        return []
    count = min(_ROWS_AHEAD, chunk_rows(plan, total=len(plan), workers=threads))
    every = np.arange(len(plan))
    return [
        _HeldChunk(
            slide=0,
            views=plan.views,
            rows=rows,
            origins=plan.origins[rows],
            sizes=plan.table.sizes[rows],
            place=_Held(),
        )
        for rows in (every[start : start + count] for start in range(0, len(plan), count))
    ]


class MemPatchExtractor(_Stream):
    """Patches of one slide, one by one, read ahead by threads.

    Parameters
    ----------
    patches : location object
        Of any location class, or `PatchesMock`.
    num_workers : int
        Threads.
    mp_chunksize : int, default 1
        Kept for the documented interface, and checked.
    resampling_mode : {None, "tile", "wsi"}
        How to get pixels at an mpp that no level has.
    included_labels, excluded_labels : collection of str
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

    def __init__(
        self,
        *,
        patches: LocationLike,
        num_workers: int,
        mp_chunksize: int = 1,
        resampling_mode: str | None = None,
        included_labels: Collection[str] = (),
        excluded_labels: Collection[str] = (),
        inference_mode: bool = False,
    ) -> None:
        options = ExtractorOptions(
            patches=patches,
            num_workers=num_workers,
            mp_chunksize=mp_chunksize,
            resampling_mode=resampling_mode,
            included_labels=included_labels,
            excluded_labels=excluded_labels,
        )
        super().__init__(options, None)
        self._patch_stream = self._streamed(with_index=inference_mode)

    def _streamed(self, *, with_index: bool) -> Iterator[Streamed]:
        for row, (pixels,), label in self._pictures():
            image = Image.fromarray(pixels)
            yield (image, label, row) if with_index else (image, label)

    @property
    def patch_stream(self) -> Iterator[Streamed]:
        """(RGB image, label[, index]) of each patch, in order; can be taken once.

        Threads read a few patches ahead, and wait when nobody takes them.
        """
        return self._patch_stream


class MultiResMemPatchExtractor(_Stream):
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
    resampling_mode : {None, "tile", "wsi"}
        How to get pixels at an mpp that no level has.
    included_labels, excluded_labels : collection of str
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

    def __init__(
        self,
        *,
        levels_or_mpps: Sequence[Number],
        patches: LocationLike,
        num_workers: int,
        mp_chunksize: int = 1,
        resampling_mode: str | None = None,
        included_labels: Collection[str] = (),
        excluded_labels: Collection[str] = (),
        inference_mode: bool = False,
    ) -> None:
        options = ExtractorOptions(
            patches=patches,
            num_workers=num_workers,
            mp_chunksize=mp_chunksize,
            resampling_mode=resampling_mode,
            included_labels=included_labels,
            excluded_labels=excluded_labels,
        )
        super().__init__(options, parse_views(levels_or_mpps))
        self._patch_stream = self._streamed(with_index=inference_mode)

    def _streamed(self, *, with_index: bool) -> Iterator[list[Streamed]]:
        for row, pictures, label in self._pictures():
            images = [Image.fromarray(pixels) for pixels in pictures]
            yield [
                (image, label, row) if with_index else (image, label) for image in images
            ]

    @property
    def patch_stream(self) -> Iterator[list[Streamed]]:
        """Sets of (RGB image, label[, index]), in order; can be taken once."""
        return self._patch_stream
