"""Whether what is stored of a patch is what the slide has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from dplabtools._typing import IntArray, Picture, Pixels
from dplabtools.errors import DplabError
from dplabtools.output.codecs.decoding import decode_image
from dplabtools.output.codecs.encoder import ImageEncoder
from dplabtools.output.sink import ChunkWriter
from dplabtools.output.stored_slide import Images
from dplabtools.timing import stage

__all__ = ["Comparison", "DifferentPatchError", "sample"]

_SAMPLE = 16  # patches of a slide
_SLACK = 1.0  # grey values on average: decoders differ by rounding


class DifferentPatchError(DplabError):
    """What is stored is not what the slide has; caught by the run, which does it again."""


def sample(rows: IntArray, *, seed: str) -> IntArray:
    """Return some of the rows of a slide.

    Parameters
    ----------
    rows : ndarray of int64
        To choose from.
    seed : str
        The same ones for the same seed.

    Returns
    -------
    ndarray of int64
        Up to 16 of them, sorted.
    """
    rng = np.random.default_rng(crc32(seed.encode()))
    chosen: IntArray = np.sort(rng.permutation(rows)[:_SAMPLE])
    return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(ChunkWriter):
    """A writer that keeps nothing: patches put there are compared with what is stored.

    Attributes
    ----------
    images : Images
        What is stored.
    indices : tuple of int
        For each item the first of its images.
    encoders : tuple of ImageEncoder
        That made them, one for each resolution; none where pixels are stored as they are.
    name : str
        Of the manifest, for messages.
    """

    images: Images
    indices: tuple[int, ...]
    encoders: tuple[ImageEncoder, ...]
    name: str

    def put(self, item: int, pictures: Sequence[Picture], /) -> None:
        """Compare a patch with its stored images.

        Raises
        ------
        DifferentPatchError
            If one is damaged, or shows something else.
        """
        with stage("verify"):
            for view, picture in enumerate(pictures):
                index = self.indices[item] + view
                name = f"image {index} of {self.name}"
                try:
                    stored = self.images.read(index)
                except Exception as error:  # whatever a container comes up with
                    msg = f"{name} cannot be read: {error}"
                    raise DifferentPatchError(msg) from error
                encoder = self.encoders[view] if self.encoders else None
                _check_pixels(stored, picture, encoder=encoder, name=name)


def _check_pixels(
    stored: Pixels, picture: Picture, *, encoder: ImageEncoder | None, name: str
) -> None:
    """Raise if stored pixels are not those of the slide.

    Those of a format without loss have to be the same. Of others they may be twice as far
    off, on average, as the encoder brings them by itself.
    """
    if stored.shape != np.shape(picture):
        msg = f"{name} has the shape {stored.shape}, and should have {np.shape(picture)}"
        raise DifferentPatchError(msg)
    distance = _distance(stored, picture)
    if distance > 0 and distance > _allowed(picture, encoder):
        msg = f"{name} differs from the slide by {distance:.2f} grey values on average"
        raise DifferentPatchError(msg)


def _allowed(picture: Picture, encoder: ImageEncoder | None) -> float:
    """Return how far a stored picture may be off."""
    if encoder is None or _is_lossless(encoder):
        return 0.0
    expected = decode_image(encoder.encode(picture))
    return 2 * _distance(expected, picture) + _SLACK


def _is_lossless(encoder: ImageEncoder) -> bool:
    """Tell whether an encoder gives noise back as it is."""
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return _distance(decode_image(encoder.encode(noise)), noise) == 0


def _distance(first: Pixels, second: Picture) -> float:
    return float(np.abs(np.subtract(first, second, dtype=np.int16)).mean())
