"""Masks of classes: for each pixel of a patch, which area it lies in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import imagecodecs
import numpy as np

from dplabtools._typing import BoolArray, FloatArray, IntArray, Pixels, Point, Size
from dplabtools.masks.raster import fill_polygons
from dplabtools.records.slide_plan import SlidePlan

__all__ = ["LabelledAreas", "PatchLabels"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledAreas:
    """Areas of a slide, each with the value of its class.

    Attributes
    ----------
    rings : tuple of tuple of ndarray of float64, shape (n, 2)
        Outline and holes of each area: (x, y) of the corners, in level 0 pixels.
    values : tuple of int
        1 to 255, of each area.
    boxes : ndarray of float64, shape (areas, 4)
        x0, y0, x1, y1 of each area.
    """

    rings: tuple[tuple[FloatArray, ...], ...]
    values: tuple[int, ...]
    boxes: FloatArray

    @classmethod
    def of(cls, areas: Iterable[tuple[int, Sequence[FloatArray]]]) -> LabelledAreas:
        """Take values and rings; where areas overlap, the last one counts."""
        taken = [
            (value, tuple(np.asarray(ring, dtype=np.float64) for ring in rings))
            for value, rings in areas
        ]
        boxes = [(*rings[0].min(axis=0), *rings[0].max(axis=0)) for _, rings in taken]
        return cls(
            rings=tuple(rings for _, rings in taken),
            values=tuple(value for value, _ in taken),
            boxes=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        )

    @property
    def sha256(self) -> str:
        """Hash of the areas and their values, in their order."""
        import hashlib

        digest = hashlib.sha256()
        for value, rings in zip(self.values, self.rings, strict=True):
            lengths = [value, *map(len, rings)]
            digest.update(np.array(lengths, dtype="<i8").tobytes())
            digest.update(np.concatenate(rings).astype("<f8").tobytes())
        return digest.hexdigest()

    def of_patches(self, plan: SlidePlan, rows: IntArray) -> PatchLabels:
        """Return what draws the masks of rows of a slide."""
        downsamples = tuple(plan.pyramid.downsample(view) for view in plan.views)
        origins, sizes = plan.origins[rows], plan.table.sizes[rows]
        ends = origins + sizes[:, None] * np.array(downsamples)[None, :, None]
        near = self._near(origins.min(axis=(0, 1)), ends.max(axis=(0, 1)))
        return PatchLabels(
            areas=near, origins=origins, sizes=sizes, downsamples=downsamples
        )

    def _near(self, corner: FloatArray, opposite: FloatArray) -> LabelledAreas:
        """Return the areas that may reach into a box, given in level 0 pixels."""
        kept = np.flatnonzero(self._touching(corner, opposite)).tolist()
        return LabelledAreas(
            rings=tuple(self.rings[number] for number in kept),
            values=tuple(self.values[number] for number in kept),
            boxes=self.boxes[kept],
        )

    def _touching(self, corner: FloatArray, opposite: FloatArray) -> BoolArray:
        inside = (self.boxes[:, :2] <= opposite) & (self.boxes[:, 2:] >= corner)
        return np.asarray(inside.all(axis=1))

    def mask(self, origin: Point, size: Size, *, downsample: float) -> Pixels:
        """Return the value of each pixel of a patch.

        Parameters
        ----------
        origin : (int, int)
            (x, y) of its top-left corner, in level 0 pixels.
        size : (int, int)
            (width, height), in pixels of the patch.
        downsample : float
            Level 0 pixels per pixel.

        Returns
        -------
        ndarray of uint8, shape (height, width)
            Value of the last area that the middle of the pixel lies in; 0 in none.
        """
        corner = np.array(origin, dtype=np.float64)
        opposite = corner + np.array(size) * downsample
        classes = np.zeros(size[::-1], dtype=np.uint8)
        for number in np.flatnonzero(self._touching(corner, opposite)).tolist():
            rings = [(ring - corner) / downsample for ring in self.rings[number]]
            classes[fill_polygons([rings], size)] = self.values[number]
        return classes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatchLabels:
    """Draws the masks of some patches of a slide.

    Attributes
    ----------
    areas : LabelledAreas
        Those that reach into them.
    origins : ndarray of int64, shape (n, views, 2)
        (x, y) of the top-left corners, in level 0 pixels.
    sizes : ndarray of int64, shape (n, 2)
        (width, height), in pixels of each view.
    downsamples : tuple of float
        Level 0 pixels per pixel of each view.
    """

    areas: LabelledAreas
    origins: IntArray
    sizes: IntArray
    downsamples: tuple[float, ...]

    def masks(self, item: int) -> list[Pixels]:
        """Return the mask of a patch at each view, uint8 of shape (height, width)."""
        width, height = self.sizes[item].tolist()
        return [
            self.areas.mask((x, y), (width, height), downsample=downsample)
            for (x, y), downsample in zip(
                self.origins[item].tolist(), self.downsamples, strict=True
            )
        ]

    def encoded(self, item: int) -> list[bytes]:
        """Return the same as PNG files of one channel."""
        return [bytes(imagecodecs.png_encode(mask, level=1)) for mask in self.masks(item)]
