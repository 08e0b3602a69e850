"""The documented extractor pools that keep patches in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import InitVar
from typing import Any, Self

from PIL import Image

from dplabtools._typing import Pixels
from dplabtools.errors import ClosedPoolError
from dplabtools.geometry.resolution import Number
from dplabtools.output.memory import MemorySink
from dplabtools.slides._declared import declared
from dplabtools.slides.patches._documentation import documented
from dplabtools.slides.patches._extractor_pool import ExtractorPool, pool_run
from dplabtools.slides.patches._html import counts_text
from dplabtools.slides.patches._results import (
    MemoryResult,
    PatchList,
    PatchSetList,
    ResultTable,
)

__all__ = ["MemPatchExtractorPool", "MultiResMemPatchExtractorPool"]


@declared
class _MemPool(ExtractorPool):
    """A pool whose patches stay in shared memory.

    Parameters
    ----------
    array_mode : bool
        Kept for the documented interface; see `patch_array`.
    quality : bool or QualityLimits
        Measure how sharp each patch is, how bright and saturated, and how much of it is
        background or pen: columns of `patch_table`. `QualityLimits` leave out what is not
        good enough.

    Raises
    ------
    NotEnoughMemoryError
        If there is no room for all patches; nothing has been read then.
    """

    array_mode: InitVar[bool] = False

    def _construct(self, arguments: Mapping[str, Any]) -> None:
        run = pool_run(arguments)
        sink = MemorySink()
        state = run.into(sink)
        self._keep(state, views=run.views)
        self._table = ResultTable.of(run.tables, state)
        self._result: MemoryResult | None = MemoryResult.of(
            sink, self._table, state=state, views=run.views
        )

    def _memory(self) -> MemoryResult:
        if self._result is None:
            msg = "the pool has been closed, and its patches with it"
            raise ClosedPoolError(msg)
        return self._result

    @property
    def patch_table(self) -> ResultTable:
        """Every patch that was asked for, one row each, with what became of it.

        The patches of `patch_list` and `patch_array` are its rows whose status is
        ``"ok"``, in the same order: all of them, unless errors were skipped.
        """
        return self._table

    def _facts(self) -> dict[str, object]:
        if self._result is None:
            return {"state": "closed"}
        labels = dict(sorted(Counter(self._result.labels).items()))
        return {
            "labels": counts_text(labels),
            "memory": f"{self._result.data.nbytes / 2**20:,.0f} MB",
        }

    def _pictures(self) -> list[Image.Image]:
        return [] if self._result is None else self._result.some_pictures()

    def close(self) -> None:
        """Let go of the patches; arrays and images that the caller holds stay valid.

        The memory goes with the last view of it. A second call does nothing.
        """
        self._result = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


@documented
class MemPatchExtractorPool(_MemPool):
    """Patches of many slides, in memory.

    Everything happens in the constructor: when it returns, all patches have been
    extracted. They lie in memory that the workers share with the caller, and are never
    sent from one process to another.
    """

    @property
    def patch_list(self) -> PatchList:
        """(RGB image, label) of each delivered patch, slides as given, patches in order.

        Raises
        ------
        ClosedPoolError
            If the pool has been closed.
        """
        return PatchList(self._memory())

    @property
    def patch_array(self) -> Pixels:
        """The pixels of `patch_list`, uint8 of shape (n, height, width, 3); no copy.

        Raises
        ------
        ClosedPoolError
            If the pool has been closed.
        ParameterError
            If patches differ in size.
        """
        return self._memory().array()[:, 0]


@documented
class MultiResMemPatchExtractorPool(_MemPool):
    """Patches of many slides at several resolutions around one centre, in memory."""

    levels_or_mpps: InitVar[Sequence[Number]]

    @property
    def patch_list(self) -> PatchSetList:
        """Sets of (RGB image, label), one image for each of `levels_or_mpps`, in order.

        Raises
        ------
        ClosedPoolError
            If the pool has been closed.
        """
        return PatchSetList(self._memory())

    @property
    def patch_array(self) -> Pixels:
        """The pixels of `patch_list`, uint8 of shape (n, levels, height, width, 3).

        Raises
        ------
        ClosedPoolError
            If the pool has been closed.
        ParameterError
            If patches differ in size.
        """
        return self._memory().array()

    @property
    def patchset_count(self) -> int:
        """Number of sets."""
        return self._delivered
