"""What a TIFF slide says of itself, by the names that OpenSlide gives it."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from dplabtools._typing import Point, Size
from dplabtools.geometry.pyramid import mean_downsamples
from dplabtools.readers.metadata import ICC_TAG

__all__ = [
    "APERIO",
    "associated_name",
    "bounds_properties",
    "level_properties",
    "number_text",
    "picture_properties",
    "properties_of",
    "region_properties",
    "resolution_properties",
    "tag_properties",
]

APERIO: Final = "Aperio"
_TEXTS: Final = (
    *("ImageDescription", "Make", "Model", "Software", "DateTime", "Artist"),
    *("HostComputer", "Copyright", "DocumentName"),
)
_NUMBERS: Final = ("XResolution", "YResolution", "XPosition", "YPosition")
_UNITS: Final = {1: "none", 2: "inch", 3: "centimeter"}
_MICRONS: Final = {"inch": 25_400, "centimeter": 10_000}


def associated_name(page: int, description: str) -> str | None:
    """Return the name of an associated image of an Aperio file, if it has one.

    The second page is the thumbnail; others begin the second line of their description
    with their name.
    """
    if page == 1:
        return "thumbnail"
    lines = description.split("\n")
    return (lines[1].split(" ")[0] or None) if len(lines) > 1 else None


def properties_of(
    page: Any,  # noqa: ANN401 - untyped library
    *,
    sizes: Sequence[Size],
    tiles: Sequence[Size],
) -> dict[str, str]:
    """Return the properties of a slide.

    Parameters
    ----------
    page : tifffile.TiffPage
        The first.
    sizes, tiles : sequence of (int, int)
        (width, height) of each level, and of its tiles.

    Returns
    -------
    dict of str to str
        All but those of associated images.
    """
    description = str(page.description)
    found = dict(tag_properties(page))
    if description.startswith(APERIO):
        found["openslide.vendor"] = "aperio"
        found.update(_aperio(description))
    else:
        found["openslide.vendor"] = "generic-tiff"
        found.update(_generic(found, description))
    found.update(level_properties(sizes, tiles))
    found.update(_icc(page, "openslide."))
    return found


def picture_properties(
    name: str,
    image: Any,  # noqa: ANN401 - untyped library
) -> Iterator[tuple[str, str]]:
    """Yield what there is to say about the page of an associated image."""
    prefix = f"openslide.associated.{name}."
    yield f"{prefix}width", str(image.imagewidth)
    yield f"{prefix}height", str(image.imagelength)
    yield from _icc(image, prefix)


def tag_properties(page: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - untyped library
    """Yield what the tags of a page say."""
    if page.description:
        yield "openslide.comment", str(page.description)
    values = {tag.name: tag.value for tag in page.tags}
    for name in _TEXTS:
        if name in values:
            yield f"tiff.{name}", str(values[name])
    for name in _NUMBERS:
        if name in values and (number := _quotient(values[name])) is not None:
            yield f"tiff.{name}", number_text(number)
    yield "tiff.ResolutionUnit", _UNITS.get(int(values.get("ResolutionUnit", 2)), "unknown")


# https://openslide.org/formats/aperio/
def _aperio(description: str) -> Iterator[tuple[str, str]]:
    """Yield what an Aperio description says, behind its first bar."""
    stated = dict[str, str]()
    for pair in description.split("|")[1:]:
        name, separator, value = pair.partition("=")
        if separator:
            stated[name.strip()] = value.strip()
    for name, value in stated.items():
        yield f"aperio.{name}", value
    mpp = _parsed(stated.get("MPP"))
    power = _parsed(stated.get("AppMag"))
    if mpp is not None:
        yield "openslide.mpp-x", number_text(mpp)
        yield "openslide.mpp-y", number_text(mpp)
    if power is not None:
        yield "openslide.objective-power", number_text(power)


def _generic(found: Mapping[str, str], description: str) -> Iterator[tuple[str, str]]:
    """Yield the resolution by the tags, and the power by OME metadata."""
    yield from resolution_properties(found, units=_MICRONS)
    power = re.search(r'NominalMagnification="([0-9.]+)"', description)
    if power is not None:
        yield "openslide.objective-power", power[1]


def resolution_properties(
    found: Mapping[str, str], *, units: Container[str]
) -> Iterator[tuple[str, str]]:
    """Yield microns per pixel by the tags, if they state pixels per one of these units."""
    unit = found["tiff.ResolutionUnit"]
    for axis in "XY":
        per_unit = float(found.get(f"tiff.{axis}Resolution", 0))
        if unit in units and per_unit > 0:
            mpp = number_text(_MICRONS[unit] / per_unit)
            yield f"openslide.mpp-{axis.lower()}", mpp


def bounds_properties(boxes: Sequence[tuple[Point, Size]]) -> Iterator[tuple[str, str]]:
    """Yield what box all areas lie in, by (x, y) and (width, height) of each."""
    corners, sizes = np.array(boxes, dtype=np.int64).swapaxes(0, 1)
    low, high = corners.min(axis=0), (corners + sizes).max(axis=0)
    yield from _box("openslide.bounds-", (*low, *(high - low)))


def region_properties(
    boxes: Iterable[tuple[Point, Size]],
) -> Iterator[tuple[str, str]]:
    """Yield where areas lie, each by (x, y) and (width, height)."""
    for number, (corner, size) in enumerate(boxes):
        yield from _box(f"openslide.region[{number}].", (*corner, *size))


def _box(prefix: str, box: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    for name, value in zip(("x", "y", "width", "height"), box, strict=True):
        yield f"{prefix}{name}", str(value)


def level_properties(
    sizes: Sequence[Size], tiles: Sequence[Size] = (), *, downsamples: Sequence[float] = ()
) -> Iterator[tuple[str, str]]:
    """Yield what there is to say about levels, and about any tiles.

    Parameters
    ----------
    sizes, tiles : sequence of (int, int)
        (width, height) of each level and of its tiles, if they are to be stated.
    downsamples : sequence of float, optional
        Level 0 pixels per pixel, if they are not those of the sizes.
    """
    yield "openslide.level-count", str(len(sizes))
    for level, downsample in enumerate(downsamples or mean_downsamples(tuple(sizes))):
        prefix = f"openslide.level[{level}]."
        yield f"{prefix}downsample", number_text(downsample)
        for name, values in (("", sizes), ("tile-", tiles)):
            for width, height in values[level : level + 1]:
                yield f"{prefix}{name}width", str(width)
                yield f"{prefix}{name}height", str(height)


def _icc(page: Any, prefix: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - untyped library
    tag = page.tags.get(ICC_TAG)
    if tag is not None:
        yield f"{prefix}icc-size", str(tag.count)


def _quotient(value: Any) -> float | None:  # noqa: ANN401 - untyped library
    """Return a rational number of a tag."""
    if not isinstance(value, tuple):
        return float(value)
    numerator, denominator = value
    # Kept in single precision by libtiff, and so by OpenSlide.
    return float(numerator) / float(denominator) if denominator else None


def _parsed(text: str | None) -> float | None:
    """Return a number, with a decimal point or comma."""
    try:
        return float((text or "").replace(",", "."))
    except ValueError:
        return None


def number_text(value: float) -> str:
    """Return a number as OpenSlide writes it."""
    return f"{value:.17g}"
