"""Where in a BIF file of Ventana the tiles of each level lie, as its XML says.

The scanner's frames are the tiles: neighbours overlap by some pixels. A frame covers those
above it and to its left. Reduced levels are those of the frames, side by side.

https://openslide.org/formats/ventana/
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dplabtools._typing import Point, Size
from dplabtools.errors import (
    AmbiguousSlideError,
    DamagedSlideError,
    UnsupportedSlideError,
)
from dplabtools.readers.native.areas import Area, Mosaic, TileAxis, without_hidden
from dplabtools.readers.native.describe import (
    level_properties,
    number_text,
    region_properties,
    tag_properties,
)
from dplabtools.readers.native.directories import Directory
from dplabtools.readers.native.levels import NativeIndex, TiledLevel, check_extent
from dplabtools.readers.native.tiff import index_of, mark_lengthless, tiled_levels
from dplabtools.sources.base import ByteSource

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["read_index"]

_XMP: Final = 700
_PICTURES: Final = {
    "Label Image": "macro",
    "Label_Image": "macro",
    "Thumbnail": "thumbnail",
}
_LEVEL: Final = "level="
_STEPS: Final = {"RIGHT": (1, 0), "UP": (0, -1)}
"""Columns and rows from the first tile of a joint to the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scan:
    """A scanned area (AOI).

    Attributes
    ----------
    first : (int, int)
        Column and row of its first tile in the file.
    count : (int, int)
        Columns and rows of tiles.
    corner : (int, int)
        Pixels from the left, and from a point below all areas to its end.
    """

    first: Point
    count: Size
    corner: Point


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stitching:
    """How the tiles are put together.

    Attributes
    ----------
    scans : tuple of _Scan
        What was scanned.
    steps : (float, float)
        Pixels of level 0 from a tile to the next one, across and down.
    tile : (int, int)
        (width, height) of the tiles.
    """

    scans: tuple[_Scan, ...]
    steps: tuple[float, float]
    tile: Size

    def extent(self, scan: _Scan) -> tuple[float, float]:
        """Return (width, height) of an area."""
        width, height = (
            (count - 1) * step + side
            for count, step, side in zip(scan.count, self.steps, self.tile, strict=True)
        )
        return width, height

    def corner(self, scan: _Scan) -> tuple[float, float]:
        """Return (x, y) of an area."""
        ends = [each.corner[1] + self.extent(each)[1] for each in self.scans]
        return scan.corner[0], max(ends) - scan.corner[1] - self.extent(scan)[1]

    @property
    def size(self) -> Size:
        """(width, height) of level 0."""
        ends = [
            np.add(self.corner(scan), self.extent(scan)).tolist() for scan in self.scans
        ]
        width, height = (math.ceil(max(each)) for each in zip(*ends, strict=True))
        return width, height

    def areas(self, scale: int) -> list[Area]:
        """Return where tiles lie at a scale, the later above the earlier."""
        return [
            Area(columns=columns, rows=rows)
            for scan in sorted(self.scans, key=lambda scan: scan.first[::-1])
            for columns, rows in [(self._axis(scan, 0, scale), self._axis(scan, 1, scale))]
        ]

    def _axis(self, scan: _Scan, axis: int, scale: int) -> TileAxis:
        """Return the columns or rows of an area, each up to where the next one begins.

        They begin at whole pixels: the nearest.
        """
        tile, step, count = self.tile[axis], self.steps[axis], scan.count[axis]
        side = tile / scale
        begins = (self.corner(scan)[axis] + np.arange(count) * step) / scale
        edges = _nearest(np.append(begins, begins[-1] + side))
        numbers = scan.first[axis] + np.arange(count)
        skips = _nearest(numbers % scale * side + edges[:-1] - begins)
        most = tile - np.diff(edges)
        return TileAxis(edges=edges, tiles=numbers // scale, skips=np.clip(skips, 0, most))

    def regions(self) -> Iterator[tuple[Point, Size]]:
        """Yield (x, y) and (width, height) of the areas, as OpenSlide states them.

        That is not where they lie, but where they would if the file were one grid.
        """
        for scan in self.scans:
            x, y = (
                int(first * step)
                for first, step in zip(scan.first, self.steps, strict=True)
            )
            width, height = map(math.ceil, self.extent(scan))
            yield (x, y), (width, height)


def _nearest(values: Any) -> Any:  # noqa: ANN401 - arrays of floats, then of int64
    return np.floor(values + 0.5).astype(np.int64)


def read_index(
    tiff: Any,  # noqa: ANN401 - untyped library
    directories: Sequence[Directory],
    *,
    source: ByteSource,
) -> NativeIndex:
    """Find the tiles of a slide of Ventana; see `families.ReadIndex`.

    Where tiles lie at fractions of a pixel, which OpenSlide interpolates, they are at the
    nearest whole one. Only tiles that are joined rightward and upward are understood.
    """
    pages = [tiff.pages[number] for number in range(len(directories))]
    scanner = _scanner(pages[0])
    planes = int(scanner.get("Z-layers", 1))
    if planes > 1:
        msg = f"it holds {planes} focal planes; which is wanted has to be decided"
        raise AmbiguousSlideError(msg)
    stored = _stored(pages)
    associated = {
        name: number
        for number, page in enumerate(pages)
        if (name := _PICTURES.get(str(page.description)))
    }
    others = [page for page in pages if page not in stored]
    levels = tiled_levels(stored, directories, others=others, source=source)
    mark_lengthless(levels)
    found = dict(_properties(stored[0], scanner))
    stitching = _stitching(stored[0], levels)
    scales = [1 << number for number in range(len(levels))]
    levels = tuple(
        _stitched(level, stitching, scale)
        for level, scale in zip(levels, scales, strict=True)
    )
    sizes = [level.size for level in levels]
    found.update(level_properties(sizes, downsamples=scales))
    found.update(region_properties(stitching.regions()))
    index = index_of(
        levels,
        pages,
        main=stored[0],
        associated=associated,
        properties=found,
        source=source,
    )
    return replace(index, downsamples=tuple(map(float, scales)))


def _scanner(page: Any) -> Element:  # noqa: ANN401 - untyped library
    """Return what the first page says of the scan."""
    from defusedxml.ElementTree import fromstring

    root: Element = fromstring(page.tags.valueof(_XMP))
    found = root if root.tag == "iScan" else root.find("iScan")
    if found is None:
        msg = "its XML does not speak of a scan"
        raise DamagedSlideError(msg)
    return found


def _stored(pages: Sequence[Any]) -> list[Any]:
    """Return the pages of the levels, finest first.

    Raises
    ------
    DamagedSlideError
        If they are not in order, or a picture in tiles behind them is none.
    UnsupportedSlideError
        If none says that it is one.
    """
    found = [page for page in pages if _LEVEL in str(page.description)]
    numbers = [int(str(page.description).partition(_LEVEL)[2].split()[0]) for page in found]
    if not numbers:
        msg = "files of Ventana whose pictures are not called levels are not read natively"
        raise UnsupportedSlideError(msg)
    behind = pages[pages.index(found[0]) :]
    if numbers != list(range(len(numbers))) or any(
        page.is_tiled and page not in found for page in behind
    ):
        msg = f"its levels are numbered {numbers}, or one behind them is no level"
        raise DamagedSlideError(msg)
    return found


def _stitching(
    page: Any,  # noqa: ANN401 - untyped library
    levels: Sequence[TiledLevel],
) -> _Stitching:
    """Return what the page of level 0 says of how tiles are put together.

    Raises
    ------
    DamagedSlideError, UnsupportedSlideError
        As `read_index`.
    """
    from defusedxml.ElementTree import fromstring

    text = page.tags.valueof(_XMP)
    root: Element | None = None if text is None else fromstring(text)
    if root is None or root.tag != "EncodeInfo":
        msg = (
            "files of Ventana that do not say how their tiles are put together are not "
            "read natively"
        )
        raise UnsupportedSlideError(msg)
    tile = levels[0].tile
    if any(level.tile != tile for level in levels):
        msg = "levels with tiles of different sizes are not read natively"
        raise UnsupportedSlideError(msg)
    infos = root.findall("SlideStitchInfo/ImageInfo")
    origins = root.findall("AoiOrigin/*")
    scanned = [
        (info, origin)
        for info, origin in zip(infos, origins, strict=True)
        if int(info.attrib["AOIScanned"])
    ]
    scans = tuple(_scan(info, origin, tile) for info, origin in scanned)
    if not scans:
        msg = "its XML speaks of nothing that was scanned"
        raise DamagedSlideError(msg)
    joints = [
        joint
        for (info, _), scan in zip(scanned, scans, strict=True)
        for joint in _joints(info, scan)
    ]
    steps = tuple(
        _step([joint[1:] for joint in joints if joint[0] == direction], side)
        for direction, side in zip(_STEPS, tile, strict=True)
    )
    return _Stitching(scans=scans, steps=(steps[0], steps[1]), tile=tile)


def _scan(info: Element, origin: Element, tile: Size) -> _Scan:
    """Return a scanned area.

    Raises
    ------
    DamagedSlideError
        If it has no tiles, or does not begin with a tile.
    """
    place = [int(origin.attrib[name]) for name in ("OriginX", "OriginY")]
    columns, rows = int(info.attrib["NumCols"]), int(info.attrib["NumRows"])
    apart = place[0] % tile[0] or place[1] % tile[1]
    if min(columns, rows) < 1 or min(place) < 0 or apart:
        msg = f"an area of {columns} x {rows} tiles cannot begin at {tuple(place)}"
        raise DamagedSlideError(msg)
    corner = [int(float(info.attrib[name])) for name in ("Pos-X", "Pos-Y")]
    return _Scan(
        first=(place[0] // tile[0], place[1] // tile[1]),
        count=(columns, rows),
        corner=(corner[0], corner[1]),
    )


def _joints(info: Element, scan: _Scan) -> Iterator[tuple[str, int, int]]:
    """Yield the direction, the overlap in pixels and the weight of each joint.

    Raises
    ------
    UnsupportedSlideError
        If tiles are joined otherwise than here.
    """
    for joint in info.iterfind("TileJointInfo"):
        stated: Mapping[str, str] = joint.attrib
        direction = stated["Direction"]
        first, second = (_place(int(stated[name]), scan) for name in ("Tile1", "Tile2"))
        step = (second[0] - first[0], second[1] - first[1])
        if step != _STEPS.get(direction):
            msg = f"tiles that are joined {direction}, {step} apart, are not read natively"
            raise UnsupportedSlideError(msg)
        overlap = int(stated["OverlapX" if direction == "RIGHT" else "OverlapY"])
        yield direction, overlap, int(stated["Confidence"])


def _place(number: int, scan: _Scan) -> Point:
    """Return column and row of a tile: they are numbered as the scanner goes.

    That is from the lowest row upwards, to the right in it and back in the next one.
    """
    columns, rows = scan.count
    row, column = divmod(number - 1, columns)
    return columns - 1 - column if row % 2 else column, rows - 1 - row


def _step(joints: Sequence[tuple[int, int]], side: int) -> float:
    """Return how far apart tiles of a side are, given overlaps and their weights.

    Raises
    ------
    UnsupportedSlideError
        If there would be gaps between tiles, or none begins behind another.
    """
    if not joints:
        return side
    overlaps, weights = zip(*joints, strict=True)
    step = side - float(np.average(overlaps, weights=weights))
    if not 1 <= step <= side:
        msg = f"tiles of {side} pixels that lie {step:.1f} apart are not read natively"
        raise UnsupportedSlideError(msg)
    return step


def _stitched(level: TiledLevel, stitching: _Stitching, scale: int) -> TiledLevel:
    """Return a level with its tiles where they belong.

    Raises
    ------
    DamagedSlideError
        If there are not that many tiles, or no level has this size.
    UnsupportedSlideError
        If areas lie across each other that were not scanned one below the other.
    """
    rows = len(level.counts) // level.columns
    for scan in stitching.scans:
        stops = np.add(scan.first, scan.count)
        if (stops > np.multiply(scale, (level.columns, rows))).any():
            msg = f"its XML speaks of more tiles than the {level.columns} x {rows} it has"
            raise DamagedSlideError(msg)
    width, height = (-(-side // scale) for side in stitching.size)
    check_extent((width, height), level.tile)
    areas = stitching.areas(scale)
    for place, area in enumerate(areas):
        for other in areas[:place]:
            beside = other.rows.tiles.max() >= area.rows.tiles.min()
            if beside and scale == 1 and other.without(area) != [other]:
                msg = "areas that lie across each other are not read natively"
                raise UnsupportedSlideError(msg)
    shown = [part for area in areas for part in area.within((width, height))]
    mosaic = Mosaic(columns=level.columns, areas=without_hidden(shown))
    return replace(level, size=(width, height), mosaic=mosaic)


def _properties(
    page: Any,  # noqa: ANN401 - untyped library
    scanner: Element,
) -> Iterator[tuple[str, str]]:
    """Yield what level 0 and the XML say, by the names that OpenSlide gives it."""
    yield from tag_properties(page)
    yield "openslide.vendor", "ventana"
    for name, value in scanner.attrib.items():
        yield f"ventana.{name}", value
    if spacing := scanner.get("ScanRes"):
        for axis in "xy":
            yield f"openslide.mpp-{axis}", number_text(float(spacing))
    if power := scanner.get("Magnification"):
        yield "openslide.objective-power", number_text(float(power))
