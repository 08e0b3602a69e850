"""Where in an SCN file of Leica the tiles of each level lie, as its XML says.

A slide is a collection of pictures, each with levels of its own and a place on the glass.
Those of the specimen are areas of one slide; one of all the glass is the macro picture.

https://openslide.org/formats/leica/
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dplabtools._typing import Point, Size
from dplabtools.errors import (
    AmbiguousSlideError,
    DamagedSlideError,
    UnsupportedSlideError,
)
from dplabtools.readers.native.describe import (
    bounds_properties,
    level_properties,
    number_text,
    region_properties,
    resolution_properties,
    tag_properties,
)
from dplabtools.readers.native.directories import Directory
from dplabtools.readers.native.levels import NativeIndex, TiledLevel, mosaic_of
from dplabtools.readers.native.tiff import index_of, mark_lengthless, tiled_levels
from dplabtools.sources.base import ByteSource

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["read_index"]

_SPACES: Final = {
    "{http://www.leica-microsystems.com/scn/2010/03/10}scn": False,
    "{http://www.leica-microsystems.com/scn/2010/10/01}scn": True,
}
"""Roots of the XML that are known, and whether barcodes are encoded there."""
_LIGHT: Final = "scanSettings/illuminationSettings"
_SOURCE: Final = f"{_LIGHT}/illuminationSource"
_TEXTS: Final = {
    "aperture": f"{_LIGHT}/numericalAperture",
    "creation-date": "creationDate",
    "illumination-source": _SOURCE,
    "objective": "scanSettings/objectiveSettings/objective",
}
_ONE_RESOLUTION: Final = 0.02
"""How far apart, relative to the first, those of areas may be to stand for one."""
_NOT_SAID: Final = frozenset({"openslide.comment", "tiff.ImageDescription"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    """A picture of the collection.

    Attributes
    ----------
    element : Element
        What the XML says of it.
    offset, extent : (int, int)
        (x, y) of its first corner on the glass, and (width, height), in nanometres.
    pages : tuple of int
        Those of its levels, finest first.
    sizes : tuple of (int, int)
        (width, height) of its levels in pixels.
    """

    element: Element
    offset: tuple[int, int]
    extent: Size
    pages: tuple[int, ...]
    sizes: tuple[Size, ...]

    def spacing(self, level: int) -> float:
        """Return nanometres per pixel."""
        return self.extent[0] / self.sizes[level][0]


def read_index(
    tiff: Any,  # noqa: ANN401 - untyped library
    directories: Sequence[Directory],
    *,
    source: ByteSource,
) -> NativeIndex:
    """Find the tiles of a slide of Leica; see `families.ReadIndex`.

    Levels are as large as the glass that is scanned; pictures in fluorescence are left
    aside, if there are others. Areas of several resolutions are not understood.
    """
    from defusedxml.ElementTree import fromstring

    pages = [tiff.pages[number] for number in range(len(directories))]
    collection, glass = _collection(fromstring(str(pages[0].description)))
    areas, macros = _images(collection, glass, pages)
    associated = {"macro": macros[0].pages[0]} if macros else {}
    stored = tiled_levels(
        [pages[number] for image in areas for number in image.pages],
        directories,
        others=[pages[number] for image in macros for number in image.pages],
        source=source,
    )
    mark_lengthless(stored)
    levels = tuple(_levels(areas, stored, glass))
    main = pages[areas[0].pages[0]]
    found = dict(_properties(main, areas[0].element, collection))
    found.update(level_properties([level.size for level in levels]))
    boxes = list(_boxes(areas))
    found.update(bounds_properties(boxes))
    found.update(region_properties(boxes))
    return index_of(
        levels,
        pages,
        main=main,
        associated=associated,
        properties=found,
        source=source,
    )


def _collection(root: Element) -> tuple[Element, Size]:
    """Return what the pictures stand in, and (width, height) of the glass in nanometres.

    From here on, elements are called by their names alone.

    Raises
    ------
    DamagedSlideError
        If there is none.
    UnsupportedSlideError
        If the XML is none that is known.
    """
    if root.tag not in _SPACES:
        msg = f"files of Leica with XML of the kind {root.tag} are not read natively"
        raise UnsupportedSlideError(msg)
    encoded = _SPACES[root.tag]
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    collection = root.find("collection")
    if collection is None:
        msg = "its XML speaks of no pictures"
        raise DamagedSlideError(msg)
    barcode = collection.findtext("barcode")
    if encoded and barcode is not None:
        collection.set("barcode", base64.b64decode(barcode).decode())
    return collection, _pair(collection, "size")


def _pair(element: Element, name: str) -> tuple[int, int]:
    """Return the attributes of a name for x and y."""
    return int(element.attrib[f"{name}X"]), int(element.attrib[f"{name}Y"])


def _images(
    collection: Element, glass: Size, pages: Sequence[Any]
) -> tuple[list[_Image], list[_Image]]:
    """Return the areas of the slide, and pictures of all the glass.

    Raises
    ------
    AmbiguousSlideError, DamagedSlideError, UnsupportedSlideError
        As `read_index`.
    """
    images = collection.findall("image")
    bright = [each for each in images if each.findtext(_SOURCE) == "brightfield"]
    found = [_image(each, pages) for each in bright]
    macros = [each for each in found if (each.offset, each.extent) == ((0, 0), glass)]
    areas = [each for each in found if each not in macros]
    if not areas:
        if len(bright) < len(images):
            msg = "it shows fluorescence; which of the channels is wanted has to be decided"
            raise AmbiguousSlideError(msg)
        msg = "its XML speaks of no picture of the specimen"
        raise DamagedSlideError(msg)
    first = areas[0]
    for area in areas:
        if len(area.sizes) != len(first.sizes):
            msg = "areas with different levels are not read natively"
            raise UnsupportedSlideError(msg)
        for level in range(len(first.sizes)):
            ratio = area.spacing(level) / first.spacing(level)
            if abs(ratio - 1) > _ONE_RESOLUTION:
                msg = "areas of different resolutions are not read natively"
                raise UnsupportedSlideError(msg)
    return areas, macros


def _image(element: Element, pages: Sequence[Any]) -> _Image:
    """Return what there is to know of a picture.

    Raises
    ------
    AmbiguousSlideError
        If it has several focal planes.
    DamagedSlideError
        If its levels are not those of the file.
    """
    view = element.find("view")
    stored = [
        (_pair(each, "size"), int(each.attrib["ifd"]), int(each.get("z", 0)))
        for each in element.iterfind("pixels/dimension")
    ]
    planes = {plane for _, _, plane in stored}
    if len(planes) > 1:
        msg = f"it holds {len(planes)} focal planes; which is wanted has to be decided"
        raise AmbiguousSlideError(msg)
    stored.sort(reverse=True)
    widths = [size[0] for size, _, _ in stored]
    if view is None or not widths or len(set(widths)) < len(widths):
        msg = "its XML does not say where a picture lies, or which are its levels"
        raise DamagedSlideError(msg)
    for size, number, _ in stored:
        if not 0 <= number < len(pages):
            msg = f"its XML speaks of picture {number}, and there are {len(pages)}"
            raise DamagedSlideError(msg)
        found = (pages[number].imagewidth, pages[number].imagelength)
        if found != size:
            msg = f"its XML speaks of a picture of {size} pixels, which has {found}"
            raise DamagedSlideError(msg)
    return _Image(
        element=element,
        offset=_pair(view, "offset"),
        extent=_pair(view, "size"),
        pages=tuple(number for _, number, _ in stored),
        sizes=tuple(size for size, _, _ in stored),
    )


def _levels(
    areas: Sequence[_Image], stored: Sequence[TiledLevel], glass: Size
) -> Iterator[TiledLevel]:
    """Yield the levels that areas make together, of their levels one after the other."""
    count = len(areas[0].sizes)
    for level in range(count):
        spacing = areas[0].spacing(level)
        width, height = (math.ceil(side / spacing) for side in glass)
        places = [_corner(area, spacing) for area in areas]
        # Where two lie across each other, OpenSlide shows the first.
        parts = list(zip(places, stored[level::count], strict=True))[::-1]
        yield mosaic_of(parts, size=(width, height))


def _corner(area: _Image, spacing: float) -> Point:
    x, y = (int(offset / spacing) for offset in area.offset)
    return x, y


def _boxes(areas: Sequence[_Image]) -> Iterator[tuple[Point, Size]]:
    """Yield (x, y) and (width, height) of each area, in pixels of level 0."""
    for area in areas:
        yield _corner(area, areas[0].spacing(0)), area.sizes[0]


def _properties(
    page: Any,  # noqa: ANN401 - untyped library
    image: Element,
    collection: Element,
) -> Iterator[tuple[str, str]]:
    """Yield what the first area says, by the names that OpenSlide gives it."""
    found = {k: v for k, v in tag_properties(page) if k not in _NOT_SAID}
    yield from found.items()
    yield from resolution_properties(found, units=("centimeter",))
    yield "openslide.vendor", "leica"
    barcode = collection.get("barcode")
    if barcode is not None:
        yield "leica.barcode", barcode
        yield "openslide.barcode", barcode
    for device in image.findall("device")[:1]:
        yield "leica.device-model", device.attrib["model"]
        yield "leica.device-version", device.attrib["version"]
    for name, path in _TEXTS.items():
        text = image.findtext(path)
        if text:
            yield f"leica.{name}", text
            if name == "objective":
                yield "openslide.objective-power", number_text(float(text))
