"""The documented datasets of PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import torch

from dplabtools import config
from dplabtools._typing import StrPath
from dplabtools.errors import ParameterError
from dplabtools.extraction.patch_reader import PatchReader
from dplabtools.extraction.reading import parse_reading
from dplabtools.extraction.selection import LocationLike, Selection
from dplabtools.geometry.resolution import Number, Resolution, parse_views
from dplabtools.inference.datasets import (
    PatchDataset,
    PatchSource,
    ReadPatches,
    ReadStored,
)
from dplabtools.records.labels import LabelFilter
from dplabtools.slides.patches import StoredPatches

__all__ = ["SlideDataset", "WSIDataset", "WSIMultiResDataset"]

PatchesLike: TypeAlias = LocationLike | Iterable[LocationLike] | StoredPatches


class SlideDataset(PatchDataset):
    """A dataset that remembers what it was made of."""

    def __init__(
        self,
        patches: PatchesLike,
        source: PatchSource,
        *,
        transform_fn: Callable[[Any], Any] | None,
        dtype: torch.dtype,
        multires: bool,
        save_patches_dir: StrPath | None,
        open_now: bool,
    ) -> None:
        super().__init__(
            source,
            transform=transform_fn,
            dtype=dtype,
            multires=multires,
            save_dir=None if save_patches_dir is None else os.fspath(save_patches_dir),
        )
        self._patches: PatchesLike | None = patches
        if open_now:
            self.worker_init()

    @property
    def patches(self) -> PatchesLike | None:
        """What the dataset was made of; None in workers, which need only its table."""
        return self._patches

    @property
    def reader(self) -> PatchReader | None:
        """What reads the patches from their slides; None if they are on disk."""
        return self._source.reader if isinstance(self._source, ReadPatches) else None

    def __getstate__(self) -> dict[str, Any]:
        # Location objects hold masks and an open slide.
        return {**self.__dict__, "_patches": None}


class WSIDataset(SlideDataset):
    """The patches of slides, by their number, for a ``torch.utils.data.DataLoader``.

    A sample is (image, x, y): x and y are the location, in level 0 pixels. A `DataLoader`
    reads a whole batch in one go, each stored tile once. The dataset pickles; each worker
    opens the slides for itself.

    Parameters
    ----------
    patches : location object, iterable of location objects, or StoredPatches
        Of any location class, `PatchesMock`, or what `read_locations` returns; a pool of
        locations, or a list of such objects, for the patches of one slide after the other;
        or what `open_patches` returns.
    transform_fn : callable, default None
        Called with the PIL image of a patch; what it returns takes the place of the image.
        None for a tensor of shape (3, height, width).
    resampling_mode : {None, "tile", "fast", "wsi"}, default None
        How to get pixels at an mpp that no level has.
    extra_mpps : sequence of float, default ()
        The mpps to prepare for, with ``"wsi"``.
    zero_workers : bool, default False
        Look at the slides at once: for a `DataLoader` without workers.
    save_patches_dir : path, default None
        Folder to save each patch to when it is read, as a PNG file.
    dtype : torch.dtype, default torch.float32
        Of tensors, where there is no `transform_fn`: ``torch.float32`` from 0 to 1, or
        ``torch.uint8`` from 0 to 255, a quarter of the bytes for workers to send.

    Raises
    ------
    ParameterError, ParameterTypeError
        If an argument makes no sense.
    OutputError
        If `save_patches_dir` is no folder.
    SlideError
        If a slide cannot be opened, with `zero_workers`; else by the first access.
    """

    def __init__(
        self,
        *,
        patches: PatchesLike,
        transform_fn: Callable[[Any], Any] | None = None,
        resampling_mode: str | None = None,
        extra_mpps: Sequence[float] = (),
        zero_workers: bool = False,
        save_patches_dir: StrPath | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(
            patches,
            _source(patches, None, mode=resampling_mode, extra_mpps=extra_mpps),
            transform_fn=transform_fn,
            dtype=dtype,
            multires=False,
            save_patches_dir=save_patches_dir,
            open_now=zero_workers,
        )


class WSIMultiResDataset(SlideDataset):
    """The patches of slides at several resolutions around one centre, by their number.

    A sample is (images, x, y): a list of images, all of the same size, in the order of
    `levels_or_mpps`, and the location of the patch that was placed, in level 0 pixels.

    Parameters
    ----------
    levels_or_mpps : sequence of int or float
        Levels (int) and microns per pixel (float); of `StoredPatches` those that they have.
    patches : location object, iterable of location objects, or StoredPatches
        As for `WSIDataset`.
    transform_fn : callable, default None
        Called with the list of PIL images of a patch. None for a list of tensors.
    resampling_mode : {None, "tile", "fast", "wsi"}, default None
        How to get pixels at an mpp that no level has.
    extra_mpps : sequence of float, default ()
        The mpps to prepare for, with ``"wsi"``.
    zero_workers : bool, default False
        Look at the slides at once: for a `DataLoader` without workers.
    save_patches_dir : path, default None
        Folder to save each patch to when it is read, as PNG files.
    dtype : torch.dtype, default torch.float32
        As for `WSIDataset`.

    Raises
    ------
    ParameterError, ParameterTypeError, OutputError, SlideError
        As `WSIDataset`.
    """

    def __init__(
        self,
        *,
        levels_or_mpps: Sequence[Number],
        patches: PatchesLike,
        transform_fn: Callable[[Any], Any] | None = None,
        resampling_mode: str | None = None,
        extra_mpps: Sequence[float] = (),
        zero_workers: bool = False,
        save_patches_dir: StrPath | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        views = parse_views(levels_or_mpps)
        super().__init__(
            patches,
            _source(patches, views, mode=resampling_mode, extra_mpps=extra_mpps),
            transform_fn=transform_fn,
            dtype=dtype,
            multires=True,
            save_patches_dir=save_patches_dir,
            open_now=zero_workers,
        )


def _source(
    patches: PatchesLike,
    views: tuple[Resolution, ...] | None,
    *,
    mode: str | None,
    extra_mpps: Sequence[float],
) -> PatchSource:
    """Return where the patches come from.

    Raises
    ------
    ParameterError
        If stored patches have other resolutions than those asked for.
    """
    if isinstance(patches, StoredPatches):
        stored = [view.level_or_mpp for view in patches[0].views] if len(patches) else []
        asked = [view.number for view in views] if views else stored[:1]
        if stored != asked:
            msg = f"the stored patches have the resolutions {stored}"
            raise ParameterError(
                msg, remedy=f"ask for these with WSIMultiResDataset, not for {asked}"
            )
        return ReadStored(patches)
    one = hasattr(patches, "wsi_file") or not isinstance(patches, Iterable)
    pool: Any = [patches] if one else patches
    tables = tuple(each.table for each in Selection.all_of(pool, LabelFilter((), ())))
    reader = PatchReader(
        tables=tables,
        reading=parse_reading(views, mode, tables=tables, settings=config.snapshot()),
        extra_mpps=tuple(map(float, extra_mpps)),
    )
    return ReadPatches(reader)
