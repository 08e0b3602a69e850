"""What all documented location classes have in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from dplabtools import config
from dplabtools._typing import Size, StrPath
from dplabtools.errors import ParameterError
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.geometry.resolution import Mpp, Number, parse_level_or_mpp
from dplabtools.locations.inputs import (
    MaskGiven,
    describe_mask_input,
    describe_points,
    describe_polygons,
    read_mask,
)
from dplabtools.locations.locate import (
    LocationRequest,
    PerRegion,
    Placed,
    Samplers,
    locate,
)
from dplabtools.locations.preview import Ink, draw_preview
from dplabtools.locations.regions import RegionSource
from dplabtools.locations.samplers import CustomPoints, Sampler
from dplabtools.locations.seeds import describe_seed, generator_of
from dplabtools.masks.colors import Rgb, parse_color
from dplabtools.masks.files import foreground_of
from dplabtools.notebook import never_raises
from dplabtools.readers.scale_warnings import warn_of_scale
from dplabtools.readers.slide import Slide
from dplabtools.records.patch_table import PatchRow, PatchTable, Shares
from dplabtools.settings import Settings
from dplabtools.slides._declared import Declared, declared
from dplabtools.slides._generic_slide import GenericSlide
from dplabtools.slides._images import save_image, whole_image
from dplabtools.slides.patches._html import location_html
from dplabtools.slides.utils import MaskData

if TYPE_CHECKING:
    from shapely import MultiPolygon, Polygon

__all__ = ["Located", "LocationParameters"]


@declared
class LocationParameters(Declared):
    """Parameters of every location class, and what they mean where only some have them.

    Parameters
    ----------
    wsi_file : path
        The slide.
    mask_data : path, ndarray, PIL image or list of AnnotationPolygon
        Foreground: a ``.npy`` file, an ``.npz`` file with the key ``data``, an image of one
        channel, or an array indexed [x, y]; non-zero is foreground. Of the size of a level,
        or of any size of the slide's aspect. Or polygons in level 0 pixels, whose inside,
        without their holes, is foreground.
    patch_size : int
        Edge of a patch, in its own pixels.
    level_or_mpp : int or float
        Pyramid level (int) or microns per pixel (float) of the patches.
    foreground_ratio : float or list of float
        Smallest share of a patch that is foreground, from 0 to 1.
    overlap_ratio : float or list of float
        Smallest share of a patch that lies in the region, from 0 to 1. Where the region is
        the box around the foreground, only patches that stick out of it are measured.
    polygon_buffer : float or list of float
        Growth of the region, in mask pixels; negative shrinks it.
    weak_label : str
        Label of all patches.
    polygon_data : list of AnnotationPolygon, str or path
        Polygons in level 0 pixels, JSON text, or the path of a JSON file: a list of objects
        with the keys ``points``, ``label`` and ``holes``. Outlines that cross themselves
        are repaired.
    check_polygons : bool
        Take polygons out of those that they lie inside of, and warn of those that overlap.
        False: each polygon stands for itself.
    included_labels : sequence of str
        Use only polygons of these labels; empty: all.
    excluded_labels : sequence of str
        Do not use polygons of these labels. Not together with `included_labels`.
    patch_stride : float or list of float
        Distance of neighbours as a ratio of the patch size: 1 tiles, 0.5 overlaps by half,
        2 leaves gaps. At least a pixel, at most 5.
    num_patches : int or list of int
        Number of patches wanted of each region.
    poisson_spacing : float or list of float
        Smallest distance of two patches' corners in a region, in mask pixels.
    points : sequence of (float, float)
        (x, y) of the top-left corners, in level 0 pixels.
    seed : int, SeedSequence or Generator
        Makes the patches repeatable.

    Raises
    ------
    SlideError
        If the slide cannot be opened, or has no such resolution.
    MaskError, MaskTypeError, MissingMaskError
        If the mask cannot be used for the slide.
    ParameterError
        If an argument is out of its range, or a list has another length than there are
        regions.
    InvalidPolygonError
        If a region has no area, or nothing is left of it after shrinking.

    Warns
    -----
    DuplicatePatchesWarning
        If identical patches were found; only one of each stays.
    """

    wsi_file: InitVar[StrPath]
    mask_data: InitVar[MaskGiven]
    patch_size: InitVar[int] = 256
    level_or_mpp: InitVar[Number] = 0
    foreground_ratio: InitVar[PerRegion] = 0.95
    overlap_ratio: InitVar[PerRegion] = 0.95
    polygon_buffer: InitVar[PerRegion] = 0


class Located(LocationParameters):
    """Patches placed on one slide.

    The slide is open only while the patches are placed; objects of this kind pickle. A
    documented class declares the parameters of its own, and names its strategies.
    """

    _sampling: ClassVar[tuple[Callable[[Any], Sampler], str]]
    """What proposes candidates, and the parameter that it is made of."""

    def _source(self, arguments: Mapping[str, Any]) -> RegionSource:
        """Return what says where to look."""
        raise NotImplementedError

    def _construct(self, arguments: Mapping[str, Any]) -> None:
        make, parameter = self._sampling
        value = arguments[parameter]
        request = LocationRequest(
            slide=os.fspath(arguments["wsi_file"]),
            source=self._source(arguments),
            samplers=(
                CustomPoints(value)
                if make is CustomPoints
                else Samplers(make=make, values=value, name=parameter)
            ),
            patch_size=arguments["patch_size"],
            resolution=parse_level_or_mpp(arguments["level_or_mpp"]),
            foreground=arguments["foreground_ratio"],
            overlap=arguments["overlap_ratio"],
            buffer=arguments["polygon_buffer"],
        )
        rng = generator_of(arguments.get("seed"))
        pyramid = _pyramid(request, config.snapshot())
        mask_array = read_mask(
            arguments["mask_data"], pyramid, npz_key=MaskData.npz_data_key
        )
        self._mask_shape: Size = (mask_array.shape[0], mask_array.shape[1])
        self._placed = _locate(request, pyramid, mask=mask_array, rng=rng)
        self._patch_size = int(request.patch_size)
        self._params = {
            name: _AS_TEXT.get(name, _as_is)(value) for name, value in arguments.items()
        }

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "wsi_slide"}

    @property
    def table(self) -> PatchTable:
        """The patches, in columns."""
        return self._placed.table

    @property
    def patch_data(self) -> list[PatchRow]:
        """((x, y), (width, height), label) of each patch.

        The top-left corner in level 0 pixels, the size in pixels of the patch. A new list
        each time; `table` has the same in columns.
        """
        return self.table.rows()

    @property
    def patch_data_mask_level(
        self,
    ) -> list[tuple[tuple[float, float], tuple[float, float], str]]:
        """The same patches in mask pixels, not rounded."""
        edge = self._placed.edge
        return [
            ((x, y), (edge, edge), label)
            for (x, y), label in zip(
                self._placed.corners.tolist(), self.table.row_labels(), strict=True
            )
        ]

    @property
    def patch_coverage(self) -> Shares:
        """Share of foreground of each patch, float32 from 0 to 1; read-only."""
        return self._placed.coverage

    @property
    def patch_count(self) -> int:
        """Number of patches."""
        return len(self.table)

    @property
    def patch_info(self) -> dict[str, int]:
        """Number of patches of each label, zeros included, sorted by label."""
        return self.table.counts()

    @property
    def patch_labels(self) -> list[str]:
        """Labels of the regions, sorted, also of those without patches."""
        return list(self.table.labels)

    @property
    def polygon_labels(self) -> list[str]:
        """Label of each region, in their order."""
        return [region.label for region in self._placed.regions]

    @property
    def param_info(self) -> dict[str, Any]:
        """Arguments of the constructor by name; the mask as text."""
        return dict(self._params)

    @property
    def level_or_mpp(self) -> int | float:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Level (int) or microns per pixel (float) of the patches."""
        return self.table.resolution.number

    @property
    def patch_size(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Edge of a patch, in its own pixels."""
        return self._patch_size

    @property
    def mask_shape(self) -> Size:
        """(width, height) of the mask."""
        return self._mask_shape

    @property
    def wsi_file(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Path of the slide."""
        return self.table.slide

    @cached_property
    def wsi_slide(self) -> GenericSlide:
        """The slide, opened when first asked for."""
        return GenericSlide(wsi_file=self.wsi_file)

    @property
    def shapely_polygons(self) -> list[Polygon | MultiPolygon]:
        """Shape of each region, with its buffer, in mask pixels."""
        return [region.shape for region in self._placed.regions]

    @property
    def class_name(self) -> str:
        """Name of the class."""
        return type(self).__name__

    @never_raises
    def _repr_html_(self) -> str:
        return location_html(self.class_name, self.table)

    def save_preview_image(
        self,
        image_file: StrPath,
        patch_color: str | None = "red",
        bbox_color: str | None = "lime",
        polygon_color: str | None = "blue",
        holes_color: str | None = "teal",
        buffer_color: str | None = "black",
        thickness: int = 2,
        patch_markers: bool = False,
        level_or_minsize: int | None = None,
        drawn_labels: Sequence[str] = (),
        drawn_patches_labels: Sequence[str] = (),
    ) -> None:
        """Save an image of the slide with the patches and regions drawn on it.

        Drawn in this order: patches, boxes around the regions, outlines of the regions,
        their holes, their buffers. A colour that is None leaves its kind out. Colours are
        CSS names, letters and ``tab:`` names of matplotlib, or ``#rrggbb``.

        Parameters
        ----------
        image_file : path
            Where to save; the extension says in which format.
        patch_color, bbox_color, polygon_color, holes_color, buffer_color : str or None
            Colours of the lines.
        thickness : int
            Of the lines, in pixels.
        patch_markers : bool
            Mark the middle of each patch, too.
        level_or_minsize : int, optional
            The image is this level of the slide; above 99 the coarsest level at least so
            many pixels wide and high. By default it is as large as the mask.
        drawn_labels : sequence of str
            Draw only patches and regions of these labels; empty: all.
        drawn_patches_labels : sequence of str
            Draw only patches of these labels, if `drawn_labels` is empty.

        Raises
        ------
        UnknownColorError
            If there is no such colour.
        ParameterError
            If `thickness` is below 1.
        LevelOutOfRangeError
            If there is no such level.
        OutputFormatError
            If the extension is of no known image format.
        OutputError
            If the file cannot be written.
        """
        ink = Ink(
            patches=_color(patch_color),
            bounds=_color(bbox_color),
            outlines=_color(polygon_color),
            holes=_color(holes_color),
            buffers=_color(buffer_color),
            thickness=thickness,
            markers=patch_markers,
            labels=tuple(drawn_labels),
            patch_labels=tuple(drawn_labels) or tuple(drawn_patches_labels),
        )
        size, downsample = self._mask_shape, self._placed.downsample
        with Slide(self.wsi_file, settings=config.snapshot()) as slide:
            if level_or_minsize is not None:
                level = slide.pyramid.level_for(level_or_minsize)
                size = slide.pyramid.sizes[level]
                downsample = slide.pyramid.downsamples[level]
            image = whole_image(slide, size, downsample)
        save_image(
            draw_preview(image, self._placed, ink, downsample=downsample), image_file
        )


def _color(name: str | None) -> Rgb | None:
    return None if name is None else parse_color(name)


def _pyramid(request: LocationRequest, settings: Settings) -> Pyramid:
    """Return the levels of the slide, if it can have patches of the resolution."""
    with Slide(request.slide, settings=settings) as slide:
        pyramid = slide.pyramid
    pyramid.downsample(request.resolution)
    if isinstance(request.resolution, Mpp):
        pyramid.check_mpp(request.resolution.value, settings)
    warn_of_scale(pyramid, [request.resolution], settings)
    return pyramid


def _locate(
    request: LocationRequest,
    pyramid: Pyramid,
    *,
    mask: np.ndarray[Any, Any],
    rng: np.random.Generator,
) -> Placed:
    """Place the patches; every error names the slide."""
    try:
        return locate(request, pyramid=pyramid, mask=foreground_of(mask), rng=rng)
    except ParameterError as error:
        if error.slide is not None:
            raise
        raise error.of_slide(Path(request.slide).name) from error


def _as_is(value: Any) -> Any:  # noqa: ANN401 - an argument
    return value


_AS_TEXT: Final[Mapping[str, Callable[[Any], Any]]] = {
    "wsi_file": os.fspath,
    "mask_data": describe_mask_input,
    "polygon_data": describe_polygons,
    "points": describe_points,
    "included_labels": list,
    "excluded_labels": list,
    "seed": describe_seed,
}
"""How arguments are described that are not said as they are."""
