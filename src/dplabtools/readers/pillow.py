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


_ANIMATED = frozenset({"GIF", "PNG", "WEBP"})


class PillowReader:
    """A picture, opened by Pillow; it is decoded whole at the first read, and kept.

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
        If Pillow cannot open it, or holds it to be too large (more than twice
        `PIL.Image.MAX_IMAGE_PIXELS`), or its samples have more than 8 bits.
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
            image = Image.open(self._path)
        except (
            OSError,
            ValueError,
            Image.DecompressionBombError,
            Image.DecompressionBombWarning,
        ) as error:
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
        self._pixels: Pixels | None = None

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
        pixels = self._decoded()

        def fetch(corner: Point, extent: Size) -> Pixels:
            (x, y), (width, height) = corner, extent
            return pixels[y : y + height, x : x + width].copy()

        return read_clipped(
            fetch, origin, size, level_size=self.sizes[0], background=self._background
        )

    def close(self) -> None:
        """Release the file and the pixels; reads under way are finished first."""
        with self._lock:
            if self._image is not None:
                self._image.close()
            self._image = self._pixels = None

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

    def _decoded(self) -> Pixels:
        """Return all pixels, decoded by the first thread that asks for them."""
        with self._lock:
            self._opened()
            if self._pixels is None:
                try:
                    # Opened anew: after an error Pillow takes a picture for decoded.
                    with Image.open(self._path) as image:
                        self._pixels = np.array(opaque(image, self._background))
                except MemoryError as error:
                    msg = "there is not enough memory for it"
                    raise NotEnoughMemoryError(
                        msg, slide=self._name, remedy="make a tiled TIFF of it"
                    ) from error
                except (OSError, ValueError, SyntaxError) as error:
                    msg = "the file is damaged"
                    raise SlideReadError(
                        msg,
                        slide=self._name,
                        details=str(error),
                        remedy="get a whole copy of it",
                    ) from error
            return self._pixels

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
