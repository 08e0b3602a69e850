"""Pixels as they look: converted from the slide's colour profile to sRGB."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from io import BytesIO
from typing import Final, Self

import numpy as np
from PIL import Image, ImageCms

from dplabtools._typing import IntArray, Pixels, Point, Size
from dplabtools.errors import SlideReadError
from dplabtools.readers.base import BatchReader, ScanInfo, SlideReader
from dplabtools.readers.pixels import level_origin
from dplabtools.records.pixel_buffer import PixelBuffer

__all__ = ["in_srgb"]

_LOGGER = logging.getLogger("dplabtools")
_TRANSFORMS: Final = 16  # slides of a scanner have one profile


def in_srgb(reader: SlideReader, *, slide: str) -> SlideReader:
    """Return a reader whose pixels are those of another, converted to sRGB.

    Parameters
    ----------
    reader : SlideReader
        Of the stored pixels.
    slide : str
        Name of the slide, for messages.

    Returns
    -------
    SlideReader
        It has no colour profile, as pixels without one are taken for sRGB, and hands out
        no stored streams. `reader` itself, where there is nothing to convert by: that is
        logged.

    Notes
    -----
    The conversion is littleCMS's with the perceptual intent, as
    `PIL.ImageCms.profileToProfile` has it. It comes before any resampling, and leaves alone
    what lies outside the slide.
    """
    profile = reader.icc_profile
    if profile is None:
        _LOGGER.info("%s: it has no colour profile; its pixels stay as they are", slide)
        return reader
    try:
        transform = _transform(profile)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        words = "%s: its colour profile is not usable (%s); its pixels stay as they are"
        _LOGGER.warning(words, slide, error)
        return reader
    kind = _BatchedInSrgb if isinstance(reader, BatchReader) else _InSrgb
    return kind(reader, transform)


@lru_cache(maxsize=_TRANSFORMS)
def _transform(profile: bytes) -> ImageCms.ImageCmsTransform:
    """Return the conversion from a profile; it may be used by many threads at once.

    Raises
    ------
    PyCMSError, OSError
        If it is none of RGB pixels, or cannot be made out.
    """
    return ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        "RGB",
        "RGB",
    )


class _InSrgb:
    """A reader of converted pixels."""

    def __init__(
        self,
        reader: SlideReader,
        transform: ImageCms.ImageCmsTransform,
    ) -> None:
        self._reader = reader
        self._transform = transform
        self.icc_profile: bytes | None = None

    @property
    def library(self) -> str:
        """Name of the library that reads."""
        return self._reader.library

    @property
    def sizes(self) -> tuple[Size, ...]:
        """(width, height) of each level, finest first."""
        return self._reader.sizes

    @property
    def downsamples(self) -> tuple[float, ...]:
        """Level 0 pixels per pixel of each level."""
        return self._reader.downsamples

    @property
    def scan(self) -> ScanInfo:
        """Resolution, as the file states it."""
        return self._reader.scan

    @property
    def properties(self) -> Mapping[str, str]:
        """Vendor properties."""
        return self._reader.properties

    @property
    def native(self) -> object:
        """The library's own object; None after `close`."""
        return self._reader.native

    def associated_image(self, name: str) -> Image.Image | None:
        """Return an embedded image in sRGB, by the profile that it has itself."""
        image = self._reader.associated_image(name)
        profile = None if image is None else image.info.pop("icc_profile", None)
        if image is None or profile is None:
            return image
        try:
            return ImageCms.applyTransform(image, _transform(profile))
        except (ImageCms.PyCMSError, OSError, ValueError):
            return image

    def read(self, origin: Point, level: int, size: Size) -> Pixels:
        """Return a region; see `SlideReader.read`."""
        pixels = self._reader.read(origin, level, size)
        self._convert(pixels, origin, level)
        return pixels

    def close(self) -> None:
        """Release the file."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _convert(self, pixels: Pixels, origin: Point, level: int) -> None:
        """Convert what lies on the slide, in place."""
        x, y = level_origin(origin, self.downsamples[level])
        right, bottom = (
            edge - corner for edge, corner in zip(self.sizes[level], (x, y), strict=True)
        )
        part = pixels[max(-y, 0) : max(bottom, 0), max(-x, 0) : max(right, 0)]
        if not part.size:
            return
        image = Image.fromarray(np.ascontiguousarray(part))
        ImageCms.applyTransform(image, self._transform, inPlace=True)
        part[:] = np.asarray(image)


class _BatchedInSrgb(_InSrgb):
    """The same, of a reader that reads many regions at once."""

    def read_into(
        self,
        origins: IntArray,
        level: int,
        buffer: PixelBuffer,
        *,
        threads: ThreadPoolExecutor | None = None,
        decoded: list[IntArray] | None = None,
    ) -> dict[int, SlideReadError]:
        """Read many regions; see `BatchReader.read_into`."""
        reader = self._reader
        assert isinstance(reader, BatchReader)  # noqa: S101 - see `in_srgb`
        errors = reader.read_into(origins, level, buffer, threads=threads, decoded=decoded)

        def convert(item: int) -> None:
            x, y = origins[item].tolist()
            self._convert(buffer.picture(item), (x, y), level)

        items = [item for item in range(len(origins)) if item not in errors]
        list((map if threads is None else threads.map)(convert, items))
        return errors
