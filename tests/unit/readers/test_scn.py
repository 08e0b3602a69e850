"""SCN files of Leica: who reads them, and what is noticed of damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from dplabtools.errors import (
    AmbiguousSlideError,
    DamagedSlideError,
    UnsupportedSlideError,
)
from dplabtools.readers.native.reader import NativeReader
from dplabtools.readers.opening import open_reader
from dplabtools.settings import Settings
from dplabtools.testing.make_scn import make_scn_slide

WHITE, PINK = (255, 255, 255), (250, 10, 120)
SIZE, TILE = (320, 200), 64
OFFSETS = ((40, 30), (111, 301))


def native(file: Path) -> NativeReader:
    return NativeReader(file, background=WHITE)


def edited(file: Path, change: Callable[[str], str]) -> Path:
    """Change what the XML says."""
    with tifffile.TiffFile(file, mode="r+") as tiff:
        tag = tiff.pages.first.tags["ImageDescription"]
        before = str(tag.value)
        tag.overwrite(change(before))
        assert change(before) != before
    return file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return make_scn_slide(tmp_path / "a.scn", size=SIZE, offsets=OFFSETS, tile=TILE)


@pytest.mark.parametrize(
    ("library", "reader"), [("auto", "openslide"), ("native", "native")]
)
def test_it_is_read_natively_if_asked_for(file: Path, library: str, reader: str) -> None:
    with open_reader(file, settings=Settings(slide_library=library)) as opened:
        assert opened.library == reader


def test_tiles_left_out_are_background(tmp_path: Path) -> None:
    file = make_scn_slide(
        tmp_path / "a.scn", size=SIZE, offsets=OFFSETS, tile=TILE, sparse=True
    )
    x, y = OFFSETS[0]
    with NativeReader(file, background=PINK) as reader:
        assert (reader.read((x + TILE, y), 0, (TILE, TILE)) == PINK).all()
        assert not (reader.read((x, y), 0, (TILE, TILE)) == PINK).all(axis=2).any()


def test_tiles_of_an_area_are_passed_on_as_they_are_stored(file: Path) -> None:
    (x, y), size = OFFSETS[1], np.full((3, 2), TILE)
    origins = np.array([[x, y], [x + TILE, y + TILE], [x + 1, y]])
    with native(file) as reader:
        assert set(reader.stored_jpegs(origins, 0, sizes=size)) == {0, 1}


@pytest.mark.parametrize("shift", [400, -400])
def test_what_lies_beyond_the_glass_is_cut_off(file: Path, shift: int) -> None:
    """As if it were not there: of nanometres 500 are a pixel."""
    old = f'offsetX="{OFFSETS[1][0] * 500}"'
    new = f'offsetX="{(OFFSETS[1][0] + shift) * 500}"'
    edited(file, lambda text: text.replace(old, new))
    x, y = OFFSETS[1][0] + shift, OFFSETS[1][1]
    with native(file) as reader, openslide.OpenSlide(file) as slide:
        width = reader.sizes[0][0]
        low, high = max(x, 0), min(x + SIZE[0], width)
        found = reader.read((low - 5, y), 0, (high - low + 10, SIZE[1]))
        inside = np.asarray(slide.read_region((low, y), 0, (high - low, SIZE[1])))
    np.testing.assert_array_equal(found[:, 5:-5], inside[..., :3])
    assert (found[:, :5] == 255).all()
    assert (found[:, -5:] == 255).all()


@pytest.mark.parametrize(
    ("old", "new", "error", "what"),
    [
        ('r="1" ifd="2"', 'r="1" z="1" ifd="2"', AmbiguousSlideError, "2 focal planes"),
        (">brightfield<", ">fluorescence<", AmbiguousSlideError, "channels is wanted"),
        ('sizeX="80" sizeY="50" r="1" ifd="4"', "", UnsupportedSlideError, "made out"),
        ("2010/10/01", "2011/01/01", UnsupportedSlideError, "of the kind"),
        ('<view sizeX="160000"', '<view sizeX="170000"', UnsupportedSlideError, "differ"),
        ('ifd="2"', 'ifd="9"', DamagedSlideError, "picture 9, and there are 5"),
        ('ifd="2"', 'ifd="1"', DamagedSlideError, r"of \(80, 50\) pixels, which has"),
        ('sizeX="260500"', f'sizeX="{10**15}"', DamagedSlideError, "cannot be"),
        ("<view ", "<look ", DamagedSlideError, "where a picture lies"),
        ("collection", "selection", DamagedSlideError, "of no pictures"),
        ("</scn>", "", DamagedSlideError, "cannot be made out"),
        ('offsetX="20000"', 'offsetX="x"', DamagedSlideError, "cannot be made out"),
    ],
)
def test_xml_that_is_not_understood_is_refused(
    file: Path, old: str, new: str, error: type[Exception], what: str
) -> None:
    last = old.startswith("<view")  # of the areas: one alone differs
    edited(
        file, lambda text: new.join(text.rsplit(old, 1)) if last else text.replace(old, new)
    )
    with pytest.raises(error, match=rf"^a\.scn: .*{what}"):
        native(file)


def test_areas_with_different_levels_are_refused(file: Path) -> None:
    edited(
        file,
        lambda text: text.replace('<dimension sizeX="80" sizeY="50" r="1" ifd="4"/>', ""),
    )
    with pytest.raises(UnsupportedSlideError, match="different levels"):
        native(file)


def test_a_slide_without_areas_is_damage(file: Path) -> None:
    edited(file, lambda text: text[: text.index("<image", 500)] + "</collection></scn>")
    with pytest.raises(DamagedSlideError, match="of no picture of the specimen"):
        native(file)


def test_areas_whose_tiles_are_stored_differently_are_refused(file: Path) -> None:
    other = make_scn_slide(
        file.with_name("b.scn"), size=SIZE, offsets=OFFSETS[:1], tile=128
    )
    with tifffile.TiffFile(file) as tiff, tifffile.TiffFile(other) as second:
        pages = [page.asarray() for page in [*tiff.pages[:3], *second.pages[1:]]]
        text = tiff.pages.first.description
    with tifffile.TiffWriter(file, bigtiff=True) as writer:
        for number, pixels in enumerate(pages):
            side = 64 if number < 3 else 128
            writer.write(
                pixels,
                tile=(side, side),
                photometric="rgb",
                description=text if number == 0 else None,
                metadata=None,
            )
    with pytest.raises(UnsupportedSlideError, match="not stored alike"):
        native(file)
