"""What a file says of its pixels, beside what they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dplabtools._typing import Pixels

__all__ = ["NO_TAGS", "Codec", "Tags"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """What is written into a file, where its format has a place for it.

    Attributes
    ----------
    mpp : float or None
        Microns per pixel.
    icc : bytes or None
        Colour profile.
    """

    mpp: float | None = None
    icc: bytes | None = None

    def per_metre(self) -> int | None:
        """Return pixels per metre, if the mpp is known."""
        return None if self.mpp is None else round(1e6 / self.mpp)


NO_TAGS = Tags()


class Codec(Protocol):
    """Encodes images; its options are its attributes."""

    def encode(self, pixels: Pixels, tags: Tags, /) -> bytes:
        """Return an image file.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (height, width, 3)
            RGB; contiguous.
        tags : Tags
            Written too, as far as the format allows.
        """
        ...
