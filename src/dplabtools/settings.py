"""What a run depends on beside its arguments, frozen when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

__all__ = ["EXTERNAL_MPP", "OVERRIDING_MPP", "SLIDE_MPP", "Settings"]

EXTERNAL_MPP: Final = "external_mpp"
OVERRIDING_MPP: Final = "external_mpp override"
SLIDE_MPP: Final = "slide_mpps"
"""Who states an mpp that is not the file's: `external_mpp`, for slides that state none, and
for all of them; `slide_mpps`, for single ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The documented knobs, as they stood when the caller started a run.

    It is sent to every worker, so a knob turned in the caller holds there too, whatever
    the start method.

    Attributes
    ----------
    slide_library : str
        Name of the reader, or ``"auto"``.
    color : {None, "srgb"}
        Whether pixels are converted from the slide's colour profile to sRGB.
    background : (int, int, int) or None
        RGB of everything outside a slide, and behind its transparent pixels. None: white,
        and in gaps inside a slide the colour that its file states.
    external_mpp : float or None
        Microns per pixel of level 0, for slides that state none.
    external_mpp_overrides : bool
        That value holds for slides that state one, too.
    slide_mpps : mapping of str to float
        Microns per pixel of level 0 of single slides, by absolute path; they win over
        everything.
    mpp_round_decimal_places : int
        Decimals to which unequal horizontal and vertical mpp are rounded before they
        are compared.
    range_min_mpp : float
        Smallest mpp that may be asked for.
    range_max_magnification : int
        Objective power assumed in the range check of slides that state none.
    resampling_filter : str
        Name of a `PIL.Image.Resampling` filter.
    mpp_level_margin : float
        An mpp this close to that of a level is read from the level unscaled.
    padding_margin_pixels : int
        Kept for the documented interface; padding is exact here, so nothing reads it.
    level_zero_resampling : bool
        Resample from level 0, rather than from the closest finer level.
    polygons_overlap_threshold : float
        Overlaps of polygons below this area, in patches, are not told.
    """

    slide_library: str = "auto"
    color: Literal["srgb"] | None = None
    background: tuple[int, int, int] | None = None
    external_mpp: float | None = None
    external_mpp_overrides: bool = False
    slide_mpps: Mapping[str, float] = field(default_factory=dict)
    mpp_round_decimal_places: int = 5
    range_min_mpp: float = 0.001
    range_max_magnification: int = 40
    resampling_filter: str = "LANCZOS"
    mpp_level_margin: float = 0.003
    padding_margin_pixels: int = 10
    level_zero_resampling: bool = True
    polygons_overlap_threshold: float = 1.0

    @property
    def outside(self) -> tuple[int, int, int]:
        """RGB of everything outside a slide."""
        return (255, 255, 255) if self.background is None else self.background
