from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

from dplabtools._typing import Pixels, Point
from dplabtools.errors import SlideReadError
from dplabtools.readers.base import SlideReader
from dplabtools.readers.opening import open_reader
from dplabtools.settings import Settings

TILE = 5  # the second of the second row of four
CORNERS = [(x, y) for y in range(0, 768, 128) for x in range(0, 1024, 128)]
HIT = [(x, y) for x, y in CORNERS if 256 <= x < 512 and 256 <= y < 512]


@pytest.fixture
def damaged_slide(made_slide: Path, tmp_path: Path) -> Path:
    """The made slide, with one tile of level 0 overwritten."""
    file = tmp_path / "damaged.svs"
    shutil.copy(made_slide, file)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        start, count = page.dataoffsets[TILE], page.databytecounts[TILE]
    with file.open("r+b") as stream:
        stream.seek(start)
        stream.write(b"\0" * count)
    return file


@pytest.fixture
def whole(made_slide: Path) -> dict[Point, Pixels]:
    with open_reader(made_slide, settings=Settings(slide_library="openslide")) as slide:
        return {corner: slide.read(corner, 0, (128, 128)) for corner in CORNERS}


def read(slide: SlideReader, corner: Point) -> Pixels | SlideReadError:
    try:
        return slide.read(corner, 0, (128, 128))
    except SlideReadError as error:
        return error


@pytest.mark.parametrize("library", ["native", "openslide", "tiffslide"])
@pytest.mark.parametrize("threads", [1, 4])
def test_a_damaged_tile_spoils_nothing_but_itself(
    damaged_slide: Path, whole: dict[Point, Pixels], library: str, threads: int
) -> None:
    if library == "tiffslide":
        pytest.importorskip("tiffslide")
    corners = CORNERS * 4
    np.random.default_rng(0).shuffle(corners)
    settings = Settings(slide_library=library)
    with (
        open_reader(damaged_slide, settings=settings) as slide,
        ThreadPoolExecutor(threads) as pool,
    ):
        results = list(pool.map(lambda corner: read(slide, corner), corners))
    for corner, result in zip(corners, results, strict=True):
        if corner in HIT:
            assert isinstance(result, SlideReadError)
            assert str(result).startswith("damaged.svs: the file is damaged there")
        else:
            assert isinstance(result, np.ndarray)
            np.testing.assert_array_equal(result, whole[corner])


def test_reduced_levels_of_a_damaged_slide_are_whole(damaged_slide: Path) -> None:
    with open_reader(damaged_slide, settings=Settings()) as slide:
        with pytest.raises(SlideReadError):
            slide.read(HIT[0], 0, (8, 8))
        assert slide.read(HIT[0], 1, (8, 8)).shape == (8, 8, 3)
        assert slide.associated_image("thumbnail") is not None


def test_a_slide_whose_file_goes_while_it_is_read_is_named(damaged_slide: Path) -> None:
    with open_reader(damaged_slide, settings=Settings()) as slide:
        damaged_slide.unlink()
        with pytest.raises(SlideReadError, match=r"^damaged\.svs"):
            slide.read(HIT[0], 0, (8, 8))
