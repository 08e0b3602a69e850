"""The documented classes that place patches over the foreground."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar
from typing import Any

from dplabtools.locations.inputs import Points
from dplabtools.locations.locate import PerRegion
from dplabtools.locations.regions import WholeImage
from dplabtools.locations.samplers import CustomPoints, Grid, PoissonDisk, Random
from dplabtools.locations.seeds import Seed
from dplabtools.slides._declared import declared
from dplabtools.slides.patches._documentation import documented
from dplabtools.slides.patches._located import Located

__all__ = [
    "WholeImageCustomPatches",
    "WholeImageGridPatches",
    "WholeImagePoissonDiskPatches",
    "WholeImageRandomPatches",
]


@declared
class _WholeImage(Located):
    """Patches placed over the foreground."""

    weak_label: InitVar[str] = ""

    def _source(self, arguments: Mapping[str, Any]) -> WholeImage:
        return WholeImage(arguments["weak_label"])


@documented
class WholeImageGridPatches(_WholeImage):
    """Place patches on a grid over the foreground of a slide.

    The grid begins at the upper left corner of the box around the foreground. Patches are
    ordered row by row.
    """

    patch_stride: InitVar[PerRegion] = 1
    _sampling = (Grid, "patch_stride")


@documented
class WholeImageRandomPatches(_WholeImage):
    """Place patches at random over the foreground of a slide.

    Corners are drawn evenly from the box around the foreground until enough of them are
    acceptable. Patches are in the order of the draws.

    Raises
    ------
    NotEnoughPatchesError
        If a hundred times as many candidates did not give enough patches.
    """

    num_patches: InitVar[PerRegion]
    seed: InitVar[Seed] = None
    _sampling = (Random, "num_patches")


@documented
class WholeImagePoissonDiskPatches(_WholeImage):
    """Scatter patches evenly over the foreground of a slide, none close to another.

    Poisson disk sampling of the box around the foreground; what is not acceptable is
    dropped, so the number of patches is not known in advance.
    """

    poisson_spacing: InitVar[PerRegion] = 50
    seed: InitVar[Seed] = None
    _sampling = (PoissonDisk, "poisson_spacing")


@documented
class WholeImageCustomPatches(_WholeImage):
    """Place patches at given points of a slide.

    Patches are in the order of the points; points whose patch is not acceptable are
    dropped.

    Raises
    ------
    ParameterTypeError
        If `points` is no list of pairs.
    """

    points: InitVar[Points]
    _sampling = (CustomPoints, "points")
