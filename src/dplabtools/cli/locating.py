"""What the options say of where patches lie, as the location pools take it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import typer

from dplabtools.cli.options.locating import LocatingOptions
from dplabtools.cli.options.slides import ForeignOptions
from dplabtools.cli.resolution import is_given, parse_resolution
from dplabtools.geometry.resolution import Number
from dplabtools.records.slide_input import SlideInput
from dplabtools.slides import patches as classes

__all__ = [
    "annotation_args",
    "check_locating",
    "location_pool",
    "locations_args",
    "parse_classes",
    "patches_args",
    "with_seed",
]

_POOLS: Final[Mapping[tuple[str, str], type[Any]]] = {
    ("whole-image", "grid"): classes.WholeImageGridPatchesPool,
    ("whole-image", "random"): classes.WholeImageRandomPatchesPool,
    ("whole-image", "poisson-disk"): classes.WholeImagePoissonDiskPatchesPool,
    ("whole-image", "custom"): classes.WholeImageCustomPatchesPool,
    ("inverted", "grid"): classes.WholeImageInvertedGridPatchesPool,
    ("inverted", "random"): classes.WholeImageInvertedRandomPatchesPool,
    (
        "inverted",
        "poisson-disk",
    ): classes.WholeImageInvertedPoissonDiskPatchesPool,
    ("inverted", "custom"): classes.WholeImageInvertedCustomPatchesPool,
    ("polygon", "grid"): classes.PolygonRegionGridPatchesPool,
    ("polygon", "random"): classes.PolygonRegionRandomPatchesPool,
    ("polygon", "poisson-disk"): classes.PolygonRegionPoissonDiskPatchesPool,
    ("polygon", "custom"): classes.PolygonRegionCustomPatchesPool,
}


def location_pool(options: LocatingOptions) -> type[Any]:
    """Return the class of location pools that places patches as is asked for."""
    return _POOLS[options.region, options.sampler]


def patches_args(options: LocatingOptions, level_or_mpp: Number | None) -> dict[str, Any]:
    """Return `patches_args` of the pool."""
    arguments: dict[str, Any] = {
        "patch_size": options.patch_size,
        "level_or_mpp": 0 if level_or_mpp is None else level_or_mpp,
        "foreground_ratio": options.foreground_ratio,
        "overlap_ratio": options.overlap_ratio,
        "polygon_buffer": options.polygon_buffer,
    }
    if options.region != "whole-image":
        arguments["included_labels"] = options.included_labels
        arguments["excluded_labels"] = options.excluded_labels
    if options.region != "polygon":
        arguments["weak_label"] = options.weak_label or ""
    own = {
        "patch_stride": options.patch_stride,
        "num_patches": options.num_patches,
        "poisson_spacing": options.poisson_spacing,
        "seed": options.seed,
        "check_polygons": options.check_polygons,
    }
    given = {name: value for name, value in own.items() if value is not None}
    return {**arguments, **given}


def annotation_args(options: LocatingOptions) -> dict[str, Any]:
    """Return which annotations are wanted, as `read_annotations` takes it."""
    return {
        "classes": parse_classes(options.classes),
        "all_objects": options.all_objects,
    }


def locations_args(
    context: typer.Context,
    options: ForeignOptions,
    locating: LocatingOptions,
    *,
    level_or_mpp: Number | None,
) -> dict[str, Any] | None:
    """Return the arguments of `read_locations`; None if no patches are placed elsewhere."""
    if options.locations is None or options.locations_format is None:
        return None
    given = is_given(context, "patch_size")
    return {
        "file_format": options.locations_format,
        "level_or_mpp": level_or_mpp,
        "patch_size": locating.patch_size if given else None,
        "frame": None if options.frame is None else parse_resolution(options.frame),
        "label": locating.weak_label or "",
        "check_location": options.check_location,
    }


def check_locating(
    options: LocatingOptions, inputs: tuple[SlideInput, ...], *, foreign: bool
) -> None:
    """Raise if options do not go together.

    Raises
    ------
    typer.BadParameter
        If one is given that the others make void, or one is missing.
    """
    region, sampler = options.region, options.sampler
    points = any(each.points for each in inputs)
    outlines = any(each.annotation for each in inputs)
    labels = options.weak_label or any(each.label for each in inputs)
    chance = sampler in ("random", "poisson-disk")
    rules = (
        (options.patch_stride, sampler == "grid", "--patch-stride", "grid"),
        (options.num_patches, sampler == "random", "--num-patches", "random"),
        (
            options.poisson_spacing,
            sampler == "poisson-disk",
            "--poisson-spacing",
            "poisson-disk",
        ),
        (options.seed, chance, "--seed", "random or poisson-disk"),
        (points or None, sampler == "custom", "--points", "custom"),
    )
    for value, suits, name, kinds in rules:
        if value is not None and not suits:
            msg = f"{name} goes with --sampler {kinds}"
            raise typer.BadParameter(msg)
    _require(
        (options.patch_stride is None or options.patch_stride > 0),
        "--patch-stride must be above 0",
    )
    _require(
        sampler != "random" or options.num_patches is not None or foreign,
        "--sampler random needs --num-patches",
    )
    _require(sampler != "custom" or points, "--sampler custom needs --points")
    _require(
        region == "whole-image" or outlines,
        f"--region {region} needs --annotations",
    )
    parse_classes(options.classes)
    _require(
        region != "whole-image" or not (options.classes or options.all_objects),
        "--classes and --all-objects go with --region polygon or inverted",
    )
    _require(
        options.check_polygons is None or region == "polygon",
        "--check-polygons goes with --region polygon",
    )
    _require(
        region != "polygon" or not labels,
        "labels of slides do not go with --region polygon: patches have those of polygons",
    )


def with_seed(options: LocatingOptions, *, earlier: int | None) -> LocatingOptions:
    """Return options whose patches are the same again, by a seed if they need one.

    Parameters
    ----------
    options : LocatingOptions
        As given.
    earlier : int or None
        Seed of the run that is gone on with.
    """
    chance = options.sampler in ("random", "poisson-disk")
    if not chance or options.seed is not None:
        return options
    return replace(options, seed=secrets.randbits(32) if earlier is None else earlier)


def _require(fulfilled: object, message: str) -> None:
    if not fulfilled:
        raise typer.BadParameter(message)


def parse_classes(text: str | None) -> dict[str, str] | None:
    """Return the label of each class, from words like ``Tumor=1,Stroma=2``.

    Raises
    ------
    typer.BadParameter
        If a class is named twice, or there is none.
    """
    if text is None:
        return None
    classes: dict[str, str] = {}
    for part in text.split(","):
        name, equals, label = (word.strip() for word in part.partition("="))
        if name in classes or not (name or equals) or (equals and not label):
            msg = f"--classes must be like Tumor=1,Stroma=2, not {text!r}"
            raise typer.BadParameter(msg)
        classes[name] = label if equals else name
    return classes
