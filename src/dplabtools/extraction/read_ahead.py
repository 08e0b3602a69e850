"""Slides that lie elsewhere: what jobs take is fetched while they wait for their turn."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from dplabtools.extraction.chunk_reader import Chunk, ChunkReport, ReadChunk
from dplabtools.extraction.inspection import InspectedSlide, InspectSlide, SlideSpec
from dplabtools.readers.regions import prefetch_regions
from dplabtools.sources.base import RangeReader
from dplabtools.sources.urls import is_url

__all__ = ["ReadAhead"]

_LOOKS: Final = 16  # slides that are looked at at once: that is waiting, for the most part
_CHUNK_BYTES: Final = 10 << 20  # fetched for a chunk that waits: decoding them takes longer
# than fetching the rest


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
    _looks: dict[SlideSpec, Future[InspectedSlide]] = field(default_factory=dict)
    _threads: ThreadPoolExecutor | None = None

    def __call__(self, job: Chunk | SlideSpec) -> ChunkReport | InspectedSlide:
        """Deliver the patches of a chunk, or look at a slide; see `ReadChunk`."""
        if isinstance(job, SlideSpec):
            begun = self._looks.pop(job, None)
            return self.work(job) if begun is None else begun.result()
        try:
            return self.work(job)
        finally:
            self._fetched.pop(job, None)

    def prepare(self, job: Chunk | SlideSpec) -> None:
        """Begin to look at a slide, or to fetch tiles of one of which these are known."""
        if isinstance(job, SlideSpec):
            if is_url(job.path) and job not in self._looks:
                self._looks[job] = self._begin_looking(job)
            return
        spec = self.work.spec_of(job)
        asks = spec.index is None and not self.work.is_open(job)  # when it is opened
        if is_url(spec.path) and not asks:
            with self.work.lent(job) as slide:
                self._fetched[job] = prefetch_regions(
                    slide, job.views, job.origins, sizes=job.sizes, most=_CHUNK_BYTES
                )

    def _begin_looking(self, spec: SlideSpec) -> Future[InspectedSlide]:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_LOOKS, thread_name_prefix="dplabtools-look")
        return self._threads.submit(InspectSlide(reading=self.work.reading), spec)

    def close(self) -> None:
        """Fetch nothing more, and close all slides."""
        self._fetched.clear()
        self._looks.clear()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
        self.work.close()
