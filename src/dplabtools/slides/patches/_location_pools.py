"""Location pools: the patches of many slides, placed by several processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dplabtools._typing import StrPath
from dplabtools.extraction.progress import ProgressArgument
from dplabtools.masks.files import AnyMask
from dplabtools.slides.patches._located_pool import LocatedPool, PoolArguments
from dplabtools.slides.patches._locations import (
    Points,
    WholeImageCustomPatches,
    WholeImageGridPatches,
    WholeImagePoissonDiskPatches,
    WholeImageRandomPatches,
)

__all__ = [
    "WholeImageCustomPatchesPool",
    "WholeImageGridPatchesPool",
    "WholeImagePoissonDiskPatchesPool",
    "WholeImageRandomPatchesPool",
]


class WholeImageGridPatchesPool(LocatedPool):
    """Place patches on grids over the foreground of many slides.

    A sequence of `PatchesMock`, one for each slide, in the order of the slides whatever the
    number of workers; it can be gone through as often as wanted. With
    ``on_error="skip"`` it lacks the slides that failed, and `errors` names them.

    Parameters
    ----------
    wsi_file_list : sequence of path
        The slides.
    mask_data_list : sequence of path, ndarray or PIL image
        Mask of each slide. Paths are loaded by the workers.
    patches_args : mapping
        Arguments of `WholeImageGridPatches` for all slides. A list holds one
        value for each slide.
    proc_num_workers : int
        Number of worker processes.
    mp_chunksize : int
        Kept for compatibility: slides are handed out one by one, as workers become free.
    save_preview_image_args : mapping, optional
        Arguments of `save_preview_image`, to save one of each slide: ``/dir/_suffix.png``
        as `image_file` becomes ``/dir/<name of the slide>_suffix.png``.
    on_error : {"raise", "skip"}
        Whether the first slide that fails ends it all, or is left out.
    progress : bool or callable
        Tell how far it has come: on standard error, or to a function that takes a
        `Progress`. Its number of patches is an estimate until the end.

    Raises
    ------
    ParameterError
        If lists have unequal lengths, `patches_args` holds what is given for each slide
        elsewhere, or a number is too small.
    ParameterTypeError
        If an argument is unknown, missing, or of a wrong type.
    DplabError
        With ``on_error="raise"``: whatever `WholeImageGridPatches` raises.
    WorkerError
        If a worker process died, twice, on the same slide.
    """

    def __init__(
        self,
        *,
        wsi_file_list: Sequence[StrPath],
        mask_data_list: Sequence[AnyMask],
        patches_args: Mapping[str, Any],
        proc_num_workers: int,
        mp_chunksize: int = 1,
        save_preview_image_args: Mapping[str, Any] | None = None,
        on_error: str = "raise",
        progress: ProgressArgument = False,
    ) -> None:
        super().__init__(
            WholeImageGridPatches,
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
            ),
        )


class WholeImageRandomPatchesPool(LocatedPool):
    """Place patches at random over the foreground of many slides.

    A sequence of `PatchesMock`, one for each slide, in the order of the slides whatever the
    number of workers; it can be gone through as often as wanted. With
    ``on_error="skip"`` it lacks the slides that failed, and `errors` names them.

    Parameters
    ----------
    wsi_file_list : sequence of path
        The slides.
    mask_data_list : sequence of path, ndarray or PIL image
        Mask of each slide. Paths are loaded by the workers.
    patches_args : mapping
        Arguments of `WholeImageRandomPatches` for all slides. A list holds one
        value for each slide. A `seed` gives each slide its own stream of chance,
        so patches depend neither on the workers nor on the order of the work.
    proc_num_workers : int
        Number of worker processes.
    mp_chunksize : int
        Kept for compatibility: slides are handed out one by one, as workers become free.
    save_preview_image_args : mapping, optional
        Arguments of `save_preview_image`, to save one of each slide: ``/dir/_suffix.png``
        as `image_file` becomes ``/dir/<name of the slide>_suffix.png``.
    on_error : {"raise", "skip"}
        Whether the first slide that fails ends it all, or is left out.
    progress : bool or callable
        Tell how far it has come: on standard error, or to a function that takes a
        `Progress`. Its number of patches is an estimate until the end.

    Raises
    ------
    ParameterError
        If lists have unequal lengths, `patches_args` holds what is given for each slide
        elsewhere, or a number is too small.
    ParameterTypeError
        If an argument is unknown, missing, or of a wrong type.
    DplabError
        With ``on_error="raise"``: whatever `WholeImageRandomPatches` raises.
    WorkerError
        If a worker process died, twice, on the same slide.
    """

    def __init__(
        self,
        *,
        wsi_file_list: Sequence[StrPath],
        mask_data_list: Sequence[AnyMask],
        patches_args: Mapping[str, Any],
        proc_num_workers: int,
        mp_chunksize: int = 1,
        save_preview_image_args: Mapping[str, Any] | None = None,
        on_error: str = "raise",
        progress: ProgressArgument = False,
    ) -> None:
        super().__init__(
            WholeImageRandomPatches,
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
            ),
        )


class WholeImagePoissonDiskPatchesPool(LocatedPool):
    """Scatter patches evenly over the foreground of many slides.

    A sequence of `PatchesMock`, one for each slide, in the order of the slides whatever the
    number of workers; it can be gone through as often as wanted. With
    ``on_error="skip"`` it lacks the slides that failed, and `errors` names them.

    Parameters
    ----------
    wsi_file_list : sequence of path
        The slides.
    mask_data_list : sequence of path, ndarray or PIL image
        Mask of each slide. Paths are loaded by the workers.
    patches_args : mapping
        Arguments of `WholeImagePoissonDiskPatches` for all slides. A list holds one
        value for each slide. A `seed` gives each slide its own stream of chance,
        so patches depend neither on the workers nor on the order of the work.
    proc_num_workers : int
        Number of worker processes.
    mp_chunksize : int
        Kept for compatibility: slides are handed out one by one, as workers become free.
    save_preview_image_args : mapping, optional
        Arguments of `save_preview_image`, to save one of each slide: ``/dir/_suffix.png``
        as `image_file` becomes ``/dir/<name of the slide>_suffix.png``.
    on_error : {"raise", "skip"}
        Whether the first slide that fails ends it all, or is left out.
    progress : bool or callable
        Tell how far it has come: on standard error, or to a function that takes a
        `Progress`. Its number of patches is an estimate until the end.

    Raises
    ------
    ParameterError
        If lists have unequal lengths, `patches_args` holds what is given for each slide
        elsewhere, or a number is too small.
    ParameterTypeError
        If an argument is unknown, missing, or of a wrong type.
    DplabError
        With ``on_error="raise"``: whatever `WholeImagePoissonDiskPatches` raises.
    WorkerError
        If a worker process died, twice, on the same slide.
    """

    def __init__(
        self,
        *,
        wsi_file_list: Sequence[StrPath],
        mask_data_list: Sequence[AnyMask],
        patches_args: Mapping[str, Any],
        proc_num_workers: int,
        mp_chunksize: int = 1,
        save_preview_image_args: Mapping[str, Any] | None = None,
        on_error: str = "raise",
        progress: ProgressArgument = False,
    ) -> None:
        super().__init__(
            WholeImagePoissonDiskPatches,
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
            ),
        )


class WholeImageCustomPatchesPool(LocatedPool):
    """Place patches at given points of many slides.

    A sequence of `PatchesMock`, one for each slide, in the order of the slides whatever the
    number of workers; it can be gone through as often as wanted. With
    ``on_error="skip"`` it lacks the slides that failed, and `errors` names them.

    Parameters
    ----------
    wsi_file_list : sequence of path
        The slides.
    mask_data_list : sequence of path, ndarray or PIL image
        Mask of each slide. Paths are loaded by the workers.
    points_list : sequence of sequence of (float, float)
        Points of each slide: (x, y) of the top-left corners, in level 0 pixels.
    patches_args : mapping
        Arguments of `WholeImageCustomPatches` for all slides. A list holds one
        value for each slide.
    proc_num_workers : int
        Number of worker processes.
    mp_chunksize : int
        Kept for compatibility: slides are handed out one by one, as workers become free.
    save_preview_image_args : mapping, optional
        Arguments of `save_preview_image`, to save one of each slide: ``/dir/_suffix.png``
        as `image_file` becomes ``/dir/<name of the slide>_suffix.png``.
    on_error : {"raise", "skip"}
        Whether the first slide that fails ends it all, or is left out.
    progress : bool or callable
        Tell how far it has come: on standard error, or to a function that takes a
        `Progress`. Its number of patches is an estimate until the end.

    Raises
    ------
    ParameterError
        If lists have unequal lengths, `patches_args` holds what is given for each slide
        elsewhere, or a number is too small.
    ParameterTypeError
        If an argument is unknown, missing, or of a wrong type.
    DplabError
        With ``on_error="raise"``: whatever `WholeImageCustomPatches` raises.
    WorkerError
        If a worker process died, twice, on the same slide.
    """

    def __init__(
        self,
        *,
        wsi_file_list: Sequence[StrPath],
        mask_data_list: Sequence[AnyMask],
        points_list: Sequence[Points],
        patches_args: Mapping[str, Any],
        proc_num_workers: int,
        mp_chunksize: int = 1,
        save_preview_image_args: Mapping[str, Any] | None = None,
        on_error: str = "raise",
        progress: ProgressArgument = False,
    ) -> None:
        super().__init__(
            WholeImageCustomPatches,
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
            ),
        )
