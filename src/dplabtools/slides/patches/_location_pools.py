"""Location pools: the patches of many slides, placed by several processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from dplabtools._typing import StrPath
from dplabtools.annotations.json import PolygonsGiven
from dplabtools.extraction.progress import ProgressArgument
from dplabtools.slides.patches._documentation import documented
from dplabtools.slides.patches._given import MaskGiven, Points
from dplabtools.slides.patches._inverted import (
    WholeImageInvertedCustomPatches,
    WholeImageInvertedGridPatches,
    WholeImageInvertedPoissonDiskPatches,
    WholeImageInvertedRandomPatches,
)
from dplabtools.slides.patches._located import Located
from dplabtools.slides.patches._located_pool import LocatedPool, PoolArguments
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


class _MaskPool(LocatedPool):
    """Patches placed by masks."""

    kind: ClassVar[type[Located]]

    def __init__(
        self,
        *,
        wsi_file_list: Sequence[StrPath],
        mask_data_list: Sequence[MaskGiven],
        patches_args: Mapping[str, Any],
        proc_num_workers: int,
        mp_chunksize: int = 1,
        save_preview_image_args: Mapping[str, Any] | None = None,
        on_error: str = "raise",
        progress: ProgressArgument = False,
        chunk_timeout_s: float = 900.0,
    ) -> None:
        super().__init__(
            self.kind,
            per_slide={
                "wsi_file": ("wsi_file_list", wsi_file_list),
                "mask_data": ("mask_data_list", mask_data_list),
            },
            arguments=PoolArguments(
                patches_args=patches_args,
                proc_num_workers=proc_num_workers,
                mp_chunksize=mp_chunksize,
                save_preview_image_args=save_preview_image_args,
                on_error=on_error,
                progress=progress,
                chunk_timeout_s=chunk_timeout_s,
            ),
        )


class _PointPool(LocatedPool):
    """Patches placed by masks, at given points."""

    kind: ClassVar[type[Located]]

    def __init__(
        self,
        *,
        wsi_file_list: Sequence[StrPath],
        mask_data_list: Sequence[MaskGiven],
        points_list: Sequence[Points],
        patches_args: Mapping[str, Any],
        proc_num_workers: int,
        mp_chunksize: int = 1,
        save_preview_image_args: Mapping[str, Any] | None = None,
        on_error: str = "raise",
        progress: ProgressArgument = False,
        chunk_timeout_s: float = 900.0,
    ) -> None:
        super().__init__(
            self.kind,
            per_slide={
                "wsi_file": ("wsi_file_list", wsi_file_list),
                "mask_data": ("mask_data_list", mask_data_list),
                "points": ("points_list", points_list),
            },
            arguments=PoolArguments(
                patches_args=patches_args,
                proc_num_workers=proc_num_workers,
                mp_chunksize=mp_chunksize,
                save_preview_image_args=save_preview_image_args,
                on_error=on_error,
                progress=progress,
                chunk_timeout_s=chunk_timeout_s,
            ),
        )


class _PolygonPool(LocatedPool):
    """Patches placed by masks and polygons."""

    kind: ClassVar[type[Located]]

    def __init__(
        self,
        *,
        wsi_file_list: Sequence[StrPath],
        mask_data_list: Sequence[MaskGiven],
        polygon_data_list: Sequence[PolygonsGiven],
        patches_args: Mapping[str, Any],
        proc_num_workers: int,
        mp_chunksize: int = 1,
        save_preview_image_args: Mapping[str, Any] | None = None,
        on_error: str = "raise",
        progress: ProgressArgument = False,
        chunk_timeout_s: float = 900.0,
    ) -> None:
        super().__init__(
            self.kind,
            per_slide={
                "wsi_file": ("wsi_file_list", wsi_file_list),
                "mask_data": ("mask_data_list", mask_data_list),
                "polygon_data": ("polygon_data_list", polygon_data_list),
            },
            arguments=PoolArguments(
                patches_args=patches_args,
                proc_num_workers=proc_num_workers,
                mp_chunksize=mp_chunksize,
                save_preview_image_args=save_preview_image_args,
                on_error=on_error,
                progress=progress,
                chunk_timeout_s=chunk_timeout_s,
            ),
        )


class _PolygonPointPool(LocatedPool):
    """Patches placed by masks and polygons, at given points."""

    kind: ClassVar[type[Located]]

    def __init__(
        self,
        *,
        wsi_file_list: Sequence[StrPath],
        mask_data_list: Sequence[MaskGiven],
        polygon_data_list: Sequence[PolygonsGiven],
        points_list: Sequence[Points],
        patches_args: Mapping[str, Any],
        proc_num_workers: int,
        mp_chunksize: int = 1,
        save_preview_image_args: Mapping[str, Any] | None = None,
        on_error: str = "raise",
        progress: ProgressArgument = False,
        chunk_timeout_s: float = 900.0,
    ) -> None:
        super().__init__(
            self.kind,
            per_slide={
                "wsi_file": ("wsi_file_list", wsi_file_list),
                "mask_data": ("mask_data_list", mask_data_list),
                "polygon_data": ("polygon_data_list", polygon_data_list),
                "points": ("points_list", points_list),
            },
            arguments=PoolArguments(
                patches_args=patches_args,
                proc_num_workers=proc_num_workers,
                mp_chunksize=mp_chunksize,
                save_preview_image_args=save_preview_image_args,
                on_error=on_error,
                progress=progress,
                chunk_timeout_s=chunk_timeout_s,
            ),
        )


@documented
class WholeImageGridPatchesPool(_MaskPool):
    """Place patches on grids over the foreground of many slides.

    A sequence of `PatchesMock`, one for each slide, in the order of the slides whatever the
    number of workers; it can be gone through as often as wanted. With
    ``on_error="skip"`` it lacks the slides that failed, and `errors` names them.
    """

    kind = WholeImageGridPatches


@documented
class WholeImageRandomPatchesPool(_MaskPool):
    """Place patches at random over the foreground of many slides.

    A sequence of `PatchesMock`, one for each slide, in the order of the slides whatever the
    number of workers; it can be gone through as often as wanted. With
    ``on_error="skip"`` it lacks the slides that failed, and `errors` names them.
    """

    kind = WholeImageRandomPatches


@documented
class WholeImagePoissonDiskPatchesPool(_MaskPool):
    """Scatter patches evenly over the foreground of many slides.

    A sequence of `PatchesMock`, one for each slide, in the order of the slides whatever the
    number of workers; it can be gone through as often as wanted. With
    ``on_error="skip"`` it lacks the slides that failed, and `errors` names them.
    """

    kind = WholeImagePoissonDiskPatches


@documented
class WholeImageCustomPatchesPool(_PointPool):
    """Place patches at given points of many slides.

    A sequence of `PatchesMock`, one for each slide, in the order of the slides whatever the
    number of workers; it can be gone through as often as wanted. With
    ``on_error="skip"`` it lacks the slides that failed, and `errors` names them.
    """

    kind = WholeImageCustomPatches


@documented
class WholeImageInvertedGridPatchesPool(_PolygonPool):
    """Place patches on grids over the foreground of many slides, beside polygons.

    A sequence of `PatchesMock`, one for each slide, in the order of the slides whatever the
    number of workers; it can be gone through as often as wanted. With
    ``on_error="skip"`` it lacks the slides that failed, and `errors` names them.
    """

    kind = WholeImageInvertedGridPatches


@documented
class WholeImageInvertedRandomPatchesPool(_PolygonPool):
    """Place patches at random over the foreground of many slides, beside polygons.

    A sequence of `PatchesMock`, one for each slide, in the order of the slides whatever the
    number of workers; it can be gone through as often as wanted. With
    ``on_error="skip"`` it lacks the slides that failed, and `errors` names them.
    """

    kind = WholeImageInvertedRandomPatches


@documented
class WholeImageInvertedPoissonDiskPatchesPool(_PolygonPool):
    """Scatter patches evenly over the foreground of many slides, beside polygons.

    A sequence of `PatchesMock`, one for each slide, in the order of the slides whatever the
    number of workers; it can be gone through as often as wanted. With
    ``on_error="skip"`` it lacks the slides that failed, and `errors` names them.
    """

    kind = WholeImageInvertedPoissonDiskPatches


@documented
class WholeImageInvertedCustomPatchesPool(_PolygonPointPool):
    """Place patches at given points of many slides, beside polygons.

    A sequence of `PatchesMock`, one for each slide, in the order of the slides whatever the
    number of workers; it can be gone through as often as wanted. With
    ``on_error="skip"`` it lacks the slides that failed, and `errors` names them.
    """

    kind = WholeImageInvertedCustomPatches


@documented
class PolygonRegionGridPatchesPool(_PolygonPool):
    """Place patches on grids over the polygons of many slides.

    A sequence of `PatchesMock`, one for each slide, in the order of the slides whatever the
    number of workers; it can be gone through as often as wanted. With
    ``on_error="skip"`` it lacks the slides that failed, and `errors` names them.
    """

    kind = PolygonRegionGridPatches


@documented
class PolygonRegionRandomPatchesPool(_PolygonPool):
    """Place patches at random in the polygons of many slides.

    A sequence of `PatchesMock`, one for each slide, in the order of the slides whatever the
    number of workers; it can be gone through as often as wanted. With
    ``on_error="skip"`` it lacks the slides that failed, and `errors` names them.
    """

    kind = PolygonRegionRandomPatches


@documented
class PolygonRegionPoissonDiskPatchesPool(_PolygonPool):
    """Scatter patches evenly over the polygons of many slides.

    A sequence of `PatchesMock`, one for each slide, in the order of the slides whatever the
    number of workers; it can be gone through as often as wanted. With
    ``on_error="skip"`` it lacks the slides that failed, and `errors` names them.
    """

    kind = PolygonRegionPoissonDiskPatches


@documented
class PolygonRegionCustomPatchesPool(_PolygonPointPool):
    """Place patches at given points in the polygons of many slides.

    A sequence of `PatchesMock`, one for each slide, in the order of the slides whatever the
    number of workers; it can be gone through as often as wanted. With
    ``on_error="skip"`` it lacks the slides that failed, and `errors` names them.
    """

    kind = PolygonRegionCustomPatches
