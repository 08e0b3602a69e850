"""The documented classes that place patches over the foreground."""

from __future__ import annotations

from dplabtools._typing import StrPath
from dplabtools.geometry.resolution import Number
from dplabtools.locations.locate import PerRegion, Samplers
from dplabtools.locations.regions import WholeImage
from dplabtools.locations.samplers import CustomPoints, Grid, PoissonDisk, Random
from dplabtools.slides.patches._documentation import documented
from dplabtools.slides.patches._given import MaskGiven, Points, describe_points
from dplabtools.slides.patches._located import Located, Seed, SharedArguments

__all__ = [
    "WholeImageCustomPatches",
    "WholeImageGridPatches",
    "WholeImagePoissonDiskPatches",
    "WholeImageRandomPatches",
]


@documented
class WholeImageGridPatches(Located):
    """Place patches on a grid over the foreground of a slide.

    The grid begins at the upper left corner of the box around the foreground. Patches are
    ordered row by row.
    """

    def __init__(
        self,
        *,
        wsi_file: StrPath,
        mask_data: MaskGiven,
        patch_size: int = 256,
        level_or_mpp: Number = 0,
        foreground_ratio: PerRegion = 0.95,
        overlap_ratio: PerRegion = 0.95,
        polygon_buffer: PerRegion = 0,
        weak_label: str = "",
        patch_stride: PerRegion = 1,
    ) -> None:
        super().__init__(
            SharedArguments(
                wsi_file=wsi_file,
                mask_data=mask_data,
                patch_size=patch_size,
                level_or_mpp=level_or_mpp,
                foreground_ratio=foreground_ratio,
                overlap_ratio=overlap_ratio,
                polygon_buffer=polygon_buffer,
            ),
            samplers=Samplers(make=Grid, values=patch_stride, name="patch_stride"),
            source=WholeImage(weak_label),
            own={
                "weak_label": weak_label,
                "patch_stride": patch_stride,
            },
        )


@documented
class WholeImageRandomPatches(Located):
    """Place patches at random over the foreground of a slide.

    Corners are drawn evenly from the box around the foreground until enough of them are
    acceptable. Patches are in the order of the draws.
    """

    def __init__(
        self,
        *,
        wsi_file: StrPath,
        mask_data: MaskGiven,
        num_patches: PerRegion,
        patch_size: int = 256,
        level_or_mpp: Number = 0,
        foreground_ratio: PerRegion = 0.95,
        overlap_ratio: PerRegion = 0.95,
        polygon_buffer: PerRegion = 0,
        weak_label: str = "",
        seed: Seed = None,
    ) -> None:
        super().__init__(
            SharedArguments(
                wsi_file=wsi_file,
                mask_data=mask_data,
                patch_size=patch_size,
                level_or_mpp=level_or_mpp,
                foreground_ratio=foreground_ratio,
                overlap_ratio=overlap_ratio,
                polygon_buffer=polygon_buffer,
            ),
            samplers=Samplers(make=Random, values=num_patches, name="num_patches"),
            source=WholeImage(weak_label),
            own={
                "weak_label": weak_label,
                "num_patches": num_patches,
                "seed": seed,
            },
        )


@documented
class WholeImagePoissonDiskPatches(Located):
    """Scatter patches evenly over the foreground of a slide, none close to another.

    Poisson disk sampling of the box around the foreground; what is not acceptable is
    dropped, so the number of patches is not known in advance.
    """

    def __init__(
        self,
        *,
        wsi_file: StrPath,
        mask_data: MaskGiven,
        patch_size: int = 256,
        level_or_mpp: Number = 0,
        foreground_ratio: PerRegion = 0.95,
        overlap_ratio: PerRegion = 0.95,
        polygon_buffer: PerRegion = 0,
        weak_label: str = "",
        poisson_spacing: PerRegion = 50,
        seed: Seed = None,
    ) -> None:
        super().__init__(
            SharedArguments(
                wsi_file=wsi_file,
                mask_data=mask_data,
                patch_size=patch_size,
                level_or_mpp=level_or_mpp,
                foreground_ratio=foreground_ratio,
                overlap_ratio=overlap_ratio,
                polygon_buffer=polygon_buffer,
            ),
            samplers=Samplers(
                make=PoissonDisk, values=poisson_spacing, name="poisson_spacing"
            ),
            source=WholeImage(weak_label),
            own={
                "weak_label": weak_label,
                "poisson_spacing": poisson_spacing,
                "seed": seed,
            },
        )


@documented
class WholeImageCustomPatches(Located):
    """Place patches at given points of a slide.

    Patches are in the order of the points; points whose patch is not acceptable are
    dropped.
    """

    def __init__(
        self,
        *,
        wsi_file: StrPath,
        mask_data: MaskGiven,
        points: Points,
        patch_size: int = 256,
        level_or_mpp: Number = 0,
        foreground_ratio: PerRegion = 0.95,
        overlap_ratio: PerRegion = 0.95,
        polygon_buffer: PerRegion = 0,
        weak_label: str = "",
    ) -> None:
        super().__init__(
            SharedArguments(
                wsi_file=wsi_file,
                mask_data=mask_data,
                patch_size=patch_size,
                level_or_mpp=level_or_mpp,
                foreground_ratio=foreground_ratio,
                overlap_ratio=overlap_ratio,
                polygon_buffer=polygon_buffer,
            ),
            samplers=CustomPoints(points),
            source=WholeImage(weak_label),
            own={
                "weak_label": weak_label,
                "points": describe_points(points),
            },
        )
