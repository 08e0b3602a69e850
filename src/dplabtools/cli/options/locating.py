"""Where patches lie: the parameters of the location classes and of tissue masks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final, Literal

import typer

__all__ = ["LocatingOptions", "TissueOptions"]

_MINSIZE: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatingOptions:
    """Where patches lie."""

    panel: ClassVar[str] = "Where patches lie"

    region: Annotated[
        Literal["whole-image", "inverted", "polygon"],
        typer.Option(
            metavar="NAME",
            help="whole-image: on the tissue; polygon: in the polygons of annotations; "
            "inverted: on the tissue, outside of them.",
        ),
    ] = "whole-image"
    sampler: Annotated[
        Literal["grid", "random", "poisson-disk", "custom"],
        typer.Option(
            metavar="NAME",
            help="grid, random, poisson-disk or custom: how patches are spread.",
        ),
    ] = "grid"
    patch_size: Annotated[
        int, typer.Option(min=1, help="Edge of a patch, in its own pixels.")
    ] = 256
    level_or_mpp: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL|MPP",
            help="Resolution of the patches: a whole number is a level, one with a point "
            "microns per pixel.",
            show_default="0",
        ),
    ] = None
    mpp: Annotated[
        float | None,
        typer.Option(min=0.001, help="Resolution of the patches, in microns per pixel."),
    ] = None
    level: Annotated[
        int | None,
        typer.Option(min=0, help="The same, as a level of the pyramid."),
    ] = None
    allow_enlarging: Annotated[
        bool,
        typer.Option(
            help="Take slides, too, whose finest level is over 1.5 times as coarse as the "
            "patches.",
        ),
    ] = False
    mag: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=1000,
            help="The same, as a magnification: 40 is 0.25 microns per pixel, 20 is 0.5, "
            "10 is 1, 5 is 2.",
        ),
    ] = None
    patch_stride: Annotated[
        float | None,
        typer.Option(
            "--patch-stride",
            "--stride",
            max=5,
            help="grid: distance of neighbours, in patch sizes; 0.5 overlaps by half.",
            show_default="1",
        ),
    ] = None
    num_patches: Annotated[
        int | None, typer.Option(min=1, help="random: patches of each region.")
    ] = None
    poisson_spacing: Annotated[
        float | None,
        typer.Option(
            help="poisson-disk: least distance of two patches, in mask pixels.",
            show_default="50",
        ),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="random, poisson-disk: makes the patches repeatable."),
    ] = None
    foreground_ratio: Annotated[
        float, typer.Option(min=0, max=1, help="Least share of a patch that is tissue.")
    ] = 0.5
    overlap_ratio: Annotated[
        float,
        typer.Option(min=0, max=1, help="Least share of a patch that is in its region."),
    ] = 0.95
    polygon_buffer: Annotated[
        float,
        typer.Option(help="Growth of regions, in mask pixels; negative shrinks them."),
    ] = 0.0
    weak_label: Annotated[
        str | None,
        typer.Option(
            help="Label of all patches; not with polygon, whose patches have the labels of "
            "their polygons.",
            show_default='""',
        ),
    ] = None
    included_labels: Annotated[
        list[str],
        typer.Option(metavar="LABEL", help="Only these labels; may be repeated."),
    ] = field(default_factory=list)
    excluded_labels: Annotated[
        list[str],
        typer.Option(metavar="LABEL", help="All but these labels; may be repeated."),
    ] = field(default_factory=list)
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS=LABEL,...",
            help="Only annotations of these classes, under these labels: "
            "Tumor=1,Stroma=2; a class alone keeps its name.",
        ),
    ] = None
    all_objects: Annotated[
        bool,
        typer.Option(
            "--all-objects/--classified-objects",
            help="QuPath: objects without a class, of classes to ignore, and detections "
            "and cells, too.",
        ),
    ] = False
    check_polygons: Annotated[
        bool | None,
        typer.Option(
            help="polygon: take polygons out of those that they lie in, and warn of those "
            "that overlap.",
            show_default="check-polygons",
        ),
    ] = None
    polygons_overlap_threshold: Annotated[
        float,
        typer.Option(min=0, help="Overlap from which on they warn, in patches."),
    ] = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TissueOptions:
    """How tissue is found."""

    panel: ClassVar[str] = "Tissue mask"

    level_or_minsize: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Up to 99: level of the mask. Above: the coarsest level that is at least "
            "so many pixels wide and high.",
            show_default="1000; auto: 8 um per pixel",
        ),
    ] = None
    mode: Annotated[
        Literal["auto", "hsv", "lab", "otsu"],
        typer.Option(
            "--mode",
            "--mask-mode",
            metavar="NAME",
            help="auto, hsv, lab or otsu: how tissue is told from glass.",
        ),
    ] = "auto"
    mask_command: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="A function of your own that finds tissue on a picture of a slide, or the "
            "name of one that a package offers as dplabtools.tissue.",
        ),
    ] = None
    color_threshold: Annotated[
        float,
        typer.Option(help="hsv, lab: how far above the mean, as a fraction of it."),
    ] = 0.1
    remove_small_holes_ratio: Annotated[
        float,
        typer.Option(min=0, help="Holes up to this share of 256 x 256 pixels are filled."),
    ] = 0.1
    remove_small_objects_ratio: Annotated[
        float,
        typer.Option(min=0, help="Tissue below this share of 256 x 256 pixels is dropped."),
    ] = 0.1
    remove_all_holes: Annotated[
        bool,
        typer.Option("--remove-all-holes/--keep-large-holes", help="Fill every hole."),
    ] = False
    close_fill_kernel_size: Annotated[
        int, typer.Option(min=0, help="Edge of a closing, in mask pixels; 0 for none.")
    ] = 0

    def check(self) -> None:
        """Raise if there is no such function.

        Raises
        ------
        ParameterError
            If it cannot be loaded.
        """
        if self.mask_command is not None:
            from dplabtools.masks.segmenters import load_segmenter

            load_segmenter(self.mask_command)

    @property
    def how(self) -> str:
        """Mode of `WSITissueMask`."""
        return self.mask_command or self.mode

    @property
    def size(self) -> int | None:
        """Level or least size of tissue masks; None: as fine as tissue is looked for."""
        own = self.mask_command is not None or self.mode == "auto"
        return None if own and self.level_or_minsize is None else self.least_size

    @property
    def least_size(self) -> int:
        """Level or least size of masks that need one."""
        return _MINSIZE if self.level_or_minsize is None else self.level_or_minsize

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of `WSITissueMask`, but for the slide."""
        return {
            "level_or_minsize": self.size,
            "mode": self.how,
            "color_threshold": self.color_threshold,
            "remove_small_holes_ratio": self.remove_small_holes_ratio,
            "remove_small_objects_ratio": self.remove_small_objects_ratio,
            "remove_all_holes": self.remove_all_holes,
            "close_fill_kernel_size": self.close_fill_kernel_size,
        }
