"""The documented extractors of one slide that stream patches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import InitVar
from typing import Any, TypeAlias

from PIL import Image

from dplabtools.extraction.in_order import PatchesInOrder
from dplabtools.geometry.resolution import Number
from dplabtools.readers.pixels import with_profile
from dplabtools.slides._declared import declared
from dplabtools.slides.patches._documentation import documented
from dplabtools.slides.patches._extractor import Extractor

__all__ = ["MemPatchExtractor", "MultiResMemPatchExtractor"]

Streamed: TypeAlias = tuple[Any, ...]
"""(image, label), or (image, label, index) in inference mode."""


def _streamed(patches: PatchesInOrder, *, with_index: bool) -> Iterator[list[Streamed]]:
    """Yield the images of each patch, one for each resolution.

    A stream holds the patches, and not its extractor: so it ends with its extractor.
    """
    for row, arrays, label in patches:
        rest = (label, row) if with_index else (label,)
        images = map(Image.fromarray, arrays)
        yield [(with_profile(each, patches.icc_profile), *rest) for each in images]


@declared
class _MemExtractor(Extractor):
    """Extractors whose patches are taken one by one.

    Parameters
    ----------
    levels_or_mpps : sequence of int or float
        Resolutions of each set: an int is a level, a float microns per pixel.
    inference_mode : bool
        Add to each patch its index into `patch_data`.

    Raises
    ------
    ParameterError, ParameterTypeError
        If an argument makes no sense.
    SlideError
        If the slide cannot be opened. What concerns patches is raised by the stream.
    """

    inference_mode: InitVar[bool] = False

    def _construct(self, arguments: Mapping[str, Any]) -> None:
        self._prepare(arguments)
        patches = PatchesInOrder.of(
            self._table, reading=self._reading, threads=self._threads
        )
        self._sets = _streamed(patches, with_index=arguments["inference_mode"])


@documented
class MemPatchExtractor(_MemExtractor):
    """Patches of one slide, one by one, read ahead by threads."""

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


@documented
class MultiResMemPatchExtractor(_MemExtractor):
    """Patches of one slide at several resolutions around one centre, set by set."""

    levels_or_mpps: InitVar[Sequence[Number]]

    @property
    def patch_stream(self) -> Iterator[list[Streamed]]:
        """Sets of (RGB image, label[, index]), in order; can be taken once."""
        return self._sets
