"""How many bytes of the page each slide may have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

__all__ = ["Budget"]

_OVERVIEWS: Final = 18_000_000
_PATCHES: Final = 18_000_000
_OUTLINES: Final = 3_000_000
_THUMBNAILS: Final = 2_500_000
_SAMPLES: Final = 240  # patches on the contact sheet, or one for each slide
_MOST_SAMPLES: Final = 480


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a slide may take, in characters of the page.

    All together stay below 50 MB, however many slides there are: with a few each is shown
    in detail, with hundreds each is shown smaller.

    Attributes
    ----------
    overview, patches, outline, thumbnail : int
        Characters for the large picture, the columns of its patches, the outline of its
        mask, and the small picture of the table.
    edge : int
        Longer side of the large picture, in pixels, if there is room for it.
    samples : float
        Patches on the contact sheet; below 1 not every slide has one.
    """

    overview: int
    patches: int
    outline: int
    thumbnail: int
    edge: int
    samples: float

    @classmethod
    def for_slides(cls, slides: int) -> Self:
        """Share the page among so many slides."""
        count = max(1, slides)
        return cls(
            overview=min(700_000, _OVERVIEWS // count),
            patches=min(2_000_000, _PATCHES // count),
            outline=min(40_000, _OUTLINES // count),
            thumbnail=min(9_000, _THUMBNAILS // count),
            edge=2048 if count <= 40 else 1024,
            samples=min(48, max(_SAMPLES / count, 1), _MOST_SAMPLES / count),
        )
