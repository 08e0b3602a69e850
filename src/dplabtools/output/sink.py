"""What every destination of patches can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from dplabtools._typing import BoolArray, IntArray, Picture
from dplabtools.engine.slabs import Segment
from dplabtools.records.pixel_buffer import PixelBuffer
from dplabtools.records.quality import QualityValues
from dplabtools.records.slide_plan import SlidePlan

if TYPE_CHECKING:
    from dplabtools.records.run_record import SlideResult

__all__ = ["ChunkWriter", "Measuring", "Recording", "Sink", "TakesQuality", "Verifying"]


class ChunkWriter(Protocol):
    """Where the patches of one chunk go; sent to the worker that reads them.

    A patch is delivered by writing all of it to its part of a `buffer`, or, where there is
    none, by `put`. Patches come in groups, those of a group in any order and from several
    threads; a group ends with `flush`, and the chunk with `commit`. A chunk that is not
    committed may be delivered again from its beginning, by another worker. What is here in
    full is right for writers that keep nothing back, and take pixels only.
    """

    @property
    def takes_jpeg(self) -> bool:
        """Whether `put` takes stored JPEG streams in place of pixels."""
        return False

    def buffer(
        self, items: IntArray, sizes: IntArray, /, *, views: int
    ) -> PixelBuffer | None:
        """Return the memory that patches go to, if pixels may be written there directly.

        What is written counts as soon as the patch is not reported as failed.

        Parameters
        ----------
        items : ndarray of int64, shape (m,)
            Their places in the chunk.
        sizes : ndarray of int64, shape (m, 2)
            (width, height) of each.
        views : int
            Number of resolutions.

        Returns
        -------
        PixelBuffer or None
            With a picture for each resolution of the first patch, then of the second, ...;
            None if patches can only be `put`.
        """
        return None

    def put(self, item: int, pictures: Sequence[Picture], /) -> None:
        """Deliver a patch at all its resolutions, wholly or not at all.

        Parameters
        ----------
        item : int
            Its place in the chunk.
        pictures : sequence of ndarray of uint8, shape (height, width, 3)
            One for each resolution; their memory is used again afterwards. Where the writer
            `takes_jpeg` each may also be bytes: a JPEG stream that stands in the slide,
            with all that it takes to decode it.
        """
        ...

    def flush(self) -> None:
        """Let go of the patches delivered since the last call; later ones come behind."""
        return

    def commit(self) -> None:
        """Complete the chunk: every patch was delivered, or is reported as failed."""
        return


@runtime_checkable
class Sink(Protocol):
    """A destination; lives with the caller.

    An implementation passes `dplabtools.testing.SinkContract`. Calls come in the order
    `prepare`, then `wanted` and `chunk_rows` for each slide and `writer` for each chunk,
    `finish` once a slide when all its chunks are done, and `close` at last; `abort` instead
    of all that is still to come.
    """

    @property
    def segments(self) -> Sequence[Segment]:
        """Shared memory that its places use; known after `prepare`."""
        ...

    def prepare(self, plans: Sequence[SlidePlan]) -> None:
        """Make ready for these slides, before any pixel is read.

        Raises
        ------
        ExtractionError
            If there is no room, or something is in the way; nothing is left behind then.
        """
        ...

    def chunk_rows(self, plan: SlidePlan) -> int | None:
        """Return how many patches of a slide make a chunk.

        Returns
        -------
        int or None
            So many, fewer in the last chunk of the slide, however large that is: it is
            read group by group. None if any number will do.
        """
        ...

    def wanted(self, plan: SlidePlan) -> IntArray:
        """Return the rows of a slide to read; the others are there already."""
        ...

    def writer(self, plan: SlidePlan, rows: IntArray) -> ChunkWriter | None:
        """Return where a chunk of rows of a slide goes; None if it is there already."""
        ...

    def finish(self, plan: SlidePlan, delivered: BoolArray) -> None:
        """Complete a slide, of which these rows were delivered."""
        ...

    def close(self) -> None:
        """Complete the run."""
        ...

    def abort(self) -> None:
        """Remove what is not complete; a second call does nothing."""
        ...


@runtime_checkable
class Measuring(Protocol):
    """A sink that keeps how good patches are, and knows it of an earlier run.

    After `Sink.prepare` it has filled `SlidePlan.quality`, as far as it knows it.
    """

    def measured(self, plan: SlidePlan, rows: IntArray) -> None:
        """Note that rows of a slide were measured: what `SlidePlan.quality` has of them.

        Those that are not good enough were not delivered.
        """
        ...


@runtime_checkable
class TakesQuality(Protocol):
    """Where a chunk goes, if how good its patches are is written beside them."""

    def take_quality(self, values: QualityValues, /) -> None:
        """Take the quality of all patches of the chunk, as far as it is known by now.

        Called before each `flush`.
        """
        ...


@runtime_checkable
class Verifying(Protocol):
    """A sink that wants to know whether what is there is what the slides have.

    It is asked between `Sink.prepare` and `Sink.wanted`.
    """

    def sample(self, plan: SlidePlan) -> IntArray:
        """Return rows that are there, to be compared."""
        ...

    def comparison(self, plan: SlidePlan, rows: IntArray) -> ChunkWriter:
        """Return a writer that raises `DifferentPatchError` if rows are not as stored."""
        ...

    def invalidate(self, plan: SlidePlan) -> None:
        """Take nothing of a slide as being there any more."""
        ...


@runtime_checkable
class Recording(Protocol):
    """A sink that writes down what became of each slide, also of those without a plan."""

    def record(self, slide: int, result: SlideResult) -> None:
        """Write it down; called once for each slide, after `Sink.finish` if that is."""
        ...
