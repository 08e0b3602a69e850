"""The documented classes that place patches in polygons."""

from __future__ import annotations

from collections.abc import Collection

from dplabtools import config
from dplabtools._typing import StrPath
from dplabtools.annotations.json import PolygonsGiven
from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.geometry.resolution import Number
from dplabtools.locations.locate import PerRegion, Samplers
from dplabtools.locations.polygons import PolygonRegions
from dplabtools.locations.samplers import CustomPoints, Grid, PoissonDisk, Random
from dplabtools.slides._arguments import checked_number
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
    "PolygonRegionCustomPatches",
    "PolygonRegionGridPatches",
    "PolygonRegionPoissonDiskPatches",
    "PolygonRegionRandomPatches",
]


class _PolygonLocated(Located):
    """Patches placed in polygons."""

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


def polygon_regions(
    polygons: tuple[AnnotationPolygon, ...], *, check: bool
) -> PolygonRegions:
    """Return the regions of polygons, with the threshold as it stands now."""
    threshold = config.snapshot().polygons_overlap_threshold
    return PolygonRegions(polygons, check=check, threshold=threshold)


@documented
class PolygonRegionGridPatches(_PolygonLocated):
    """Place patches on a grid over each polygon of a slide.

    Each grid begins at the upper left corner of the box around its polygon. Patches are
    ordered by polygon, then row by row, and have the label of their polygon.
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
        check_polygons: bool = True,
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
            source=polygon_regions(
                choose_polygons(
                    polygon_data,
                    wsi_file=wsi_file,
                    included=included_labels,
                    excluded=excluded_labels,
                ),
                check=check_polygons,
            ),
            own={
                "polygon_data": describe_polygons(polygon_data),
                "check_polygons": check_polygons,
                "included_labels": list(included_labels),
                "excluded_labels": list(excluded_labels),
                "patch_stride": patch_stride,
            },
        )


@documented
class PolygonRegionRandomPatches(_PolygonLocated):
    """Place patches at random in each polygon of a slide.

    Corners are drawn evenly from the box around the polygon until enough of them are
    acceptable. Patches are ordered by polygon, then in the order of the draws, and have
    the label of their polygon.
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
        check_polygons: bool = True,
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
            source=polygon_regions(
                choose_polygons(
                    polygon_data,
                    wsi_file=wsi_file,
                    included=included_labels,
                    excluded=excluded_labels,
                ),
                check=check_polygons,
            ),
            own={
                "polygon_data": describe_polygons(polygon_data),
                "check_polygons": check_polygons,
                "included_labels": list(included_labels),
                "excluded_labels": list(excluded_labels),
                "num_patches": num_patches,
                "seed": seed,
            },
        )


@documented
class PolygonRegionPoissonDiskPatches(_PolygonLocated):
    """Scatter patches evenly over each polygon of a slide, none close to another.

    Poisson disk sampling of the box around the polygon; what is not acceptable is dropped,
    so the number of patches is not known in advance. Patches are ordered by polygon, and
    have the label of their polygon.
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
        check_polygons: bool = True,
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
            source=polygon_regions(
                choose_polygons(
                    polygon_data,
                    wsi_file=wsi_file,
                    included=included_labels,
                    excluded=excluded_labels,
                ),
                check=check_polygons,
            ),
            own={
                "polygon_data": describe_polygons(polygon_data),
                "check_polygons": check_polygons,
                "included_labels": list(included_labels),
                "excluded_labels": list(excluded_labels),
                "poisson_spacing": poisson_spacing,
                "seed": seed,
            },
        )


@documented
class PolygonRegionCustomPatches(_PolygonLocated):
    """Place patches at given points in the polygons of a slide.

    Patches are ordered by polygon, then in the order of the points, and have the label of
    their polygon; points whose patch is not acceptable are dropped.
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
        check_polygons: bool = True,
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
            source=polygon_regions(
                choose_polygons(
                    polygon_data,
                    wsi_file=wsi_file,
                    included=included_labels,
                    excluded=excluded_labels,
                ),
                check=check_polygons,
            ),
            own={
                "polygon_data": describe_polygons(polygon_data),
                "check_polygons": check_polygons,
                "included_labels": list(included_labels),
                "excluded_labels": list(excluded_labels),
                "points": describe_points(points),
            },
        )
