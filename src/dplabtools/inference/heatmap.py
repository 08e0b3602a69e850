"""Numbers over the pixels of a level, as colours; without torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dplabtools._typing import Pixels, Size
from dplabtools.errors import ParameterError
from dplabtools.inference.pyramid_tiff import nearest
from dplabtools.masks.colors import Rgb
from dplabtools.optional import optional

__all__ = ["Background", "ColorScale", "HeatmapDrawing", "parse_scale", "plain"]

Values: TypeAlias = npt.NDArray[np.floating[Any]]
Background: TypeAlias = Callable[[int, int], Pixels]
"""Given the first row and the one behind the last, what lies under the colours."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ColorScale:
    """Which number has which colour.

    Attributes
    ----------
    table : ndarray of uint8, shape (n, 3)
        Colours, from the least number to the largest.
    least, largest : float
        These numbers.
    cutoff : float or None
        Numbers below it have no colour.
    """

    table: Pixels
    least: float
    largest: float
    cutoff: float | None

    def colors(self, values: Values) -> tuple[Pixels, npt.NDArray[np.bool_]]:
        """Return the colours of numbers, and which of them have one.

        Parameters
        ----------
        values : ndarray of float, shape (height, width)
            NaN has no colour.

        Returns
        -------
        colors : ndarray of uint8, shape (height, width, 3)
            Anything where there is none.
        shown : ndarray of bool, shape (height, width)
            Where there is one.
        """
        shown = ~np.isnan(values)
        if self.cutoff is not None:
            shown &= values >= self.cutoff
        count = len(self.table)
        places = (values - self.least) / (self.largest - self.least) * count
        places = np.where(shown, places, 0.0).clip(0, count - 1)
        return self.table[places.astype(np.intp)], shown


def parse_scale(
    values: Values,
    *,
    color_map: str,
    vmin: float | None,
    vmax: float | None,
    cutoff: float | None,
) -> ColorScale:
    """Return the colours of a heatmap.

    Parameters
    ----------
    values : ndarray of float
        What is to be shown; NaN where there is nothing.
    color_map : str
        Name of a colour map of matplotlib.
    vmin, vmax : float or None
        Numbers of the first and last colour; None for the least and largest of `values`.
    cutoff : float or None
        Numbers below it are not shown.

    Raises
    ------
    ParameterError
        If there are no numbers, all of them are equal, or some lie outside `vmin` to
        `vmax`; or there is no such colour map.
    MissingLibraryError
        If matplotlib is not installed.
    """
    if np.isnan(values).all():
        msg = "heatmap_data has no numbers, only NaN: there is nothing to show"
        raise ParameterError(msg)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low == high:
        msg = f"heatmap_data is {low:g} everywhere, which no colours can show"
        raise ParameterError(msg)
    least, largest = low if vmin is None else float(vmin), high if vmax is None else vmax
    if not least <= low or not high <= largest:
        msg = (
            f"heatmap_data goes from {low:g} to {high:g}, beyond vmin={least:g} to "
            f"vmax={largest:g}"
        )
        raise ParameterError(msg, remedy="widen them, or clip the data")
    return ColorScale(
        table=_color_table(color_map), least=least, largest=float(largest), cutoff=cutoff
    )


def _color_table(name: str) -> Pixels:
    """Return the colours of a colour map of matplotlib."""
    matplotlib = optional("matplotlib", what="heatmaps", extra="heatmap")
    try:
        color_map = matplotlib.colormaps[name]
    except (KeyError, ValueError, TypeError) as error:
        msg = f"matplotlib has no colour map {name!r}"
        raise ParameterError(msg, remedy="take one of matplotlib.colormaps") from error
    table: Pixels = color_map(np.arange(color_map.N), bytes=True)[:, :3]
    return np.ascontiguousarray(table)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class HeatmapDrawing:
    """A heatmap at some size, of which any rows can be drawn alone.

    Attributes
    ----------
    values : ndarray of float, shape (rows, columns)
        What is shown.
    scale : ColorScale
        In which colours.
    alpha : float
        How much of a colour covers what lies under it, from 0 to 1.
    size : (int, int)
        (width, height) of the drawing; each pixel shows the number that its centre lies on.
    background : callable
        Returns rows of what lies under the colours, uint8 of shape (rows, width, 3).
    """

    values: Values
    scale: ColorScale
    alpha: float
    size: Size
    background: Background

    def rows(self, begin: int, end: int) -> Pixels:
        """Return rows of the drawing, uint8 of shape (end - begin, width, 3)."""
        width, height = self.size
        down, across = self.values.shape
        columns = nearest(np.arange(width), stored=across, shown=width)
        lines = nearest(np.arange(begin, end), stored=down, shown=height)
        colors, shown = self.scale.colors(self.values[np.ix_(lines, columns)])
        under = self.background(begin, end)
        if self.alpha == 1:
            return np.where(shown[..., None], colors, under)
        mixed = self.alpha * colors.astype(np.float32) + (1 - self.alpha) * under
        return np.where(shown[..., None], np.rint(mixed), under).astype(np.uint8)


def plain(color: Rgb, width: int) -> Background:
    """Return a background of one colour."""

    def rows(begin: int, end: int) -> Pixels:
        return np.broadcast_to(np.array(color, dtype=np.uint8), (end - begin, width, 3))

    return rows
