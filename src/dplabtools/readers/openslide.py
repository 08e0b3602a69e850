"""Slides read by OpenSlide."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Final, Self, TypeVar

import openslide
from PIL import Image, ImageCms

from dplabtools._typing import IntArray, Pixels, Point, Size, StrPath
from dplabtools.errors import ClosedSlideError, SlideReadError, UnsupportedSlideError
from dplabtools.readers.base import Colour, ScanInfo, check_level, slide_file
from dplabtools.readers.merging import read_merged
from dplabtools.readers.metadata import icc_profile, scan_info
from dplabtools.readers.pixels import opaque, rgb_pixels
from dplabtools.readers.workspace import keep_freed_memory
from dplabtools.records.pixel_buffer import PixelBuffer

__all__ = ["OpenSlideReader"]

_T = TypeVar("_T")
_RARE: Final = re.compile(
    "can ?not handle|not configured|not supported|unsupported|not implemented",
    re.IGNORECASE,
)
_CACHE_BYTES = 64 << 20
_COLOUR = re.compile("[0-9A-Fa-f]{6}")


@cache
def _shared_cache() -> openslide.OpenSlideCache:
    """Return the tiles of all open slides of this process: handles have none of their own.

    https://openslide.org/api/python/

    It is made when it is first used, so never before a process is forked.
    """
    return openslide.OpenSlideCache(_CACHE_BYTES)


def _open(path: str) -> openslide.OpenSlide:
    keep_freed_memory()
    handle = openslide.OpenSlide(path)
    handle.set_cache(_shared_cache())
    return handle


def _profile(handle: openslide.OpenSlide) -> bytes | None:
    try:
        profile = handle.color_profile
        return None if profile is None else icc_profile(profile.tobytes())
    except ImageCms.PyCMSError:
        return None


def _failure(error: openslide.OpenSlideError, *, slide: str) -> SlideReadError:
    """Say why a region cannot be read: a file is not damaged for being of a rare kind."""
    reason = "the file is damaged there"
    remedy = 'get a whole copy of it, or skip what fails with on_error="skip"'
    if _RARE.search(str(error)):
        reason = "OpenSlide does not decode files of this kind"
        remedy = "convert it to 8-bit RGB, or try another config.slide_library"
    return SlideReadError(reason, slide=slide, details=str(error), remedy=remedy)


def _rgb(text: str) -> Colour:
    red, green, blue = bytes.fromhex(text)
    return red, green, blue


class OpenSlideReader:
    """A slide, opened by OpenSlide; pixels and interpolation are its own.

    Parameters
    ----------
    path : str or path-like
        The slide file.
    background : (int, int, int)
        RGB outside the slide, and behind its transparent pixels.
    gaps_as_stated : bool, default False
        Behind transparent pixels inside the slide (nothing was scanned there) put the
        colour that the file states as its background, if it states one.

    Raises
    ------
    MissingSlideError
        If there is no such file.
    UnsupportedSlideError
        If OpenSlide cannot open it.

    Notes
    -----
    After an error every call on an OpenSlide handle fails
    (https://openslide.org/api/openslide_8h.html). So the handle that the
    threads share is replaced at once, and what failed is tried once more on a handle of
    its own: whether it fails again then depends on the file alone, and on no other thread.
    A handle is closed when the last thread that uses it has let go of it.
    """

    def __init__(
        self, path: StrPath, *, background: Colour, gaps_as_stated: bool = False
    ) -> None:
        self.library: str = "openslide"
        self._path = slide_file(path)
        self._name = Path(self._path).name
        self._background = background
        self._lock = threading.Lock()
        try:
            handle = _open(self._path)
            self.sizes: tuple[Size, ...] = handle.level_dimensions
            self.downsamples: tuple[float, ...] = handle.level_downsamples
            self.properties: Mapping[str, str] = dict(handle.properties)
            self.icc_profile: bytes | None = _profile(handle)
        except openslide.OpenSlideError as error:
            msg = "OpenSlide cannot open it"
            raise UnsupportedSlideError(
                msg,
                slide=self._name,
                details=str(error),
                remedy=(
                    "check that the file is whole, or try another "
                    'config.slide_library, such as "auto"'
                ),
            ) from error
        self.scan: ScanInfo = scan_info(
            self.properties, library="openslide", size=self.sizes[0]
        )
        stated = self.properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "")
        self._gaps = background
        if gaps_as_stated and _COLOUR.fullmatch(stated):
            self._gaps = _rgb(stated)
        self._handle: openslide.OpenSlide | None = handle

    @property
    def native(self) -> openslide.OpenSlide | None:
        """The `openslide.OpenSlide` in use; None after `close`."""
        return self._handle

    def associated_image(self, name: str) -> Image.Image | None:
        """Return an embedded image as RGB, or None if there is none of that name."""
        image = self._attempt(lambda handle: handle.associated_images.get(name))
        return None if image is None else opaque(image, self._background)

    def read(self, origin: Point, level: int, size: Size) -> Pixels:
        """Return a region; the background is where the slide is not, or transparent.

        See `SlideReader.read`. On a level whose downsample does not divide `origin`,
        OpenSlide interpolates between pixels.
        """
        check_level(level, count=len(self.sizes), slide=self._name)
        image = self._attempt(lambda handle: handle.read_region(origin, level, size))
        if self._gaps == self._background:
            return rgb_pixels(image, self._background)
        return rgb_pixels(self._filled(image, origin, level), self._background)

    def _filled(self, image: Image.Image, origin: Point, level: int) -> Image.Image:
        """Put the colour of gaps behind what lies inside the slide."""
        if image.getchannel("A").getextrema() == (255, 255):
            return image
        scale = self.downsamples[level]
        left, top = (max(0, round(-value / scale)) for value in origin)
        right, bottom = (
            min(extent, round(edge - value / scale))
            for extent, edge, value in zip(
                image.size, self.sizes[level], origin, strict=True
            )
        )
        behind = Image.new("RGBA", image.size, (*self._background, 255))
        if left < right and top < bottom:
            behind.paste((*self._gaps, 255), (left, top, right, bottom))
        behind.alpha_composite(image)
        return behind

    def read_into(
        self,
        origins: IntArray,
        level: int,
        buffer: PixelBuffer,
        *,
        threads: ThreadPoolExecutor | None = None,
        decoded: list[IntArray] | None = None,
    ) -> dict[int, SlideReadError]:
        """Read many regions; see `BatchReader.read_into`.

        Overlapping ones are read in one piece, but on levels where OpenSlide would
        interpolate differently. `threads` share the one handle: they hardly ever wait for
        each other, and of another handle OpenSlide would decode tiles once more.
        """
        check_level(level, count=len(self.sizes), slide=self._name)
        scale = self.downsamples[level]
        whole = scale.is_integer() and not (origins % int(scale)).any()
        return read_merged(
            lambda origin, size: self.read(origin, level, size),
            origins,
            buffer,
            scale=int(scale) if whole else None,
            threads=threads,
        )

    def close(self) -> None:
        """Release the file; reads under way are finished first."""
        with self._lock:
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _attempt(self, task: Callable[[openslide.OpenSlide], _T]) -> _T:
        """Do something with the shared handle, and again with a fresh one if it fails."""
        handle = self._handle
        if handle is None:
            msg = "the slide has been closed"
            raise ClosedSlideError(msg, slide=self._name, remedy="open it again")
        try:
            return task(handle)
        except openslide.OpenSlideError:
            pass
        try:
            self._replace(handle)
            return task(_open(self._path))
        except openslide.OpenSlideError as error:
            raise _failure(error, slide=self._name) from error

    def _replace(self, broken: openslide.OpenSlide) -> None:
        """Open the file again, unless another thread has done so or closed it."""
        with self._lock:
            if self._handle is broken:
                self._handle = _open(self._path)
