"""Damage of any kind costs the patches that it touches, and nothing else."""

from __future__ import annotations

import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dplabtools import config
from dplabtools._typing import Pixels
from dplabtools.errors import SlideReadError, UnsupportedSlideError
from dplabtools.readers.native.reader import NativeReader
from dplabtools.records.pixel_buffer import PixelBuffer
from dplabtools.slides.patches import MemPatchExtractorPool, PatchesMock
from dplabtools.testing.make_slide import make_slide

WHITE = (255, 255, 255)
SIDE, TILE, COLUMNS = 512, 64, 8
BROKEN = 19  # column 3 of row 2
KINDS = ("jpeg", "deflate", "jpeg2000", "none")
MEMORY = 64 << 20  # what reading a slide of 512 x 512 pixels may take, by far


@pytest.fixture(scope="session", params=KINDS)
def sound(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("damage") / f"{request.param}.svs"
    size = (SIDE, SIDE)
    return make_slide(file, size=size, tile=TILE, levels=2, compression=request.param)


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    file = tmp_path / "damaged.svs"
    file.write_bytes(sound.read_bytes())
    return file


def tile_at(file: Path, number: int = BROKEN) -> tuple[int, int]:
    """Return where a tile of level 0 begins, and its length."""
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        return page.dataoffsets[number], page.databytecounts[number]


def overwrite(file: Path, start: int, data: bytes) -> None:
    with file.open("r+b") as stream:
        stream.seek(start)
        stream.write(data)


def set_tag(file: Path, name: str, number: int, value: int) -> None:
    """Change what the index says of one tile of level 0."""
    with tifffile.TiffFile(file, mode="r+") as tiff:
        tag = tiff.pages.first.tags[name]
        values = list(tag.value)
        limit = (1 << 16) - 1 if tag.dtype == tifffile.DATATYPE.SHORT else value
        values[number] = min(value, limit)
        tag.overwrite(values)


def zeroed(file: Path) -> None:
    start, count = tile_at(file)
    overwrite(file, start, b"\0" * count)


def noise(file: Path) -> None:
    start, count = tile_at(file)
    overwrite(file, start, np.random.default_rng(0).bytes(count))


def cut_short(file: Path) -> None:
    set_tag(file, "TileByteCounts", BROKEN, tile_at(file)[1] // 2)


def beyond_the_end(file: Path) -> None:
    set_tag(file, "TileOffsets", BROKEN, file.stat().st_size + 1000)


def far_beyond_the_end(file: Path) -> None:
    set_tag(file, "TileOffsets", BROKEN, (1 << 32) - 5)


def enormous(file: Path) -> None:
    set_tag(file, "TileByteCounts", BROKEN, (1 << 32) - 1)


def another_size(file: Path) -> None:
    """The tile itself claims to have 65,500 x 65,500 pixels."""
    start, count = tile_at(file)
    data = bytearray(file.read_bytes()[start : start + count])
    if (frame := data.find(b"\xff\xc0")) >= 0 and data[:2] == b"\xff\xd8":
        data[frame + 5 : frame + 9] = struct.pack(">HH", 65_500, 65_500)
    elif (frame := data.find(b"\xff\x4f\xff\x51")) >= 0:
        data[frame + 8 : frame + 16] = struct.pack(">II", 65_500, 65_500)
    else:
        pytest.skip("these tiles do not state their size")
    overwrite(file, start, bytes(data))


WAYS: tuple[Callable[[Path], None], ...] = (
    *(zeroed, noise, cut_short, beyond_the_end),
    *(far_beyond_the_end, enormous, another_size),
)


@pytest.mark.parametrize("damage", WAYS)
def test_a_damaged_tile_costs_what_touches_it(
    sound: Path, copy: Path, damage: Callable[[Path], None]
) -> None:
    if damage in (zeroed, noise) and sound.stem == "none":
        pytest.skip("nothing tells plain pixels from noise")
    damage(copy)
    with (
        NativeReader(sound, background=WHITE) as whole,
        NativeReader(copy, background=WHITE) as reader,
    ):
        corners = np.array([(x, y) for y in range(0, 480, 40) for x in range(0, 480, 40)])
        buffer = PixelBuffer.allocated(np.full((len(corners), 2), 32))
        errors = reader.read_into(corners, 0, buffer)
        for item, (x, y) in enumerate(corners.tolist()):
            touches = 192 - 32 < x < 256 and 128 - 32 < y < 192
            assert (item in errors) == touches
            if touches:
                assert str(errors[item]).startswith("damaged.svs: the file is damaged")
            else:
                np.testing.assert_array_equal(
                    buffer.picture(item), whole.read((x, y), 0, (32, 32))
                )
        with pytest.raises(SlideReadError):
            reader.read((200, 130), 0, (8, 8))
        assert reader.read((200, 130), 1, (8, 8)).shape == (8, 8, 3)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_pool_names_the_patches_that_touch_it(copy: Path, on_error: str) -> None:
    config.slide_library = "native"
    beyond_the_end(copy)
    rows = [((x, y), (TILE, TILE), "a") for y in (100, 300) for x in (10, 150, 210, 300)]
    options: dict[str, Any] = {"proc_num_workers": 1, "thread_num_workers": 2}
    pool = [PatchesMock(patch_data=rows, wsi_file=str(copy), level_or_mpp=0)]
    if on_error == "raise":
        with pytest.raises(SlideReadError, match=r"^damaged\.svs: "):
            MemPatchExtractorPool(patches_pool=pool, **options)
        return
    with MemPatchExtractorPool(patches_pool=pool, on_error="skip", **options) as made:
        assert [failure.row for failure in made.errors] == [1, 2]
        assert len(made.patch_list) == 6


# -- anything ----------------------------------------------------------------------------


def attempt(file: Path) -> Iterator[Pixels]:
    """Open a file and read all of it, as far as that goes."""
    try:
        reader = NativeReader(file, background=WHITE)
    except UnsupportedSlideError as error:
        assert str(error).startswith(file.name)  # noqa: PT017
        return
    with reader:
        for level, size in enumerate(reader.sizes):
            corner = (0, 0)
            extent = (min(size[0], SIDE), min(size[1], SIDE))
            try:
                yield reader.read(corner, level, extent)
            except SlideReadError as error:
                assert str(error).startswith(file.name)  # noqa: PT017
        for name in ("thumbnail", "label"):
            try:
                reader.associated_image(name)
            except SlideReadError as error:
                assert str(error).startswith(file.name)  # noqa: PT017


def survives(file: Path) -> None:
    """Check that reading ends with pixels or with errors that name the file."""
    tracemalloc.start()
    try:
        for pixels in attempt(file):
            assert pixels.ndim == 3
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


def index_bytes(file: Path) -> list[int]:
    """Return where the bytes of the directories lie."""
    with tifffile.TiffFile(file) as tiff:
        places = list(range(8))
        for page in tiff.pages:
            count = len(page.tags)  # type: ignore[union-attr]
            places += range(page.offset, page.offset + 6 + 12 * count)
        return places


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("damage") / "small.svs"
    return make_slide(file, size=(200, 150), tile=64, levels=2)


@settings(max_examples=300)
@given(places=st.lists(st.floats(0, 1), min_size=1, max_size=4), data=st.binary(min_size=4))
@example(places=[0.0], data=b"MM\0*")
def test_a_lying_index_is_declined_or_told(
    small: Path, places: list[float], data: bytes
) -> None:
    content = bytearray(small.read_bytes())
    where = index_bytes(small)
    for number, place in enumerate(places):
        content[where[int(place * (len(where) - 1))]] = data[number % len(data)]
    file = small.with_name("lying.svs")
    file.write_bytes(content)
    survives(file)


@settings(max_examples=200)
@given(place=st.floats(0, 1), data=st.binary(min_size=1, max_size=40))
def test_garbled_bytes_anywhere_are_survived(
    small: Path, place: float, data: bytes
) -> None:
    content = bytearray(small.read_bytes())
    start = int(place * len(content))
    content[start : start + len(data)] = data
    file = small.with_name("garbled.svs")
    file.write_bytes(content)
    survives(file)


@settings(max_examples=60)
@given(share=st.floats(0, 1))
def test_a_truncated_file_is_survived(small: Path, share: float) -> None:
    content = small.read_bytes()
    file = small.with_name("truncated.svs")
    file.write_bytes(content[: int(share * len(content))])
    survives(file)


# -- memory ------------------------------------------------------------------------------

LIES: dict[str, tuple[str, int]] = {
    "a level of 2,000,000,000 x 2,000,000,000": ("ImageWidth ImageLength", 2_000_000_000),
    "tiles of 60,000 x 60,000": ("TileWidth TileLength", 60_000),
    "tiles of 8,192 x 8,192": ("TileWidth TileLength", 8192),
}


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="limits memory as Linux does")
@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_takes_no_memory(small: Path, lie: str, tmp_path: Path) -> None:
    """In a process that gets no more than a sound file of this size would take."""
    file = tmp_path / "lying.svs"
    file.write_bytes(small.read_bytes())
    tags, value = LIES[lie]
    with tifffile.TiffFile(file, mode="r+") as tiff:
        for tag in tags.split():
            limit = (1 << 16) - 1 if tiff.pages.first.tags[tag].dtype == 3 else value
            tiff.pages.first.tags[tag].overwrite(min(value, limit))
    code = f"""
import resource
from dplabtools.errors import DplabError
from dplabtools.readers.native.reader import NativeReader
import tifffile, imagecodecs
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {MEMORY},) * 2)
try:
    with NativeReader({str(file)!r}, background={WHITE}) as reader:
        reader.read((0, 0), 0, (64, 64))
except DplabError as error:
    print("told:", error)
"""
    run = [sys.executable, "-c", code]
    told = subprocess.run(run, capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.startswith("told: lying.svs: ")


def parted(stream: bytes) -> tuple[bytes, bytes]:
    """Return the tables of a JPEG stream, and the stream without them."""
    tables, rest, start = b"", stream[:2], 2
    while stream[start + 1] != 0xDA:  # where the scan begins
        stop = start + 2 + int.from_bytes(stream[start + 2 : start + 4], "big")
        if stream[start + 1] in (0xC4, 0xDB):
            tables += stream[start:stop]
        else:
            rest += stream[start:stop]
        start = stop
    return tables, rest + stream[start:]


@pytest.fixture(scope="session")
def tabled(small: Path) -> Path:
    """The first level, as Aperio writes it: with tables that all tiles share."""
    with tifffile.TiffFile(small) as tiff:
        page = tiff.pages.first
        spots = zip(page.dataoffsets, page.databytecounts, strict=True)
        tiles = [small.read_bytes()[start : start + count] for start, count in spots]
        shape = page.shape
    tables, _ = parted(tiles[0])
    assert all(parted(tile)[0] == tables for tile in tiles)
    file = small.with_name("tabled.tif")
    tifffile.imwrite(
        file,
        iter([parted(tile)[1] for tile in tiles]),
        shape=shape,
        dtype=np.uint8,
        tile=(64, 64),
        photometric="ycbcr",
        compression="jpeg",
        jpegtables=b"\xff\xd8" + tables + b"\xff\xd9",
        metadata=None,
    )
    return file


def test_wrong_tables_fail_or_show_but_never_crash(small: Path, tabled: Path) -> None:
    with (
        NativeReader(small, background=WHITE) as whole,
        NativeReader(tabled, background=WHITE) as reader,
    ):
        expected = whole.read((0, 0), 0, (200, 150))
        np.testing.assert_array_equal(reader.read((0, 0), 0, (200, 150)), expected)
    with tifffile.TiffFile(tabled) as tiff:
        tables = tiff.pages.first.tags["JPEGTables"]
        start, count = tables.valueoffset, tables.count
    content = tabled.read_bytes()
    rng = np.random.default_rng(5)
    failed = 0
    for _ in range(80):
        data = bytearray(content)
        for place in rng.integers(0, count, rng.integers(1, 6)).tolist():
            data[start + place] = int(rng.integers(0, 256))
        file = tabled.with_name("wrong.tif")
        file.write_bytes(data)
        failed += not list(attempt(file))
        survives(file)
    assert failed > 20
