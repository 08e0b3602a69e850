"""The documented classes that place patches over the foreground, beside polygons."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import InitVar
from typing import Any

from dplabtools.annotations.json import PolygonsGiven
from dplabtools.locations.inputs import Points, chosen_polygons
from dplabtools.locations.locate import PerRegion
from dplabtools.locations.polygons import InvertedImage
from dplabtools.locations.samplers import CustomPoints, Grid, PoissonDisk, Random
from dplabtools.locations.seeds import Seed
from dplabtools.slides._declared import declared
from dplabtools.slides.patches._documentation import documented
from dplabtools.slides.patches._located import Located

__all__ = [
    "WholeImageInvertedCustomPatches",
    "WholeImageInvertedGridPatches",
    "WholeImageInvertedPoissonDiskPatches",
    "WholeImageInvertedRandomPatches",
]


@declared
class _Inverted(Located):
    """Patches placed over the foreground, beside polygons.

    Raises
    ------
    MissingAnnotationError
        If there is no such file of polygons.

    Warns
    -----
    PolygonOutsideWarning
        If a polygon lies beside the slide.
    """

    polygon_data: InitVar[PolygonsGiven]
    weak_label: InitVar[str] = ""
    included_labels: InitVar[Collection[str]] = ()
    excluded_labels: InitVar[Collection[str]] = ()

    def _source(self, arguments: Mapping[str, Any]) -> InvertedImage:
        return InvertedImage(chosen_polygons(arguments), arguments["weak_label"])


@documented
class WholeImageInvertedGridPatches(_Inverted):
    """Place patches on a grid over the foreground of a slide, beside its polygons.

    The grid begins at the upper left corner of the box around the foreground. Patches are
    ordered row by row. What polygons enclose is left out, their holes too.
    """

    patch_stride: InitVar[PerRegion] = 1
    _sampling = (Grid, "patch_stride")


@documented
class WholeImageInvertedRandomPatches(_Inverted):
    """Place patches at random over the foreground of a slide, beside its polygons.

    Corners are drawn evenly from the box around the foreground until enough of them are
    acceptable. Patches are in the order of the draws. What polygons enclose is left out,
    their holes too.

    Raises
    ------
    NotEnoughPatchesError
        If a hundred times as many candidates did not give enough patches.
    """

    num_patches: InitVar[PerRegion]
    seed: InitVar[Seed] = None
    _sampling = (Random, "num_patches")


@documented
class WholeImageInvertedPoissonDiskPatches(_Inverted):
    """Scatter patches evenly over the foreground of a slide, beside its polygons.

    Poisson disk sampling of the box around the foreground; what is not acceptable is
    dropped, so the number of patches is not known in advance. What polygons enclose is
    left out, their holes too.
    """

    poisson_spacing: InitVar[PerRegion] = 50
    seed: InitVar[Seed] = None
    _sampling = (PoissonDisk, "poisson_spacing")


@documented
class WholeImageInvertedCustomPatches(_Inverted):
    """Place patches at given points of a slide, beside its polygons.

    Patches are in the order of the points; points whose patch is not acceptable are
    dropped. What polygons enclose is left out, their holes too.

    Raises
    ------
    ParameterTypeError
        If `points` is no list of pairs.
    """

    points: InitVar[Points]
    _sampling = (CustomPoints, "points")
