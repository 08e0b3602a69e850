"""The documented classes that place patches in polygons."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import InitVar
from typing import Any

from dplabtools import config
from dplabtools.annotations.json import PolygonsGiven
from dplabtools.locations.inputs import Points, chosen_polygons
from dplabtools.locations.locate import PerRegion
from dplabtools.locations.polygons import PolygonRegions
from dplabtools.locations.samplers import CustomPoints, Grid, PoissonDisk, Random
from dplabtools.locations.seeds import Seed
from dplabtools.slides._arguments import checked_number
from dplabtools.slides._declared import declared
from dplabtools.slides.patches._documentation import documented
from dplabtools.slides.patches._located import Located

__all__ = [
    "PolygonRegionCustomPatches",
    "PolygonRegionGridPatches",
    "PolygonRegionPoissonDiskPatches",
    "PolygonRegionRandomPatches",
]


@declared
class _PolygonRegion(Located):
    """Patches placed in polygons.

    Raises
    ------
    MissingAnnotationError
        If there is no such file of polygons.

    Warns
    -----
    OverlappingPolygonsWarning
        If polygons overlap by more than the threshold.
    PolygonOutsideWarning
        If a polygon lies beside the slide.
    """

    polygon_data: InitVar[PolygonsGiven]
    check_polygons: InitVar[bool] = True
    included_labels: InitVar[Collection[str]] = ()
    excluded_labels: InitVar[Collection[str]] = ()

    def _source(self, arguments: Mapping[str, Any]) -> PolygonRegions:
        return PolygonRegions(
            chosen_polygons(arguments),
            check=arguments["check_polygons"],
            threshold=config.snapshot().polygons_overlap_threshold,
        )

    @classmethod
    def set_polygons_overlap_threshold(cls, polygons_overlap_threshold: float) -> None:
        """Set the area from which on overlaps of polygons are told, in patches (1).

        Parameters
        ----------
        polygons_overlap_threshold : float
            For all objects made from now on, of all classes.

        Raises
        ------
        ConfigError
            If it is no finite number, or negative.
        """
        value = checked_number(
            polygons_overlap_threshold, name="polygons_overlap_threshold", zero=True
        )
        config.set_slide_setting(polygons_overlap_threshold=value)


@documented
class PolygonRegionGridPatches(_PolygonRegion):
    """Place patches on a grid over each polygon of a slide.

    Each grid begins at the upper left corner of the box around its polygon. Patches are
    ordered by polygon, then row by row, and have the label of their polygon.
    """

    patch_stride: InitVar[PerRegion] = 1
    _sampling = (Grid, "patch_stride")


@documented
class PolygonRegionRandomPatches(_PolygonRegion):
    """Place patches at random in each polygon of a slide.

    Corners are drawn evenly from the box around the polygon until enough of them are
    acceptable. Patches are ordered by polygon, then in the order of the draws, and have
    the label of their polygon.

    Raises
    ------
    NotEnoughPatchesError
        If a hundred times as many candidates did not give enough patches.
    """

    num_patches: InitVar[PerRegion]
    seed: InitVar[Seed] = None
    _sampling = (Random, "num_patches")


@documented
class PolygonRegionPoissonDiskPatches(_PolygonRegion):
    """Scatter patches evenly over each polygon of a slide, none close to another.

    Poisson disk sampling of the box around the polygon; what is not acceptable is dropped,
    so the number of patches is not known in advance. Patches are ordered by polygon, and
    have the label of their polygon.
    """

    poisson_spacing: InitVar[PerRegion] = 50
    seed: InitVar[Seed] = None
    _sampling = (PoissonDisk, "poisson_spacing")


@documented
class PolygonRegionCustomPatches(_PolygonRegion):
    """Place patches at given points in the polygons of a slide.

    Patches are ordered by polygon, then in the order of the points, and have the label of
    their polygon; points whose patch is not acceptable are dropped.

    Raises
    ------
    ParameterTypeError
        If `points` is no list of pairs.
    """

    points: InitVar[Points]
    _sampling = (CustomPoints, "points")
