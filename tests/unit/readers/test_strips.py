"""Pictures in strips, read by the native reader as tiles as wide as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from dplabtools._typing import IntArray
from dplabtools.errors import SlideReadError
from dplabtools.extraction.plan import blocks
from dplabtools.geometry.resolution import Level
from dplabtools.readers.native import strips
from dplabtools.readers.native.reader import NativeReader
from dplabtools.readers.opening import open_reader
from dplabtools.readers.slide import Slide
from dplabtools.records.patch_table import PatchTable
from dplabtools.records.pixel_buffer import PixelBuffer
from dplabtools.settings import Settings
from dplabtools.testing.tissue import paint_tissue

TISSUE = paint_tissue((533, 389), seed=3, mpp=0.5)
EXACT: dict[str, dict[str, Any]] = {
    "single rows": {"rowsperstrip": 1},
    "none": {"rowsperstrip": 16},
    "none, in one": {"rowsperstrip": 389},
    "LZW": {"rowsperstrip": 16, "compression": "lzw"},
    "LZW, predicted": {"rowsperstrip": 7, "compression": "lzw", "predictor": True},
    "LZW, in one": {"rowsperstrip": 389, "compression": "lzw"},
    "deflate": {"rowsperstrip": 8, "compression": "deflate", "predictor": True},
    "zstd": {"rowsperstrip": 64, "compression": "zstd"},
    "PackBits": {"rowsperstrip": 8, "compression": "packbits"},
    "WebP": {"rowsperstrip": 64, "compression": "webp"},
    "JPEG 2000": {
        "rowsperstrip": 64,
        "compression": "jpeg2000",
        "compressionargs": {"reversible": True},
    },
}


def written(file: Path, pixels: Any = TISSUE, **options: Any) -> Path:
    given: dict[str, Any] = {"photometric": "rgb", "metadata": None, **options}
    tifffile.imwrite(file, pixels, **given)
    return file


def auto(file: Path) -> Any:
    return open_reader(file, settings=Settings())


@pytest.mark.parametrize("kind", EXACT)
def test_strips_come_out_as_they_went_in(tmp_path: Path, kind: str) -> None:
    file = written(tmp_path / "a.tif", **EXACT[kind])
    with auto(file) as reader:
        assert reader.library == "native"
        around = reader.read((-3, -5), 0, (540, 400))
        inside = reader.read((101, 93), 0, (300, 200))
    np.testing.assert_array_equal(around[5:394, 3:536], TISSUE)
    assert (around[:5] == 255).all()
    assert (around[394:] == 255).all()
    np.testing.assert_array_equal(inside, TISSUE[93:293, 101:401])


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2)])
def test_strips_of_jpeg_are_what_pillow_shows(
    tmp_path: Path, subsampling: tuple[int, int]
) -> None:
    file = written(
        tmp_path / "a.tif", rowsperstrip=16, compression="jpeg", subsampling=subsampling
    )
    with (
        auto(file) as reader,
        open_reader(file, settings=Settings(slide_library="pillow")) as other,
    ):
        assert reader.library == "native"
        np.testing.assert_array_equal(
            reader.read((0, 0), 0, (533, 389)), other.read((0, 0), 0, (533, 389))
        )


def test_grey_strips_are_grey(tmp_path: Path) -> None:
    file = written(
        tmp_path / "a.tif", TISSUE[..., 1], photometric="minisblack", rowsperstrip=16
    )
    with auto(file) as reader:
        assert reader.library == "native"
        pixels = reader.read((0, 0), 0, (533, 389))
    np.testing.assert_array_equal(pixels, np.repeat(TISSUE[..., 1:2], 3, axis=2))


@pytest.mark.parametrize("rows", [389, 97, 60])
def test_large_strips_without_compression_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(strips, "_CUT", 10_000)
    file = written(tmp_path / "a.tif", rowsperstrip=rows)
    with NativeReader(file, background=(255, 255, 255)) as reader:
        level = reader.index.levels[0]
        assert level.codec.nbytes <= 10_000
        assert level.counts.sum() == TISSUE.nbytes
        np.testing.assert_array_equal(reader.read((0, 0), 0, (533, 389)), TISSUE)


def test_strips_that_are_cut_may_lie_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first two change places: no piece reaches from one into the other."""
    monkeypatch.setattr(strips, "_CUT", 10_000)
    file = written(tmp_path / "a.tif", rowsperstrip=97)
    with tifffile.TiffFile(file, mode="r+") as tiff:
        tag: Any = tiff.pages.first.tags["StripOffsets"]
        first, second, *others = tag.value
        tag.overwrite((second, first, *others))
    with NativeReader(file, background=(255, 255, 255)) as reader:
        pixels = reader.read((0, 0), 0, (533, 389))
    swapped = np.concatenate((TISSUE[97:194], TISSUE[:97], TISSUE[194:]))
    np.testing.assert_array_equal(pixels, swapped)


def test_strips_too_large_to_be_decoded_whole_are_left_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strips, "LARGEST_STRIP", 100_000)
    file = written(tmp_path / "a.tif", rowsperstrip=389, compression="lzw")
    with auto(file) as reader:
        assert reader.library == "pillow"  # tiffslide would decode it for each patch
        np.testing.assert_array_equal(reader.read((0, 0), 0, (533, 389)), TISSUE)


def test_a_damaged_strip_costs_the_patches_that_it_touches(tmp_path: Path) -> None:
    file = written(tmp_path / "a.tif", rowsperstrip=16, compression="deflate")
    with tifffile.TiffFile(file) as tiff:
        begin, count = (
            each[5] for each in (tiff.pages[0].dataoffsets, tiff.pages[0].databytecounts)
        )
    data = bytearray(file.read_bytes())
    data[begin : begin + count] = b"\xff" * count
    file.write_bytes(data)
    with auto(file) as reader:
        np.testing.assert_array_equal(reader.read((0, 0), 0, (533, 80)), TISSUE[:80])
        np.testing.assert_array_equal(reader.read((0, 96), 0, (533, 200)), TISSUE[96:296])
        with pytest.raises(SlideReadError, match=r"^a\.tif: "):
            reader.read((40, 60), 0, (64, 64))


def chunks_of(file: Path, corners: IntArray) -> tuple[Slide, list[IntArray]]:
    """Return an open slide, and patches of 64 pixels in chunks of 40."""
    table = PatchTable(
        slide=str(file),
        resolution=Level(0),
        origins=corners,
        sizes=np.full((len(corners), 2), 64),
        codes=np.zeros(len(corners), dtype=np.int64),
        labels=("",),
    )
    slide = Slide(file, settings=Settings())
    parts = blocks(
        table,
        np.arange(len(corners)),
        views=1,
        total=160,
        workers=1,
        banded=slide.pyramid.banded,
    )
    return slide, list(parts)


def test_each_strip_is_decoded_once_for_all_patches_of_a_band(tmp_path: Path) -> None:
    wide = np.tile(TISSUE[:256], (1, 4, 1))
    file = written(tmp_path / "a.tif", wide, rowsperstrip=16, compression="lzw")
    grid = np.stack(np.meshgrid(range(0, 2048, 64), range(0, 256, 64)), axis=-1)
    corners = grid.reshape(-1, 2).astype(np.int64)
    slide, parts = chunks_of(file, corners)
    decoded: list[IntArray] = []
    with slide:
        for part in parts:
            buffer = PixelBuffer.allocated(np.full((len(part), 2), 64))
            assert slide.batch_reader is not None
            errors = slide.batch_reader.read_into(corners[part], 0, buffer, decoded=decoded)
            assert not errors
            for place, (x, y) in enumerate(corners[part].tolist()):
                np.testing.assert_array_equal(
                    buffer.picture(place), wide[y : y + 64, x : x + 64]
                )
    assert sorted(np.concatenate(decoded).tolist()) == list(range(16))
    assert len(parts) == 4
