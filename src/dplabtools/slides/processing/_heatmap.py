"""The documented class that shows numbers on a slide."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dplabtools import config
from dplabtools._typing import Size, StrPath
from dplabtools.errors import MaskError, OutputError, ParameterError
from dplabtools.inference.heatmap import (
    Background,
    HeatmapDrawing,
    parse_scale,
    plain,
)
from dplabtools.inference.pyramid_tiff import save_pyramid
from dplabtools.masks.colors import parse_color
from dplabtools.masks.files import AnyMask, load_mask
from dplabtools.optional import optional
from dplabtools.readers.slide import Slide
from dplabtools.slides._images import save_image
from dplabtools.slides.utils import MaskData

__all__ = ["WSIHeatmap"]

Draw = Callable[..., Image.Image | None]


class WSIHeatmap:
    """Numbers over a slide, such as what a model says of a class, as colours.

    Parameters
    ----------
    heatmap_data : ndarray or path
        Numbers of shape (width, height), indexed [x, y], of the size of a level of the
        slide; NaN where there are none. Or a ``.npy`` file, or an ``.npz`` file with the
        key ``data``.
    wsi_file : path or None
        The slide; None if there is none.
    overlay : bool, default False
        Draw the colours on an image of the slide.
    background_color : str, default "white"
        Where there are no numbers, and no overlay: a CSS name, or ``#rrggbb``.
    color_map : str, default "jet"
        A colour map of matplotlib.
    alpha : float, default 1
        How much of the colours covers what is under them, from 0 to 1.
    vmin, vmax : float, default None
        Numbers of the first and the last colour; None for the least and the largest.
    cutoff : float, default None
        Numbers below it are not drawn.

    Raises
    ------
    ParameterError
        If all numbers are equal, or some lie outside `vmin` to `vmax`; if there is no such
        colour map, or `alpha` is out of its range; if `overlay` is asked for without a
        slide.
    MaskError
        If `heatmap_data` has the size of no level of the slide, or not two axes.
    MissingMaskError, MaskTypeError
        If there is no such file, or it holds no numbers.
    SlideError
        If the slide cannot be opened.
    MissingLibraryError
        If matplotlib is not installed.
    """

    def __init__(
        self,
        *,
        heatmap_data: AnyMask,
        wsi_file: StrPath | None,
        overlay: bool = False,
        background_color: str = "white",
        color_map: str = "jet",
        alpha: float = 1,
        vmin: float | None = None,
        vmax: float | None = None,
        cutoff: float | None = None,
    ) -> None:
        if not 0 <= alpha <= 1:
            msg = f"alpha must be from 0 to 1, not {alpha!r}"
            raise ParameterError(msg)
        if overlay and wsi_file is None:
            msg = "overlay=True draws on a slide: give its wsi_file"
            raise ParameterError(msg)
        name = None if wsi_file is None else Path(wsi_file).name
        data = load_mask(heatmap_data, slide=name, npz_key=MaskData.npz_data_key)
        self._values = np.asarray(data.T, dtype=np.float64)
        self._scale = parse_scale(
            self._values, color_map=color_map, vmin=vmin, vmax=vmax, cutoff=cutoff
        )
        self._color_map = color_map
        self._wsi_file = None if wsi_file is None else os.fspath(wsi_file)
        self._background = parse_color(background_color)
        self._overlay = overlay
        self._alpha = alpha
        self._level = None if self._wsi_file is None else self._find_level(self._wsi_file)

    @property
    def size(self) -> Size:
        """(width, height) of the numbers."""
        height, width = self._values.shape
        return width, height

    @property
    def level(self) -> int | None:
        """Level of the slide that has this size; None without a slide."""
        return self._level

    def save_image(
        self,
        file: StrPath,
        draw_fn: Draw | None = None,
        draw_args: Mapping[str, Any] | None = None,
        **options: Any,  # noqa: ANN401 - Pillow's
    ) -> None:
        """Save the heatmap as an image of its own size.

        Parameters
        ----------
        file : path
            Where to save; the extension says in which format.
        draw_fn : callable, optional
            Called as ``draw_fn(image, **draw_args)`` with the image, to draw on it; what it
            returns, if anything, is saved in its place.
        draw_args : mapping, optional
            What `draw_fn` is given.
        **options
            Passed to ``PIL.Image.Image.save``.

        Raises
        ------
        OutputFormatError
            If the extension is of no known image format.
        OutputError
            If the file cannot be written.
        SlideError
            If the slide cannot be read for the overlay.
        """
        with self._drawing(self.size) as drawing:
            image = Image.fromarray(drawing.rows(0, self.size[1]))
        if draw_fn is not None:
            image = draw_fn(image, **(draw_args or {})) or image
        save_image(image, file, **options)

    def save_colorbar_image(
        self,
        file: StrPath,
        interpolation: str = "none",
        dpi: int = 300,
        **options: Any,  # noqa: ANN401 - matplotlib's
    ) -> None:
        """Save the heatmap with its colour bar, as matplotlib draws it.

        Parameters
        ----------
        file : path
            Where to save; the extension says in which format.
        interpolation : str, default "none"
            Of ``matplotlib.axes.Axes.imshow``.
        dpi : int, default 300
            Dots per inch.
        **options
            Passed to ``matplotlib.figure.Figure.savefig``.

        Raises
        ------
        OutputError
            If the file cannot be written.
        ParameterError
            If matplotlib has no such format or interpolation.
        """
        figures = optional("matplotlib.figure", what="colour bars", extra="heatmap")
        figure = figures.Figure(layout="constrained")
        axes = figure.add_subplot()
        axes.set_axis_off()
        try:
            with self._drawing(self.size) as drawing:
                if self._overlay:
                    axes.imshow(drawing.background(0, self.size[1]))
            shown = self._values
            if self._scale.cutoff is not None:
                shown = np.where(shown < self._scale.cutoff, np.nan, shown)
            picture = axes.imshow(
                shown,
                cmap=self._color_map,
                vmin=self._scale.least,
                vmax=self._scale.largest,
                alpha=self._alpha,
                interpolation=interpolation,
            )
            figure.colorbar(picture, ax=axes)
            axes.set_facecolor(tuple(value / 255 for value in self._background))
            saved = BytesIO()
            suffix = Path(file).suffix.removeprefix(".").lower() or "png"
            figure.savefig(saved, **{"dpi": dpi, "format": suffix, **options})
        except ValueError as error:
            msg = f"{file} cannot be drawn: {error}"
            raise ParameterError(msg) from error
        try:
            Path(file).write_bytes(saved.getvalue())
        except OSError as error:
            msg = f"{file} cannot be written: {error}"
            raise OutputError(msg) from error

    def save_tif(
        self,
        file: StrPath,
        downsample_factor: float | None = None,
        allow_compression: bool = True,
    ) -> None:
        """Save a pyramidal TIFF file, which viewers lay over the slide.

        Its resolution is stated as microns per pixel, so it has the extent of the slide.

        Parameters
        ----------
        file : path
            Where to save.
        downsample_factor : float, optional
            Pixels of level 0 for each pixel of the file, at least 1; None for the size of
            the heatmap itself.
        allow_compression : bool, default True
            Compress the tiles, without loss.

        Raises
        ------
        ParameterError
            If there is no slide, or the factor makes no sense.
        OutputError
            If the file cannot be written.
        SlideError
            If the slide cannot be read.
        """
        if self._wsi_file is None:
            msg = "save_tif needs the slide that the heatmap is of: give its wsi_file"
            raise ParameterError(msg)
        with Slide(self._wsi_file, settings=config.snapshot()) as slide:
            size, mpp = tiff_geometry(slide, self.size, downsample_factor)
        compression = "adobe_deflate" if allow_compression else None
        with self._drawing(size) as drawing:
            save_pyramid(file, drawing.rows, size, mpp=mpp, compression=compression)

    @contextmanager
    def _drawing(self, size: Size) -> Generator[HeatmapDrawing]:
        """Draw at a size, with the slide open while that is being done."""
        if not self._overlay or self._wsi_file is None:
            yield self._drawn(size, plain(self._background, size[0]))
            return
        with Slide(self._wsi_file, settings=config.snapshot()) as slide:
            yield self._drawn(size, slide.rows_at(size))

    def _drawn(self, size: Size, background: Background) -> HeatmapDrawing:
        return HeatmapDrawing(
            values=self._values,
            scale=self._scale,
            alpha=self._alpha,
            size=size,
            background=background,
        )

    def _find_level(self, wsi_file: str) -> int:
        with Slide(wsi_file, settings=config.snapshot()) as slide:
            sizes = slide.pyramid.sizes
            if self.size not in sizes:
                own, *levels = (f"{w} x {h}" for w, h in (self.size, *sizes))
                msg = (
                    f"heatmap_data is {own}, which is the size of no level of the slide: "
                    f"{', '.join(levels)}"
                )
                raise MaskError(msg, slide=slide.name)
            return sizes.index(self.size)


def tiff_geometry(
    slide: Slide, own: Size, downsample_factor: float | None
) -> tuple[Size, float | None]:
    """Return the size of a map of a slide in a TIFF file, and its microns per pixel.

    Parameters
    ----------
    slide : Slide
        The slide.
    own : (int, int)
        (width, height) of the map.
    downsample_factor : float or None
        Level 0 pixels for each pixel of the file; None for the size of the map.

    Raises
    ------
    ParameterError
        If the factor is less than 1, or leaves no pixel.
    """
    whole = slide.pyramid.size
    size = own
    if downsample_factor is not None:
        if not 1 <= downsample_factor <= min(whole):
            msg = (
                f"downsample_factor must be from 1 to {min(whole)}, "
                f"not {downsample_factor!r}"
            )
            raise ParameterError(msg, slide=slide.name)
        size = (round(whole[0] / downsample_factor), round(whole[1] / downsample_factor))
    mpp = slide.pyramid.mpp
    scale = (whole[0] / size[0] + whole[1] / size[1]) / 2
    return size, None if mpp is None else mpp * scale
