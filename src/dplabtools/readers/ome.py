"""Microns per pixel, out of OME metadata."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from dplabtools._typing import Size

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["physical_size"]

_MICRONS: Final = {
    "m": 1e6,
    "dm": 1e5,
    "cm": 1e4,
    "mm": 1e3,
    "nm": 1e-3,
    "pm": 1e-6,
    "\u00b5m": 1.0,
    "\u03bcm": 1.0,
    "um": 1.0,
    "\u00c5": 1e-4,
    "\u212b": 1e-4,
    "in": 25_400.0,
    "thou": 25.4,
}
"""Of the units that OME has for lengths, those that pixels are given in. The micro sign
and the Greek letter are two characters, and so are the angstrom sign and the letter."""


def physical_size(description: str, size: Size) -> tuple[float, float] | None:
    """Return the size of the pixels of an image that OME metadata tells of.

    Parameters
    ----------
    description : str
        The ``ImageDescription`` of the first page of a TIFF.
    size : (int, int)
        (width, height) of level 0: metadata of a file with several images tells of each,
        and what it says of a label is nothing to go by.

    Returns
    -------
    (float, float) or None
        Horizontal and vertical microns per pixel; None if this is no OME metadata, or
        says nothing of such an image, or in no unit of length.

    Notes
    -----
    https://docs.openmicroscopy.org/ome-model/latest/ome-tiff/specification.html; without
    a unit, sizes are in microns.
    """
    if "<OME" not in description and ":OME" not in description:
        return None
    root = _parsed(description)
    if root is None:
        return None
    for element in root.iter():
        if _name(element) == "Pixels" and _size(element) == size:
            x, y = (_microns(element, axis) for axis in "XY")
            return None if x is None or y is None else (x, y)
    return None


def _parsed(text: str) -> Element | None:
    """Return the root of a document; None if it is cut off, or no document."""
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root: Element = fromstring(text.strip().strip("\0"))
    except (ParseError, DefusedXmlException, ValueError):
        return None
    return root


def _name(element: Element) -> str:
    """Return the name of an element without its namespace: there is one a year."""
    return str(element.tag).rpartition("}")[2]


def _size(element: Element) -> Size | None:
    try:
        return int(element.get("SizeX", "")), int(element.get("SizeY", ""))
    except ValueError:
        return None


def _microns(element: Element, axis: str) -> float | None:
    scale = _MICRONS.get(element.get(f"PhysicalSize{axis}Unit", "um").strip())
    try:
        value = float(element.get(f"PhysicalSize{axis}", ""))
    except ValueError:
        return None
    return value * scale if scale is not None and 0 < value < math.inf else None
