"""Where in an AVS file of Argos the tiles of each level lie.

Each focal plane is a pyramid. Two pictures in strips end the file: the thumbnail, and the
macro picture.

https://openslide.org/formats/argos/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from dplabtools.errors import DamagedSlideError
from dplabtools.readers.native.describe import (
    level_properties,
    number_text,
    resolution_properties,
    tag_properties,
)
from dplabtools.readers.native.directories import Directory
from dplabtools.readers.native.levels import NativeIndex
from dplabtools.readers.native.pictures import check_sizes
from dplabtools.readers.native.tiff import index_of, mark_lengthless, tiled_levels
from dplabtools.sources.base import ByteSource

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["read_index"]

_METADATA: Final = 65000
_PICTURES: Final[tuple[str, ...]] = ("thumbnail", "macro")


def read_index(
    tiff: Any,  # noqa: ANN401 - untyped library
    directories: Sequence[Directory],
    *,
    source: ByteSource,
) -> NativeIndex:
    """Find the tiles of a slide of Argos; see `families.ReadIndex`.

    Of several focal planes the middle one is the slide. Tiles that the scanner left out are
    background.
    """
    from defusedxml.ElementTree import fromstring

    pages = [tiff.pages[number] for number in range(len(directories))]
    stated = dict(_values(fromstring(pages[0].tags.valueof(_METADATA)), "argos"))
    tiled = [page for page in pages if page.is_tiled]
    planes = int(stated["argos.MaxZ"]) - int(stated["argos.MinZ"]) + 1
    if planes < 1 or len(tiled) % planes or pages[: len(tiled)] != tiled:
        msg = (
            f"it has {len(tiled)} levels in {planes} focal planes, or not at its beginning"
        )
        raise DamagedSlideError(msg)
    count = len(tiled) // planes
    first = (planes - 1) // 2 * count
    stored = tiled[first : first + count]
    check_sizes(stored, padded=False)
    associated: dict[str, int] = dict(
        zip(_PICTURES, range(len(tiled), len(pages)), strict=True)
    )
    others = [page for page in pages if page not in stored]
    levels = tiled_levels(stored, directories, others=others, source=source)
    mark_lengthless(levels)
    found = dict(_properties(stored[0], stated))
    sizes = [level.size for level in levels]
    found.update(level_properties(sizes, [level.tile for level in levels]))
    return index_of(
        levels,
        pages,
        main=stored[0],
        associated=associated,
        properties=found,
        source=source,
    )


def _values(element: Element, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield what stands in an element, and in those within it, by their path."""
    for each in element:
        name = f"{prefix}.{each.tag}"
        if len(each):
            yield from _values(each, name)
        elif each.text and not each.attrib:
            yield name, each.text


def _properties(page: Any, stated: Mapping[str, str]) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - untyped library
    """Yield what a page and the XML say, by the names that OpenSlide gives it."""
    found = dict(tag_properties(page))
    yield from found.items()
    yield from resolution_properties(found, units=("centimeter",))
    yield "openslide.vendor", "argos"
    yield from stated.items()
    if barcode := stated.get("argos.Barcode"):
        yield "openslide.barcode", barcode
    if power := stated.get("argos.ObjectiveMagnification"):
        yield "openslide.objective-power", number_text(float(power))
