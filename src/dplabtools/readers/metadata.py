"""Resolution and objective power, out of what a file says about itself."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dplabtools._typing import Size
from dplabtools.readers.base import ScanInfo
from dplabtools.readers.ome import physical_size
from dplabtools.settings import EXTERNAL_MPP, OVERRIDING_MPP, SLIDE_MPP, Settings

__all__ = [
    "ICC_TAG",
    "SlideMpp",
    "icc_profile",
    "resolved_mpp",
    "scan_info",
]

logger = logging.getLogger("dplabtools")

ICC_TAG = 34675
"""Number of the TIFF tag that holds a colour profile."""

_OME: Final = "ome.PhysicalSizeX"
_TAG: Final = "tiff.XResolution"
_MICRONS: Final = {"inch": 25_400, "centimeter": 10_000}
_PLAUSIBLE: Final = (0.05, 20.0)
"""Microns per pixel of a TIFF resolution. Tags have a value in any file: print resolutions
such as 72 or 300 dpi, or the default of the library that wrote it (libvips: 10/cm)."""
_GENERIC: Final = frozenset({"", "generic-tiff"})
"""Vendors of files whose mpp libraries take from the resolution tags, if there are any."""
_ONE_MPP: Final = 0.02
"""How far apart, relative to the larger, two mpps may be to stand for one. NDPI files of
0.45641 and 0.45506 are common; pixels as unlike as 2 % would be seen by nobody."""
_PROFILE_SIGNATURE = slice(36, 40)


def icc_profile(stored: object) -> bytes | None:
    """Return what stands where a file has its colour profile, if it is one."""
    if isinstance(stored, bytes) and stored[_PROFILE_SIGNATURE] == b"acsp":
        return stored
    return None


def scan_info(properties: Mapping[str, str], *, library: str, size: Size) -> ScanInfo:
    """Return what a slide says about its scan.

    Every reader asks here, so that the same file has the same mpp with all of them.

    Parameters
    ----------
    properties : mapping of str to str
        As the library gives them; those of TIFF tags begin with ``tiff.``.
    library : str
        Prefix of the library's own properties.
    size : (int, int)
        (width, height) of level 0.

    Returns
    -------
    ScanInfo
        The mpp of the first that states one: OME metadata, the vendor, the resolution
        tags of the TIFF if they are between 0.05 and 20 µm. Values that cannot be (zero,
        negative, not finite, text) count as not stated.
    """
    power = _positive(properties.get(f"{library}.objective-power"))
    ome = physical_size(properties.get("tiff.ImageDescription", ""), size)
    if ome is not None:
        return ScanInfo(mpp_x=ome[0], mpp_y=ome[1], power=power, source=_OME)
    generic = properties.get(f"{library}.vendor", "") in _GENERIC
    if not (generic and "tiff.XResolution" in properties):
        names = (f"{library}.mpp-x", f"{library}.mpp-y")
        x, y = (_positive(properties.get(name)) for name in names)
        if x is not None and y is not None:
            return ScanInfo(mpp_x=x, mpp_y=y, power=power, source=names[0])
    unit = properties.get("tiff.ResolutionUnit", "").lower()
    x, y = (_tag_mpp(properties, axis, unit) for axis in "XY")
    if x is None or y is None:
        return ScanInfo(power=power)
    for axis, mpp in (("X", x), ("Y", y)):
        if not _PLAUSIBLE[0] <= mpp <= _PLAUSIBLE[1]:
            stated = float(properties[f"tiff.{axis}Resolution"])
            ignored = f"tiff.{axis}Resolution of {stated:g} per {unit}, {mpp:g} µm/px"
            return ScanInfo(power=power, ignored=ignored)
    return ScanInfo(mpp_x=x, mpp_y=y, power=power, source=_TAG)


def _tag_mpp(properties: Mapping[str, str], axis: str, unit: str) -> float | None:
    """Return the microns per pixel that a resolution tag stands for."""
    per_unit = _positive(properties.get(f"tiff.{axis}Resolution"))
    microns = _MICRONS.get(unit)
    return None if microns is None or per_unit is None else microns / per_unit


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideMpp:
    """Microns per pixel of level 0.

    Attributes
    ----------
    value : float or None
        None if nobody states it, or two values too far apart.
    source : str
        Who states it: a property of the file, or a setting; empty if nobody.
    unequal : (float, float) or None
        Horizontal and vertical, where they are too far apart to stand for one.
    ignored : str
        What the file states that cannot be, in words; may be empty.
    """

    value: float | None
    source: str = ""
    unequal: tuple[float, float] | None = None
    ignored: str = ""


def resolved_mpp(scan: ScanInfo, *, settings: Settings, slide: str) -> SlideMpp:
    """Return the microns per pixel of level 0, and who states them.

    Parameters
    ----------
    scan : ScanInfo
        What the file states.
    settings : Settings
        Values that win over the file's, and one for slides that state none; the decimals
        of the comparison.
    slide : str
        Path of the slide.

    Returns
    -------
    SlideMpp
        The first of: the override of this slide, the override of all, what the file
        states, the external value.
    """
    name = Path(slide).name
    # Paths are compared as files: a run may name them otherwise than a table.
    own = settings.slide_mpps.get(os.path.abspath(slide)) if settings.slide_mpps else None  # noqa: PTH100
    external = settings.external_mpp
    if own is not None:
        return _given(own, SLIDE_MPP, name)
    if external is not None and settings.external_mpp_overrides:
        return _given(external, OVERRIDING_MPP, name)
    if scan.mpp_x is not None and scan.mpp_y is not None:
        return _stated(scan.mpp_x, scan.mpp_y, scan.source, settings=settings, name=name)
    if external is not None:
        return _given(external, EXTERNAL_MPP, name, ignored=scan.ignored)
    logger.info(
        "%s: MPP data is not available, external MPP value can be set using "
        "'GenericSlide.set_external_mpp'",
        name,
    )
    return SlideMpp(value=None, ignored=scan.ignored)


def _given(value: float, source: str, name: str, *, ignored: str = "") -> SlideMpp:
    logger.info("%s: Using externally provided MPP value of %s", name, value)
    return SlideMpp(value=value, source=source, ignored=ignored)


def _stated(x: float, y: float, source: str, *, settings: Settings, name: str) -> SlideMpp:
    """Make one value of two."""
    if x == y:
        return SlideMpp(value=x, source=source)
    places = settings.mpp_round_decimal_places
    if round(x, places) == round(y, places) > 0:
        return SlideMpp(value=round(x, places), source=source)
    if not math.isclose(x, y, rel_tol=_ONE_MPP):
        return SlideMpp(value=None, source=source, unequal=(x, y))
    mean = (x + y) / 2
    logger.info(
        "%s: %s microns per pixel horizontally and %s vertically: their mean %s is used",
        *(name, x, y, mean),
    )
    return SlideMpp(value=mean, source=source)


def _positive(value: str | None) -> float | None:
    """Return a number that may be a length or a power, else None."""
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 < number < math.inf else None
