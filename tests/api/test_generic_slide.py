from __future__ import annotations

import copy
import logging
import multiprocessing
import pickle
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from PIL import Image

from dplabtools import config
from dplabtools.errors import (
    ClosedSlideError,
    ConfigError,
    EnlargedPatchesWarning,
    LevelOutOfRangeError,
    MissingMppError,
    MissingSlideError,
    NotEnoughMemoryError,
    ParameterError,
    ParameterTypeError,
    RegionOutOfBoundsError,
    ResolutionError,
    ResolutionTypeError,
    SlideReadError,
    UnknownFilterError,
    UnsupportedSlideError,
)
from dplabtools.slides import GenericSlide
from dplabtools.testing.make_slide import make_slide


@pytest.fixture
def slide(made_slide: Path) -> Iterator[GenericSlide]:
    with GenericSlide(wsi_file=str(made_slide)) as slide:
        yield slide


@pytest.fixture(scope="session")
def bare_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide that states neither mpp nor power."""
    file = tmp_path_factory.mktemp("bare") / "bare.svs"
    return make_slide(file, size=(600, 500), mpp=None, power=None)


def region(slide: GenericSlide, level_or_mpp: Any) -> Image.Image:
    return slide.get_region(location=(300, 200), level_or_mpp=level_or_mpp, size=(64, 48))


# -- constructor -------------------------------------------------------------------------


def test_it_takes_keywords_only(made_slide: Path) -> None:
    with pytest.raises(TypeError):
        GenericSlide(str(made_slide))  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        GenericSlide()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        GenericSlide(wsi_file=made_slide, mode="tile")  # type: ignore[call-arg]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingSlideError, match=r"^gone\.svs: "):
        GenericSlide(wsi_file=tmp_path / "gone.svs")


@pytest.mark.parametrize(
    "arguments",
    [
        {"resampling_mode": "other"},
        {"resampling_mode": "wsi"},
        {"resampling_mode": "tile", "extra_mpps": [0.7]},
        {"extra_mpps": [0.7]},
        {"resampling_mode": "wsi", "extra_mpps": [1]},
        {"resampling_mode": "wsi", "extra_mpps": ["0.7"]},
        {"resampling_mode": "wsi", "extra_mpps": [0.7, 0.7]},
        {"resampling_mode": "wsi", "extra_mpps": [0.0005]},
        {"resampling_mode": "wsi", "extra_mpps": [10.5]},
    ],
)
def test_modes_and_mpps_that_make_no_sense(
    made_slide: Path, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"resampling_mode|extra_mpps|out of the range"):
        GenericSlide(wsi_file=made_slide, **arguments)


def test_unequal_mpps_are_an_error_where_one_is_asked_for_until_fewer_decimals_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stated = {"openslide.mpp-x": "0.251", "openslide.mpp-y": "0.259"}
    file = make_slide(tmp_path / "a.svs", size=(256, 256))
    monkeypatch.setattr(openslide.OpenSlide, "properties", stated)
    config.slide_library = "openslide"
    with GenericSlide(wsi_file=file) as slide:
        assert slide.mpp_data == (0.251, 0.259)
        assert slide.get_region((0, 0), 0, (8, 8)).size == (8, 8)
    with pytest.raises(ResolutionError, match=r"^a\.svs: .*0\.251.*0\.259"):
        GenericSlide(wsi_file=file, resampling_mode="tile")
    GenericSlide.set_mpp_round_decimal_places(1)
    with GenericSlide(wsi_file=file) as slide:
        assert slide.mpp_data == (0.3, 0.3)


def test_enlarging_is_warned_of_once_a_slide(made_slide: Path) -> None:
    with GenericSlide(wsi_file=made_slide, resampling_mode="tile") as slide:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                slide.get_region((0, 0), 0.25, (8, 8))
                slide.get_region((0, 0), 0.498, (8, 8))  # is level 0
                slide.get_region((0, 0), 0.7, (8, 8))
        (text,) = [str(each.message) for each in caught]
        assert text.startswith(
            "made.svs: 0.25 µm/px is finer than its finest level, of 0.5"
        )
        assert text.endswith("patches are that, enlarged 2 times")
        assert caught[0].category is EnlargedPatchesWarning
    with pytest.warns(EnlargedPatchesWarning, match="0.25 µm/px"):
        GenericSlide(wsi_file=made_slide, resampling_mode="wsi", extra_mpps=[0.25])


def test_values_for_single_slides_are_checked(made_slide: Path) -> None:
    with pytest.raises(ConfigError, match=r"the mpp of a\.svs must be a finite number"):
        GenericSlide.set_slide_mpps({"a.svs": 0.0})
    with pytest.raises(ConfigError, match="slide_mpps must be a mapping"):
        GenericSlide.set_slide_mpps(0.5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="override must be True or False"):
        GenericSlide.set_external_mpp(0.5, override=1)  # type: ignore[arg-type]
    GenericSlide.set_slide_mpps({made_slide: 0.25})
    with GenericSlide(wsi_file=made_slide) as slide:
        assert slide.slide_mpps == {str(made_slide): 0.25}
        assert pickle.loads(pickle.dumps(slide)).mpp_data == (0.25, 0.25)


# -- what it says of the slide -----------------------------------------------------------


def test_it_knows_its_file(tmp_path: Path, made_slide: Path) -> None:
    file = tmp_path / "a.b.svs"
    file.symlink_to(made_slide)
    with GenericSlide(wsi_file=str(file)) as slide:
        assert slide.slide_file == str(file)
        assert slide.slide_name == "a.b.svs"
        assert slide.slide_id == "a.b"
        assert str(slide) == str(["GenericSlide", "native", str(file)])


def test_it_knows_its_levels(slide: GenericSlide) -> None:
    assert slide.level_count == 3
    assert slide.level_dimensions == ((1024, 768), (512, 384), (256, 192))
    assert slide.level_downsamples == (1.0, 2.0, 4.0)
    assert slide.level_mpp_values == (0.5, 1.0, 2.0)
    assert slide.mpp_data == (0.5, 0.5)
    assert slide.magnification == 20
    assert slide.get_basepatch_mpp(2) == 2.0
    assert slide.get_basepatch_mpp(0.7) == 0.7


def test_downsamples_are_means_and_not_rounded(tmp_path: Path) -> None:
    file = make_slide(tmp_path / "odd.svs", size=(1999, 1501))
    with GenericSlide(wsi_file=file) as slide:
        assert slide.level_dimensions == ((1999, 1501), (999, 750), (499, 375))
        assert slide.level_mpp_values == pytest.approx((0.5, 1.00058, 2.00217), abs=1e-5)


def test_it_knows_the_vendor_properties(slide: GenericSlide) -> None:
    assert slide.lib_name == "native"
    assert slide.get_property("openslide.vendor") == "aperio"
    assert slide.all_properties["aperio.AppMag"] == "20"
    with pytest.raises(ParameterError, match=r"^made\.svs: there is no property 'nothing'"):
        slide.get_property("nothing")


def test_embedded_images(slide: GenericSlide) -> None:
    assert slide.thumbnail_image.mode == "RGB"
    assert slide.thumbnail_image.size == (256, 192)
    label = slide.label_image
    assert label is not None
    assert label.size == (200, 160)


def test_a_thumbnail_is_made_where_none_is_embedded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dplabtools")
    options: dict[str, Any] = {"vendor": "generic", "compression": "deflate"}
    file = make_slide(tmp_path / "a.tif", size=(2000, 1000), levels=1, **options)
    with GenericSlide(wsi_file=file) as slide:
        thumbnail = slide.thumbnail_image
        whole = Image.fromarray(
            slide.get_region_array(location=(0, 0), level=0, size=(2000, 1000))
        )
        assert slide.label_image is None
    expected = np.asarray(whole.resize((800, 400), Image.Resampling.LANCZOS)).astype(int)
    assert thumbnail.size == (800, 400)
    assert np.abs(np.asarray(thumbnail) - expected).max() <= 1
    assert "a.tif: Embedded label image is not available" in caplog.messages


def test_a_slide_without_mpp_and_power(
    bare_slide: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dplabtools")
    with GenericSlide(wsi_file=bare_slide) as slide:
        assert slide.mpp_data == (None, None)
        assert slide.level_mpp_values == (None, None, None)
        assert slide.magnification is None
        with pytest.raises(MissingMppError, match=r"^bare\.svs: .*set_external_mpp"):
            region(slide, 0.5)
    assert "external MPP value can be set" in caplog.messages[0]
    assert "bare.svs: Magnification is not available" in caplog.messages


def test_an_external_mpp_serves_slides_that_state_none(
    bare_slide: Path, made_slide: Path
) -> None:
    GenericSlide.set_external_mpp(0.25)
    with GenericSlide(wsi_file=bare_slide, resampling_mode="tile") as slide:
        assert slide.mpp_data == (0.25, 0.25)
        assert slide.external_mpp == 0.25
        assert region(slide, 0.37).size == (64, 48)
    with GenericSlide(wsi_file=made_slide) as slide:
        assert slide.mpp_data == (0.5, 0.5)
    GenericSlide.set_external_mpp(None)
    with pytest.raises(MissingMppError):
        GenericSlide(wsi_file=bare_slide, resampling_mode="tile")


# -- pixels ------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_region_of_a_level_is_what_openslide_reads(
    made_slide: Path, slide: GenericSlide, level: int
) -> None:
    with openslide.OpenSlide(made_slide) as plain:
        expected = plain.read_region((300, 200), level, (64, 48)).convert("RGB")
    image = region(slide, level)
    assert image.mode == "RGB"
    assert image.tobytes() == expected.tobytes()
    array = slide.get_region_array(location=(300, 200), level=level, size=(64, 48))
    np.testing.assert_array_equal(array, np.asarray(expected))


def test_numpy_numbers_will_do(slide: GenericSlide) -> None:
    location = np.array([300, 200])
    image = slide.get_region(
        location=location,  # type: ignore[arg-type]
        level_or_mpp=np.float32(1.0),
        size=(np.int64(64), np.int32(48)),  # type: ignore[arg-type]
    )
    assert image.tobytes() == region(slide, np.int64(1)).tobytes()


def test_outside_is_background(slide: GenericSlide, made_slide: Path) -> None:
    image = slide.get_region(location=(-10, 700), level_or_mpp=0, size=(30, 100))
    pixels = np.asarray(image)
    assert (pixels[:, :10] == 255).all()
    assert (pixels[68:] == 255).all()
    skipped = slide.get_region(
        location=(-10, 700), level_or_mpp=0, size=(30, 100), skip_padding=True
    )
    assert skipped.tobytes() == image.tobytes()
    config.background = (1, 2, 3)
    with GenericSlide(wsi_file=made_slide) as other:
        image = other.get_region(location=(-10, 700), level_or_mpp=0, size=(30, 100))
    assert (np.asarray(image)[:, :10] == (1, 2, 3)).all()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"location": (1025, 0)}, RegionOutOfBoundsError),
        ({"location": (-64, 0)}, RegionOutOfBoundsError),
        ({"location": (-1, 0), "size": (1025, 8)}, RegionOutOfBoundsError),
        ({"location": (0.5, 0)}, ParameterTypeError),
        ({"location": None}, ParameterTypeError),
        ({"location": (1, 2, 3)}, ParameterTypeError),
        ({"size": 64}, ParameterTypeError),
        ({"size": (0, 64)}, ParameterError),
        ({"size": (64, -1)}, ParameterError),
        ({"level_or_mpp": 3}, LevelOutOfRangeError),
        ({"level_or_mpp": -1}, ParameterError),
        ({"level_or_mpp": 0.0}, ParameterError),
        ({"level_or_mpp": True}, ResolutionTypeError),
        ({"level_or_mpp": "0"}, ResolutionTypeError),
        ({"level_or_mpp": None}, ResolutionTypeError),
        ({"level_or_mpp": 0.7}, ResolutionError),
    ],
)
def test_wrong_arguments_of_get_region(
    slide: GenericSlide, arguments: dict[str, Any], error: type[Exception]
) -> None:
    good: dict[str, Any] = {"location": (0, 0), "level_or_mpp": 0, "size": (64, 64)}
    with pytest.raises(error):
        slide.get_region(**{**good, **arguments})


def test_documented_built_in_errors(slide: GenericSlide) -> None:
    with pytest.raises(IndexError):
        region(slide, 7)
    with pytest.raises(ValueError, match="no level 7"):
        region(slide, 7)
    with pytest.raises(IndexError):
        slide.get_region_array(location=(0, 0), level=7, size=(8, 8))


def test_regions_are_asked_for_by_position_too(slide: GenericSlide) -> None:
    by_name = slide.get_region(
        location=(300, 200), level_or_mpp=1, size=(64, 48), skip_padding=True
    )
    assert slide.get_region((300, 200), 1, (64, 48), True) == by_name
    array = slide.get_region_array(location=(300, 200), level=1, size=(64, 48))
    np.testing.assert_array_equal(slide.get_region_array((300, 200), 1, (64, 48)), array)


def test_mpps_are_checked_as_documented(
    slide: GenericSlide, bare_slide: Path, made_slide: Path
) -> None:
    slide.check_mpp_data(slide.mpp_data)
    slide.check_mpp_data(np.array([0.25, 0.25]))  # type: ignore[arg-type]
    for pair in ((None, None), (0.25, None), (None, 0.25)):
        with pytest.raises(MissingMppError, match=rf"{made_slide.name}: .*not known"):
            slide.check_mpp_data(pair)
    for wrong in (0.25, None, (0.25,), ("a", 0.25)):
        with pytest.raises(ParameterTypeError, match="mpp must be"):
            slide.check_mpp_data(wrong)  # type: ignore[arg-type]
    values: tuple[Any, ...] = (0.001, 1, np.float32(0.5), 0.5 * 20)
    for value in values:
        slide.check_mpp_range(value)
    for value in (0.0009, 0, -1.0, 0.5 * 20 + 1e-6, float("nan")):
        with pytest.raises(
            ResolutionError, match=rf"{made_slide.name}: .*out of the range"
        ):
            slide.check_mpp_range(value)
    GenericSlide.set_range_min_mpp(0.1)
    with pytest.raises(ValueError, match="out of the range"):
        slide.check_mpp_range(0.09)
    for text in ("1", None, True):
        with pytest.raises(ParameterTypeError, match="mpp must be a number"):
            slide.check_mpp_range(text)  # type: ignore[arg-type]
    with GenericSlide(wsi_file=bare_slide) as bare, pytest.raises(MissingMppError):
        bare.check_mpp_range(1.0)


def test_a_region_array_may_lie_anywhere(slide: GenericSlide) -> None:
    array = slide.get_region_array(location=(-500, -500), level=0, size=(20, 10))
    assert array.shape == (10, 20, 3)
    assert (array == 255).all()


def test_wsi_mode_tells_of_the_levels_it_makes(lossless_slide: Path) -> None:
    with GenericSlide(
        wsi_file=lossless_slide, resampling_mode="wsi", extra_mpps=[0.77, 1.001, 3.0]
    ) as slide:
        assert slide.level_count_extra == 2
        assert slide.level_mpp_values_extra == (0.77, 3.0)
        assert slide.level_dimensions_extra == {0.77: (665, 499), 3.0: (171, 128)}
        assert slide.level_resamples_extra == {0.77: 1.54, 3.0: 6.0}
        images = slide.level_images_extra
        assert list(images) == [0.77, 3.0]
        assert images[3.0].size == (171, 128)
        corner = slide.get_region(location=(0, 0), level_or_mpp=3.0, size=(171, 128))
        difference = np.asarray(corner).astype(int) - np.asarray(images[3.0])
        assert np.abs(difference).max() <= 1
        with pytest.raises(KeyError):
            images[1.001]
        with pytest.raises(ResolutionError, match="extra_mpps"):
            region(slide, 0.8)


def test_other_modes_make_no_levels(slide: GenericSlide) -> None:
    assert slide.level_count_extra == 0
    assert slide.level_mpp_values_extra == ()
    assert dict(slide.level_images_extra) == {}


# -- settings ----------------------------------------------------------------------------

SETTERS: list[tuple[str, Callable[[Any], None], Any, list[Any]]] = [
    ("external_mpp", GenericSlide.set_external_mpp, 0.3, [0, -1, "a", float("nan"), True]),
    (
        "mpp_round_decimal_places",
        GenericSlide.set_mpp_round_decimal_places,
        2,
        [-1, 0.5, None, True],
    ),
    ("range_min_mpp", GenericSlide.set_range_min_mpp, 0.01, [0, -1, None, float("inf")]),
    (
        "range_max_magnification",
        GenericSlide.set_range_max_magnification,
        80,
        [0, 0.5, "x"],
    ),
    ("resampling_filter", GenericSlide.set_resampling_filter, "BICUBIC", [None, 3]),
    ("mpp_level_margin", GenericSlide.set_mpp_level_margin, 0.1, [-0.1, None, "x"]),
    ("padding_margin_pixels", GenericSlide.set_padding_margin_pixels, 5, [-1, 0.5]),
    (
        "level_zero_resampling",
        GenericSlide.set_level_zero_resampling,
        False,
        [0, None, "no"],
    ),
]


@pytest.mark.parametrize(("name", "setter", "value", "wrong"), SETTERS)
def test_settings_hold_for_all_slides_and_are_checked(
    slide: GenericSlide,
    made_slide: Path,
    name: str,
    setter: Callable[[Any], None],
    value: Any,
    wrong: list[Any],
) -> None:
    setter(value)
    with GenericSlide(wsi_file=made_slide) as other:
        for one in (slide, other):
            assert _value(one, name) == value
    for bad in wrong:
        with pytest.raises(ConfigError, match=name):
            setter(bad)
    assert _value(slide, name) == value


def _value(slide: GenericSlide, name: str) -> object:
    return {
        "external_mpp": slide.external_mpp,
        "mpp_round_decimal_places": slide.mpp_round_decimal_places,
        "range_min_mpp": slide.range_min_mpp,
        "range_max_magnification": slide.range_max_magnification,
        "resampling_filter": slide.resampling_filter,
        "mpp_level_margin": slide.mpp_level_margin,
        "padding_margin_pixels": slide.padding_margin_pixels,
        "level_zero_resampling": slide.level_zero_resampling,
    }[name]


def test_settings_take_effect_on_open_slides(lossless_slide: Path) -> None:
    with GenericSlide(wsi_file=lossless_slide, resampling_mode="tile") as slide:
        lanczos = region(slide, 0.8)
        GenericSlide.set_resampling_filter("NEAREST")
        assert region(slide, 0.8).tobytes() != lanczos.tobytes()
        GenericSlide.set_mpp_level_margin(0.35)
        assert region(slide, 0.8).tobytes() == region(slide, 0).tobytes()
        GenericSlide.set_mpp_level_margin(0.003)
        from_level_0 = region(slide, 1.5).tobytes()
        GenericSlide.set_level_zero_resampling(False)
        assert region(slide, 1.5).tobytes() != from_level_0
        GenericSlide.set_range_min_mpp(0.9)
        with pytest.raises(ResolutionError, match="set_range_min_mpp"):
            region(slide, 0.8)


def test_an_unknown_filter_is_a_key_error_when_it_is_used(made_slide: Path) -> None:
    with GenericSlide(wsi_file=made_slide, resampling_mode="tile") as slide:
        GenericSlide.set_resampling_filter("SINC")
        with pytest.raises(KeyError):
            region(slide, 0.8)
        with pytest.raises(UnknownFilterError, match="choose one of NEAREST, "):
            region(slide, 0.8)


@pytest.mark.parametrize("library", ["openslide", "tiffslide", "tiffopenslide", "pillow"])
def test_the_library_may_be_chosen_at_any_time(lossless_slide: Path, library: str) -> None:
    if library.startswith("tiff"):
        pytest.importorskip("tiffslide")
    with GenericSlide(wsi_file=lossless_slide) as slide:
        expected = region(slide, 0).tobytes()
    config.slide_library = library
    with GenericSlide(wsi_file=lossless_slide) as slide:
        assert slide.lib_name == library.replace("tiffopenslide", "tiffslide")
        assert region(slide, 0).tobytes() == expected


def test_an_unknown_library_is_an_error(made_slide: Path) -> None:
    config.slide_library = "bioformats"
    with pytest.raises(ConfigError, match="bioformats"):
        GenericSlide(wsi_file=made_slide)


# -- life --------------------------------------------------------------------------------


def test_after_close_nothing_can_be_read(made_slide: Path) -> None:
    config.slide_library = "openslide"
    slide = GenericSlide(wsi_file=made_slide)
    assert isinstance(slide.slide_object, openslide.OpenSlide)
    slide.close()
    slide.close()
    assert slide.slide_object is None
    assert slide.level_count == 3
    for read in (
        lambda: region(slide, 0),
        lambda: slide.get_region_array(location=(0, 0), level=0, size=(8, 8)),
        lambda: slide.thumbnail_image,
    ):
        with pytest.raises(ClosedSlideError, match=r"^made\.svs: "):
            read()


def test_it_pickles_without_its_handle(lossless_slide: Path) -> None:
    GenericSlide.set_resampling_filter("BICUBIC")
    with GenericSlide(wsi_file=lossless_slide, resampling_mode="tile") as slide:
        expected = region(slide, 0.8).tobytes()
        data = pickle.dumps(slide)
    GenericSlide.set_resampling_filter("NEAREST")
    with pickle.loads(data) as other:
        assert other.slide_file == str(lossless_slide)
        assert other.resampling_filter == "BICUBIC"
        assert region(other, 0.8).tobytes() == expected
    with copy.copy(slide) as closed, pytest.raises(ClosedSlideError):
        region(closed, 0)


@pytest.mark.slow
def test_it_reads_in_a_spawned_process_under_the_same_settings(tmp_path: Path) -> None:
    file = make_slide(tmp_path / "a.svs", size=(512, 512), mpp=None)
    GenericSlide.set_external_mpp(0.5)
    context = multiprocessing.get_context("spawn")
    with (
        GenericSlide(wsi_file=file, resampling_mode="tile") as slide,
        ProcessPoolExecutor(1, mp_context=context) as pool,
    ):
        there = pool.submit(
            slide.get_region, location=(9, 9), level_or_mpp=0.8, size=(9, 9)
        )
        here = slide.get_region(location=(9, 9), level_or_mpp=0.8, size=(9, 9))
        assert there.result(60).tobytes() == here.tobytes()


# -- real slides -------------------------------------------------------------------------


def test_a_real_aperio_slide(slides_dir: Path) -> None:
    file = slides_dir / "CMU-1-Small-Region.svs"
    with GenericSlide(wsi_file=file, resampling_mode="tile") as slide:
        assert slide.level_dimensions == ((2220, 2967),)
        assert slide.mpp_data == (0.499, 0.499)
        assert slide.magnification == 20
        assert slide.label_image is not None
        native = slide.get_region(location=(700, 900), level_or_mpp=0.5, size=(200, 200))
        coarse = slide.get_region(location=(700, 900), level_or_mpp=0.998, size=(100, 100))
    expected = native.resize((100, 100), Image.Resampling.LANCZOS)
    assert coarse.tobytes() == expected.tobytes()


def test_a_real_slide_without_mpp(slides_dir: Path) -> None:
    file = slides_dir / "tcga-cr-7395-01a-01-ts1.svs"
    with GenericSlide(wsi_file=file) as slide:
        assert slide.level_count == 2
        assert region(slide, 1).size == (64, 48)
        with pytest.raises(MissingMppError):
            region(slide, 0.5)
    GenericSlide.set_external_mpp(0.25)
    with GenericSlide(wsi_file=file, resampling_mode="tile") as slide:
        assert region(slide, 0.5).size == (64, 48)


def test_a_real_dicom_slide(slides_dir: Path) -> None:
    file = slides_dir / "dicom" / "camelyon-jpeg.dcm"
    with GenericSlide(wsi_file=file) as slide:
        assert slide.mpp_data == pytest.approx((28.9685, 28.9685), abs=1e-3)
        assert region(slide, 0).size == (64, 48)


def test_real_broken_slides_are_named(slides_dir: Path) -> None:
    with pytest.raises(UnsupportedSlideError, match=r"^histolab-broken\.svs: "):
        GenericSlide(wsi_file=slides_dir / "histolab-broken.svs")
    with GenericSlide(wsi_file=slides_dir / "openslide-python-unreadable.svs") as slide:
        for _ in range(2):
            with pytest.raises(
                SlideReadError, match=r"^openslide-python-unreadable\.svs: "
            ):
                slide.get_region(location=(0, 0), level_or_mpp=0, size=(16, 16))


def test_a_region_beyond_all_memory_is_an_error_with_a_remedy(made_slide: Path) -> None:
    with (
        GenericSlide(wsi_file=made_slide) as slide,
        pytest.raises(NotEnoughMemoryError, match=r"made\.svs: .*smaller region"),
    ):
        slide.get_region_array((0, 0), 0, (1 << 24, 1 << 24))
