"""Slides that lie elsewhere: what jobs take is fetched while they wait for their turn."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from dplabtools.extraction.chunk_reader import Chunk, ChunkReport, ReadChunk
from dplabtools.extraction.inspection import InspectedSlide, InspectSlide, SlideSpec
from dplabtools.extraction.plan import ReadOptions
from dplabtools.readers.regions import prefetch_regions
from dplabtools.sources.base import RangeReader
from dplabtools.sources.threads import AskingThreads
from dplabtools.sources.urls import is_url

__all__ = ["ReadAhead"]

_LOOKS: Final = 16  # slides that are looked at at once: that is waiting, for the most part
_CHUNK_BYTES: Final = 10 << 20  # fetched for a chunk that waits, of each level

_Slide: TypeAlias = tuple[str, tuple[float, ...]]


@dataclass(slots=True, kw_only=True)
class ReadAhead:
    """Does what another work does, and fetches for jobs that wait.

    Attributes
    ----------
    work : ReadChunk
        What is done with each.
    """

    work: ReadChunk
    _fetched: dict[Chunk, list[RangeReader]] = field(default_factory=dict)
    _looks: dict[_Slide, Future[InspectedSlide]] = field(default_factory=dict)
    _threads: AskingThreads | None = None

    def __call__(self, job: Chunk | SlideSpec) -> ChunkReport | InspectedSlide:
        """Deliver the patches of a chunk, or look at a slide; see `ReadChunk`."""
        spec = job if isinstance(job, SlideSpec) else self.work.spec_of(job)
        look = self._looks.pop(_slide(spec), None) if spec.index is None else None
        if isinstance(job, SlideSpec):
            return self.work(job) if look is None else look.result()
        if look is not None:
            job = replace(job, spec=replace(spec, index=look.result().index))
        try:
            return self.work(job)
        finally:
            self._fetched.pop(job, None)

    def prepare(self, job: Chunk | SlideSpec) -> None:
        """Begin to fetch tiles of a slide, or to look at it where these are not known."""
        spec = job if isinstance(job, SlideSpec) else self.work.spec_of(job)
        if not is_url(spec.path):
            return
        if isinstance(job, SlideSpec):
            self._begin_looking(spec, self.work.reading)
        elif spec.index is not None or self.work.is_open(job):
            with self.work.lent(job) as slide:
                self._fetched[job] = prefetch_regions(
                    slide, job.views, job.origins, sizes=job.sizes, most=_CHUNK_BYTES
                )
        else:  # it was another worker that has been told of its index
            self._begin_looking(spec, replace(self.work.reading, quality=None))

    def _begin_looking(self, spec: SlideSpec, reading: ReadOptions) -> None:
        if self._threads is None:
            self._threads = AskingThreads(_LOOKS, name="dplabtools-look")
        if _slide(spec) not in self._looks:
            look = self._threads.submit(InspectSlide(reading=reading), spec)
            self._looks[_slide(spec)] = look

    def close(self) -> None:
        """Fetch nothing more, and close all slides."""
        self._fetched.clear()
        self._looks.clear()
        if self._threads is not None:
            self._threads.give_up()
            self._threads = None
        self.work.close()


def _slide(spec: SlideSpec) -> _Slide:
    """Return what a look at a slide depends on."""
    return spec.path, spec.extra_mpps
