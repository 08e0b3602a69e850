"""NDPI slides: where tiles lie, what is refused, and what is noticed of damage."""

from __future__ import annotations

import pickle
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from dplabtools._typing import Pixels
from dplabtools.errors import (
    AmbiguousSlideError,
    DamagedSlideError,
    SlideReadError,
    UnsupportedSlideError,
)
from dplabtools.readers.layout import stored_levels
from dplabtools.readers.native import ndpi
from dplabtools.readers.native.pieces import pieces_of
from dplabtools.readers.native.reader import NativeReader
from dplabtools.readers.opening import open_reader
from dplabtools.readers.openslide import OpenSlideReader
from dplabtools.records.pixel_buffer import PixelBuffer
from dplabtools.settings import Settings
from dplabtools.sources.opening import open_source
from dplabtools.testing.make_ndpi import make_ndpi_slide

WHITE = (255, 255, 255)
STARTS, LENS, PLANE = 65426, 65421, 65424
FRAME, INTERVAL = b"\xff\xc0\x00\x11", b"\xff\xdd\x00\x04"
TILE = (128, 8)
PIECES = 8  # of each column that are decoded at once
HOLE = 1 << 31  # bytes


def native(file: Path) -> NativeReader:
    return NativeReader(file, background=WHITE)


def level0(file: Path) -> Pixels:
    with native(file) as reader:
        return reader.read((0, 0), 0, reader.sizes[0])


def edited(file: Path, change: Callable[[Any], None]) -> Path:
    """Change the tags of the first picture."""
    with tifffile.TiffFile(file, mode="r+") as tiff:
        change(tiff.pages.first.tags)
    return file


def patched(file: Path, old: bytes, new: bytes) -> Path:
    """Change bytes where they first occur, which is in level 0."""
    content = file.read_bytes()
    place = content.index(old)
    file.write_bytes(content[:place] + new + content[place + len(new) :])
    return file


def starts_of(file: Path) -> list[int]:
    """Where in the file the tiles of level 0 begin."""
    with tifffile.TiffFile(file) as tiff:
        tags = tiff.pages.first.tags
        return [int(tags[273].value[0]) + int(each) for each in tags[STARTS].value]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return make_ndpi_slide(tmp_path / "a.ndpi", size=(512, 256), tile=128)


@pytest.fixture
def sound(file: Path) -> Pixels:
    return level0(file)


# -- what is read ------------------------------------------------------------------------


def test_auto_reads_it_natively_and_tells_how_it_is_stored(file: Path) -> None:
    with open_reader(file, settings=Settings()) as reader:
        assert reader.library == "native"
        levels = stored_levels(str(file), reader)
    assert [level.tile for level in levels[:3]] == [TILE, (64, 4), TILE]
    assert {level.compression for level in levels} == {"JPEG"}


def test_an_index_travels(file: Path, sound: Pixels) -> None:
    with native(file) as reader:
        index = pickle.loads(pickle.dumps(reader.index))
    with NativeReader(file, background=WHITE, index=index) as again:
        np.testing.assert_array_equal(again.read((0, 0), 0, (512, 256)), sound)


def test_other_focal_planes_are_left_out(tmp_path: Path) -> None:
    file = make_ndpi_slide(tmp_path / "a.ndpi", size=(512, 256), tile=128, downsample=1)
    edited(file, lambda tags: tags[PLANE].overwrite(-1000))
    with native(file) as reader:
        assert reader.sizes[:2] == ((512, 256), (256, 128))


def test_a_table_that_cannot_be_is_not_believed(file: Path, sound: Pixels) -> None:
    def swap(tags: Any) -> None:
        tags[STARTS].overwrite([0, *tags[STARTS].value[:0:-1].tolist()])

    np.testing.assert_array_equal(level0(edited(file, swap)), sound)


def test_pieces_are_no_streams_of_their_own(file: Path) -> None:
    with native(file) as reader:
        assert not reader.stored_jpegs(np.zeros((1, 2), int), 0, sizes=np.array([TILE]))


# -- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize("library", ["auto", "native"])
def test_a_list_of_channels_is_refused_with_what_to_do(
    tmp_path: Path, library: str
) -> None:
    file = tmp_path / "a.ndpis"
    file.write_text("[NanoZoomer Digital Pathology Image Set]\nNoImages=2\nImage0=b.ndpi\n")
    with pytest.raises(AmbiguousSlideError, match=r"^a\.ndpis: .*one of the \.ndpi files"):
        open_reader(file, settings=Settings(slide_library=library))


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (FRAME, b"\xff\xc2", "not sequential JPEG"),
        (FRAME, FRAME + b"\x0c", "not sequential JPEG"),
        (INTERVAL, INTERVAL + struct.pack(">H", 5), "restart markers for tiles of"),
    ],
)
def test_what_is_not_understood_is_declined(
    file: Path, old: bytes, new: bytes, what: str
) -> None:
    with pytest.raises(UnsupportedSlideError, match=rf"^a\.ndpi: .*{what}"):
        native(patched(file, old, new))


def test_levels_in_strips_are_declined(file: Path) -> None:
    edited(file, lambda tags: tags[259].overwrite(1))
    with pytest.raises(UnsupportedSlideError, match="not one JPEG picture each"):
        native(file)


# -- damage ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (FRAME, FRAME + struct.pack(">BHH", 8, 256, 500), "holds a picture of"),
        (b"\xff\xdb", b"\0", "does not begin as a JPEG picture"),
    ],
)
def test_a_picture_that_contradicts_its_directory_is_damage(
    file: Path, old: bytes, new: bytes, what: str
) -> None:
    with pytest.raises(DamagedSlideError, match=what):
        native(patched(file, old, new))


def test_a_slide_without_levels_is_damage(file: Path) -> None:
    edited(file, lambda tags: tags[LENS].overwrite(0.1))
    edited(file, lambda tags: tags[256].overwrite(128))  # as wide as the next
    with pytest.raises(DamagedSlideError, match="do not stand in the order"):
        native(file)


@pytest.mark.parametrize(
    ("tag", "value", "what"),
    [
        (LENS, 0.0, "does not say what it is"),
        (LENS, -20.0, "does not say what it is"),
        (PLANE, -1000, "middle one of its focal planes is missing"),
    ],
)
def test_a_level_that_is_lost_is_damage(
    file: Path, tag: int, value: float, what: str
) -> None:
    edited(file, lambda tags: tags[tag].overwrite(value))
    with pytest.raises(DamagedSlideError, match=what):
        native(file)


def test_a_file_that_ends_too_early_is_damage(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3000])
    with pytest.raises(DamagedSlideError, match="ends"):
        native(file)


def test_markers_that_are_missing_are_damage(tmp_path: Path) -> None:
    file = make_ndpi_slide(tmp_path / "a.ndpi", size=(512, 256), tile=128, table=False)
    patched(file, b"\xff\xd3", b"\xff\0")
    with pytest.raises(DamagedSlideError, match="of 128 tiles has restart markers for 127"):
        native(file)


def test_markers_are_found_wherever_blocks_of_the_file_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = make_ndpi_slide(tmp_path / "b.ndpi", size=(512, 256), tile=128, table=False)
    expected = level0(without)
    monkeypatch.setattr(ndpi, "_BLOCK", 7)
    np.testing.assert_array_equal(level0(without), expected)


def test_a_table_of_a_level_over_4_gb_is_understood() -> None:
    """It has the lower halves only; to search for markers would take minutes."""
    starts = np.array([623, (3 << 30) + 5, (6 << 30) + 7, (9 << 30) + 9])
    unread: Any = None
    found = ndpi._starts(starts % (1 << 32), unread, span=(623, 10 << 30), count=4)
    assert found.tolist() == starts.tolist()


def check_rows(file: Path, sound: Pixels, *, damaged: set[int]) -> None:
    """Read each row of pieces: of some tiles all are errors, all others as they were."""
    with native(file) as reader:
        for row in range(32):
            if row // PIECES in damaged:
                with pytest.raises(SlideReadError, match=r"^a\.ndpi: "):
                    reader.read((0, row * 8), 0, (512, 8))
            else:
                pixels = reader.read((0, row * 8), 0, (512, 8))
                np.testing.assert_array_equal(pixels, sound[row * 8 : row * 8 + 8])


def test_a_marker_that_is_none_costs_the_tile(file: Path, sound: Pixels) -> None:
    place = starts_of(file)[40]
    content = bytearray(file.read_bytes())
    assert content[place - 2] == 0xFF
    content[place - 2] = 0
    file.write_bytes(content)
    check_rows(file, sound, damaged={1})  # pieces 39 and 40, of four in a row


def test_a_wrong_entry_of_the_table_costs_the_tile(file: Path, sound: Pixels) -> None:
    def shift(tags: Any) -> None:
        starts = tags[STARTS].value.copy()
        starts[40] += 1
        tags[STARTS].overwrite(starts)

    check_rows(edited(file, shift), sound, damaged={1})


def test_bytes_that_are_left_over_cost_nothing(file: Path) -> None:
    with native(file) as reader:
        level = reader.index.levels[0]
    tile = level.stored(open_source(str(file)), 5)
    whole, part = np.empty((2, 64, 128, 3), np.uint8)
    level.codec.decode(tile, whole)
    between = re.search(rb"\xff[\xd0-\xd7]\xff", tile)
    assert between is not None
    level.codec.decode(tile[: between.start()] + b"ab" + tile[between.start() :], part)
    np.testing.assert_array_equal(part, whole)


def test_the_last_tile_may_have_fewer_pieces(tmp_path: Path) -> None:
    file = make_ndpi_slide(tmp_path / "a.ndpi", size=(256, 200), tile=128, levels=1)
    with native(file) as reader, OpenSlideReader(file, background=WHITE) as other:
        assert reader.index.levels[0].pieces is not None
        for level, size in enumerate(reader.sizes):
            ours = reader.read((0, 0), level, size)
            np.testing.assert_array_equal(ours, other.read((0, 0), level, size))
        halves = PixelBuffer.allocated(np.array([(128, 100)]))
        assert not reader.read_into(np.zeros((1, 2), int), 0, halves, shrink=2)
        np.testing.assert_array_equal(halves.picture(0), reader.read((0, 0), 1, (128, 100)))


def test_bytes_that_do_not_decode_cost_their_tile(file: Path, sound: Pixels) -> None:
    start, stop = starts_of(file)[40:42]
    content = bytearray(file.read_bytes())
    content[start : stop - 2] = bytes(stop - 2 - start)
    file.write_bytes(content)
    check_rows(file, sound, damaged={1})


# -- levels over 4 GB --------------------------------------------------------------------


def with_holes(file: Path, *, tiles: tuple[int, int]) -> Path:
    """Let 2 GB of nothing stand before two tiles of level 0.

    All that lies behind both moves by 4 GB: no lower half of an offset changes but those
    of the tiles between. Upper halves stand behind each directory, in the order of its
    entries.
    """
    first, last = (starts_of(file)[tile] - 2 for tile in tiles)

    def shift(tags: Any) -> None:
        starts = tags[STARTS].value.copy()
        starts[slice(*tiles)] += HOLE
        tags[STARTS].overwrite(starts)

    content = bytearray(edited(file, shift).read_bytes())
    links = [4]
    while start := int.from_bytes(content[links[-1] : links[-1] + 4], "little"):
        count = int.from_bytes(content[start : start + 2], "little")
        links.append(start + 2 + 12 * count)
        for nth in range(count):
            entry = start + 2 + 12 * nth
            tag, kind, number, value = struct.unpack_from("<HHII", content, entry)
            size = {2: 1, 3: 2, 5: 8}.get(kind, 4) * number
            moved = (size > 4 or tag == 273) and value > last
            if moved or (tag == 279 and len(links) == 2):
                struct.pack_into("<I", content, links[-1] + 8 + 4 * nth, 1)
    for link in links[:-1]:
        struct.pack_into("<I", content, link + 4, 1)
    with file.open("r+b") as stream:
        stream.truncate(first)
        for begin, end, moved in ((first, last, HOLE), (last, None, 2 * HOLE)):
            stream.seek(begin + moved)
            stream.write(content[begin:end])
        stream.seek(0)
        stream.write(content[:first])
    return file


@pytest.mark.skipif(sys.platform != "linux", reason="files elsewhere may have no holes")
def test_levels_may_be_larger_than_4_gb(file: Path, sound: Pixels) -> None:
    with_holes(file, tiles=(40, 80))
    with native(file) as reader:
        offsets = reader.index.levels[0].offsets
    assert offsets[-1] - offsets[0] > 1 << 32
    check_rows(file, sound, damaged={1, 2})  # the holes are in pieces 39 and 79


def test_pieces_lie_between_their_markers() -> None:
    sound = b"\xff\xd0ab\xff\xd1\xff\xd1cd\xff\xd2"
    assert pieces_of(sound, b"", count=2) == [b"ab", b"cd"]
    for damaged in (b"xx" + sound[2:], sound[:-2] + b"xx"):
        with pytest.raises(ValueError, match="between the markers"):
            pieces_of(damaged, b"", count=2)
    with pytest.raises(ValueError, match="between the markers"):
        pieces_of(sound, b"", count=3)
