"""The documented location classes: each one names its sampler and its source of regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy.typing as npt

from dplabtools._typing import StrPath
from dplabtools.geometry.resolution import Number
from dplabtools.locations.locate import PerRegion, Samplers
from dplabtools.locations.regions import WholeImage
from dplabtools.locations.samplers import CustomPoints, Grid, PoissonDisk, Random
from dplabtools.masks.files import AnyMask
from dplabtools.slides.patches._located import Located, Seed, SharedArguments

__all__ = [
    "Points",
    "WholeImageCustomPatches",
    "WholeImageGridPatches",
    "WholeImagePoissonDiskPatches",
    "WholeImageRandomPatches",
]

Points: TypeAlias = Sequence[Sequence[float]] | npt.NDArray[Any]
"""(x, y) of each point."""


class WholeImageGridPatches(Located):
    """Place patches on a grid over the foreground of a slide.

    The grid begins at the upper left corner of the box around the foreground. Patches are
    ordered row by row.

    Parameters
    ----------
    wsi_file : path
        The slide.
    mask_data : path, ndarray or PIL image
        Foreground: a ``.npy`` file, an ``.npz`` file with the key ``data``, an image of one
        channel, or an array indexed [x, y]; non-zero is foreground. Of the size of a level,
        or of any size of the slide's aspect.
    patch_size : int
        Edge of a patch, in its own pixels.
    level_or_mpp : int or float
        Pyramid level (int) or microns per pixel (float) of the patches.
    foreground_ratio : float or list of float
        Smallest share of a patch that is foreground, from 0 to 1.
    overlap_ratio : float or list of float
        Smallest share of a patch that lies in the region, from 0 to 1; only patches that
        stick out of the bounds of the region are measured.
    polygon_buffer : float or list of float
        Growth of the region, in mask pixels; negative shrinks it.
    weak_label : str
        Label of all patches.
    patch_stride : float or list of float
        Distance of neighbours as a ratio of the patch size: 1 tiles, 0.5 overlaps by half,
        2 leaves gaps. At least a pixel, at most 5.

    Raises
    ------
    SlideError
        If the slide cannot be opened, or has no such resolution.
    MaskError, MaskTypeError, MissingMaskError
        If the mask cannot be used for the slide.
    ParameterError
        If an argument is out of its range, or a list has another length than there are
        regions (here: one).
    InvalidPolygonError
        If nothing is left of the region after shrinking.

    Warns
    -----
    DuplicatePatchesWarning
        If identical patches were found; only one of each stays.
    """

    def __init__(
        self,
        *,
        wsi_file: StrPath,
        mask_data: AnyMask,
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
            own={"weak_label": weak_label, "patch_stride": patch_stride},
        )


class WholeImageRandomPatches(Located):
    """Place patches at random over the foreground of a slide.

    Corners are drawn evenly from the box around the foreground until enough of them are
    acceptable. Patches are in the order of the draws.

    Parameters
    ----------
    wsi_file : path
        The slide.
    mask_data : path, ndarray or PIL image
        Foreground: a ``.npy`` file, an ``.npz`` file with the key ``data``, an image of one
        channel, or an array indexed [x, y]; non-zero is foreground. Of the size of a level,
        or of any size of the slide's aspect.
    num_patches : int or list of int
        Number of patches wanted.
    patch_size : int
        Edge of a patch, in its own pixels.
    level_or_mpp : int or float
        Pyramid level (int) or microns per pixel (float) of the patches.
    foreground_ratio : float or list of float
        Smallest share of a patch that is foreground, from 0 to 1.
    overlap_ratio : float or list of float
        Smallest share of a patch that lies in the region, from 0 to 1; only patches that
        stick out of the bounds of the region are measured.
    polygon_buffer : float or list of float
        Growth of the region, in mask pixels; negative shrinks it.
    weak_label : str
        Label of all patches.
    seed : int, SeedSequence or Generator, optional
        Makes the patches repeatable.

    Raises
    ------
    SlideError
        If the slide cannot be opened, or has no such resolution.
    MaskError, MaskTypeError, MissingMaskError
        If the mask cannot be used for the slide.
    ParameterError
        If an argument is out of its range, or a list has another length than there are
        regions (here: one).
    InvalidPolygonError
        If nothing is left of the region after shrinking.
    NotEnoughPatchesError
        If a hundred times as many candidates did not give enough patches.

    Warns
    -----
    DuplicatePatchesWarning
        If identical patches were found; only one of each stays.
    """

    def __init__(
        self,
        *,
        wsi_file: StrPath,
        mask_data: AnyMask,
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
            own={"weak_label": weak_label, "num_patches": num_patches, "seed": seed},
        )


class WholeImagePoissonDiskPatches(Located):
    """Scatter patches evenly over the foreground of a slide, none close to another.

    Poisson disk sampling of the box around the foreground; what is not acceptable is
    dropped, so the number of patches is not known in advance.

    Parameters
    ----------
    wsi_file : path
        The slide.
    mask_data : path, ndarray or PIL image
        Foreground: a ``.npy`` file, an ``.npz`` file with the key ``data``, an image of one
        channel, or an array indexed [x, y]; non-zero is foreground. Of the size of a level,
        or of any size of the slide's aspect.
    patch_size : int
        Edge of a patch, in its own pixels.
    level_or_mpp : int or float
        Pyramid level (int) or microns per pixel (float) of the patches.
    foreground_ratio : float or list of float
        Smallest share of a patch that is foreground, from 0 to 1.
    overlap_ratio : float or list of float
        Smallest share of a patch that lies in the region, from 0 to 1; only patches that
        stick out of the bounds of the region are measured.
    polygon_buffer : float or list of float
        Growth of the region, in mask pixels; negative shrinks it.
    weak_label : str
        Label of all patches.
    poisson_spacing : float or list of float
        Smallest distance of two patches' corners, in mask pixels.
    seed : int, SeedSequence or Generator, optional
        Makes the patches repeatable.

    Raises
    ------
    SlideError
        If the slide cannot be opened, or has no such resolution.
    MaskError, MaskTypeError, MissingMaskError
        If the mask cannot be used for the slide.
    ParameterError
        If an argument is out of its range, or a list has another length than there are
        regions (here: one).
    InvalidPolygonError
        If nothing is left of the region after shrinking.

    Warns
    -----
    DuplicatePatchesWarning
        If identical patches were found; only one of each stays.
    """

    def __init__(
        self,
        *,
        wsi_file: StrPath,
        mask_data: AnyMask,
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


class WholeImageCustomPatches(Located):
    """Place patches at given points of a slide.

    Patches are in the order of the points; points whose patch is not acceptable are
    dropped.

    Parameters
    ----------
    wsi_file : path
        The slide.
    mask_data : path, ndarray or PIL image
        Foreground: a ``.npy`` file, an ``.npz`` file with the key ``data``, an image of one
        channel, or an array indexed [x, y]; non-zero is foreground. Of the size of a level,
        or of any size of the slide's aspect.
    points : sequence of (float, float)
        (x, y) of the top-left corners, in level 0 pixels.
    patch_size : int
        Edge of a patch, in its own pixels.
    level_or_mpp : int or float
        Pyramid level (int) or microns per pixel (float) of the patches.
    foreground_ratio : float or list of float
        Smallest share of a patch that is foreground, from 0 to 1.
    overlap_ratio : float or list of float
        Smallest share of a patch that lies in the region, from 0 to 1; only patches that
        stick out of the bounds of the region are measured.
    polygon_buffer : float or list of float
        Growth of the region, in mask pixels; negative shrinks it.
    weak_label : str
        Label of all patches.

    Raises
    ------
    SlideError
        If the slide cannot be opened, or has no such resolution.
    MaskError, MaskTypeError, MissingMaskError
        If the mask cannot be used for the slide.
    ParameterError
        If an argument is out of its range, or a list has another length than there are
        regions (here: one).
    InvalidPolygonError
        If nothing is left of the region after shrinking.
    ParameterTypeError
        If `points` is no list of pairs.

    Warns
    -----
    DuplicatePatchesWarning
        If identical patches were found; only one of each stays.
    """

    def __init__(
        self,
        *,
        wsi_file: StrPath,
        mask_data: AnyMask,
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
            own={"weak_label": weak_label, "points": points},
        )
