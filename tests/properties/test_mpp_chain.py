"""Whichever library reads a file, its pixels are as large, and the same one says so."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from dplabtools import config
from dplabtools.errors import ImplausibleMppWarning, MissingMppError, ResolutionError
from dplabtools.readers.ome import physical_size
from dplabtools.slides import GenericSlide
from dplabtools.testing.make_slide import make_slide

LIBRARIES: Final = ("native", "openslide", "tiffslide", "pillow")
OME: Final = {"PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm"}
OME_2D: Final = {**OME, "PhysicalSizeY": 0.25, "PhysicalSizeYUnit": "µm"}
DPI_72, DPI_300 = ((72, 72), "INCH"), ((300, 300), "INCH")
VIPS: Final = ((10, 10), "CENTIMETER")  # what libvips writes when nobody says
HALF: Final = ((20_000, 20_000), "CENTIMETER")
NEAR: Final = ((1e4 / 0.45641, 1e4 / 0.45506), "CENTIMETER")  # as Hamamatsu's
APART: Final = ((20_000, 10_000), "CENTIMETER")
Tag = tuple[tuple[float, float], str]


def tiff(path: Path, *, ome: Mapping[str, Any] | None, tag: Tag | None) -> Path:
    """Write a tiled TIFF of 512 x 384 pixels that states what it is told to."""
    more: dict[str, Any] = {}
    if ome is not None:
        more |= {"ome": True, "metadata": {"axes": "YXS", **ome}}
    if tag is not None:
        more |= {"resolution": tag[0], "resolutionunit": tag[1]}
    pixels = np.random.default_rng(0).integers(0, 255, (384, 512, 3), dtype=np.uint8)
    tifffile.imwrite(
        path, pixels, tile=(256, 256), photometric="rgb", compression="zlib", **more
    )
    return path


CASES: Final = {
    "ome": (OME_2D, None, 0.25, "ome.PhysicalSizeX"),
    "ome-and-72-dpi": (OME_2D, DPI_72, 0.25, "ome.PhysicalSizeX"),
    "ome-and-10-per-cm": (OME_2D, VIPS, 0.25, "ome.PhysicalSizeX"),
    "ome-and-half": (OME_2D, HALF, 0.25, "ome.PhysicalSizeX"),
    "half-ome": (OME, HALF, 0.5, "tiff.XResolution"),
    "72-dpi": (None, DPI_72, None, ""),
    "300-dpi": (None, DPI_300, None, ""),
    "10-per-cm": (None, VIPS, None, ""),
    "half": (None, HALF, 0.5, "tiff.XResolution"),
    "half-per-inch": (None, ((50_800, 50_800), "INCH"), 0.5, "tiff.XResolution"),
    "near": (None, NEAR, (0.45641 + 0.45506) / 2, "tiff.XResolution"),
    "apart": (None, APART, None, "tiff.XResolution"),
    "none": (None, None, None, ""),
}
IGNORED: Final = {"72-dpi": 352.778, "300-dpi": 84.6667, "10-per-cm": 1000}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def stating(case: str, tmp_path: Path) -> Path:
    ome, tag, _, _ = CASES[case]
    return tiff(tmp_path / "a.tif", ome=ome, tag=tag)


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    config.slide_library = name
    return name


@pytest.mark.usefixtures("library")
def test_the_first_of_the_chain_tells(case: str, stating: Path) -> None:
    _, _, mpp, source = CASES[case]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        slide = GenericSlide(wsi_file=stating)
    with slide:
        assert slide.mpp_source == source
        if case != "apart":
            assert slide.mpp_data[0] == (None if mpp is None else pytest.approx(mpp))
        slide.get_region((0, 0), 0, (16, 16))  # of levels there is never a doubt
    texts = [str(each.message) for each in caught]
    if case not in IGNORED:
        assert not texts
        return
    assert len(texts) == 1
    assert caught[0].category is ImplausibleMppWarning
    assert texts[0].startswith("a.tif: the file has a tiff.XResolution of ")
    assert f"{IGNORED[case]:g} µm/px" in texts[0]


@pytest.mark.usefixtures("library")
@pytest.mark.filterwarnings("ignore::dplabtools.errors.ImplausibleMppWarning")
def test_an_external_mpp_supplies_what_nothing_plausible_states(
    case: str, stating: Path
) -> None:
    _, _, mpp, source = CASES[case]
    GenericSlide.set_external_mpp(0.4)
    with GenericSlide(wsi_file=stating) as slide:
        if case == "apart":
            assert slide.mpp_data == (0.5, 1.0)
        elif mpp is None:
            assert (slide.mpp_data, slide.mpp_source) == ((0.4, 0.4), "external_mpp")
        else:
            assert slide.mpp_data[0] == pytest.approx(mpp)
            assert slide.mpp_source == source


@pytest.mark.usefixtures("library", "case")
def test_an_override_wins_over_whatever_is_stated(stating: Path) -> None:
    GenericSlide.set_external_mpp(0.4, override=True)
    with GenericSlide(wsi_file=stating) as slide:
        assert (slide.mpp_data, slide.mpp_source) == ((0.4, 0.4), "external_mpp override")
    GenericSlide.set_slide_mpps({stating: 0.3})
    with GenericSlide(wsi_file=stating, resampling_mode="tile") as slide:
        assert (slide.mpp_data, slide.mpp_source) == ((0.3, 0.3), "slide_mpps")
        assert slide.get_region((0, 0), 0.6, (16, 16)).size == (16, 16)


@pytest.mark.usefixtures("library")
def test_two_mpps_are_an_error_only_where_one_is_asked_for(tmp_path: Path) -> None:
    file = tiff(tmp_path / "a.tif", ome=None, tag=APART)
    with GenericSlide(wsi_file=file) as slide:
        assert slide.mpp_data == (0.5, 1.0)
        assert slide.get_region((0, 0), 0, (16, 16)).size == (16, 16)
        with pytest.raises(ResolutionError, match=r"^a\.tif: .*0\.5 .* 1 .*override=True"):
            slide.get_region((0, 0), 1.0, (16, 16))
        with pytest.raises(ResolutionError, match=r"^a\.tif: "):
            _ = slide.level_mpp_values
    with pytest.raises(ResolutionError, match=r"^a\.tif: "):
        GenericSlide(wsi_file=file, resampling_mode="tile")


@pytest.mark.usefixtures("library")
@pytest.mark.filterwarnings("ignore::dplabtools.errors.ImplausibleMppWarning")
def test_the_error_of_a_missing_mpp_tells_of_the_tag(tmp_path: Path) -> None:
    file = tiff(tmp_path / "a.tif", ome=None, tag=DPI_72)
    with (
        GenericSlide(wsi_file=file) as slide,
        pytest.raises(MissingMppError, match=r"72 per inch.*set_external_mpp"),
    ):
        slide.get_region((0, 0), 0.5, (16, 16))


@pytest.mark.parametrize("name", ["native", "openslide", "tiffslide"])
def test_a_vendor_comes_before_the_tags_and_any_reader_says_so(
    name: str, tmp_path: Path
) -> None:
    file = make_slide(tmp_path / "a.svs", size=(512, 384), mpp=0.5)
    config.slide_library = name
    with GenericSlide(wsi_file=file) as slide:
        library = "tiffslide" if name == "tiffslide" else "openslide"
        assert (slide.mpp_data, slide.mpp_source) == ((0.5, 0.5), f"{library}.mpp-x")


@given(
    size=st.floats(1e-3, 1e3),
    unit=st.sampled_from(["µm", "nm", "mm"]),
    around=st.sampled_from(
        ["", "<Image><Pixels SizeX='9' SizeY='9' PhysicalSizeX='7'/></Image>"]
    ),
)
def test_ome_metadata_says_what_was_put_in(size: float, unit: str, around: str) -> None:
    pixels = "".join(
        f' PhysicalSize{a}="{size!r}" PhysicalSize{a}Unit="{unit}"' for a in "XY"
    )
    text = f"<OME>{around}<Image><Pixels SizeX='5' SizeY='6'{pixels}/></Image></OME>"
    scale = {"µm": 1.0, "nm": 1e-3, "mm": 1e3}[unit]
    assert physical_size(text, (5, 6)) == (size * scale, size * scale)
