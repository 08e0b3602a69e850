"""TIFF files of Philips: who reads them, and what is noticed of damage."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from dplabtools.errors import DamagedSlideError, SlideReadError
from dplabtools.readers.native import philips
from dplabtools.readers.native.reader import NativeReader
from dplabtools.readers.opening import open_explained, open_reader
from dplabtools.settings import Settings
from dplabtools.testing.make_philips import make_philips_slide

WHITE, PINK = (255, 255, 255), (250, 10, 120)


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
    return make_philips_slide(tmp_path / "a.tiff", size=(768, 512))


@pytest.mark.parametrize(
    ("library", "reader"), [("auto", "openslide"), ("native", "native")]
)
def test_it_is_read_natively_if_asked_for(file: Path, library: str, reader: str) -> None:
    with open_reader(file, settings=Settings(slide_library=library)) as opened:
        assert opened.library == reader


def test_auto_says_how_to_have_it_read_natively(file: Path) -> None:
    opened, refusals = open_explained(file, settings=Settings())
    opened.close()
    assert [each.library for each in refusals] == ["native"]
    assert "takes them" in refusals[0].reason


def test_tiles_left_out_are_background(file: Path) -> None:
    with NativeReader(file, background=PINK) as reader:
        assert (reader.read((256, 0), 0, (256, 256)) == PINK).all()
        assert not (reader.read((0, 0), 0, (256, 256)) == PINK).all(axis=2).any()


def test_an_index_travels_with_the_picture_of_the_xml(file: Path) -> None:
    with native(file) as reader:
        macro = reader.associated_image("macro")
        index = pickle.loads(pickle.dumps(reader.index))
    assert macro is not None
    assert index.associated["macro"]
    with NativeReader(file, background=WHITE, index=index) as again:
        np.testing.assert_array_equal(again.associated_image("macro"), macro)


def test_a_picture_that_is_none_is_left_out(file: Path) -> None:
    edited(file, lambda text: text.replace(">/9j/", ">AAAA", 1))
    with native(file) as reader:
        assert reader.associated_image("macro") is None
        assert reader.associated_image("label") is not None


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (">WSI<", ">???<", "speaks of 0 slides"),
        (">MACROIMAGE<", ">WSI<", "speaks of 2 slides"),
        ('"0.000500000" "', '"0.000100000" "', "does not hold"),
        ("</DataObject>", "", "cannot be made out"),
        ('"0.000500000"', '"', "cannot be made out"),
    ],
)
def test_xml_that_speaks_of_something_else_is_damage(
    file: Path, old: str, new: str, what: str
) -> None:
    edited(file, lambda text: text.replace(old, new, 1))
    with pytest.raises(DamagedSlideError, match=what):
        native(file)


def test_levels_without_a_resolution_are_damage(tmp_path: Path) -> None:
    file = make_philips_slide(tmp_path / "a.tiff", size=(256, 256), levels=3)
    with tifffile.TiffFile(file, mode="r+") as tiff:
        pages: Any = tiff.pages
        pages[2].tags["NewSubfileType"].overwrite(0)
    with pytest.raises(DamagedSlideError, match="another one of full size"):
        native(file)


def test_tiles_that_only_fill_a_level_up_are_no_part_of_it(file: Path) -> None:
    with native(file) as reader:
        level = reader.index.levels[0]
    (width, height), columns = level.tile, level.columns
    part = philips._part(level, (width + 1, height + 1))
    numbers = [0, 1, columns, columns + 1]
    assert part.offsets.tolist() == level.offsets[numbers].tolist()
    assert part.counts.tolist() == level.counts[numbers].tolist()


def test_a_damaged_tile_is_an_error(file: Path) -> None:
    with tifffile.TiffFile(file) as tiff:
        start = tiff.pages.first.dataoffsets[0]
    content = bytearray(file.read_bytes())
    content[start : start + 100] = bytes(100)
    file.write_bytes(content)
    with native(file) as reader, pytest.raises(SlideReadError, match=r"^a\.tiff: "):
        reader.read((0, 0), 0, (10, 10))
