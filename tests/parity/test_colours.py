"""Colours: the profile goes with the pixels, or the pixels are what Pillow makes of it."""

from __future__ import annotations

import io
import logging
import pickle
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image, ImageCms

from dplabtools import config
from dplabtools._typing import Pixels
from dplabtools.errors import ConfigError, ResumeError
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractor,
    MemPatchExtractorPool,
    MultiResMemPatchExtractorPool,
    PatchesMock,
    StreamPatchExtractorPool,
)
from dplabtools.testing.tissue import paint_tissue

Run: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]
WORKERS: Final[dict[str, Any]] = {"proc_num_workers": 2, "thread_num_workers": 1}
LIBRARIES = ("native", "openslide", "tiffslide", "pillow")


def strange_profile() -> bytes:
    """Return sRGB with red and blue changed over, and another gamma: none is like it."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", data, 128)
    for place in range(132, 132 + 12 * count, 12):
        name = bytes(data[place : place + 4])
        (offset,) = struct.unpack_from(">I", data, place + 4)
        if name in (b"rXYZ", b"bXYZ"):
            data[place : place + 1] = b"b" if name == b"rXYZ" else b"r"
        if name == b"gTRC":
            assert data[offset : offset + 4] == b"para"
            struct.pack_into(">I", data, offset + 12, int(1.8 * 65536))
    return bytes(data)


PROFILE: Final = strange_profile()


def write_slide(path: Path, profile: bytes | None, *, compression: str = "zlib") -> Path:
    """Write a generic TIFF of two levels, 0.5 and 1 µm per pixel."""
    pixels = paint_tissue((700, 500), seed=3)
    stored: dict[str, Any] = {
        "tile": (256, 256),
        "photometric": "rgb",
        "compression": compression,
        "iccprofile": profile,
    }
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(pixels, resolution=(20_000, 20_000), resolutionunit=3, **stored)
        tiff.write(pixels[::2, ::2], subfiletype=1, **stored)
    return path


def as_pillow_does(pixels: Any) -> Pixels:
    image = ImageCms.profileToProfile(
        Image.fromarray(np.asarray(pixels)),
        ImageCms.ImageCmsProfile(io.BytesIO(PROFILE)),
        ImageCms.createProfile("sRGB"),
    )
    assert image is not None
    return np.array(image)


def place_of(file: Path) -> tuple[int, int]:
    """Return x and y, out of the name of a file."""
    x, y = file.stem.rsplit("_", 2)[1:]
    return int(x[1:]), int(y[1:])


def assert_near(pixels: Any, wanted: Pixels) -> None:
    apart = np.abs(np.asarray(pixels).astype(int) - wanted.astype(int))
    assert apart.max() <= 1


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    config.slide_library = name
    return name


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("colours") / "a.tif", PROFILE)


def mock(file: Path, level_or_mpp: float = 0) -> PatchesMock:
    rows = [((200 * number - 30, 260), (128, 128), "t") for number in range(4)]
    return PatchesMock(patch_data=rows, wsi_file=file, level_or_mpp=level_or_mpp)


@pytest.mark.usefixtures("library")
def test_regions_carry_the_profile_and_are_untouched(file: Path) -> None:
    with GenericSlide(wsi_file=file) as slide:
        assert slide.icc_profile == PROFILE
        image = slide.get_region((10, 20), 0, (64, 48))
        assert image.info["icc_profile"] == PROFILE
        wanted = paint_tissue((700, 500), seed=3)[20:68, 10:74]
        np.testing.assert_array_equal(image, wanted)
        assert slide.thumbnail_image.info["icc_profile"] == PROFILE


@pytest.mark.usefixtures("library")
def test_converted_regions_are_those_of_pillow(file: Path) -> None:
    with (
        GenericSlide(wsi_file=file) as plain,
        GenericSlide(wsi_file=file, color="srgb") as slide,
    ):
        assert slide.icc_profile is None
        for origin, level in (((100, 60), 0), ((0, 0), slide.level_count - 1)):
            image = slide.get_region(origin, level, (128, 128))
            assert "icc_profile" not in image.info
            stored = plain.get_region_array(origin, level, (128, 128))
            wanted = as_pillow_does(stored)
            assert np.abs(wanted.astype(int) - stored).max() > 20
            assert_near(image, wanted)
            assert_near(slide.get_region_array(origin, level, (128, 128)), wanted)


@pytest.mark.usefixtures("library")
def test_what_is_outside_keeps_the_colour_of_the_background(file: Path) -> None:
    config.background = (10, 200, 90)
    with GenericSlide(wsi_file=file, color="srgb") as slide:
        pixels = np.asarray(slide.get_region((-20, 470), 0, (64, 64)))
        assert (pixels[:, :20] == config.background).all()
        assert (pixels[30:] == config.background).all()
        inside = paint_tissue((700, 500), seed=3)[470:500, :44]
        assert_near(pixels[:30, 20:], as_pillow_does(inside))


def test_all_extractors_convert(file: Path, tmp_path: Path) -> None:
    with GenericSlide(wsi_file=file) as slide:
        rows = mock(file).patch_data
        stored = [slide.get_region(origin, 0, size) for origin, size, _ in rows]
    wanted = [as_pillow_does(each) for each in stored]
    wanted[0][:, :30] = 255  # outside
    pool = MemPatchExtractorPool(patches_pool=[mock(file)], **WORKERS)
    assert all(image.info["icc_profile"] == PROFILE for image, _ in pool.patch_list)
    again = pickle.loads(pickle.dumps(pool.patch_list[0][0]))
    assert again.info["icc_profile"] == PROFILE
    single = MemPatchExtractor(patches=mock(file), num_workers=1)
    assert all(image.info["icc_profile"] == PROFILE for image, _ in single.patch_stream)

    config.color = "srgb"
    pool = MemPatchExtractorPool(patches_pool=[mock(file)], **WORKERS)
    sets = MultiResMemPatchExtractorPool(
        patches_pool=[mock(file)], levels_or_mpps=[0, 1], **WORKERS
    )
    single = MemPatchExtractor(patches=mock(file), num_workers=1)
    stream = StreamPatchExtractorPool(patches_pool=[mock(file)], **WORKERS)
    disk = {"patches_pool": [mock(file)], "output_dir": tmp_path, "image_type": "png"}
    DiskPatchExtractorPool(**disk, **WORKERS)  # type: ignore[arg-type]
    files = sorted(tmp_path.glob("*.png"), key=place_of)
    assert all("icc_profile" not in image.info for image, _ in pool.patch_list)
    images = [image for image, _ in single.patch_stream]
    assert all("icc_profile" not in image.info for image in images)
    (batch,) = stream
    for number, pixels in enumerate(wanted):
        assert_near(pool.patch_array[number], pixels)
        assert_near(sets.patch_array[number, 0], pixels)
        assert_near(images[number], pixels)
        assert_near(batch.pixels[number], pixels)
        with Image.open(files[number]) as written:
            assert "icc_profile" not in written.info
            assert_near(written, pixels)


@pytest.mark.parametrize("mode", ["tile", "wsi"])
def test_pixels_are_converted_before_they_are_resampled(file: Path, mode: str) -> None:
    given: Any = {"extra_mpps": [1.5]} if mode == "wsi" else {}
    with (
        GenericSlide(wsi_file=file) as plain,
        GenericSlide(wsi_file=file, resampling_mode=mode, color="srgb", **given) as slide,
    ):
        pixels = slide.get_region((0, 0), 1.5, (64, 64))
        size = (64, 64) if mode == "tile" else (233, 167)
        whole = (192, 192) if mode == "tile" else (700, 500)
        stored = as_pillow_does(plain.get_region((0, 0), 0, whole))
        small = Image.fromarray(stored).resize(size, Image.Resampling.LANCZOS)
        assert_near(pixels, np.asarray(small)[:64, :64])


def test_stored_tiles_are_not_passed_through_unconverted(tmp_path: Path) -> None:
    file = write_slide(tmp_path / "a.tif", PROFILE, compression="jpeg")
    patches = PatchesMock(
        patch_data=[((0, 0), (256, 256), "t")], wsi_file=file, level_or_mpp=0
    )
    config.color = "srgb"
    DiskPatchExtractorPool(
        patches_pool=[patches],
        output_dir=tmp_path,
        image_type="jpg",
        save_options={"passthrough": True, "quality": 95, "subsampling": 0},
        **WORKERS,
    )
    (written,) = tmp_path.glob("*.jpg")
    with GenericSlide(wsi_file=file) as slide, Image.open(written) as image:
        wanted = np.asarray(slide.get_region((0, 0), 0, (256, 256))).astype(int)
        assert np.abs(np.asarray(image) - wanted).mean() < 6


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("profile", [None, b"\0" * 36 + b"acsp" + b"\0" * 88])
def test_without_a_usable_profile_pixels_stay_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, profile: bytes | None
) -> None:
    caplog.set_level(logging.INFO, "dplabtools")
    file = write_slide(tmp_path / "a.tif", profile)
    with GenericSlide(wsi_file=file, color="srgb") as slide:
        wanted = paint_tissue((700, 500), seed=3)[:32, :32]
        np.testing.assert_array_equal(slide.get_region((0, 0), 0, (32, 32)), wanted)
    assert any("its pixels stay as they are" in each for each in caplog.messages)


def test_a_run_does_not_go_on_in_other_colours(file: Path, tmp_path: Path) -> None:
    disk: dict[str, Any] = {
        "patches_pool": [mock(file)],
        "output_dir": tmp_path,
        "image_type": "png",
        "resume": True,
        **WORKERS,
    }
    DiskPatchExtractorPool(**disk)
    config.color = "srgb"
    with pytest.raises(ResumeError, match="color"):
        DiskPatchExtractorPool(**disk)


def test_there_is_no_other_colour_space(file: Path) -> None:
    with pytest.raises(ConfigError, match="color must be"):
        GenericSlide(wsi_file=file, color="cmyk")  # type: ignore[arg-type]
    config.color = "adobe"  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="color must be"):
        GenericSlide(wsi_file=file)


def test_the_command_converts(run: Run, file: Path, tmp_path: Path) -> None:
    asked = ("--patch-size", "128", "--foreground-ratio", "0", "--workers", "1")
    done = run("extract", file, "--out", "o", "--color", "srgb", *asked, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'color = "srgb"' in (tmp_path / "o" / "dplabtools.toml").read_text()
    first = next((tmp_path / "o").glob("*.png"))
    with GenericSlide(wsi_file=file) as slide, Image.open(first) as image:
        pixels = np.asarray(image)[:64, :64]  # the rest may lie outside
        assert_near(pixels, as_pillow_does(slide.get_region(place_of(first), 0, (64, 64))))


def test_real_slides_are_converted_as_pillow_does(slides_dir: Path) -> None:
    file = slides_dir / "tcga-cr-7395-01a-01-ts1.svs"
    with (
        GenericSlide(wsi_file=file) as plain,
        GenericSlide(wsi_file=file, color="srgb") as slide,
    ):
        image = plain.get_region((1500, 1500), 0, (256, 256))
        assert image.info["icc_profile"] == plain.icc_profile
        wanted = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(plain.icc_profile or b"")),
            ImageCms.createProfile("sRGB"),
        )
        assert_near(slide.get_region((1500, 1500), 0, (256, 256)), np.asarray(wanted))


@pytest.fixture
def gappy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a slide whose second tile was never scanned, with a background of its own."""
    file = write_slide(tmp_path / "gap.tif", None)
    with tifffile.TiffFile(file, mode="r+") as tiff:
        for name in ("TileOffsets", "TileByteCounts"):
            tag = tiff.pages.first.tags[name]
            tag.overwrite((tag.value[0], 0, *tag.value[2:]))
    stated = {"openslide.vendor": "mirax", "openslide.background-color": "0A1B2C"}
    monkeypatch.setattr(openslide.OpenSlide, "properties", stated)
    config.slide_library = "openslide"
    return file


def test_gaps_have_the_colour_that_the_file_states_and_outside_is_white(
    gappy: Path,
) -> None:
    content = paint_tissue((700, 500), seed=3)
    with GenericSlide(wsi_file=gappy) as slide:
        pixels = np.asarray(slide.get_region((200, -50), 0, (400, 400)))
        batch = MemPatchExtractorPool(
            patches_pool=[
                PatchesMock(
                    patch_data=[((200, -50), (400, 400), "")],
                    wsi_file=gappy,
                    level_or_mpp=0,
                )
            ],
            **WORKERS,
        ).patch_array
    assert (pixels[:50] == 255).all()
    np.testing.assert_array_equal(pixels[50:, :56], content[:350, 200:256])
    assert (pixels[50:306, 56:312] == (10, 27, 44)).all()
    np.testing.assert_array_equal(pixels[306:, 56:], content[256:350, 256:600])
    assert batch.shape == (1, 400, 400, 3)


@pytest.mark.parametrize("given", [(255, 255, 255), (9, 8, 7)])
def test_an_explicit_background_wins_over_the_stated_one(
    gappy: Path, given: tuple[int, int, int]
) -> None:
    config.background = given
    with GenericSlide(wsi_file=gappy) as slide:
        pixels = np.asarray(slide.get_region((200, -50), 0, (400, 400)))
    assert (pixels[:50] == given).all()
    assert (pixels[50:306, 56:312] == given).all()
