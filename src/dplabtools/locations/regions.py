"""Where patches may lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from dplabtools.errors import InvalidPolygonError, ParameterTypeError
from dplabtools.masks.foreground import ForegroundMask

if TYPE_CHECKING:
    from shapely import MultiPolygon, Polygon

__all__ = ["Bounds", "Frame", "Region", "RegionSource", "WholeImage", "check_label", "grow"]

Bounds = tuple[float, float, float, float]
"""(x0, y0, x1, y1)."""

_DECIMALS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """How patches relate to the mask.

    Attributes
    ----------
    downsample : float
        Level 0 pixels per mask pixel.
    scale : float
        Patch pixels per mask pixel.
    patch_size : int
        Edge of a patch, in its own pixels.
    """

    downsample: float
    scale: float
    patch_size: int

    @property
    def edge(self) -> float:
        """Edge of a patch, in mask pixels."""
        return self.patch_size / self.scale


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """An area to place patches in.

    Attributes
    ----------
    shape : shapely.Polygon or shapely.MultiPolygon
        In mask pixels.
    label : str
        Label of its patches.
    loose : bool
        Squares inside the bounds count as inside the shape, without being measured.
    """

    shape: Polygon | MultiPolygon
    label: str
    loose: bool = False

    @property
    def bounds(self) -> Bounds:
        """(x0, y0, x1, y1), in mask pixels, rounded to 10 decimals."""
        x0, y0, x1, y1 = self.shape.bounds
        return (
            round(x0, _DECIMALS),
            round(y0, _DECIMALS),
            round(x1, _DECIMALS),
            round(y1, _DECIMALS),
        )


class RegionSource(Protocol):
    """Says where patches may lie on a slide."""

    def regions(
        self, mask: ForegroundMask, frame: Frame, *, slide: str
    ) -> tuple[Region, ...]:
        """Return the regions, in the order in which they are to be filled.

        Parameters
        ----------
        mask : ForegroundMask
            Foreground of the slide.
        frame : Frame
            Scale of the mask and edge of a patch.
        slide : str
            Name of the slide, for messages.

        Returns
        -------
        tuple of Region
            In mask pixels, without any buffer.
        """
        ...


@dataclass(frozen=True, slots=True)
class WholeImage:
    """The box around the foreground.

    Attributes
    ----------
    label : str
        Label of all patches.

    Raises
    ------
    ParameterTypeError
        If the label is no text.
    """

    label: str

    def __post_init__(self) -> None:
        check_label(self.label)

    def regions(
        self, mask: ForegroundMask, frame: Frame, *, slide: str
    ) -> tuple[Region, ...]:
        """Return one region: the bounds of the mask."""
        import shapely

        return (Region(shapely.box(*mask.bounds), self.label, loose=True),)


def check_label(label: str) -> None:
    """Raise if the label of all patches is no text.

    Raises
    ------
    ParameterTypeError
        If it is none.
    """
    if not isinstance(label, str):
        msg = f"weak_label must be text, not {label!r}"
        raise ParameterTypeError(msg)


def grow(region: Region, margin: float, *, slide: str) -> Region:
    """Return a region with a margin around it.

    Parameters
    ----------
    region : Region
        What to grow.
    margin : float
        In mask pixels; negative shrinks.
    slide : str
        Name of the slide, for the message.

    Returns
    -------
    Region
        The same one if `margin` is 0.

    Raises
    ------
    InvalidPolygonError
        If nothing is left.
    """
    if not margin:
        return region
    shape = region.shape.buffer(margin)
    if shape.is_empty:
        msg = (
            f"region {region.label!r}: nothing is left of it with "
            f"polygon_buffer={margin:g} (mask pixels)"
        )
        raise InvalidPolygonError(msg, slide=slide, remedy="shrink it less")
    return replace(region, shape=shape)
