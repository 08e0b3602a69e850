"""Patches out of tiles that are shrunk in being decoded, by ``resampling_mode="fast"``."""

from __future__ import annotations

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from dplabtools._typing import Pixels, Point, Size
from dplabtools.geometry.resolution import Mpp
from dplabtools.readers.native.decode import JPEG_2000_RGB, TileCodec
from dplabtools.readers.native.reader import NativeReader
from dplabtools.readers.passthrough import stored_regions
from dplabtools.readers.regions import read_regions
from dplabtools.readers.slide import Slide
from dplabtools.records.pixel_buffer import PixelBuffer
from dplabtools.settings import Settings
from dplabtools.testing.make_slide import make_slide

MPP = 0.25
TILE = 128


@pytest.fixture(scope="module", params=[(1024, 768), (1000, 699)], ids=str)
def slide(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("shrunk") / "a.svs"
    return make_slide(file, size=request.param, tile=TILE, levels=1, mpp=MPP, power=40)


def opened(slide: Path, mode: str = "fast", **settings: str) -> Slide:
    return Slide(slide, settings=Settings(**settings), resampling_mode=mode)  # type: ignore[arg-type]


def shrunk_by_pillow(slide: Path, shrink: int) -> Pixels:
    """Return the whole level, each tile decoded smaller by Pillow."""
    side = TILE // shrink
    with NativeReader(slide, background=(255, 255, 255)) as reader:
        level = reader.index.levels[0]
    rows = len(level.counts) // level.columns
    whole = np.zeros((rows * side, level.columns * side, 3), np.uint8)
    data = slide.read_bytes()
    for number, (offset, count) in enumerate(zip(level.offsets, level.counts, strict=True)):
        image = Image.open(io.BytesIO(level.codec.complete(data[offset : offset + count])))
        image.draft("RGB", (side, side))
        y, x = (place * side for place in divmod(number, level.columns))
        whole[y : y + side, x : x + side] = np.asarray(image)
    return whole


@pytest.mark.parametrize("shrink", [2, 4, 8])
def test_where_a_tile_shrinks_to_the_mpp_its_pixels_are_the_decoders(
    slide: Path, shrink: int
) -> None:
    whole = shrunk_by_pillow(slide, shrink)
    with opened(slide) as fast:
        found = fast.read((5 * shrink, 3 * shrink), Mpp(MPP * shrink), (70, 60))
    np.testing.assert_array_equal(found, whole[3:63, 5:75])


@pytest.mark.parametrize("factor", [3.0, 5.2])
def test_else_the_rest_is_resampled(slide: Path, factor: float) -> None:
    shrink = 2 if factor < 4 else 4
    whole = shrunk_by_pillow(slide, shrink)
    side = round(50 * factor / shrink)
    with opened(slide) as fast:
        found = fast.read((8 * shrink, 4 * shrink), Mpp(MPP * factor), (50, 50))
    image = Image.fromarray(whole[4 : 4 + side, 8 : 8 + side])
    expected = np.asarray(image.resize((50, 50), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("factor", [2.0, 3.0])
def test_many_regions_are_what_each_is_alone(slide: Path, factor: float) -> None:
    """Inside, across the border, and at odd places."""
    corners = [(0, 0), (2, 4), (301, 77), (-40, -30), (900, 600)]
    size = (64, 48)
    buffer = PixelBuffer.allocated(np.tile(size, (len(corners), 1)))
    with opened(slide) as fast:
        wanted = (Mpp(MPP * factor),)
        errors = read_regions(fast, wanted, np.array(corners)[:, np.newaxis], buffer=buffer)
        assert not errors
        for number, corner in enumerate(corners):
            alone = fast.read(corner, wanted[0], size)
            np.testing.assert_array_equal(buffer.picture(number), alone)


def difference(slide: Path, corner: Point, factor: float, size: Size) -> float:
    """Return by how many grey values it differs from the exact way, on average."""
    with opened(slide) as fast, opened(slide, "tile") as exact:
        both = [each.read(corner, Mpp(MPP * factor), size) for each in (fast, exact)]
    return float(np.abs(np.subtract(*both, dtype=int)).mean())


def test_pixels_are_close_to_exact_ones_and_no_more(slide: Path) -> None:
    assert 0 < difference(slide, (100, 100), 2.0, (256, 256)) < 5


def test_a_patch_begins_at_the_nearest_pixel(slide: Path) -> None:
    whole = shrunk_by_pillow(slide, 8)
    with opened(slide) as fast:
        for x, column in ((16, 2), (19, 2), (21, 3), (24, 3)):
            found = fast.read((x, 0), Mpp(MPP * 8), (16, 16))
            np.testing.assert_array_equal(found, whole[:16, column : column + 16])


def test_below_twice_the_mpp_it_is_the_exact_way(slide: Path) -> None:
    assert difference(slide, (101, 99), 1.7, (128, 128)) == 0


def test_tiles_that_cannot_shrink_are_read_the_exact_way(tmp_path: Path) -> None:
    slide = make_slide(tmp_path / "a.svs", compression="deflate", mpp=MPP, levels=1)
    assert difference(slide, (101, 99), 2.0, (128, 128)) == 0


def test_stored_tiles_are_not_passed_on_for_shrunk_ones(slide: Path) -> None:
    origins, sizes = np.zeros((1, 1, 2), np.int64), np.array([(TILE, TILE)])
    with opened(slide) as fast:
        assert fast.source(Mpp(2 * MPP)).factor == 1.0
        assert not stored_regions(fast, [Mpp(2 * MPP)], origins, sizes=sizes)
        assert stored_regions(fast, [Mpp(MPP)], origins, sizes=sizes)


@pytest.fixture(scope="module")
def wavelets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("wavelets") / "a.svs"
    return make_slide(
        file, size=(700, 500), tile=TILE, levels=1, mpp=MPP, compression="jpeg2000"
    )


@pytest.mark.parametrize(("factor", "most"), [(2.0, 3.0), (3.0, 2.0), (4.0, 5.0)])
def test_wavelets_that_are_left_out_are_hardly_missed(
    wavelets: Path, factor: float, most: float
) -> None:
    assert 0 < difference(wavelets, (40, 80), factor, (100, 80)) < most


def test_shrunk_wavelets_lie_where_all_else_does(wavelets: Path) -> None:
    with opened(wavelets) as fast, opened(wavelets, "tile") as exact:
        found = fast.read((40, 40), Mpp(MPP * 4), (90, 80)).astype(int)
        centred, left, up = (
            exact.read((40 - x, 40 - y), Mpp(MPP * 4), (90, 80))
            for x, y in ((0, 0), (1, 0), (0, 1))
        )
    off = [np.abs(found - each).mean() for each in (centred, left, up)]
    assert off[0] < min(off[1:])


@pytest.mark.parametrize("grey", [False, True])
def test_streams_that_cannot_be_halved_so_often_are_averaged(*, grey: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    stored = pixels[..., 0].copy() if grey else pixels
    data = bytes(
        imagecodecs.jpeg2k_encode(
            stored, resolutions=2, reversible=True, codecformat="j2k", mct=False
        )
    )
    codec = TileCodec(compression=JPEG_2000_RGB, tile=(64, 64), grey=grey)
    out = np.empty((16, 16, 3), np.uint8)
    codec.decode(data, out)
    means = pixels.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    wanted = np.repeat(means[..., :1], 3, axis=2) if grey else means
    assert np.abs(out - wanted).max() <= 0.5
    smaller = np.empty((32, 32, 3), np.uint8)
    codec.decode(data, smaller)  # once it can
    assert smaller.std() > 20


def test_a_damaged_stream_is_noticed_where_it_is_shrunk() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    data = bytes(imagecodecs.jpeg2k_encode(pixels, reversible=True, codecformat="j2k"))
    codec = TileCodec(compression=JPEG_2000_RGB, tile=(64, 64))
    with pytest.raises(OSError, match="broken data stream"):
        codec.decode(data[:100], np.empty((32, 32, 3), np.uint8))
    codec = TileCodec(compression=JPEG_2000_RGB, tile=(128, 128))
    with pytest.raises(ValueError, match="claims"):
        codec.decode(data, np.empty((64, 64, 3), np.uint8))


@pytest.mark.parametrize(
    "name", ["CMU-1-Small-Region.svs", "OS-1-detail.ome.tif", "hamamatsu-dapi.ndpi"]
)
def test_real_slides_are_as_close_as_the_documentation_says(
    slides_dir: Path, name: str
) -> None:
    file = slides_dir / name
    with opened(file) as fast, opened(file, "tile") as exact:
        assert fast.pyramid.mpp is not None
        wanted = Mpp(3 * fast.pyramid.mpp)
        assert fast.source(wanted).shrink == 2
        width, height = fast.pyramid.size
        corner = (width // 4 * 2 - 96, height // 4 * 2 - 96)
        both = [slide.read(corner, wanted, (96, 96)) for slide in (fast, exact)]
    assert 0 < np.abs(np.subtract(*both, dtype=int)).mean() < 2
