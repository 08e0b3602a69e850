"""Single images written where the caller wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from dplabtools._typing import StrPath
from dplabtools.errors import OutputError, OutputFormatError

__all__ = ["save_image"]


def save_image(image: Image.Image, image_file: StrPath, **options: Any) -> None:  # noqa: ANN401 - Pillow's
    """Save an image in the format of its extension, with options of Pillow.

    Raises
    ------
    OutputFormatError
        If there is no such format.
    OutputError
        If the file cannot be written.
    """
    suffix = Path(image_file).suffix
    if suffix.lower() not in Image.registered_extensions():
        msg = f"{image_file}: no image format has the extension {suffix!r}; use .png"
        raise OutputFormatError(msg)
    try:
        image.save(Path(image_file), **options)
    except OSError as error:
        msg = f"{image_file} cannot be written: {error}"
        raise OutputError(msg) from error
