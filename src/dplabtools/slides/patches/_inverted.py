"""The documented classes that place patches over the foreground, beside polygons."""

from __future__ import annotations

from collections.abc import Collection

from dplabtools._typing import StrPath
from dplabtools.annotations.json import PolygonsGiven
from dplabtools.geometry.resolution import Number
from dplabtools.locations.locate import PerRegion, Samplers
from dplabtools.locations.polygons import InvertedImage
from dplabtools.locations.samplers import CustomPoints, Grid, PoissonDisk, Random
from dplabtools.slides.patches._documentation import documented
from dplabtools.slides.patches._given import (
    MaskGiven,
    Points,
    choose_polygons,
    describe_points,
    describe_polygons,
)
from dplabtools.slides.patches._located import Located, Seed, SharedArguments

__all__ = [
    "WholeImageInvertedCustomPatches",
    "WholeImageInvertedGridPatches",
    "WholeImageInvertedPoissonDiskPatches",
    "WholeImageInvertedRandomPatches",
]


@documented
class WholeImageInvertedGridPatches(Located):
    """Place patches on a grid over the foreground of a slide, beside its polygons.

    The grid begins at the upper left corner of the box around the foreground. Patches are
    ordered row by row. What polygons enclose is left out, their holes too.
    """

    def __init__(
        self,
        *,
        wsi_file: StrPath,
        mask_data: MaskGiven,
        polygon_data: PolygonsGiven,
        patch_size: int = 256,
        level_or_mpp: Number = 0,
        foreground_ratio: PerRegion = 0.95,
        overlap_ratio: PerRegion = 0.95,
        polygon_buffer: PerRegion = 0,
        weak_label: str = "",
        included_labels: Collection[str] = (),
        excluded_labels: Collection[str] = (),
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
            source=InvertedImage(
                choose_polygons(
                    polygon_data,
                    wsi_file=wsi_file,
                    included=included_labels,
                    excluded=excluded_labels,
                ),
                weak_label,
            ),
            own={
                "polygon_data": describe_polygons(polygon_data),
                "weak_label": weak_label,
                "included_labels": list(included_labels),
                "excluded_labels": list(excluded_labels),
                "patch_stride": patch_stride,
            },
        )


@documented
class WholeImageInvertedRandomPatches(Located):
    """Place patches at random over the foreground of a slide, beside its polygons.

    Corners are drawn evenly from the box around the foreground until enough of them are
    acceptable. Patches are in the order of the draws. What polygons enclose is left out,
    their holes too.
    """

    def __init__(
        self,
        *,
        wsi_file: StrPath,
        mask_data: MaskGiven,
        polygon_data: PolygonsGiven,
        num_patches: PerRegion,
        patch_size: int = 256,
        level_or_mpp: Number = 0,
        foreground_ratio: PerRegion = 0.95,
        overlap_ratio: PerRegion = 0.95,
        polygon_buffer: PerRegion = 0,
        weak_label: str = "",
        included_labels: Collection[str] = (),
        excluded_labels: Collection[str] = (),
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
            source=InvertedImage(
                choose_polygons(
                    polygon_data,
                    wsi_file=wsi_file,
                    included=included_labels,
                    excluded=excluded_labels,
                ),
                weak_label,
            ),
            own={
                "polygon_data": describe_polygons(polygon_data),
                "weak_label": weak_label,
                "included_labels": list(included_labels),
                "excluded_labels": list(excluded_labels),
                "num_patches": num_patches,
                "seed": seed,
            },
        )


@documented
class WholeImageInvertedPoissonDiskPatches(Located):
    """Scatter patches evenly over the foreground of a slide, beside its polygons.

    Poisson disk sampling of the box around the foreground; what is not acceptable is
    dropped, so the number of patches is not known in advance. What polygons enclose is
    left out, their holes too.
    """

    def __init__(
        self,
        *,
        wsi_file: StrPath,
        mask_data: MaskGiven,
        polygon_data: PolygonsGiven,
        patch_size: int = 256,
        level_or_mpp: Number = 0,
        foreground_ratio: PerRegion = 0.95,
        overlap_ratio: PerRegion = 0.95,
        polygon_buffer: PerRegion = 0,
        weak_label: str = "",
        included_labels: Collection[str] = (),
        excluded_labels: Collection[str] = (),
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
            source=InvertedImage(
                choose_polygons(
                    polygon_data,
                    wsi_file=wsi_file,
                    included=included_labels,
                    excluded=excluded_labels,
                ),
                weak_label,
            ),
            own={
                "polygon_data": describe_polygons(polygon_data),
                "weak_label": weak_label,
                "included_labels": list(included_labels),
                "excluded_labels": list(excluded_labels),
                "poisson_spacing": poisson_spacing,
                "seed": seed,
            },
        )


@documented
class WholeImageInvertedCustomPatches(Located):
    """Place patches at given points of a slide, beside its polygons.

    Patches are in the order of the points; points whose patch is not acceptable are
    dropped. What polygons enclose is left out, their holes too.
    """

    def __init__(
        self,
        *,
        wsi_file: StrPath,
        mask_data: MaskGiven,
        polygon_data: PolygonsGiven,
        points: Points,
        patch_size: int = 256,
        level_or_mpp: Number = 0,
        foreground_ratio: PerRegion = 0.95,
        overlap_ratio: PerRegion = 0.95,
        polygon_buffer: PerRegion = 0,
        weak_label: str = "",
        included_labels: Collection[str] = (),
        excluded_labels: Collection[str] = (),
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
            source=InvertedImage(
                choose_polygons(
                    polygon_data,
                    wsi_file=wsi_file,
                    included=included_labels,
                    excluded=excluded_labels,
                ),
                weak_label,
            ),
            own={
                "polygon_data": describe_polygons(polygon_data),
                "weak_label": weak_label,
                "included_labels": list(included_labels),
                "excluded_labels": list(excluded_labels),
                "points": describe_points(points),
            },
        )
