"""Location pools: the patches of many slides, placed by several processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar

from dplabtools.annotations.json import PolygonsGiven
from dplabtools.locations.inputs import Points
from dplabtools.slides._declared import declared
from dplabtools.slides.patches._documentation import documented
from dplabtools.slides.patches._inverted import (
    WholeImageInvertedCustomPatches,
    WholeImageInvertedGridPatches,
    WholeImageInvertedPoissonDiskPatches,
    WholeImageInvertedRandomPatches,
)
from dplabtools.slides.patches._located_pool import LocatedPool
from dplabtools.slides.patches._polygon_region import (
    PolygonRegionCustomPatches,
    PolygonRegionGridPatches,
    PolygonRegionPoissonDiskPatches,
    PolygonRegionRandomPatches,
)
from dplabtools.slides.patches._whole_image import (
    WholeImageCustomPatches,
    WholeImageGridPatches,
    WholeImagePoissonDiskPatches,
    WholeImageRandomPatches,
)

__all__ = [
    "PolygonRegionCustomPatchesPool",
    "PolygonRegionGridPatchesPool",
    "PolygonRegionPoissonDiskPatchesPool",
    "PolygonRegionRandomPatchesPool",
    "WholeImageCustomPatchesPool",
    "WholeImageGridPatchesPool",
    "WholeImageInvertedCustomPatchesPool",
    "WholeImageInvertedGridPatchesPool",
    "WholeImageInvertedPoissonDiskPatchesPool",
    "WholeImageInvertedRandomPatchesPool",
    "WholeImagePoissonDiskPatchesPool",
    "WholeImageRandomPatchesPool",
]


@declared
class _PolygonPool(LocatedPool):
    """Patches placed by masks and polygons."""

    polygon_data_list: InitVar[Sequence[PolygonsGiven]]


@documented
class WholeImageGridPatchesPool(LocatedPool):
    """Place patches on grids over the foreground of many slides."""

    kind = WholeImageGridPatches


@documented
class WholeImageRandomPatchesPool(LocatedPool):
    """Place patches at random over the foreground of many slides."""

    kind = WholeImageRandomPatches


@documented
class WholeImagePoissonDiskPatchesPool(LocatedPool):
    """Scatter patches evenly over the foreground of many slides."""

    kind = WholeImagePoissonDiskPatches


@documented
class WholeImageCustomPatchesPool(LocatedPool):
    """Place patches at given points of many slides."""

    points_list: InitVar[Sequence[Points]]
    kind = WholeImageCustomPatches


@documented
class WholeImageInvertedGridPatchesPool(_PolygonPool):
    """Place patches on grids over the foreground of many slides, beside polygons."""

    kind = WholeImageInvertedGridPatches


@documented
class WholeImageInvertedRandomPatchesPool(_PolygonPool):
    """Place patches at random over the foreground of many slides, beside polygons."""

    kind = WholeImageInvertedRandomPatches


@documented
class WholeImageInvertedPoissonDiskPatchesPool(_PolygonPool):
    """Scatter patches evenly over the foreground of many slides, beside polygons."""

    kind = WholeImageInvertedPoissonDiskPatches


@documented
class WholeImageInvertedCustomPatchesPool(_PolygonPool):
    """Place patches at given points of many slides, beside polygons."""

    points_list: InitVar[Sequence[Points]]
    kind = WholeImageInvertedCustomPatches


@documented
class PolygonRegionGridPatchesPool(_PolygonPool):
    """Place patches on grids over the polygons of many slides."""

    kind = PolygonRegionGridPatches


@documented
class PolygonRegionRandomPatchesPool(_PolygonPool):
    """Place patches at random in the polygons of many slides."""

    kind = PolygonRegionRandomPatches


@documented
class PolygonRegionPoissonDiskPatchesPool(_PolygonPool):
    """Scatter patches evenly over the polygons of many slides."""

    kind = PolygonRegionPoissonDiskPatches


@documented
class PolygonRegionCustomPatchesPool(_PolygonPool):
    """Place patches at given points in the polygons of many slides."""

    points_list: InitVar[Sequence[Points]]
    kind = PolygonRegionCustomPatches
