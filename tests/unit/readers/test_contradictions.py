"""Files that contradict themselves are refused by name, and handed to nobody else."""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Callable
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
from dplabtools.readers.layout import stored_levels
from dplabtools.readers.native.reader import NativeReader
from dplabtools.readers.opening import open_reader
from dplabtools.readers.openslide import OpenSlideReader
from dplabtools.settings import Settings
from dplabtools.testing.make_slide import make_slide

WHITE = (255, 255, 255)
TILED: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb", "metadata": None}


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    return make_slide(tmp_path / "a.svs", size=(520, 390), tile=64, levels=3)


def patch(file: Path, place: int, data: bytes) -> None:
    with file.open("r+b") as stream:
        stream.seek(place)
        stream.write(data)


def next_offset(file: Path, number: int) -> int:
    """Return where a directory says where the next one begins."""
    with tifffile.TiffFile(file) as tiff:
        page: Any = tiff.pages[number]
        return int(page.offset + 2 + 12 * len(page.tags))


def circle(file: Path) -> None:
    with tifffile.TiffFile(file) as tiff:
        first = tiff.pages.first.offset
    patch(file, next_offset(file, 3), struct.pack("<I", first))


def into_nothing(file: Path) -> None:
    patch(file, next_offset(file, 2), struct.pack("<I", file.stat().st_size + 100))


def cut_off(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: next_offset(file, 4) - 40])


def no_entries(file: Path) -> None:
    with tifffile.TiffFile(file) as tiff:
        start = tiff.pages[1].offset
    patch(file, start, b"\0\0")


def value_beyond_the_end(file: Path) -> None:
    with tifffile.TiffFile(file) as tiff:
        tag = tiff.pages.first.tags["TileOffsets"]
    patch(file, tag.offset + 8, struct.pack("<I", file.stat().st_size - 4))


def values_across_each_other(file: Path) -> None:
    with tifffile.TiffFile(file) as tiff:
        tag = tiff.pages.first.tags["TileOffsets"]
    patch(file, tag.offset + 8, struct.pack("<I", tag.valueoffset + 4))


def too_few_tiles(file: Path) -> None:
    set_tag(file, "TileWidth", 32)


def another_shape(file: Path) -> None:
    with tifffile.TiffFile(file, mode="r+") as tiff:
        tiff.pages[2].tags["ImageWidth"].overwrite(250)  # type: ignore[union-attr]


def a_few_pixels_more(file: Path) -> None:
    set_tag(file, "ImageWidth", 524)


def not_aperios(file: Path) -> None:
    set_tag(file, "ImageDescription", "Aporio")


def set_tag(file: Path, name: str, value: Any) -> None:
    with tifffile.TiffFile(file, mode="r+") as tiff:
        tiff.pages.first.tags[name].overwrite(value)


WAYS: dict[Callable[[Path], None], str] = {
    circle: "leads back to an earlier one",
    into_nothing: "before its directories do .* levels are missing",
    cut_off: "before its directories do .* levels are missing",
    no_entries: "claims to have 0 entries",
    value_beyond_the_end: "the value of its tag 324 would lie beyond its end",
    values_across_each_other: "lie across each other",
    too_few_tiles: r"a level has \d+ tiles with \d+ lengths, of \d+",
    another_shape: "a level of 250 x 195 pixels cannot be one of 520 x 390",
    a_few_pixels_more: "524 x 390 pixels by its directory, and 520 x 390 by its text",
    not_aperios: "one of Aperio's, and its first picture does not say so",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("library", ["auto", "native"])
@pytest.mark.parametrize("contradict", WAYS)
def test_a_contradiction_ends_the_search(
    slide: Path, contradict: Callable[[Path], None], library: str
) -> None:
    contradict(slide)
    with pytest.raises(DamagedSlideError, match=rf"^a\.svs: .*{WAYS[contradict]}") as told:
        open_reader(slide, settings=Settings(slide_library=library))
    assert 'config.slide_library = "openslide"' in str(told.value)
    assert "openslide: " not in str(told.value)
    copied = pickle.loads(pickle.dumps(told.value))
    assert (type(copied), str(copied), copied.slide) == (
        DamagedSlideError,
        str(told.value),
        "a.svs",
    )


def test_another_library_may_still_be_asked_by_name(slide: Path) -> None:
    a_few_pixels_more(slide)
    with open_reader(slide, settings=Settings(slide_library="openslide")) as reader:
        assert reader.sizes[0] == (524, 390)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("library", ["tiffslide", "tiffopenslide"])
def test_no_library_goes_round_in_circles(slide: Path, library: str) -> None:
    pytest.importorskip("tiffslide")
    circle(slide)
    with pytest.raises(UnsupportedSlideError, match="leads back to an earlier one"):
        open_reader(slide, settings=Settings(slide_library=library))


@pytest.mark.timeout(20)
def test_what_is_said_of_the_levels_has_an_end(slide: Path) -> None:
    with OpenSlideReader(slide, background=WHITE) as reader:
        assert stored_levels(str(slide), reader)[0].compression == "JPEG"
        circle(slide)
        assert stored_levels(str(slide), reader)[0].compression == ""


def test_pictures_without_number_are_a_stack(tmp_path: Path) -> None:
    file = tmp_path / "stack.tif"
    with tifffile.TiffWriter(file) as tiff:
        for _ in range(1001):
            tiff.write(np.zeros((16, 16, 3), np.uint8), **{**TILED, "tile": (16, 16)})
    with pytest.raises(AmbiguousSlideError, match="1,001 pictures or more"):
        open_reader(file, settings=Settings())


def test_a_file_without_the_tiles_of_its_last_level_says_so(tmp_path: Path) -> None:
    whole = tmp_path / "whole.tif"
    pixels = np.random.default_rng(1).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    with tifffile.TiffWriter(whole) as tiff:
        tiff.write(pixels, **TILED)
        tiff.write(pixels[::2, ::2], **TILED, subfiletype=1)
    with tifffile.TiffFile(whole) as tiff:
        page: Any = tiff.pages[1]
        length = page.dataoffsets[0] + 100
    cut = tmp_path / "cut.tif"
    cut.write_bytes(whole.read_bytes()[:length])
    with NativeReader(cut, background=WHITE) as reader:  # the directories come first
        np.testing.assert_array_equal(reader.read((0, 0), 0, (256, 256)), pixels)
        with pytest.raises(SlideReadError, match="ends in the middle of a tile"):
            reader.read((0, 0), 1, (10, 10))
    cut.write_bytes(whole.read_bytes()[: length - 100])
    message = r"it ends, after [\d,]+ bytes, before the tiles of its level of 128 x 128"
    with pytest.raises(DamagedSlideError, match=message):
        open_reader(cut, settings=Settings())


def swapped(file: Path, compression: str) -> Path:
    """Write a slide whose tile 3 is said to begin within tile 9."""
    pixels = np.random.default_rng(1).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    tifffile.imwrite(file, pixels, compression=compression, **TILED)
    with tifffile.TiffFile(file, mode="r+") as tiff:
        page: Any = tiff.pages.first
        offsets = list(page.dataoffsets)
        offsets[3] = offsets[9] + 64
        page.tags["TileOffsets"].overwrite(offsets)
    return file


@pytest.mark.parametrize("compression", ["none", "jpeg", "deflate"])
def test_tiles_that_lie_across_each_other_are_damaged(
    tmp_path: Path, compression: str
) -> None:
    file = swapped(tmp_path / "a.tif", compression)
    with NativeReader(file, background=WHITE) as reader:
        for number in range(16):
            corner = (number % 4 * 64, number // 4 * 64)
            if number in {3, 9, 10}:
                continue
            assert reader.read(corner, 0, (64, 64)).shape == (64, 64, 3)
        with pytest.raises(SlideReadError, match="in part those of something else"):
            reader.read((192, 0), 0, (64, 64))


def test_tiles_that_are_stored_once_and_used_twice_are_sound(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, pixels, **TILED)
    with tifffile.TiffFile(file, mode="r+") as tiff:
        page: Any = tiff.pages.first
        page.tags["TileOffsets"].overwrite([page.dataoffsets[0]] * 4)
    with NativeReader(file, background=WHITE) as reader:
        for corner in ((0, 0), (64, 0), (0, 64), (64, 64)):
            np.testing.assert_array_equal(
                reader.read(corner, 0, (64, 64)), pixels[:64, :64]
            )


@pytest.mark.parametrize("behind", [b"\0\0\0\0", b"notes", b"\xff\xff\xff"])
def test_bytes_left_over_before_the_end_of_a_jpeg_are_no_damage(
    tmp_path: Path, behind: bytes
) -> None:
    slope = np.add.outer(np.arange(256), np.arange(256))
    pixels = np.stack((slope, slope // 2, 255 - slope // 2), axis=-1).astype(np.uint8)
    plain = tmp_path / "plain.tif"
    tifffile.imwrite(plain, pixels, compression="jpeg", **TILED)
    with tifffile.TiffFile(plain) as tiff:
        spots = zip(
            tiff.pages.first.dataoffsets, tiff.pages.first.databytecounts, strict=True
        )
        tiles = [plain.read_bytes()[start : start + count] for start, count in spots]
    file = tmp_path / "a.tif"
    tifffile.imwrite(
        file,
        iter([tile[:-2] + behind + tile[-2:] for tile in tiles]),
        shape=pixels.shape,
        dtype=np.uint8,
        compression="jpeg",
        **{**TILED, "photometric": "ycbcr"},
    )
    with (
        NativeReader(plain, background=WHITE) as whole,
        NativeReader(file, background=WHITE) as reader,
        OpenSlideReader(file, background=WHITE) as other,
    ):
        expected = whole.read((0, 0), 0, (256, 256))
        np.testing.assert_array_equal(reader.read((0, 0), 0, (256, 256)), expected)
        np.testing.assert_array_equal(other.read((0, 0), 0, (256, 256)), expected)


def test_missing_tiles_of_aperio_are_drawn_as_openslide_draws_them(slide: Path) -> None:
    with tifffile.TiffFile(slide, mode="r+") as tiff:
        page: Any = tiff.pages.first
        page.tags["TileByteCounts"].overwrite([0, *page.databytecounts[1:]])
    with open_reader(slide, settings=Settings()) as reader:
        assert reader.library == "openslide"
    with pytest.raises(UnsupportedSlideError, match="drawn from finer levels"):
        NativeReader(slide, background=WHITE)


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "tcga-cr-7395-01a-01-ts1.svs"])
def test_real_files_contradict_themselves_nowhere(slides_dir: Path, name: str) -> None:
    with NativeReader(slides_dir / name, background=WHITE) as reader:
        assert all((level.counts > 0).all() for level in reader.index.levels)


def test_what_is_refused_says_nothing_of_damage_where_there_is_none(tmp_path: Path) -> None:
    file = tmp_path / "floats.tif"
    tifffile.imwrite(file, np.ones((128, 128, 3), np.float32), **TILED)
    with (
        open_reader(file, settings=Settings(slide_library="openslide")) as reader,
        pytest.raises(SlideReadError) as told,
    ):
        reader.read((0, 0), 0, (8, 8))
    assert re.search("does not decode files of this kind", str(told.value))
    assert "damaged" not in str(told.value)
