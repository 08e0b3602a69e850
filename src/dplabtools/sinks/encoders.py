"""From pixels to the bytes of image files."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from dplabtools._typing import Picture
from dplabtools.errors import OutputFormatError

__all__ = ["ImageEncoder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEncoder:
    """Turns pixels into the bytes of an image file.

    Attributes
    ----------
    image_type : str
        Extension without the dot; says which encoder is used.
    options : mapping of str to object
        Given to the encoder: ``quality``, ``compress_level``, ...

    Raises
    ------
    OutputFormatError
        If no encoder knows the extension, takes colour images, or likes the options.
    """

    image_type: str
    options: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.image_type.lower() not in _known_types():
            msg = (
                f"unknown file extension: image_type {self.image_type!r}; use one of "
                f"{', '.join(sorted(_known_types()))}"
            )
            raise OutputFormatError(msg)
        try:
            self.encode(np.zeros((8, 8, 3), dtype=np.uint8))
        except Exception as error:
            msg = (
                f"image_type {self.image_type!r} with save_options {dict(self.options)} "
                f"cannot hold colour patches: {error}"
            )
            raise OutputFormatError(msg) from error

    @property
    def takes_jpeg(self) -> bool:
        """Whether `encode` takes JPEG streams, which are not encoded again."""
        return False

    def encode(self, picture: Picture) -> bytes:
        """Return an image file of RGB pixels, or of a JPEG stream if it `takes_jpeg`."""
        pixels = np.asarray(picture)
        out = io.BytesIO()
        form = _known_types()[self.image_type.lower()]
        Image.fromarray(pixels).save(out, format=form, **self.options)
        return out.getvalue()


def _known_types() -> dict[str, str]:
    """Return the formats that Pillow can write, by extension without the dot."""
    extensions = Image.registered_extensions()
    return {
        extension[1:]: form for extension, form in extensions.items() if form in Image.SAVE
    }
