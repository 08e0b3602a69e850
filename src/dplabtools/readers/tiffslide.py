"""Slides read by tiffslide."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image
from tiffslide import TiffSlide

from dplabtools._typing import IntArray, Pixels, Point, Size, StrPath
from dplabtools.errors import (
    AmbiguousSlideError,
    ClosedSlideError,
    DamagedSlideError,
    DplabError,
    SlideReadError,
    UnsupportedSlideError,
)
from dplabtools.readers.base import Colour, ScanInfo, check_level, slide_file
from dplabtools.readers.merging import read_merged
from dplabtools.readers.metadata import ICC_TAG, icc_profile, scan_info
from dplabtools.readers.native.directories import find_directories
from dplabtools.readers.pixels import (
    level_origin,
    level_origins,
    opaque,
    read_clipped,
    rgb_pixels,
)
from dplabtools.records.pixel_buffer import PixelBuffer

__all__ = ["TiffSlideReader"]

_APERIO_JPEG_2000_YCBCR = 33003
_OLD_JPEG = 6
_SAMPLES = {"YX": (1,), "YXS": (1, 3, 4), "CYX": (3,)}
"""How many samples a pixel may have, for each order of axes."""


class TiffSlideReader:
    """A slide, opened by tiffslide: the stored pixels of a level, never interpolated.

    Parameters
    ----------
    path : str or path-like
        The slide file.
    background : (int, int, int)
        RGB outside the slide, and behind its transparent pixels.

    Raises
    ------
    MissingSlideError
        If there is no such file.
    UnsupportedSlideError
        If tiffslide cannot open it, or would show it in false colours.
    """

    def __init__(self, path: StrPath, *, background: Colour) -> None:
        self.library: str = "tiffslide"
        self._path = slide_file(path)
        self._name = Path(self._path).name
        self._background = background
        self._lock = threading.Lock()  # tifffile seeks in a file that threads would share
        self._check_directories()
        try:
            handle = TiffSlide(self._path)
        except Exception as error:
            reason = f"tiffslide cannot open it ({error})"
            raise self._unsupported(reason) from error
        try:
            self._examine(handle)
        except DplabError:
            handle.close()
            raise
        except Exception as error:
            handle.close()
            reason = f"tiffslide cannot make it out ({error})"
            raise self._unsupported(reason) from error
        self._handle: TiffSlide | None = handle

    @property
    def native(self) -> TiffSlide | None:
        """The `tiffslide.TiffSlide`; None after `close`."""
        return self._handle

    def associated_image(self, name: str) -> Image.Image | None:
        """Return an embedded image as RGB, or None if there is none of that name."""
        with self._lock:
            images = self._opened().associated_images
            if name not in images:
                return None
            try:
                return opaque(images[name], self._background)
            except Exception as error:
                raise self._damage(error) from error

    def read(self, origin: Point, level: int, size: Size) -> Pixels:
        """Return a region; the background is where the slide is not, or transparent.

        See `SlideReader.read`. The region begins at the whole pixel of `level` in which
        `origin` lies.
        """
        check_level(level, count=len(self.sizes), slide=self._name)
        return self._read_at(level, level_origin(origin, self.downsamples[level]), size)

    def read_into(
        self,
        origins: IntArray,
        level: int,
        buffer: PixelBuffer,
        *,
        threads: ThreadPoolExecutor | None = None,
        decoded: list[IntArray] | None = None,
    ) -> dict[int, SlideReadError]:
        """Read many regions, overlapping ones in one piece; see `BatchReader.read_into`."""
        check_level(level, count=len(self.sizes), slide=self._name)
        corners = level_origins(origins, self.downsamples[level])
        return read_merged(partial(self._read_at, level), corners, buffer, threads=threads)

    def close(self) -> None:
        """Release the file; reads under way are finished first."""
        with self._lock:
            if self._handle is not None:
                self._handle.close()
                self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _check_directories(self) -> None:
        """Raise if a TIFF has no end: tifffile would go round in circles."""
        try:
            with Path(self._path).open("rb") as stream:
                find_directories(stream, ndpi=self._path.lower().endswith(".ndpi"))
        except (AmbiguousSlideError, DamagedSlideError) as error:
            remedy = "get a whole copy of it, or of what is wanted of it"
            raise type(error)(error.message, slide=self._name, remedy=remedy) from error
        except UnsupportedSlideError:
            return  # tiffslide reads some files that are no TIFF

    def _examine(self, handle: TiffSlide) -> None:
        """Take down what there is, and refuse what would not come out as RGB."""
        stated = handle.properties
        series = handle.ts_tifffile.series[stated["tiffslide.series-index"]]
        axes, shape = series.axes, series.shape
        samples = math.prod(n for axis, n in zip(axes, shape, strict=True) if axis in "CS")
        if series.dtype != np.uint8 or samples not in _SAMPLES.get(axes, ()):
            reason = f"its pixels are {series.dtype} {axes} {shape}, not RGB"
            raise self._unsupported(reason)
        if series.pages[0].compression == _APERIO_JPEG_2000_YCBCR:
            reason = "tiffslide shows YCbCr JPEG 2000 in false colours"
            raise self._unsupported(reason)
        self._old_jpeg: bool = series.pages[0].compression == _OLD_JPEG
        self.sizes: tuple[Size, ...] = handle.level_dimensions
        self.downsamples: tuple[float, ...] = handle.level_downsamples
        self.properties: Mapping[str, str] = {
            name: str(value) for name, value in stated.items() if value is not None
        }
        profile = series.pages[0].tags.valueof(ICC_TAG)
        self.icc_profile: bytes | None = icc_profile(profile)
        self.scan: ScanInfo = scan_info(
            self.properties, library="tiffslide", size=self.sizes[0]
        )

    def _opened(self) -> TiffSlide:
        if self._handle is None:
            msg = "the slide has been closed"
            raise ClosedSlideError(msg, slide=self._name, remedy="open it again")
        return self._handle

    def _read_at(self, level: int, corner: Point, size: Size) -> Pixels:
        """Read a region from a pixel of a level."""
        with self._lock:
            self._opened()
            return read_clipped(
                partial(self._fetch, level),
                corner,
                size,
                level_size=self.sizes[level],
                background=self._background,
            )

    def _fetch(self, level: int, corner: Point, size: Size) -> Pixels:
        """Read a region that lies within a level, from a pixel of the level."""
        downsample = self.downsamples[level]
        x, y = (_inside(value, downsample) for value in corner)
        try:
            pixels = np.asarray(
                self._opened().read_region((x, y), level, size, as_array=True)
            )
        except Exception as error:
            raise self._damage(error) from error
        samples = pixels.shape[2]
        if samples == 1:
            return np.repeat(pixels, 3, axis=2).astype(np.uint8)
        if samples == 4:
            return rgb_pixels(Image.fromarray(pixels, "RGBA"), self._background)
        return np.array(pixels, np.uint8, order="C")

    def _unsupported(self, reason: str) -> UnsupportedSlideError:
        remedy = 'try another config.slide_library, such as "openslide"'
        return UnsupportedSlideError(reason, slide=self._name, remedy=remedy)

    def _damage(self, error: Exception) -> SlideReadError:
        reason = "the file is damaged there"
        if self._old_jpeg:
            reason = "tiffslide does not decode JPEG of the old kind in every variant"
        return SlideReadError(
            reason,
            slide=self._name,
            details=str(error),
            remedy='get another copy of it, or skip what fails with on_error="skip"',
        )


def _inside(pixel: int, downsample: float) -> int:
    """Return a level 0 pixel that tiffslide counts to this pixel of a level."""
    place = math.ceil(pixel * downsample)
    return place if int(place / downsample) >= pixel else place + 1
