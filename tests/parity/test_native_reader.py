"""Fast ways of reading give the pixels of the slow ones."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from dplabtools import config
from dplabtools._typing import IntArray, Pixels
from dplabtools.geometry.resolution import Level, Mpp, Resolution
from dplabtools.readers.native.cache import TILES, DecodedTile
from dplabtools.readers.native.copying import Copier
from dplabtools.readers.native.reader import NativeReader
from dplabtools.readers.openslide import OpenSlideReader
from dplabtools.readers.regions import read_regions, reads_together
from dplabtools.readers.slide import Slide
from dplabtools.records.pixel_buffer import PixelBuffer
from dplabtools.settings import Settings
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    MultiResMemPatchExtractorPool,
    PatchesMock,
)
from dplabtools.testing.make_slide import make_slide

WHITE = (255, 255, 255)
MADE: dict[str, dict[str, Any]] = {
    "aperio, 240 px tiles": {"tile": 240, "size": (1000, 701)},
    "generic, 64 px tiles": {"tile": 64, "vendor": "generic", "size": (601, 503)},
    "lossless": {"compression": "deflate", "size": (530, 390), "tile": 128},
    "raw": {"compression": "none", "size": (530, 390), "tile": 32},
    "JPEG 2000": {"compression": "jpeg2000", "size": (530, 390), "tile": 128},
}
REAL = ("CMU-1-Small-Region.svs", "tcga-cr-7395-01a-01-ts1.svs")


@dataclass(frozen=True)
class Pair:
    """A slide, opened natively and by OpenSlide."""

    file: Path
    native: NativeReader
    other: OpenSlideReader
    worst: int

    def check(self, x: int, y: int, width: int, height: int) -> None:
        ours = self.native.read((x, y), 0, (width, height))
        theirs = self.other.read((x, y), 0, (width, height))
        assert np.abs(ours.astype(int) - theirs).max() <= self.worst


@cache
def pair(file: Path, worst: int) -> Pair:
    native = NativeReader(file, background=WHITE)
    return Pair(file, native, OpenSlideReader(file, background=WHITE), worst)


@pytest.fixture(scope="session", autouse=True)
def closed() -> Iterator[None]:
    yield
    pair.cache_clear()


@pytest.fixture(scope="session", params=MADE)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    file = tmp_path_factory.mktemp("parity") / "made.tif"
    make_slide(file, **MADE[request.param])
    return pair(file, int(request.param == "JPEG 2000"))


places = st.tuples(st.floats(-0.3, 1.1), st.floats(-0.3, 1.1))
sides = st.integers(1, 400)


@settings(max_examples=60)
@given(place=places, width=sides, height=sides)
def test_level_0_is_what_openslide_gives(
    made: Pair, place: tuple[float, float], width: int, height: int
) -> None:
    size = made.native.sizes[0]
    made.check(int(place[0] * size[0]), int(place[1] * size[1]), width, height)


@pytest.mark.parametrize("high", [1, 3])
@pytest.mark.parametrize("wide", [1, 2])
def test_whole_tiles_are_decoded_to_where_they_go(
    made: Pair, monkeypatch: pytest.MonkeyPatch, wide: int, high: int
) -> None:
    side = made.native.index.levels[0].tile[0]
    copied: list[DecodedTile] = []
    plain = Copier.copy

    def copy(copier: Copier, tile: DecodedTile, begin: int, end: int) -> None:
        if tile.pixels.strides[0]:  # else it is background
            copied.append(tile)
        plain(copier, tile, begin, end)

    monkeypatch.setattr(Copier, "copy", copy)
    width, height = made.native.sizes[0]
    size = (wide * side, high * side)
    corners = [(x, y) for y in range(0, height, size[1]) for x in range(0, width, size[0])]
    buffer = PixelBuffer.allocated(np.full((len(corners), 2), size))
    TILES.clear()
    assert not made.native.read_into(np.array(corners), 0, buffer)
    for number, corner in enumerate(corners):
        theirs = made.other.read(corner, 0, size)
        apart = np.abs(buffer.picture(number).astype(int) - theirs)
        assert apart.max() <= made.worst
    whole = (width // side) * (height // side) if wide == 1 else 0
    assert len(copied) == -(-width // side) * -(-height // side) - whole


def test_a_tile_that_others_need_too_goes_to_all_of_them(made: Pair) -> None:
    side = made.native.index.levels[0].tile[0]
    corners = [(0, 0), (side // 2, 0)]
    buffer = PixelBuffer.allocated(np.full((2, 2), side))
    TILES.clear()
    assert not made.native.read_into(np.array(corners), 0, buffer)
    for number, corner in enumerate(corners):
        theirs = made.other.read(corner, 0, (side, side))
        apart = np.abs(buffer.picture(number).astype(int) - theirs)
        assert apart.max() <= made.worst


@pytest.mark.parametrize("name", REAL)
@settings(max_examples=40)
@given(place=places, width=sides, height=sides)
def test_level_0_of_real_slides_is_what_openslide_gives(
    slides_dir: Path, name: str, place: tuple[float, float], width: int, height: int
) -> None:
    both = pair(slides_dir / name, int(name.startswith("tcga")))
    size = both.native.sizes[0]
    both.check(int(place[0] * size[0]), int(place[1] * size[1]), width, height)


def test_reduced_levels_are_the_stored_tiles(made: Pair) -> None:
    with tifffile.TiffFile(made.file) as tiff:
        pages = [page for page in tiff.pages if page.is_tiled]  # type: ignore[union-attr]
        stored = [page.asarray() for page in pages]
    assert len(stored) == 3
    for level, pixels in enumerate(stored):
        height, width = pixels.shape[:2]
        ours = made.native.read((0, 0), level, (width, height))
        assert np.abs(ours.astype(int) - pixels).max() <= made.worst


# -- many at once ------------------------------------------------------------------------


@pytest.fixture(scope="session")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slide]:
    file = make_slide(tmp_path_factory.mktemp("parity") / "many.svs", size=(1100, 800))
    with Slide(file, settings=Settings(), resampling_mode="tile") as slide:
        assert slide.reader.library == "native"
        yield slide


resolutions = st.lists(
    st.sampled_from((Level(0), Level(1), Level(2), Mpp(0.5), Mpp(0.77), Mpp(1.3))),
    min_size=1,
    max_size=4,
)
regions = st.lists(
    st.tuples(st.integers(-40, 1100), st.integers(-40, 800), st.integers(50, 300), sides),
    max_size=12,
)


def together(
    slide: Slide,
    views: list[Resolution],
    asked_for: list[tuple[int, int, int, int]],
    threads: ThreadPoolExecutor | None = None,
) -> tuple[list[Pixels], dict[int, Exception]]:
    sizes = np.array([area[2:] for area in asked_for], dtype=np.int64).reshape(-1, 2)
    buffer = PixelBuffer.allocated(np.repeat(sizes, len(views), axis=0))
    corners: IntArray = np.array([area[:2] for area in asked_for], dtype=np.int64)
    origins = np.repeat(corners.reshape(-1, 1, 2), len(views), axis=1)
    errors = read_regions(slide, views, origins, buffer=buffer, threads=threads)
    pictures = [buffer.picture(number) for number in range(len(buffer))]
    count = len(views)
    outs = [np.stack(pictures[item * count :][:count]) for item in range(len(asked_for))]
    return outs, errors


@settings(max_examples=80)
@given(views=resolutions, asked_for=regions)
def test_many_at_once_are_what_each_is_alone(
    slide: Slide, views: list[Resolution], asked_for: list[tuple[int, int, int, int]]
) -> None:
    assert reads_together(slide, views)
    TILES.clear()
    outs, errors = together(slide, views, asked_for)
    for item, (x, y, width, height) in enumerate(asked_for):
        try:
            alone = [slide.read((x, y), view, (width, height)) for view in views]
        except ValueError as error:
            assert str(errors[item]) == str(error)  # noqa: PT017
        else:
            np.testing.assert_array_equal(outs[item], alone)


def test_threads_give_what_one_gives(slide: Slide) -> None:
    rng = np.random.default_rng(0)
    asked_for = [
        (int(x), int(y), 150, 90) for x, y in rng.integers(0, (1000, 700), (60, 2))
    ]
    views: list[Resolution] = [Level(0), Level(1), Mpp(0.77)]
    alone, _ = together(slide, views, asked_for)
    with ThreadPoolExecutor(4) as threads:
        for _ in range(3):
            TILES.clear()
            shared, errors = together(slide, views, asked_for, threads)
            assert not errors
            for ours, theirs in zip(shared, alone, strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_small_parts_give_what_one_gives(
    slide: Slide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for resampling is cut up to save memory."""
    asked_for = [(x, 70, 100, 80) for x in range(0, 900, 60)]
    views: list[Resolution] = [Mpp(1.3), Level(0)]
    alone, _ = together(slide, views, asked_for)
    monkeypatch.setattr("dplabtools.readers.regions._UNSCALED_BYTES", 300_000)
    for ours, theirs in zip(together(slide, views, asked_for)[0], alone, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_each_tile_is_decoded_once(slide: Slide, monkeypatch: pytest.MonkeyPatch) -> None:
    from dplabtools.readers.native.decode import TileCodec

    decoded: list[bytes] = []
    plain = TileCodec.decode

    def decode(codec: TileCodec, data: bytes, out: Pixels) -> None:
        decoded.append(data)
        plain(codec, data, out)

    monkeypatch.setattr(TileCodec, "decode", decode)
    TILES.clear()
    asked_for = [(x, y, 200, 200) for y in range(0, 600, 50) for x in range(0, 900, 50)]
    together(slide, [Level(0)], asked_for)
    assert len(decoded) == len(set(decoded)) == 5 * 3  # in tiles of 256


# -- the pools ---------------------------------------------------------------------------


def patches(file: Path) -> list[PatchesMock]:
    rng = np.random.default_rng(1)
    corners = np.unique(rng.integers(-30, (980, 700), (90, 2)), axis=0).tolist()
    rows = [((x, y), (96, 80), "ab"[i % 2]) for i, (x, y) in enumerate(corners)]
    return [PatchesMock(patch_data=rows, wsi_file=str(file), level_or_mpp=0)]


def memory_pixels(pool: list[PatchesMock], library: str, workers: int) -> list[Pixels]:
    config.slide_library = library
    shared: dict[str, Any] = {"proc_num_workers": workers, "thread_num_workers": 2}
    with MemPatchExtractorPool(patches_pool=pool, **shared) as single:
        found = [np.asarray(image) for image, _ in single.patch_list]
    with MultiResMemPatchExtractorPool(
        patches_pool=pool, levels_or_mpps=[0, 0.8], resampling_mode="tile", **shared
    ) as several:
        found += [np.asarray(image) for each in several.patch_list for image, _ in each]
    return found


def disk_bytes(pool: list[PatchesMock], library: str, folder: Path) -> dict[str, bytes]:
    config.slide_library = library
    found: dict[str, bytes] = {}
    for kind, build in (
        ("single", DiskPatchExtractorPool),
        ("several", MultiResDiskPatchExtractorPool),
    ):
        out = folder / library / kind
        out.mkdir(parents=True)
        more: dict[str, Any] = {} if kind == "single" else {"levels_or_mpps": [0, 0.8]}
        more |= {} if kind == "single" else {"resampling_mode": "tile"}
        made = build(
            patches_pool=pool,
            proc_num_workers=1,
            thread_num_workers=2,
            output_dir=str(out),
            image_type="bmp",
            **more,
        )
        (manifest_id,) = made.manifest_ids
        for file in sorted(out.rglob("*.bmp")):
            name = file.relative_to(folder / library).as_posix()
            found[name.replace(manifest_id, "ID")] = file.read_bytes()
    return found


def test_every_pool_gives_the_same_by_both_readers(tmp_path: Path, slide: Slide) -> None:
    pool = patches(Path(slide.path))
    expected = memory_pixels(pool, "openslide", 1)
    for workers in (1, 2):
        found = memory_pixels(pool, "native", workers)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert disk_bytes(pool, "native", tmp_path) == disk_bytes(pool, "openslide", tmp_path)
