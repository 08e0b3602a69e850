from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openslide
import pytest
import tifffile

from dplabtools._typing import Pixels
from dplabtools.errors import ParameterError
from dplabtools.testing.make_slide import make_slide
from dplabtools.testing.tissue import paint_tissue


def level(slide: openslide.OpenSlide, number: int) -> Pixels:
    size = slide.level_dimensions[number]
    return np.asarray(slide.read_region((0, 0), number, size))[..., :3]


@pytest.mark.parametrize("compression", ["jpeg", "deflate", "none", "jpeg2000"])
@pytest.mark.parametrize("downsample", [2, 4])
def test_openslide_sees_levels_mpp_power_and_embedded_images(
    tmp_path: Path, compression: str, downsample: int
) -> None:
    file = make_slide(
        tmp_path / "a.svs",
        size=(600, 500),
        downsample=downsample,
        compression=compression,
        mpp=0.2525,
        power=40,
    )
    with openslide.OpenSlide(file) as slide:
        assert slide.detect_format(file) == "aperio"
        shrinks = (1, downsample, downsample**2)
        assert slide.level_dimensions == tuple((600 // d, 500 // d) for d in shrinks)
        assert slide.properties["openslide.mpp-x"] == "0.2525"
        assert slide.properties["openslide.objective-power"] == "40"
        assert set(slide.associated_images) == {"thumbnail", "label"}
        assert slide.associated_images["label"].size == (200, 160)


def test_a_slide_may_state_neither_mpp_nor_power(tmp_path: Path) -> None:
    file = make_slide(tmp_path / "a.svs", size=(300, 300), mpp=None, power=None)
    with openslide.OpenSlide(file) as slide:
        assert "openslide.mpp-x" not in slide.properties
        assert "openslide.objective-power" not in slide.properties


def test_a_generic_slide_keeps_its_mpp_in_the_resolution_tags(tmp_path: Path) -> None:
    options: dict[str, Any] = {"vendor": "generic", "compression": "deflate"}
    file = make_slide(tmp_path / "a.tif", size=(999, 501), mpp=0.25, **options)
    with openslide.OpenSlide(file) as slide:
        assert slide.detect_format(file) == "generic-tiff"
        assert slide.level_dimensions == ((999, 501), (499, 250), (249, 125))
        assert float(slide.properties["tiff.XResolution"]) == 40000
        assert slide.properties["tiff.ResolutionUnit"] == "centimeter"


def test_lossless_slides_give_back_what_was_painted(tmp_path: Path) -> None:
    file = make_slide(tmp_path / "a.svs", size=(513, 400), compression="deflate", seed=4)
    painted = paint_tissue((513, 400), seed=4)
    with openslide.OpenSlide(file) as slide:
        np.testing.assert_array_equal(level(slide, 0), painted)
        means = painted[:400, :512].reshape(200, 2, 256, 2, 3).mean((1, 3))
        np.testing.assert_array_equal(level(slide, 1), np.floor(means + 0.5))


def test_jpeg_slides_have_true_colours(made_slide: Path, lossless_slide: Path) -> None:
    with (
        openslide.OpenSlide(made_slide) as lossy,
        openslide.OpenSlide(lossless_slide) as exact,
    ):
        difference = np.abs(level(lossy, 0).astype(int) - level(exact, 0))
    assert 0 < difference.mean() < 4


def test_the_same_seed_makes_the_same_file_and_another_one_does_not(
    tmp_path: Path,
) -> None:
    one, same, other = (
        make_slide(tmp_path / f"{name}.svs", size=(300, 200), seed=seed).read_bytes()
        for name, seed in (("one", 3), ("same", 3), ("other", 4))
    )
    assert one == same
    assert one != other


@pytest.mark.parametrize("seed", range(4))
def test_a_third_to_two_thirds_is_tissue_and_the_border_is_white(seed: int) -> None:
    image = paint_tissue((1000, 800), seed=seed).astype(int)
    coloured = np.ptp(image, axis=2) > 20
    assert 0.3 < coloured.mean() < 0.6
    assert (image[:16] == 255).all()
    assert (image[:, -20:] == 255).all()
    glass = image[~coloured]
    assert np.median(glass) > 235
    red, green, blue = image[coloured].mean(axis=0)
    assert green < blue < red or green < red < blue  # pink to purple


def test_no_two_tiles_of_tissue_look_alike() -> None:
    image = paint_tissue((1536, 1536), seed=0)
    tiles = image.reshape(6, 256, 6, 256, 3).swapaxes(1, 2).reshape(36, -1)
    tissue = [tile.tobytes() for tile in tiles if np.ptp(tile) > 60]
    assert len(tissue) > 12
    assert len(set(tissue)) == len(tissue)


def test_tiles_are_of_the_size_asked_for(tmp_path: Path) -> None:
    file = make_slide(tmp_path / "a.svs", size=(300, 200), tile=64)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        assert (page.tilewidth, page.tilelength) == (64, 64)


@pytest.mark.parametrize(
    "wrong",
    [
        {"compression": "zip"},
        {"vendor": "leica"},
        {"levels": 0},
        {"levels": 12},
        {"downsample": 1},
        {"size": (0, 100)},
    ],
)
def test_arguments_that_make_no_sense(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        make_slide(tmp_path / "a.svs", **wrong)
    assert not (tmp_path / "a.svs").exists()


@pytest.mark.parametrize("mpp", [0.25, 0.5, 1.0])
def test_nuclei_have_one_size_in_microns(mpp: float) -> None:
    side = round(300 / mpp)
    tissue = paint_tissue((side, side), seed=3, mpp=mpp, share=1)
    dark = (tissue[..., 0] < 130).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(dark)
    areas = stats[1:, cv2.CC_STAT_AREA] * mpp**2
    assert 17 < np.median(areas[areas > 8]) < 24


def test_all_of_it_may_be_tissue() -> None:
    tissue = paint_tissue((200, 150), seed=1, share=1)
    assert tissue[..., 1].mean() < 220
    assert not (tissue == 255).all(axis=2).any()
