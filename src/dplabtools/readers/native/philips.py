"""Where in a TIFF file of Philips the tiles of each level lie, as its XML says.

Levels are filled up to whole tiles; how large they are follows from their resolutions.

https://openslide.org/formats/philips/
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import simplejpeg

from dplabtools._typing import IntArray, Size
from dplabtools.errors import DamagedSlideError
from dplabtools.readers.native.describe import (
    level_properties,
    number_text,
    tag_properties,
)
from dplabtools.readers.native.directories import Directory
from dplabtools.readers.native.levels import NativeIndex, TiledLevel
from dplabtools.readers.native.tiff import index_of, tiled_levels
from dplabtools.sources.base import ByteSource

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["read_index"]

_PICTURES: Final = {"label": ("Label", "LABELIMAGE"), "macro": ("Macro", "MACROIMAGE")}
"""What begins the description of each, and what the XML calls it."""
_SCANNED, _LEVELS = "PIM_DP_SCANNED_IMAGES", "PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE"
_SPACING: Final = "DICOM_PIXEL_SPACING"
_IN_THE_XML: Final = frozenset({"openslide.comment", "tiff.ImageDescription"})
_REDUCED: Final = 1  # bit of NewSubfileType
_MICRONS: Final = 1000  # in a millimetre


def read_index(
    tiff: Any,  # noqa: ANN401 - untyped library
    directories: Sequence[Directory],
    *,
    source: ByteSource,
) -> NativeIndex:
    """Find the tiles of a slide of Philips; see `families.ReadIndex`.

    Tiles that the scanner left out are background.
    """
    from defusedxml.ElementTree import fromstring

    pages = [tiff.pages[number] for number in range(len(directories))]
    root = fromstring(str(pages[0].description))
    scanned = list(_objects(root, _SCANNED))
    stored = [page for page in pages if page.is_tiled]
    if stored[:1] != pages[:1] or not all(
        page.subfiletype & _REDUCED for page in stored[1:]
    ):
        msg = "its first picture is not in tiles, or another one of full size is"
        raise DamagedSlideError(msg)
    numbers = dict(_own_pictures(pages))
    levels = tiled_levels(
        stored, directories, others=[pages[at] for at in numbers.values()], source=source
    )
    levels = tuple(_clipped(levels, _spacings(scanned)))
    embedded = dict(_embedded_pictures(scanned, others_than=numbers))
    found = dict(_properties(pages[0], root))
    sizes = [level.size for level in levels]
    found.update(level_properties(sizes, [level.codec.tile for level in levels]))
    for name, jpeg in embedded.items():
        height, width = simplejpeg.decode_jpeg_header(jpeg)[:2]
        found[f"openslide.associated.{name}.width"] = str(width)
        found[f"openslide.associated.{name}.height"] = str(height)
    index = index_of(
        levels,
        pages,
        main=pages[0],
        associated=numbers,
        properties=found,
        source=source,
    )
    return replace(index, associated={**numbers, **embedded})


def _objects(parent: Element, attribute: str) -> list[Element]:
    """Return the objects of an array."""
    return parent.findall(f"./Attribute[@Name='{attribute}']/Array/DataObject")


def _text(parent: Element, attribute: str) -> str:
    return parent.findtext(f"./Attribute[@Name='{attribute}']") or ""


def _of_kind(scanned: Iterable[Element], kind: str) -> list[Element]:
    return [each for each in scanned if _text(each, "PIM_DP_IMAGE_TYPE") == kind]


def _spacings(scanned: Iterable[Element]) -> list[tuple[float, float]]:
    """Return (horizontal, vertical) millimetres per pixel of each level.

    Raises
    ------
    DamagedSlideError
        If there is no slide, or several.
    """
    slides = _of_kind(scanned, "WSI")
    if len(slides) != 1:
        msg = f"its XML speaks of {len(slides)} slides"
        raise DamagedSlideError(msg)
    return [_spacing(_text(each, _SPACING)) for each in _objects(slides[0], _LEVELS)]


def _spacing(text: str) -> tuple[float, float]:
    vertical, horizontal = (float(each.strip('"')) for each in text.split())
    return horizontal, vertical


def _clipped(
    levels: Sequence[TiledLevel], spacings: Sequence[tuple[float, float]]
) -> Iterator[TiledLevel]:
    """Yield levels without what fills up their last tiles.

    Raises
    ------
    DamagedSlideError
        If the resolutions are those of other levels.
    """
    if len(levels) != len(spacings):
        msg = f"it has {len(levels)} levels, and its XML speaks of {len(spacings)}"
        raise DamagedSlideError(msg)
    for level, spacing in zip(levels, spacings, strict=True):
        ratios = [a / b for a, b in zip(spacing, spacings[0], strict=True)]
        downsample = round(sum(ratios) / 2)
        width, height = (side // max(downsample, 1) for side in levels[0].size)
        whole = width <= level.size[0] and height <= level.size[1]
        if downsample < 1 or min(width, height) < 1 or not whole:
            msg = f"a level of {level.size} pixels does not hold {(width, height)}"
            raise DamagedSlideError(msg)
        yield _part(level, (width, height))


def _part(level: TiledLevel, size: Size) -> TiledLevel:
    """Return the top-left part of a level."""
    columns, rows = (
        -(-side // tile) for side, tile in zip(size, level.codec.tile, strict=True)
    )

    def cut(values: IntArray) -> IntArray:
        return values.reshape(-1, level.columns)[:rows, :columns].reshape(-1)

    return replace(level, size=size, offsets=cut(level.offsets), counts=cut(level.counts))


def _own_pictures(pages: Sequence[Any]) -> Iterator[tuple[str, int]]:
    """Yield name and number of the associated images that are pictures of the file."""
    for number, page in enumerate(pages):
        for name, (begin, _) in _PICTURES.items():
            if not page.is_tiled and str(page.description).startswith(begin):
                yield name, number


def _embedded_pictures(
    scanned: Iterable[Element], *, others_than: Mapping[str, int]
) -> Iterator[tuple[str, bytes]]:
    """Yield name and JPEG stream of those that stand in the XML, where they are sound."""
    for name, (_, kind) in _PICTURES.items():
        for each in [] if name in others_than else _of_kind(scanned, kind)[:1]:
            try:
                jpeg = base64.b64decode(_text(each, "PIM_DP_IMAGE_DATA"))
                simplejpeg.decode_jpeg_header(jpeg)
            except ValueError:
                continue
            yield name, jpeg


def _properties(page: Any, root: Element) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - untyped library
    """Yield what the first page and the XML say, by the names that OpenSlide gives it."""
    yield from ((k, v) for k, v in tag_properties(page) if k not in _IN_THE_XML)
    yield "openslide.vendor", "philips"
    found = dict(_attributes(root, "philips"))
    yield from found.items()
    spacing = found.get(f"philips.{_SPACING}")
    if spacing is not None:
        for axis, millimetres in zip("xy", _spacing(spacing), strict=True):
            yield f"openslide.mpp-{axis}", number_text(_MICRONS * millimetres)


def _attributes(parent: Element, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield the attributes of an object, with those of the slide and of its levels."""
    for attribute in parent.findall("./Attribute"):
        name = attribute.get("Name")
        if name == _SCANNED:
            for slide in _of_kind(_objects(parent, name), "WSI")[:1]:
                yield from _attributes(slide, prefix)
        elif name == _LEVELS:
            for number, level in enumerate(_objects(parent, name)):
                yield from _attributes(level, f"{prefix}.{name}[{number}]")
        elif name is not None and len(attribute) == 0:
            yield f"{prefix}.{name}", attribute.text or ""
