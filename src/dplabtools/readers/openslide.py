"""Slides read by OpenSlide."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import openslide
from PIL import Image, ImageCms

from dplabtools._typing import Pixels, Point, Size, StrPath
from dplabtools.errors import ClosedSlideError, SlideReadError, UnsupportedSlideError
from dplabtools.readers.base import Colour, ScanInfo, check_level, slide_file
from dplabtools.readers.metadata import icc_profile, scan_info
from dplabtools.readers.pixels import opaque, rgb_pixels

__all__ = ["OpenSlideReader"]

_T = TypeVar("_T")
_CACHE_BYTES = 64 << 20


@cache
def _shared_cache() -> openslide.OpenSlideCache:
    """Return the tiles of all open slides of this process: handles have none of their own.

    It is made when it is first used, so never before a process is forked.
    """
    return openslide.OpenSlideCache(_CACHE_BYTES)


def _open(path: str) -> openslide.OpenSlide:
    handle = openslide.OpenSlide(path)
    handle.set_cache(_shared_cache())
    return handle


def _profile(handle: openslide.OpenSlide) -> bytes | None:
    try:
        profile = handle.color_profile
        return None if profile is None else icc_profile(profile.tobytes())
    except ImageCms.PyCMSError:
        return None


class OpenSlideReader:
    """A slide, opened by OpenSlide; pixels and interpolation are its own.

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
        If OpenSlide cannot open it.

    Notes
    -----
    After an error every call on an OpenSlide handle fails. So the handle that the
    threads share is replaced at once, and what failed is tried once more on a handle of
    its own: whether it fails again then depends on the file alone, and on no other thread.
    A handle is closed when the last thread that uses it has let go of it.
    """

    def __init__(self, path: StrPath, *, background: Colour) -> None:
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
            msg = (
                f"OpenSlide cannot open it ({error}); check that the file is whole, or "
                f'try another config.slide_library, such as "auto"'
            )
            raise UnsupportedSlideError(msg, slide=self._name) from error
        self.scan: ScanInfo = scan_info(self.properties, library="openslide")
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
        return rgb_pixels(image, self._background)

    def close(self) -> None:
        """Release the file; reads under way are finished first."""
        with self._lock:
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _attempt(self, task: Callable[[openslide.OpenSlide], _T]) -> _T:
        """Do something with the shared handle, and again with a fresh one if it fails."""
        handle = self._handle
        if handle is None:
            msg = "the slide has been closed; open it again"
            raise ClosedSlideError(msg, slide=self._name)
        try:
            return task(handle)
        except openslide.OpenSlideError:
            pass
        try:
            self._replace(handle)
            return task(_open(self._path))
        except openslide.OpenSlideError as error:
            msg = (
                f"the file is damaged there ({error}); get a whole copy of it, or skip "
                f'what fails with on_error="skip"'
            )
            raise SlideReadError(msg, slide=self._name) from error

    def _replace(self, broken: openslide.OpenSlide) -> None:
        """Open the file again, unless another thread has done so or closed it."""
        with self._lock:
            if self._handle is broken:
                self._handle = _open(self._path)
