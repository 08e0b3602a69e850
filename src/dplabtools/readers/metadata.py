"""Resolution and objective power, out of what a file says about itself."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

from dplabtools.errors import ResolutionError
from dplabtools.readers.base import ScanInfo
from dplabtools.settings import Settings

__all__ = ["ICC_TAG", "icc_profile", "resolved_mpp", "scan_info"]

logger = logging.getLogger("dplabtools")

ICC_TAG = 34675
"""Number of the TIFF tag that holds a colour profile."""

_MICRONS_PER_CENTIMETRE = 10_000
_PROFILE_SIGNATURE = slice(36, 40)


def icc_profile(stored: object) -> bytes | None:
    """Return what stands where a file has its colour profile, if it is one."""
    if isinstance(stored, bytes) and stored[_PROFILE_SIGNATURE] == b"acsp":
        return stored
    return None


def scan_info(properties: Mapping[str, str], *, library: str) -> ScanInfo:
    """Return what the properties of a slide say about its scan.

    Parameters
    ----------
    properties : mapping of str to str
        As the library gives them.
    library : str
        Prefix of the library's own properties.

    Returns
    -------
    ScanInfo
        The library's mpp, else that of the TIFF resolution tags if they are per
        centimetre. Values that cannot be (zero, negative, not finite, text) count as
        not stated.
    """
    power = _positive(properties.get(f"{library}.objective-power"))
    names = (f"{library}.mpp-x", f"{library}.mpp-y")
    mpp_x, mpp_y = (_positive(properties.get(name)) for name in names)
    if mpp_x is not None and mpp_y is not None:
        return ScanInfo(mpp_x=mpp_x, mpp_y=mpp_y, power=power, source=names[0])
    if properties.get("tiff.ResolutionUnit", "").lower() == "centimeter":
        per_x = _positive(properties.get("tiff.XResolution"))
        per_y = _positive(properties.get("tiff.YResolution"))
        if per_x is not None and per_y is not None:
            return ScanInfo(
                mpp_x=_MICRONS_PER_CENTIMETRE / per_x,
                mpp_y=_MICRONS_PER_CENTIMETRE / per_y,
                power=power,
                source="tiff.XResolution",
            )
    return ScanInfo(power=power)


_SAME_MPP = 1e-4


def resolved_mpp(
    scan: ScanInfo, *, settings: Settings, slide: str
) -> tuple[float, float] | None:
    """Return the microns per pixel of level 0, or None if nobody states them.

    Parameters
    ----------
    scan : ScanInfo
        What the file states.
    settings : Settings
        The value for slides that state none, and the decimals of the comparison.
    slide : str
        Name of the slide, for messages.

    Returns
    -------
    (float, float) or None
        Horizontal and vertical, equal.

    Raises
    ------
    ResolutionError
        If the file states two values that differ even when rounded, by more than one part
        in ten thousand: less is how some scanners round, not the shape of the pixels.
    """
    x, y = scan.mpp_x, scan.mpp_y
    if x is None or y is None:
        return _external_mpp(settings, slide)
    if x == y:
        return x, y
    places = settings.mpp_round_decimal_places
    rounded_x, rounded_y = round(x, places), round(y, places)
    if rounded_x != rounded_y and math.isclose(x, y, rel_tol=_SAME_MPP):
        return (x + y) / 2, (x + y) / 2
    if rounded_x != rounded_y:
        msg = (
            f"the file states {x} microns per pixel horizontally and {y} vertically, "
            f"which differ in the first {places} decimals; if that is near enough, "
            f"lower GenericSlide.set_mpp_round_decimal_places"
        )
        raise ResolutionError(msg, slide=slide)
    return rounded_x, rounded_y


def _external_mpp(settings: Settings, slide: str) -> tuple[float, float] | None:
    value = settings.external_mpp
    if value is None:
        logger.info(
            "%s: MPP data is not available, external MPP value can be set using "
            "'GenericSlide.set_external_mpp'",
            slide,
        )
        return None
    logger.info("%s: Using externally provided MPP value of %s", slide, value)
    return value, value


def _positive(value: str | None) -> float | None:
    """Return a number that may be a length or a power, else None."""
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 < number < math.inf else None
