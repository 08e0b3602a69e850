"""Pictures read by Pillow: one level; microns per pixel where a TIFF states them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from dplabtools._typing import Pixels, Point, Size, StrPath
from dplabtools.engine.limits import available_memory
from dplabtools.errors import (
    AmbiguousSlideError,
    ClosedSlideError,
    NotEnoughMemoryError,
    SlideReadError,
    UnsupportedSlideError,
)
from dplabtools.readers.base import Colour, ScanInfo, check_level, slide_file
from dplabtools.readers.metadata import icc_profile, scan_info
from dplabtools.readers.pixels import opaque, read_clipped

__all__ = ["PillowReader"]

_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})
"""What becomes RGB without loss; sixteen bits a sample do not."""
_DESCRIPTION, _X_RESOLUTION, _Y_RESOLUTION, _UNIT = 270, 282, 283, 296
_UNITS = {2: "inch", 3: "centimeter"}
_ONE_BYTE = frozenset({"1", "L", "P"})  # a pixel; all else takes four
_AT_ONCE = 4_000_000  # pixels that are converted at once
_TILE_IT = (
    "make a tiled TIFF of it, such as by vips tiffsave PICTURE SLIDE.tif --tile --pyramid "
    "--compression jpeg, or use fewer workers: each decodes it for itself"
)
_LIMIT = threading.Lock()  # of who lifts that of Pillow
_ANIMATED = frozenset({"GIF", "PNG", "WEBP"})


class PillowReader:
    """A picture, opened by Pillow; it is decoded whole at the first read, and kept.

    Pillow's own limit of pixels (`PIL.Image.MAX_IMAGE_PIXELS`) does not count: what counts
    is whether there is memory for them when they are decoded.

    Parameters
    ----------
    path : str or path-like
        The file.
    background : (int, int, int)
        RGB outside the picture, and behind its transparent pixels.

    Raises
    ------
    MissingSlideError
        If there is no such file.
    UnsupportedSlideError
        If Pillow cannot open it, or its samples have more than 8 bits.
    AmbiguousSlideError
        If it is an animation, or its samples have 16 bits that Pillow would cut to 8.
    """

    def __init__(self, path: StrPath, *, background: Colour) -> None:
        self.library: str = "pillow"
        self._path = slide_file(path)
        self._name = Path(self._path).name
        self._background = background
        self._lock = threading.Lock()
        try:
            image = _opened_whatever_size(self._path)
        except (OSError, ValueError) as error:
            reason = f"Pillow cannot open it ({error})"
            raise self._unsupported(reason) from error
        if image.mode not in _MODES:
            image.close()
            reason = f"pixels of mode {image.mode} do not fit into RGB"
            raise self._unsupported(reason)
        self._check_decided(image)
        self.sizes: tuple[Size, ...] = (image.size,)
        self.downsamples: tuple[float, ...] = (1.0,)
        self.icc_profile: bytes | None = icc_profile(image.info.get("icc_profile"))
        self.properties: Mapping[str, str] = {
            "pillow.format": str(image.format),
            **(_tags(image) if isinstance(image, TiffImageFile) else {}),
        }
        self.scan: ScanInfo = scan_info(
            self.properties, library="pillow", size=self.sizes[0]
        )
        self._image: Image.Image | None = image
        self._decoded: Image.Image | None = None

    @property
    def native(self) -> Image.Image | None:
        """The `PIL.Image.Image`; None after `close`."""
        return self._image

    def associated_image(self, name: str) -> Image.Image | None:
        """Return None: a picture embeds no others."""
        self._opened()
        return None

    def read(self, origin: Point, level: int, size: Size) -> Pixels:
        """Return a region; the background is where the slide is not, or transparent.

        See `SlideReader.read`.
        """
        check_level(level, count=1, slide=self._name)
        image = self._whole()

        def fetch(corner: Point, extent: Size) -> Pixels:
            (x, y), (width, height) = corner, extent
            pixels = np.empty((height, width, 3), np.uint8)
            rows = max(1, _AT_ONCE // width)
            for top in range(0, height, rows):
                end = min(top + rows, height)
                part = image.crop((x, y + top, x + width, y + end))
                pixels[top:end] = np.asarray(opaque(part, self._background))
            return pixels

        return read_clipped(
            fetch, origin, size, level_size=self.sizes[0], background=self._background
        )

    def close(self) -> None:
        """Release the file and the pixels; reads under way are finished first."""
        with self._lock:
            if self._image is not None:
                self._image.close()
            self._image = self._decoded = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _check_decided(self, image: Image.Image) -> None:
        """Raise if there are several pictures, or Pillow would drop bits of each sample."""
        what = None
        if image.format in _ANIMATED and getattr(image, "is_animated", False):
            what = "it holds several pictures", "save the one that is wanted"
        elif any(";16" in str(tile) for tile in getattr(image, "tile", ())):
            what = "its samples have 16 bits", "convert them to 8, as it should be done"
        if what is not None:
            image.close()
            reason, remedy = what
            raise AmbiguousSlideError(reason, slide=self._name, remedy=remedy)

    def _opened(self) -> Image.Image:
        if self._image is None:
            msg = "the slide has been closed"
            raise ClosedSlideError(msg, slide=self._name, remedy="open it again")
        return self._image

    def _whole(self) -> Image.Image:
        """Return the picture, decoded by the first thread that asks for it."""
        with self._lock:
            opened = self._opened()
            if self._decoded is None:
                self._check_memory(opened)
                try:
                    # Opened anew: after an error Pillow takes a picture for decoded.
                    with _opened_whatever_size(self._path) as image:
                        image.load()
                    self._decoded = image
                except MemoryError as error:
                    msg = "there is not enough memory for it"
                    raise NotEnoughMemoryError(
                        msg, slide=self._name, remedy=_TILE_IT
                    ) from error
                except (OSError, ValueError, SyntaxError) as error:
                    msg = "the file is damaged"
                    raise SlideReadError(
                        msg,
                        slide=self._name,
                        details=str(error),
                        remedy="get a whole copy of it",
                    ) from error
            return self._decoded

    def _check_memory(self, image: Image.Image) -> None:
        """Raise if there is no room for all pixels, before any of them is decoded.

        Raises
        ------
        NotEnoughMemoryError
            If so.
        """
        width, height = image.size
        needed = width * height * (1 if image.mode in _ONE_BYTE else 4)
        free = available_memory()
        if needed > free:
            msg = (
                f"a picture of {width:,} x {height:,} pixels that is not tiled is decoded "
                f"whole, which takes {needed / 1e9:.1f} GB; {free / 1e9:.1f} GB are free"
            )
            raise NotEnoughMemoryError(msg, slide=self._name, remedy=_TILE_IT)

    def _unsupported(self, reason: str) -> UnsupportedSlideError:
        remedy = 'try another config.slide_library, such as "auto"'
        return UnsupportedSlideError(reason, slide=self._name, remedy=remedy)


def _tags(image: TiffImageFile) -> dict[str, str]:
    """Return what the tags of a TIFF say, by the names that OpenSlide gives them."""
    tags = image.tag_v2
    found = {"tiff.ResolutionUnit": _UNITS.get(tags.get(_UNIT, 2), "none")}
    for name, tag in (("X", _X_RESOLUTION), ("Y", _Y_RESOLUTION)):
        if tag in tags:
            found[f"tiff.{name}Resolution"] = f"{float(tags[tag]):.17g}"
    if _DESCRIPTION in tags:
        text = str(tags[_DESCRIPTION])  # Pillow takes what is UTF-8 for Latin-1
        with suppress(UnicodeError):
            text = text.encode("latin-1").decode()
        found["tiff.ImageDescription"] = text
    return found


def _opened_whatever_size(path: str) -> Image.Image:
    """Open a picture; nothing is decoded.

    Raises
    ------
    OSError, ValueError
        If Pillow cannot.
    """
    with _LIMIT:
        most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = most
