"""Whether what is stored of a patch is what the slide has."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import imagecodecs
import numpy as np
from PIL import Image

from dplabtools._typing import IntArray, Picture, Pixels
from dplabtools.errors import DplabError
from dplabtools.sinks.encoders import ImageEncoder
from dplabtools.stages import stage

__all__ = ["DifferentPatchError", "FileComparison", "check_picture", "sample"]

_SAMPLE = 16  # patches of a slide
_SLACK = 1.0  # grey values on average: decoders differ by rounding


class DifferentPatchError(DplabError):
    """What is stored is not what the slide has; caught by the run, which does it again."""


def sample(rows: IntArray, *, manifest_id: str) -> IntArray:
    """Return some of the rows of a slide, the same ones each time.

    Parameters
    ----------
    rows : ndarray of int64
        To choose from.
    manifest_id : str
        Seeds the choice.

    Returns
    -------
    ndarray of int64
        Up to 16 of them, sorted.
    """
    rng = np.random.default_rng(crc32(manifest_id.encode()))
    chosen: IntArray = np.sort(rng.permutation(rows)[:_SAMPLE])
    return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class FileComparison:
    """A place that keeps nothing: patches put there are compared with their files.

    Attributes
    ----------
    files : tuple of tuple of Path
        For each item, one for each resolution.
    encoders : tuple of ImageEncoder
        That made them, one for each resolution.
    """

    files: tuple[tuple[Path, ...], ...]
    encoders: tuple[ImageEncoder, ...]

    @property
    def takes_jpeg(self) -> bool:
        """False: pixels are compared, however they were written."""
        return False

    def canvas(self, items: IntArray, sizes: IntArray, /, *, views: int) -> None:
        """Return None: patches are compared when they are whole."""

    def put(self, item: int, pictures: Sequence[Picture], /) -> None:
        """Compare a patch with its files.

        Raises
        ------
        DifferentPatchError
            If one is damaged, or shows something else.
        """
        with stage("verify"):
            for file, picture, encoder in zip(
                self.files[item], pictures, self.encoders, strict=True
            ):
                try:
                    data = file.read_bytes()
                except OSError as error:
                    msg = f"{file} cannot be read: {error}"
                    raise DifferentPatchError(msg) from error
                check_picture(data, picture, encoder=encoder, name=str(file))

    def flush(self) -> None:
        """Do nothing."""

    def commit(self) -> None:
        """Do nothing."""


def check_picture(
    data: bytes, picture: Picture, *, encoder: ImageEncoder, name: str
) -> None:
    """Compare an image file with what it was made of.

    Pixels of a format without loss have to be the same. Of others they may be twice as far
    off, on average, as the encoder brings them by itself.

    Parameters
    ----------
    data : bytes
        The image file.
    picture : ndarray of uint8, shape (height, width, 3)
        What the slide has.
    encoder : ImageEncoder
        That made the file.
    name : str
        Of the file, for the message.

    Raises
    ------
    DifferentPatchError
        If it cannot be decoded, or shows something else.
    """
    expected = encoder.encode(picture)
    if data == expected:
        return
    try:
        stored = _decoded(data, encoder.image_type)
    except Exception as error:  # whatever a decoder comes up with
        msg = f"{name} cannot be decoded: {error}"
        raise DifferentPatchError(msg) from error
    if stored.shape != np.shape(picture):
        msg = f"{name} has the shape {stored.shape}, and should have {np.shape(picture)}"
        raise DifferentPatchError(msg)
    loss = _distance(_decoded(expected, encoder.image_type), picture)
    allowed = 0.0 if _is_lossless(encoder) else 2 * loss + _SLACK
    if (distance := _distance(stored, picture)) > allowed:
        msg = f"{name} differs from the slide by {distance:.2f} grey values on average"
        raise DifferentPatchError(msg)


def _is_lossless(encoder: ImageEncoder) -> bool:
    """Tell whether an encoder gives noise back as it is."""
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return _distance(_decoded(encoder.encode(noise), encoder.image_type), noise) == 0


def _distance(first: Pixels, second: Picture) -> float:
    return float(np.abs(np.subtract(first, second, dtype=np.int16)).mean())


def _decoded(data: bytes, image_type: str) -> Pixels:
    """Return the RGB pixels of an image file."""
    match image_type.lower():
        case "jxl":
            pixels: Pixels = imagecodecs.jpegxl_decode(data)
        case _:
            with Image.open(io.BytesIO(data)) as image:
                pixels = np.asarray(image.convert("RGB"))
    return pixels
