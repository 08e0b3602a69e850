"""The documented datasets of PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from dplabtools._typing import StrPath
from dplabtools.errors import ParameterError
from dplabtools.extraction.patch_reader import PatchReader
from dplabtools.geometry.resolution import Number, Resolution
from dplabtools.inference.datasets import (
    PatchDataset,
    PatchSource,
    ReadPatches,
    ReadStored,
)
from dplabtools.slides.patches import StoredPatches
from dplabtools.slides.patches._request import (
    LabelFilter,
    LocationLike,
    Selection,
    parse_views,
    reading,
)

__all__ = ["SlideDataset", "WSIDataset", "WSIMultiResDataset"]


class SlideDataset(PatchDataset):
    """A dataset that remembers what it was made of."""

    def __init__(
        self,
        patches: LocationLike | StoredPatches,
        source: PatchSource,
        *,
        transform_fn: Callable[[Any], Any] | None,
        multires: bool,
        save_patches_dir: StrPath | None,
        open_now: bool,
    ) -> None:
        super().__init__(
            source,
            transform=transform_fn,
            multires=multires,
            save_dir=None if save_patches_dir is None else os.fspath(save_patches_dir),
        )
        self._patches: LocationLike | StoredPatches | None = patches
        if open_now:
            self.worker_init()

    @property
    def patches(self) -> LocationLike | StoredPatches | None:
        """What the dataset was made of; None in workers, which need only its table."""
        return self._patches

    @property
    def reader(self) -> PatchReader | None:
        """What reads the patches from their slide; None if they are on disk."""
        return self._source.reader if isinstance(self._source, ReadPatches) else None

    def __getstate__(self) -> dict[str, Any]:
        # Location objects hold masks and an open slide.
        return {**self.__dict__, "_patches": None}


class WSIDataset(SlideDataset):
    """The patches of a slide, by their number, for a ``torch.utils.data.DataLoader``.

    A sample is (image, x, y): x and y are the location, in level 0 pixels. A `DataLoader`
    reads a whole batch in one go, each stored tile once. The dataset pickles; each worker
    opens the slide for itself.

    Parameters
    ----------
    patches : location object, or StoredPatches
        Of any location class, `PatchesMock`, or what `read_locations` returns; or what
        `open_patches` does, which may be of many slides.
    transform_fn : callable, default None
        Called with the PIL image of a patch; what it returns takes the place of the image.
        None for a tensor: float32, shape (3, height, width), from 0 to 1.
    resampling_mode : {None, "tile", "wsi"}, default None
        How to get pixels at an mpp that no level has.
    extra_mpps : sequence of float, default ()
        The mpps to prepare for, with ``"wsi"``.
    zero_workers : bool, default False
        Open the slide at once: for a `DataLoader` without workers.
    save_patches_dir : path, default None
        Folder to save each patch to when it is read, as a PNG file.

    Raises
    ------
    ParameterError, ParameterTypeError
        If an argument makes no sense.
    OutputError
        If `save_patches_dir` is no folder.
    SlideError
        If the slide cannot be opened, with `zero_workers`; else by the first access.
    """

    def __init__(
        self,
        *,
        patches: LocationLike | StoredPatches,
        transform_fn: Callable[[Any], Any] | None = None,
        resampling_mode: str | None = None,
        extra_mpps: Sequence[float] = (),
        zero_workers: bool = False,
        save_patches_dir: StrPath | None = None,
    ) -> None:
        super().__init__(
            patches,
            _source(patches, None, mode=resampling_mode, extra_mpps=extra_mpps),
            transform_fn=transform_fn,
            multires=False,
            save_patches_dir=save_patches_dir,
            open_now=zero_workers,
        )


class WSIMultiResDataset(SlideDataset):
    """The patches of a slide at several resolutions around one centre, by their number.

    A sample is (images, x, y): a list of images, all of the same size, in the order of
    `levels_or_mpps`, and the location of the patch that was placed, in level 0 pixels.

    Parameters
    ----------
    levels_or_mpps : sequence of int or float
        Levels (int) and microns per pixel (float); of `StoredPatches` those that they have.
    patches : location object, or StoredPatches
        As for `WSIDataset`.
    transform_fn : callable, default None
        Called with the list of PIL images of a patch. None for a list of tensors.
    resampling_mode : {None, "tile", "wsi"}, default None
        How to get pixels at an mpp that no level has.
    extra_mpps : sequence of float, default ()
        The mpps to prepare for, with ``"wsi"``.
    zero_workers : bool, default False
        Open the slide at once: for a `DataLoader` without workers.
    save_patches_dir : path, default None
        Folder to save each patch to when it is read, as PNG files.

    Raises
    ------
    ParameterError, ParameterTypeError, OutputError, SlideError
        As `WSIDataset`.
    """

    def __init__(
        self,
        *,
        levels_or_mpps: Sequence[Number],
        patches: LocationLike | StoredPatches,
        transform_fn: Callable[[Any], Any] | None = None,
        resampling_mode: str | None = None,
        extra_mpps: Sequence[float] = (),
        zero_workers: bool = False,
        save_patches_dir: StrPath | None = None,
    ) -> None:
        views = parse_views(levels_or_mpps)
        super().__init__(
            patches,
            _source(patches, views, mode=resampling_mode, extra_mpps=extra_mpps),
            transform_fn=transform_fn,
            multires=True,
            save_patches_dir=save_patches_dir,
            open_now=zero_workers,
        )


def _source(
    patches: LocationLike | StoredPatches,
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
            msg = (
                f"the stored patches have the resolutions {stored}; ask for these with "
                f"WSIMultiResDataset, not for {asked}"
            )
            raise ParameterError(msg)
        return ReadStored(patches)
    table = Selection.of(patches, LabelFilter((), ())).table
    reader = PatchReader(
        table=table,
        reading=reading(views, mode, [table]),
        extra_mpps=tuple(map(float, extra_mpps)),
    )
    return ReadPatches(reader)
