"""BIF files of Ventana: who reads them, and what is noticed of damage."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from dplabtools.errors import (
    AmbiguousSlideError,
    DamagedSlideError,
    SlideReadError,
    UnsupportedSlideError,
)
from dplabtools.readers.native.reader import NativeReader
from dplabtools.readers.opening import open_reader
from dplabtools.settings import Settings
from dplabtools.testing.make_bif import make_bif_slide

WHITE, PINK = (255, 255, 255), (250, 10, 120)
TILE = 64
OVERLAP = (16, 8)
SMALL: dict[str, Any] = {
    "grids": ((3, 2), (2, 2)),
    "corners": ((8, 0), (0, 160)),
    "tile": TILE,
    "overlaps": (OVERLAP,),
}
XMP = 700


def native(file: Path) -> NativeReader:
    return NativeReader(file, background=WHITE)


def edited(file: Path, change: Callable[[str], str], *, page: int = 2) -> Path:
    """Change what the XML of a page says: 0 has that of the scan, 2 that of tiles."""
    with tifffile.TiffFile(file, mode="r+") as tiff:
        pages: Any = tiff.pages
        tag = pages[page].tags[XMP]
        before = tag.value.decode()
        tag.overwrite(change(before).encode())
        assert change(before) != before
    return file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return make_bif_slide(tmp_path / "a.bif", **SMALL)


@pytest.mark.parametrize(
    ("library", "reader"), [("auto", "openslide"), ("native", "native")]
)
def test_it_is_read_natively_if_asked_for(file: Path, library: str, reader: str) -> None:
    with open_reader(file, settings=Settings(slide_library=library)) as opened:
        assert opened.library == reader


def test_the_area_below_lies_below(file: Path) -> None:
    """Of two areas the one with the greater distance from below is above."""
    with native(file) as reader:
        first, second = sorted(reader.index.levels[0].areas, key=lambda area: area.low[1])
        assert (first.low[0], second.low[0]) == (0, 8)
        assert first.high[1] == 2 * TILE - OVERLAP[1]
        assert reader.sizes[0][1] == 160 + first.high[1]


def test_a_tile_covers_those_above_it_and_to_its_left(file: Path) -> None:
    with tifffile.TiffFile(file) as tiff:
        pages: Any = tiff.pages
        stored = pages[2].asarray()
    with native(file) as reader:
        y = reader.sizes[0][1] - 2 * TILE + OVERLAP[1]
        found = reader.read((8, y), 0, (2 * TILE, 2 * TILE))
    below, right = TILE - OVERLAP[1], TILE - OVERLAP[0]
    np.testing.assert_array_equal(found[below : below + TILE, :right], stored[64:128, :48])
    np.testing.assert_array_equal(found[:below, right : right + 48], stored[:56, 64:112])
    np.testing.assert_array_equal(found[:below, :right], stored[:56, :48])


def test_tiles_left_out_are_background(tmp_path: Path) -> None:
    file = make_bif_slide(tmp_path / "a.bif", **SMALL, sparse=True)
    with NativeReader(file, background=PINK) as reader:
        y = reader.sizes[0][1] - 2 * TILE + OVERLAP[1]
        step = TILE - OVERLAP[0]
        assert (reader.read((8 + step, y), 0, (step, 50)) == PINK).all()
        assert not (reader.read((8, y), 0, (step, 50)) == PINK).all(axis=2).any()


def test_a_damaged_tile_is_an_error_only_where_it_shows(file: Path) -> None:
    with tifffile.TiffFile(file) as tiff:
        pages: Any = tiff.pages
        start = pages[2].dataoffsets[0]
    content = bytearray(file.read_bytes())
    content[start : start + 100] = bytes(100)
    file.write_bytes(content)
    with native(file) as reader:
        y = reader.sizes[0][1] - 2 * TILE + OVERLAP[1]
        reader.read((8 + TILE - OVERLAP[0], y), 0, (TILE, TILE))
        with pytest.raises(SlideReadError, match=r"^a\.bif: "):
            reader.read((8 + TILE - OVERLAP[0] - 1, y), 0, (TILE, TILE))


def test_a_file_that_does_not_say_how_tiles_are_put_together_is_refused(
    file: Path,
) -> None:
    edited(file, lambda text: text.replace("EncodeInfo", "OtherInfo "))
    with pytest.raises(UnsupportedSlideError, match="do not say how their tiles"):
        native(file)


def test_tiles_without_joints_lie_side_by_side(file: Path) -> None:
    edited(file, lambda text: text.replace("TileJointInfo", "TileJointless"))
    with native(file) as reader:
        assert reader.sizes[0] == (8 + 3 * TILE, 160 + 2 * TILE)


@pytest.mark.parametrize(
    ("old", "new", "error", "what"),
    [
        ('"RIGHT"', '"LEFT"', UnsupportedSlideError, r"joined LEFT, \(1, 0\) apart"),
        ('Tile1="1" Tile2="2"', 'Tile1="1" Tile2="4"', UnsupportedSlideError, "apart"),
        ('OverlapX="16"', 'OverlapX="-1"', UnsupportedSlideError, "lie 65.0 apart"),
        ('OverlapX="16"', 'OverlapX="64"', UnsupportedSlideError, "lie 0.0 apart"),
        ('AOIScanned="1"', 'AOIScanned="0"', DamagedSlideError, "nothing that was scanned"),
        (
            'OriginY="128"',
            'OriginY="100"',
            DamagedSlideError,
            r"cannot begin at \(0, 100\)",
        ),
        ('OriginX="0"', 'OriginX="-64"', DamagedSlideError, r"cannot begin at \(-64, 0\)"),
        ('NumRows="2"', 'NumRows="0"', DamagedSlideError, "cannot begin"),
        (
            'NumRows="2"',
            f'NumRows="{10**12}"',
            DamagedSlideError,
            "more tiles than the 3 x 4",
        ),
        (
            'Pos-X="8"',
            f'Pos-X="{10**12}"',
            DamagedSlideError,
            r"a level of \(10+160, .* cannot be",
        ),
        ('OriginX="0"', 'OriginX="64"', DamagedSlideError, "of more tiles than the 3 x 4"),
        ("</AoiOrigin>", "<AOI9/></AoiOrigin>", DamagedSlideError, "cannot be made out"),
        ('Confidence="95"', 'Confidence="0"', DamagedSlideError, "cannot be made out"),
        ("</EncodeInfo>", "", DamagedSlideError, "cannot be made out"),
    ],
)
def test_xml_that_is_not_understood_is_refused(
    file: Path, old: str, new: str, error: type[Exception], what: str
) -> None:
    edited(file, lambda text: text.replace(old, new))
    with pytest.raises(error, match=rf"^a\.bif: .*{what}"):
        native(file)


@pytest.mark.parametrize(
    ("old", "new", "error", "what"),
    [
        ('Z-layers="1"', 'Z-layers="3"', AmbiguousSlideError, "3 focal planes"),
        ("Metadata", "Iscandata", DamagedSlideError, "cannot be made out"),
        ("<iScan", "<iscan", DamagedSlideError, "does not speak of a scan"),
    ],
)
def test_what_is_said_of_the_scan_is_heeded(
    file: Path, old: str, new: str, error: type[Exception], what: str
) -> None:
    edited(file, lambda text: text.replace(old, new, 1), page=0)
    with pytest.raises(error, match=rf"^a\.bif: .*{what}"):
        native(file)


@pytest.mark.parametrize(
    ("text", "numbers"), [("level=2 mag=20", "0, 2, 2"), ("lost", "0, 2")]
)
def test_levels_out_of_order_are_damage(file: Path, text: str, numbers: str) -> None:
    with tifffile.TiffFile(file, mode="r+") as tiff:
        pages: Any = tiff.pages
        pages[3].tags["ImageDescription"].overwrite(text)
    with pytest.raises(DamagedSlideError, match=rf"numbered \[{numbers}\]"):
        native(file)


def test_a_last_level_that_is_called_something_else_is_damage(file: Path) -> None:
    with tifffile.TiffFile(file, mode="r+") as tiff:
        pages: Any = tiff.pages
        pages[-1].tags["ImageDescription"].overwrite("lost")
    with pytest.raises(DamagedSlideError, match="behind them is no level"):
        native(file)


def test_areas_side_by_side_that_lie_across_each_other_are_refused(tmp_path: Path) -> None:
    """Which of their tiles are above would depend on the row."""
    crossing: dict[str, Any] = SMALL | {"corners": ((0, 0), (0, 60))}
    file = make_bif_slide(tmp_path / "a.bif", **crossing)
    native(file).close()

    old, new = 'OriginX="0" OriginY="128"', 'OriginX="64" OriginY="64"'
    edited(file, lambda text: text.replace(old, new))
    with pytest.raises(UnsupportedSlideError, match="across each other"):
        native(file)


def test_the_area_whose_tiles_are_stored_later_is_above(tmp_path: Path) -> None:
    """Whatever the order in which the XML speaks of them."""
    crossing: dict[str, Any] = SMALL | {"corners": ((0, 0), (0, 60))}
    file = make_bif_slide(tmp_path / "a.bif", **crossing)
    with native(file) as reader:
        before = reader.read((0, 0), 0, reader.sizes[0])
    for each in (r"<ImageInfo .*?</ImageInfo>", r"<AOI\d .*?/>"):
        edited(file, partial(re.sub, f"({each})({each})", r"\2\1"))
    with native(file) as reader:
        np.testing.assert_array_equal(reader.read((0, 0), 0, reader.sizes[0]), before)
