"""Pixels on their way to whoever asked for them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dplabtools._typing import IntArray, Pixels

__all__ = ["PixelBatch"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PixelBatch:
    """A number of patches, in columns.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (n, height, width, 3) or (n, levels, height, width, 3)
        RGB, a view on memory shared with the workers, which ``torch.from_numpy`` and
        DLPack take as it is. The memory is not used again as
        long as somebody holds the array, or a view or tensor made of it.
    labels : ndarray of object, shape (n,)
        Label of each patch.
    locations : ndarray of int64, shape (n, 2)
        (x, y) of the top-left corners in level 0 pixels, as they were asked for.
    slides : ndarray of int64, shape (n,)
        Place of the slide in the pool.
    rows : ndarray of int64, shape (n,)
        Row of the patch among those asked for of its slide.
    """

    pixels: Pixels
    labels: npt.NDArray[np.object_]
    locations: IntArray
    slides: IntArray
    rows: IntArray

    def __len__(self) -> int:
        return len(self.rows)

    def copy(self) -> PixelBatch:
        """Return a batch whose pixels are the caller's own; the shared memory is let go."""
        return replace(self, pixels=self.pixels.copy())
