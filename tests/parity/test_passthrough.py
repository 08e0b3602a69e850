"""Stored JPEG tiles that become files as they are: no decoding, and the same pixels."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from dplabtools import config
from dplabtools._typing import Pixels
from dplabtools.errors import SlideReadError
from dplabtools.readers.native.decode import TileCodec
from dplabtools.readers.native.reader import NativeReader
from dplabtools.slides.patches import (
    DiskPatchExtractor,
    DiskPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    PatchesMock,
)
from dplabtools.testing.make_slide import make_slide

PASS: dict[str, Any] = {"passthrough": True}
TILE = 256


def mock(slide: Path, corners: list[tuple[int, int]], *, level: int = 0) -> PatchesMock:
    rows = [(corner, (TILE, TILE), "a") for corner in corners]
    return PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=level)


def files(folder: Path) -> dict[tuple[int, int, str], Path]:
    """Return the files by place and resolution."""
    return {
        (int(row["x"]), int(row["y"]), row["level_or_mpp"]): folder / row["file"]
        for table in folder.glob("manifests/*.csv")
        for row in csv.DictReader(table.read_text("utf-8").splitlines())
    }


def extract(folder: Path, patches: PatchesMock, **options: Any) -> dict[Any, Path]:
    folder.mkdir(exist_ok=True)
    given: dict[str, Any] = {"save_options": PASS, "num_workers": 2, **options}
    DiskPatchExtractor(output_dir=folder, image_type="jpg", patches=patches, **given)
    return files(folder)


def read(slide: Path, corner: tuple[int, int], *, level: int = 0) -> Pixels:
    with NativeReader(slide, background=(255, 255, 255)) as reader:
        return reader.read(corner, level, (TILE, TILE))


def decoded(file: Path) -> list[Pixels]:
    """Return what three programs make of a file."""
    bgr = cv2.imread(str(file))
    assert bgr is not None
    with Image.open(file) as image:
        assert image.mode == "RGB"
        return [np.asarray(image), bgr[..., ::-1], imagecodecs.imread(file)]


def stored_scan(file: Path) -> bytes:
    """Return the last bytes of a file: its scan, as it stands in the slide."""
    return file.read_bytes()[-600:]


@pytest.fixture
def no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        message = "a tile is decoded"
        raise AssertionError(message)

    monkeypatch.setattr(TileCodec, "decode", refuse)


@pytest.mark.usefixtures("no_decoder")
@pytest.mark.parametrize("level", [0, 1])
def test_tiles_are_not_decoded(made_slide: Path, tmp_path: Path, level: int) -> None:
    step = TILE << level
    corners = [(0, 0), (step, 0), (0, step)] if level == 0 else [(0, 0)]
    found = extract(tmp_path, mock(made_slide, corners, level=level))
    data = made_slide.read_bytes()
    assert len(found) == len(corners)
    assert all(stored_scan(file) in data for file in found.values())


@pytest.mark.parametrize("level", [0, 1])
def test_pixels_are_those_of_the_reader(
    made_slide: Path, tmp_path: Path, level: int
) -> None:
    corners = [(0, 0)] if level else [(0, 0), (256, 256), (512, 0)]
    for (x, y, _), file in extract(
        tmp_path, mock(made_slide, corners, level=level)
    ).items():
        for pixels in decoded(file):
            np.testing.assert_array_equal(pixels, read(made_slide, (x, y), level=level))


def test_rgb_tiles_of_a_real_slide(slides_dir: Path, tmp_path: Path) -> None:
    """Only a TIFF tag says that they are RGB, so that the files have to say it."""
    slide = slides_dir / "CMU-1-Small-Region.svs"
    rows = [((240 * i, 240 * i), (240, 240), "a") for i in range(5)]
    patches = PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=0)
    data = slide.read_bytes()
    for (x, y, _), file in extract(tmp_path, patches).items():
        assert stored_scan(file) in data
        with NativeReader(slide, background=(255, 255, 255)) as reader:
            expected = reader.read((x, y), 0, (240, 240))
        for pixels in decoded(file):
            np.testing.assert_array_equal(pixels, expected)


def test_other_patches_are_encoded_as_usual(made_slide: Path, tmp_path: Path) -> None:
    """Not on the grid; sticking out of the slide; on the grid, but not of its size."""
    corners = [(0, 0), (1, 0), (256, 0), (256, 7), (768, 512), (900, 512)]
    mixed = extract(tmp_path / "mixed", mock(made_slide, corners))
    usual = extract(tmp_path / "usual", mock(made_slide, corners), save_options={})
    data = made_slide.read_bytes()
    stored = {place for place, file in mixed.items() if stored_scan(file) in data}
    assert stored == {(0, 0, "0"), (256, 0, "0"), (768, 512, "0")}
    for place in mixed.keys() - stored:
        assert mixed[place].read_bytes() == usual[place].read_bytes()
    small = PatchesMock(
        patch_data=[((0, 0), (128, 256), "a")], wsi_file=made_slide, level_or_mpp=0
    )
    (file,) = extract(tmp_path / "small", small).values()
    assert stored_scan(file) not in data


def test_tiles_at_the_edge_are_encoded(tmp_path: Path) -> None:
    """They are stored larger than the slide; what sticks out would be in the file."""
    slide = make_slide(tmp_path / "odd.svs", size=(700, 600), levels=1)
    patches = mock(slide, [(512, 0), (0, 512), (256, 256)])
    found = extract(tmp_path / "out", patches)
    usual = extract(tmp_path / "usual", patches, save_options={})
    same = {
        place[:2]
        for place in found
        if found[place].read_bytes() == usual[place].read_bytes()
    }
    assert same == {(512, 0), (0, 512)}


@pytest.mark.parametrize("options", [{}, {"passthrough": False}])
def test_it_has_to_be_asked_for(
    made_slide: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    (file,) = extract(tmp_path, mock(made_slide, [(0, 0)]), save_options=options).values()
    assert stored_scan(file) not in made_slide.read_bytes()


def test_with_another_reader_everything_is_encoded(
    made_slide: Path, tmp_path: Path
) -> None:
    config.slide_library = "openslide"
    (file,) = extract(tmp_path, mock(made_slide, [(0, 0)])).values()
    assert stored_scan(file) not in made_slide.read_bytes()


def test_tiles_of_other_compressions_are_encoded(
    lossless_slide: Path, tmp_path: Path
) -> None:
    (file,) = extract(tmp_path, mock(lossless_slide, [(0, 0)])).values()
    with Image.open(file) as image:
        difference = np.asarray(image).astype(int) - read(lossless_slide, (0, 0))
    assert np.abs(difference).mean() < 10


def test_resolutions_are_passed_on_one_by_one(made_slide: Path, tmp_path: Path) -> None:
    MultiResDiskPatchExtractorPool(
        output_dir=tmp_path,
        image_type="jpg",
        levels_or_mpps=[0, 1],
        patches_pool=[mock(made_slide, [(256, 256)])],
        proc_num_workers=1,
        thread_num_workers=1,
        save_options=PASS,
    )
    data = made_slide.read_bytes()
    found = {place[2]: stored_scan(file) in data for place, file in files(tmp_path).items()}
    assert found == {"0": True, "1": False}


def test_resampled_patches_are_encoded(made_slide: Path, tmp_path: Path) -> None:
    rows = [((0, 0), (TILE, TILE), "a")]
    patches = PatchesMock(patch_data=rows, wsi_file=made_slide, level_or_mpp=0.7)
    (file,) = extract(tmp_path, patches, resampling_mode="tile").values()
    assert stored_scan(file) not in made_slide.read_bytes()


Damage = Callable[[bytearray], object]


def cut_off(tile: bytearray) -> None:
    tile[-len(tile) // 3 :] = bytes(len(tile) // 3 + 1)[: len(tile[-len(tile) // 3 :])]


def without_end(tile: bytearray) -> None:
    tile[-2:] = b"\x12\x34"


def with_a_marker(tile: bytearray) -> None:
    tile[len(tile) // 2 : len(tile) // 2 + 2] = b"\xff\xc4"


def with_a_hole(tile: bytearray) -> None:
    middle = len(tile) // 2
    tile[middle : middle + 512] = bytes(512)


def of_another_size(tile: bytearray) -> None:
    frame = tile.index(b"\xff\xc0")
    tile[frame + 5 : frame + 9] = b"\x00\x80\x00\x80"


def without_a_header(tile: bytearray) -> None:
    tile[:20] = bytes(20)


@pytest.mark.parametrize(
    "damage",
    [cut_off, without_end, with_a_marker, with_a_hole, of_another_size, without_a_header],
)
def test_damaged_tiles_are_not_passed_on(
    made_slide: Path, tmp_path: Path, damage: Damage
) -> None:
    slide = tmp_path / "damaged.svs"
    data = bytearray(made_slide.read_bytes())
    with tifffile.TiffFile(made_slide) as tiff:
        page = tiff.pages.first
        start, count = page.dataoffsets[5], page.databytecounts[5]
    tile = data[start : start + count]
    damage(tile)
    data[start : start + count] = tile
    slide.write_bytes(data)
    patches = mock(slide, [(0, 0), (256, 256)])
    with pytest.raises(SlideReadError, match=r"damaged\.svs"):
        extract(tmp_path / "out", patches)
    (tmp_path / "skip").mkdir()
    pool = DiskPatchExtractorPool(
        output_dir=tmp_path / "skip",
        image_type="jpg",
        patches_pool=[patches],
        proc_num_workers=1,
        thread_num_workers=1,
        save_options=PASS,
        on_error="skip",
    )
    assert [error.row for error in pool.errors] == [1]
    assert list(files(tmp_path / "skip")) == [(0, 0, "0")]


def test_what_only_looks_damaged_is_passed_on(tmp_path: Path) -> None:
    """Blank tiles may hold many zeros in a row; a decoder knows that they are sound."""
    slide = tmp_path / "blank.tif"
    blank = np.full((512, 512, 3), 243, dtype=np.uint8)
    tifffile.imwrite(slide, blank, tile=(256, 256), photometric="rgb", compression="jpeg")
    found = extract(tmp_path / "out", mock(slide, [(0, 0), (256, 256)]))
    data = slide.read_bytes()
    assert all(file.read_bytes()[-60:] in data for file in found.values())
