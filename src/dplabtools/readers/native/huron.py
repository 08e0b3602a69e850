"""Where in a TIFF file of Huron the tiles of each level lie.

https://openslide.org/formats/huron/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from dplabtools.readers.native.describe import (
    level_properties,
    resolution_properties,
    tag_properties,
)
from dplabtools.readers.native.directories import Directory
from dplabtools.readers.native.levels import NativeIndex
from dplabtools.readers.native.pictures import aperio_levels
from dplabtools.readers.native.tiff import index_of, mark_lengthless, tiled_levels
from dplabtools.sources.base import ByteSource

__all__ = ["read_index"]

_PICTURES: Final = {1: "label", 9: "macro"}
"""By NewSubfileType."""
_UNITS: Final = ("inch", "centimeter")
_NOT_SAID: Final = frozenset({"openslide.comment", "tiff.ImageDescription"})


def read_index(
    tiff: Any,  # noqa: ANN401 - untyped library
    directories: Sequence[Directory],
    *,
    source: ByteSource,
) -> NativeIndex:
    """Find the tiles of a slide of Huron; see `families.ReadIndex`.

    All pictures in tiles are levels.
    """
    pages = [tiff.pages[number] for number in range(len(directories))]
    stored = aperio_levels(pages)
    associated = dict(_associated(pages))
    others = [pages[number] for number in associated.values()]
    levels = tiled_levels(stored, directories, others=others, source=source)
    mark_lengthless(levels)
    found = dict(_properties(pages[0]))
    sizes = [level.size for level in levels]
    found.update(level_properties(sizes, [level.tile for level in levels]))
    return index_of(
        levels,
        pages,
        main=pages[0],
        associated=associated,
        properties=found,
        source=source,
    )


def _associated(pages: Sequence[Any]) -> Iterator[tuple[str, int]]:
    """Yield name and number of the pictures that are no levels."""
    for number, page in enumerate(pages):
        name = "thumbnail" if number == 1 else _PICTURES.get(int(page.subfiletype))
        if name is not None and not page.is_tiled:
            yield name, number


def _properties(page: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - untyped library
    """Yield what the first page says, by the names that OpenSlide gives it."""
    found = {k: v for k, v in tag_properties(page) if k not in _NOT_SAID}
    yield from found.items()
    yield from resolution_properties(found, units=_UNITS)
    yield "openslide.vendor", "huron"
    for line in str(page.description).splitlines():
        name, separator, value = line.partition("=")
        if separator:
            yield f"huron.{name.strip()}", value.strip()
