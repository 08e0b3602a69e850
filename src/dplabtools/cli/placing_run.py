"""Patches placed on many slides by whichever class the options name."""

from __future__ import annotations

import csv
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import typer

from dplabtools import config
from dplabtools.annotations.opening import read_annotations
from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.cli.console import step
from dplabtools.cli.enlarging import refuse_enlarging
from dplabtools.cli.inputs import SlideInput, file_for
from dplabtools.cli.ledger import Ledger
from dplabtools.cli.options.placing import PlacingOptions, Region, Sampler
from dplabtools.cli.options.running import WorkOptions
from dplabtools.cli.options.slides import ForeignOptions
from dplabtools.cli.resolution import is_given, parse_resolution
from dplabtools.errors import (
    DplabError,
    InvalidLocationError,
    MissingAnnotationError,
)
from dplabtools.extraction.progress import Progress
from dplabtools.interchange.formats import FORMATS
from dplabtools.slides import patches as classes
from dplabtools.slides.patches import read_locations

__all__ = [
    "Foreign",
    "Placing",
    "check_placing",
    "parse_classes",
    "place",
    "read_placed",
    "with_seed",
]

_POOLS: Final[Mapping[tuple[Region, Sampler], Callable[..., Any]]] = {
    (Region.WHOLE_IMAGE, Sampler.GRID): classes.WholeImageGridPatchesPool,
    (Region.WHOLE_IMAGE, Sampler.RANDOM): classes.WholeImageRandomPatchesPool,
    (Region.WHOLE_IMAGE, Sampler.POISSON_DISK): classes.WholeImagePoissonDiskPatchesPool,
    (Region.WHOLE_IMAGE, Sampler.CUSTOM): classes.WholeImageCustomPatchesPool,
    (Region.INVERTED, Sampler.GRID): classes.WholeImageInvertedGridPatchesPool,
    (Region.INVERTED, Sampler.RANDOM): classes.WholeImageInvertedRandomPatchesPool,
    (
        Region.INVERTED,
        Sampler.POISSON_DISK,
    ): classes.WholeImageInvertedPoissonDiskPatchesPool,
    (Region.INVERTED, Sampler.CUSTOM): classes.WholeImageInvertedCustomPatchesPool,
    (Region.POLYGON, Sampler.GRID): classes.PolygonRegionGridPatchesPool,
    (Region.POLYGON, Sampler.RANDOM): classes.PolygonRegionRandomPatchesPool,
    (Region.POLYGON, Sampler.POISSON_DISK): classes.PolygonRegionPoissonDiskPatchesPool,
    (Region.POLYGON, Sampler.CUSTOM): classes.PolygonRegionCustomPatchesPool,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """What to place.

    Attributes
    ----------
    options : PlacingOptions
        How.
    level_or_mpp : int or float
        Resolution of the patches.
    work : WorkOptions
        By how many.
    preview : mapping of str to object
        Arguments of previews; empty for none.
    """

    options: PlacingOptions
    level_or_mpp: int | float
    work: WorkOptions
    preview: Mapping[str, Any]

    def arguments(self, slides: list[SlideInput]) -> dict[str, Any]:
        """Return `patches_args` of the pool."""
        options = self.options
        arguments: dict[str, Any] = {
            "patch_size": options.patch_size,
            "level_or_mpp": self.level_or_mpp,
            "foreground_ratio": options.foreground_ratio,
            "overlap_ratio": options.overlap_ratio,
            "polygon_buffer": options.polygon_buffer,
        }
        if options.region is not Region.WHOLE_IMAGE:
            arguments["included_labels"] = options.included_labels
            arguments["excluded_labels"] = options.excluded_labels
        if options.region is not Region.POLYGON:
            weak = options.weak_label or ""
            arguments["weak_label"] = [each.label or weak for each in slides]
        own = {
            "patch_stride": options.patch_stride,
            "num_patches": options.num_patches,
            "poisson_spacing": options.poisson_spacing,
            "seed": options.seed,
            "check_polygons": options.check_polygons,
        }
        given = {name: value for name, value in own.items() if value is not None}
        return {**arguments, **given}


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """Patches that another tool has placed.

    Attributes
    ----------
    options : ForeignOptions
        Where they are.
    level_or_mpp : int or float or None
        Their resolution, where the files do not say it.
    patch_size : int or None
        Their size, where the files do not say it.
    label : str
        Of those that have none.
    """

    options: ForeignOptions
    level_or_mpp: int | float | None
    patch_size: int | None
    label: str

    @classmethod
    def of(
        cls,
        context: typer.Context,
        options: ForeignOptions,
        placing: PlacingOptions,
        *,
        level_or_mpp: float | None,
    ) -> Self | None:
        """Return what the options say; None if no patches are placed elsewhere."""
        if options.locations is None:
            return None
        given = is_given(context, "patch_size")
        return cls(
            options=options,
            level_or_mpp=level_or_mpp,
            patch_size=placing.patch_size if given else None,
            label=placing.weak_label or "",
        )

    @property
    def file_format(self) -> str:
        """Kind of the files.

        Raises
        ------
        typer.BadParameter
            If nobody says it.
        """
        if self.options.locations_format is None:
            msg = "--locations needs --locations-format"
            raise typer.BadParameter(msg)
        return self.options.locations_format.value


def check_placing(
    options: PlacingOptions, inputs: tuple[SlideInput, ...], *, foreign: bool
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
    chance = sampler in (Sampler.RANDOM, Sampler.POISSON_DISK)
    rules = (
        (options.patch_stride, sampler is Sampler.GRID, "--patch-stride", "grid"),
        (options.num_patches, sampler is Sampler.RANDOM, "--num-patches", "random"),
        (
            options.poisson_spacing,
            sampler is Sampler.POISSON_DISK,
            "--poisson-spacing",
            "poisson-disk",
        ),
        (options.seed, chance, "--seed", "random or poisson-disk"),
        (points or None, sampler is Sampler.CUSTOM, "--points", "custom"),
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
        sampler is not Sampler.RANDOM or options.num_patches is not None or foreign,
        "--sampler random needs --num-patches",
    )
    _require(sampler is not Sampler.CUSTOM or points, "--sampler custom needs --points")
    _require(
        region is Region.WHOLE_IMAGE or outlines,
        f"--region {region.value} needs --annotations",
    )
    parse_classes(options.classes)
    _require(
        region is not Region.WHOLE_IMAGE or not (options.classes or options.all_objects),
        "--classes and --all-objects go with --region polygon or inverted",
    )
    _require(
        options.check_polygons is None or region is Region.POLYGON,
        "--check-polygons goes with --region polygon",
    )
    _require(
        region is not Region.POLYGON or not labels,
        "labels of slides do not go with --region polygon: patches have those of polygons",
    )


def with_seed(options: PlacingOptions, *, earlier: int | None) -> PlacingOptions:
    """Return options whose patches are the same again, by a seed if they need one.

    Parameters
    ----------
    options : PlacingOptions
        As given.
    earlier : int or None
        Seed of the run that is gone on with.
    """
    chance = options.sampler in (Sampler.RANDOM, Sampler.POISSON_DISK)
    if not chance or options.seed is not None:
        return options
    return replace(options, seed=secrets.randbits(32) if earlier is None else earlier)


def _require(fulfilled: object, message: str) -> None:
    if not fulfilled:
        raise typer.BadParameter(message)


def place(ledger: Ledger, placing: Placing) -> None:
    """Place patches on all slides that are left, and enter them.

    Parameters
    ----------
    ledger : Ledger
        With masks.
    placing : Placing
        What to place.
    """
    config.set_slide_setting(
        polygons_overlap_threshold=placing.options.polygons_overlap_threshold
    )
    refuse_enlarging(
        ledger, [placing.level_or_mpp], allowed=placing.options.allow_enlarging
    )
    outlines, points = _read_files(ledger, placing.options)
    slides = ledger.left()
    names = [each.wsi_file for each in slides]
    arguments: dict[str, Any] = {
        "wsi_file_list": names,
        "mask_data_list": [ledger.masks[name] for name in names],
        "patches_args": placing.arguments(slides),
        "proc_num_workers": placing.work.processes,
        "save_preview_image_args": placing.preview,
        "on_error": placing.work.error_policy,
        "chunk_timeout_s": placing.work.chunk_timeout_s,
    }
    if placing.options.region is not Region.WHOLE_IMAGE:
        arguments["polygon_data_list"] = [list(outlines[name]) for name in names]
    if placing.options.sampler is Sampler.CUSTOM:
        arguments["points_list"] = [points[name] for name in names]
    pool_of = _POOLS[placing.options.region, placing.options.sampler]
    with step("locations") as tell:

        def say(progress: Progress) -> None:
            tell(progress.slides_done, progress.slides_total)

        pool = pool_of(**arguments, progress=say)
    ledger.enter(pool.errors)
    ledger.patches.update({each.wsi_file: each for each in pool})


def read_placed(ledger: Ledger, foreign: Foreign) -> None:
    """Read the patches that another tool has placed, and enter them.

    Parameters
    ----------
    ledger : Ledger
        The slides.
    foreign : Foreign
        Where the patches are.
    """
    options, name = foreign.options, foreign.file_format
    frame = None if options.frame is None else parse_resolution(options.frame)
    count = len(ledger.inputs)
    suffixes = (FORMATS[name].suffix,)
    with step("locations") as tell:
        for done, each in enumerate(ledger.left(), 1):
            file = file_for(each.wsi_file, options.locations, suffixes, count=count)
            try:
                ledger.patches[each.wsi_file] = read_locations(
                    file=file or Path(),
                    file_format=name,
                    wsi_file=each.wsi_file,
                    level_or_mpp=foreign.level_or_mpp,
                    patch_size=foreign.patch_size,
                    frame=frame,
                    label=each.label or foreign.label,
                    check_location=options.check_location,
                )
            except DplabError as error:
                ledger.fail(each.wsi_file, error)
            tell(done, count)


def _read_files(
    ledger: Ledger, options: PlacingOptions
) -> tuple[dict[str, Any], dict[str, list[tuple[float, float]]]]:
    """Return the polygons and the points of each slide, as far as they are needed."""
    outlines: dict[str, Any] = {}
    points: dict[str, list[tuple[float, float]]] = {}
    for each in ledger.left():
        try:
            if options.region is not Region.WHOLE_IMAGE:
                outlines[each.wsi_file] = _polygons(each, options)
            if options.sampler is Sampler.CUSTOM:
                points[each.wsi_file] = _points(each)
        except DplabError as error:
            ledger.fail(each.wsi_file, error)
    return outlines, points


def _polygons(each: SlideInput, options: PlacingOptions) -> tuple[AnnotationPolygon, ...]:
    name = Path(each.wsi_file).name
    if each.annotation is None:
        msg = "there is no annotation file for it"
        raise MissingAnnotationError(msg, slide=name)
    try:
        return read_annotations(
            each.annotation,
            classes=parse_classes(options.classes),
            all_objects=options.all_objects,
        )
    except DplabError as error:
        raise type(error)(str(error), slide=name) from error


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


def _points(each: SlideInput) -> list[tuple[float, float]]:
    """Return the points of a slide, from a table with the columns x and y."""
    name = Path(each.wsi_file).name
    try:
        if each.points is None:
            msg = "there is no file"
            raise FileNotFoundError(msg)
        with each.points.open(newline="", encoding="utf-8-sig") as text:
            return [(float(row["x"]), float(row["y"])) for row in csv.DictReader(text)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        msg = f"its points {each.points} cannot be read: {error!r}"
        raise InvalidLocationError(msg, slide=name) from error
