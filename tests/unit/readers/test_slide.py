from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dplabtools._typing import Pixels, Point, Size
from dplabtools.errors import (
    ConfigError,
    LevelOutOfRangeError,
    MissingMppError,
    ParameterError,
    RegionOutOfBoundsError,
    ResolutionError,
    UnknownFilterError,
)
from dplabtools.geometry.resolution import Level, Mpp
from dplabtools.readers.pixels import level_origin, read_clipped
from dplabtools.readers.resampling import Resizing
from dplabtools.readers.slide import Slide
from dplabtools.settings import Settings
from dplabtools.testing.make_slide import make_slide

FILTERS = ["NEAREST", "BOX", "BILINEAR", "HAMMING", "BICUBIC", "LANCZOS"]
WHITE = (255, 255, 255)


def opened(path: Path, mode: str | None = None, *mpps: float, **changes: Any) -> Slide:
    settings = Settings(**changes)
    return Slide(path, settings=settings, resampling_mode=mode, extra_mpps=mpps)


@pytest.fixture
def slide(lossless_slide: Path) -> Iterator[Slide]:
    with opened(lossless_slide) as slide:
        yield slide


@lru_cache(maxsize=4)
def whole_level(path: Path, level: int = 0) -> Pixels:
    with opened(path) as slide:
        return slide.reader.read((0, 0), level, slide.pyramid.sizes[level])


def cropped(image: Pixels, corner: Point, size: Size) -> Pixels:
    """A region of an image, white where the image is not: pixel by pixel."""
    x = np.arange(corner[0], corner[0] + size[0])
    y = np.arange(corner[1], corner[1] + size[1])
    region = np.full((size[1], size[0], 3), 255, np.uint8)
    there_x = (x >= 0) & (x < image.shape[1])
    there_y = (y >= 0) & (y < image.shape[0])
    region[np.ix_(there_y, there_x)] = image[np.ix_(y[there_y], x[there_x])]
    return region


def distance(one: Pixels, other: Pixels) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


# -- native levels -----------------------------------------------------------------------


@given(
    origin=st.tuples(st.integers(-60, 1024), st.integers(-60, 768)),
    size=st.tuples(st.integers(61, 150), st.integers(61, 150)),
)
def test_level_0_is_what_a_slice_of_the_whole_image_is(
    lossless_slide: Path, origin: Point, size: Size
) -> None:
    image = whole_level(lossless_slide)
    with opened(lossless_slide) as slide:
        np.testing.assert_array_equal(
            slide.read(origin, Level(0), size), cropped(image, origin, size)
        )


@given(
    pixel=st.tuples(st.integers(-30, 255), st.integers(-30, 191)),
    size=st.tuples(st.integers(31, 150), st.integers(31, 150)),
    library=st.sampled_from(["openslide", "tiffslide"]),
)
def test_a_reduced_level_is_a_slice_where_its_pixels_are_met(
    lossless_slide: Path, pixel: Point, size: Size, library: str
) -> None:
    pytest.importorskip("tiffslide")
    image = whole_level(lossless_slide, 2)
    with opened(lossless_slide, slide_library=library) as slide:
        region = slide.read((pixel[0] * 4, pixel[1] * 4), Level(2), size)
    np.testing.assert_array_equal(region, cropped(image, pixel, size))


def test_an_mpp_within_the_margin_is_read_from_the_level(slide: Slide) -> None:
    expected = slide.read((100, 60), Level(1), (50, 40))
    for mpp in (1.0, 1.0029, 0.9971):
        np.testing.assert_array_equal(slide.read((100, 60), Mpp(mpp), (50, 40)), expected)


def test_real_black_stays_black_beside_the_edge(tmp_path: Path) -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "black.png")
    with opened(tmp_path / "black.png") as slide:
        region = slide.read((-8, -8), Level(0), (40, 40))
    assert (region[8:, 8:] == 0).all()
    assert (region[:8] == 255).all()


@pytest.mark.parametrize("origin", [(1025, 0), (0, 769), (-64, 0), (0, -64)])
def test_a_region_beside_the_slide_is_an_error(slide: Slide, origin: Point) -> None:
    with pytest.raises(RegionOutOfBoundsError, match=r"^lossless\.svs: "):
        slide.read(origin, Level(0), (64, 64))


def test_a_corner_on_the_edge_gives_background(slide: Slide) -> None:
    assert (slide.read((1024, 768), Level(0), (8, 8)) == 255).all()


def test_a_level_that_is_not_there(slide: Slide) -> None:
    with pytest.raises(LevelOutOfRangeError):
        slide.read((0, 0), Level(3), (8, 8))


# -- "tile" ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("mpp", [0.37, 0.8, 1.7])
def test_tile_mode_is_the_documented_formula(
    lossless_slide: Path, mpp: float, name: str
) -> None:
    image = whole_level(lossless_slide)
    factor = mpp / 0.5
    with opened(lossless_slide, "tile", resampling_filter=name) as slide:
        for origin in ((301, 207), (-20, -11), (990, 700)):
            size = (65, 50)
            source = (round(65 * factor), round(50 * factor))
            region = Image.fromarray(cropped(image, origin, source))
            expected = np.asarray(region.resize(size, Image.Resampling[name]))
            np.testing.assert_array_equal(slide.read(origin, Mpp(mpp), size), expected)


def test_tile_mode_reads_the_closest_finer_level_if_told_to(lossless_slide: Path) -> None:
    image = whole_level(lossless_slide, 1)
    with opened(lossless_slide, "tile", level_zero_resampling=False) as slide:
        region = slide.read((100, 60), Mpp(1.5), (64, 64))
    part = Image.fromarray(image[30:126, 50:146])
    expected = np.asarray(part.resize((64, 64), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(region, expected)


# -- "wsi" -------------------------------------------------------------------------------


@given(
    mpp=st.sampled_from([0.31, 0.77, 1.3, 1.5, 4.4]),
    name=st.sampled_from(FILTERS),
    place=st.tuples(st.floats(-0.05, 1), st.floats(-0.05, 1)),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
)
def test_wsi_mode_gives_the_pixels_of_resizing_the_whole_level(
    lossless_slide: Path, mpp: float, name: str, place: tuple[float, float], size: Size
) -> None:
    origin = (round(place[0] * 1024), round(place[1] * 768))
    factor = mpp / 0.5
    if any(o < 0 and o + round(s * factor) <= 0 for o, s in zip(origin, size, strict=True)):
        return
    image = Image.fromarray(whole_level(lossless_slide))
    whole = (round(1024 / factor), round(768 / factor))
    resized = np.asarray(image.resize(whole, Image.Resampling[name]))
    corner = (round(origin[0] / factor), round(origin[1] / factor))
    with opened(lossless_slide, "wsi", mpp, resampling_filter=name) as slide:
        region = slide.read(origin, Mpp(mpp), size)
    assert distance(region, cropped(resized, corner, size)) <= 1


def test_wsi_mode_from_a_reduced_level(lossless_slide: Path) -> None:
    image = Image.fromarray(whole_level(lossless_slide, 1))
    resized = np.asarray(image.resize((341, 256), Image.Resampling.LANCZOS))
    with opened(lossless_slide, "wsi", 1.5, level_zero_resampling=False) as slide:
        region = slide.read((300, 150), Mpp(1.5), (120, 100))
        assert slide.source(Mpp(1.5)).level == 1
    assert distance(region, cropped(resized, (100, 50), (120, 100))) <= 1


def test_wsi_mode_reads_no_more_than_the_filter_sees(
    lossless_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Size] = []
    with opened(lossless_slide, "wsi", 1.5) as slide:
        read = slide.reader.read

        def spy(origin: Point, level: int, size: Size) -> Pixels:
            asked.append(size)
            return read(origin, level, size)

        monkeypatch.setattr(slide.reader, "read", spy)
        slide.read((300, 150), Mpp(1.5), (40, 40))
    assert len(asked) == 1
    assert max(asked[0]) < 40 * 3 + 40


def test_the_whole_image_is_made_in_blocks_that_fit_together(
    lossless_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dplabtools.readers.resampling._BLOCK", 200)
    image = Image.fromarray(whole_level(lossless_slide))
    expected = np.asarray(image.resize((394, 295), Image.Resampling.LANCZOS))
    with opened(lossless_slide, "wsi", 1.3) as slide:
        made = slide.image(slide.source(Mpp(1.3)))
    assert made.size == (394, 295)
    assert distance(np.asarray(made), expected) <= 1


def test_wsi_mode_knows_only_the_mpps_it_was_given(lossless_slide: Path) -> None:
    with opened(lossless_slide, "wsi", 1.3, 1.7) as slide:
        slide.read((0, 0), Mpp(1.7), (8, 8))
        slide.read((0, 0), Mpp(1.0), (8, 8))  # that of a level
        with pytest.raises(ResolutionError, match="not among extra_mpps"):
            slide.read((0, 0), Mpp(1.6), (8, 8))


@given(
    original=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    whole=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    corner=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)),
    extent=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    resample=st.sampled_from([f for f in Image.Resampling if f.name != "BOX"]),
)
def test_a_part_of_a_resized_image(
    original: Size,
    whole: Size,
    corner: tuple[float, float],
    extent: tuple[float, float],
    resample: Image.Resampling,
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (original[1], original[0], 3))
    image = noise.astype(np.uint8)
    x, y = (int(share * n) for share, n in zip(corner, whole, strict=True))
    width = 1 + int(extent[0] * (whole[0] - x - 1))
    height = 1 + int(extent[1] * (whole[1] - y - 1))

    def fetch(at: Point, size: Size) -> Pixels:
        return image[at[1] : at[1] + size[1], at[0] : at[0] + size[0]]

    resizing = Resizing(original=original, whole=whole, resample=resample)
    part = resizing.part((x, y), (width, height), fetch=fetch)
    resized = np.asarray(Image.fromarray(image).resize(whole, resample))
    assert distance(part, resized[y : y + height, x : x + width]) <= 1


# -- arguments ---------------------------------------------------------------------------


def test_an_mpp_of_no_level_takes_a_mode(slide: Slide) -> None:
    with pytest.raises(ResolutionError, match=r'resampling_mode="tile"'):
        slide.read((0, 0), Mpp(0.7), (8, 8))


@pytest.mark.parametrize(
    ("mode", "mpps", "message"),
    [
        ("whole", (), "resampling_mode must be"),
        ("wsi", (), "takes extra_mpps"),
        ("tile", (0.7,), "extra_mpps go with"),
        (None, (0.7,), "extra_mpps go with"),
        ("wsi", (0.7, 1), "must be floats"),
        ("wsi", (0.7, 0.7), "holds a value twice"),
        ("wsi", (0.7, 10.1), "out of the range"),
        ("wsi", (0.0001,), "out of the range"),
    ],
)
def test_mode_and_mpps_have_to_make_sense(
    made_slide: Path, mode: str | None, mpps: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        opened(made_slide, mode, *mpps)
    assert isinstance(caught.value, ParameterError | ResolutionError)


def test_resampling_takes_an_mpp(tmp_path: Path) -> None:
    file = make_slide(tmp_path / "bare.svs", size=(256, 256), mpp=None)
    with pytest.raises(MissingMppError, match=r"^bare\.svs: .*set_external_mpp"):
        opened(file, "tile")
    with opened(file) as slide:
        assert slide.pyramid.mpp is None
        assert slide.read((0, 0), Level(0), (8, 8)).shape == (8, 8, 3)
        with pytest.raises(MissingMppError):
            slide.read((0, 0), Mpp(0.5), (8, 8))
    with opened(file, "tile", external_mpp=0.25) as slide:
        assert slide.read((0, 0), Mpp(0.7), (8, 8)).shape == (8, 8, 3)


@pytest.mark.parametrize("kind", [ConfigError, KeyError, ValueError, UnknownFilterError])
def test_an_unknown_filter_is_named_with_those_there_are(
    made_slide: Path, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match="no resampling filter 'SINC'; choose one of NEAREST"):
        opened(made_slide, "tile", resampling_filter="SINC")


def test_an_overview_is_the_whole_slide_small(slide: Slide) -> None:
    overview = slide.overview(256, most_read=10**6)
    assert overview is not None
    assert overview.size == (256, 192)
    # The level of just that size is taken as it is.
    assert np.array_equal(np.asarray(overview), slide.read((0, 0), Level(2), (256, 192)))


def test_an_overview_reads_no_more_than_it_may(tmp_path: Path) -> None:
    file = make_slide(tmp_path / "a.svs", size=(1024, 768), levels=1)  # with a thumbnail
    flat = make_slide(tmp_path / "b.tif", size=(1024, 768), levels=1, vendor="generic")
    few = 10_000
    with opened(file) as slide:
        embedded = slide.overview(200, most_read=few)
        assert embedded is not None
        assert embedded.size == (200, 150)
        exact = slide.overview(200, most_read=10**6)
        assert exact is not None
        difference = np.asarray(exact, dtype=float) - np.asarray(embedded, dtype=float)
        assert np.abs(difference).mean() < 20  # the same slide
    with opened(flat) as slide:
        assert slide.overview(200, most_read=few) is None
        assert slide.overview(200, most_read=10**6) is not None


def test_an_overview_is_a_coarser_level_before_it_is_none(tmp_path: Path) -> None:
    file = make_slide(tmp_path / "b.tif", size=(1024, 768), levels=3, vendor="generic")
    with opened(file) as slide:
        overview = slide.overview(1000, most_read=60_000)
    assert overview is not None
    assert overview.size == (256, 192)


def test_a_slide_closes_its_reader(made_slide: Path) -> None:
    with opened(made_slide) as slide:
        pass
    assert slide.reader.native is None


# -- clipping ----------------------------------------------------------------------------


def test_a_level_pixel_is_found_in_spite_of_rounding() -> None:
    assert level_origin((9, 27), 3.0000000000000004) == (3, 9)
    assert level_origin((-1, 5), 2.0) == (-1, 2)


@given(
    origin=st.tuples(st.integers(-30, 30), st.integers(-30, 30)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_clipping_reads_only_what_is_there(origin: Point, size: Size) -> None:
    image = np.random.default_rng(0).integers(0, 256, (13, 17, 3)).astype(np.uint8)

    def fetch(at: Point, extent: Size) -> Pixels:
        assert min(at) >= 0
        assert at[0] + extent[0] <= 17
        assert at[1] + extent[1] <= 13
        return image[at[1] : at[1] + extent[1], at[0] : at[0] + extent[0]]

    region = read_clipped(fetch, origin, size, level_size=(17, 13), background=WHITE)
    np.testing.assert_array_equal(region, cropped(image, origin, size))
