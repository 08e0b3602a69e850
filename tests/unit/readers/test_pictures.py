"""Which of several pictures is the slide, and what is refused rather than chosen."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from dplabtools._typing import Pixels
from dplabtools.errors import AmbiguousSlideError, UnsupportedSlideError
from dplabtools.readers.base import SlideReader
from dplabtools.readers.native.reader import NativeReader
from dplabtools.readers.opening import open_reader
from dplabtools.settings import Settings
from dplabtools.testing.make_slide import make_slide

NOISE: Pixels = np.random.default_rng(3).integers(0, 256, (300, 400, 3), dtype=np.uint8)
HALF, QUARTER = NOISE[::2, ::2], NOISE[::4, ::4]
TILED: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb", "metadata": None}
STRIPS: dict[str, Any] = {"photometric": "rgb", "metadata": None}
WHITE = (255, 255, 255)


def auto(file: Path) -> SlideReader:
    return open_reader(file, settings=Settings())


def written(file: Path, *pages: tuple[Pixels, dict[str, Any]], **options: Any) -> Path:
    with tifffile.TiffWriter(file, **options) as tiff:
        for pixels, page in pages:
            tiff.write(pixels, **page)
    return file


BEFORE: dict[str, tuple[Pixels, dict[str, Any]]] = {
    "a thumbnail": (QUARTER, STRIPS),
    "a thumbnail in tiles": (QUARTER, TILED),
    "a label": (NOISE[:60, :50], STRIPS),
    "a label in tiles": (NOISE[:60, :50], TILED),
    "a reduced thumbnail": (QUARTER, {**STRIPS, "subfiletype": 1}),
}


@pytest.mark.parametrize("first", BEFORE)
def test_the_pyramid_is_found_behind_another_picture(tmp_path: Path, first: str) -> None:
    reduced = {**TILED, "subfiletype": 1}
    file = written(tmp_path / "a.tif", BEFORE[first], (NOISE, TILED), (HALF, reduced))
    with auto(file) as reader:
        assert reader.library == "native"
        assert reader.sizes == ((400, 300), (200, 150))
        for level, pixels in enumerate((NOISE, HALF)):
            found = reader.read((0, 0), level, reader.sizes[level])
            np.testing.assert_array_equal(found, pixels)


def test_levels_may_stand_in_any_order(tmp_path: Path) -> None:
    reduced = {**TILED, "subfiletype": 1}
    file = written(tmp_path / "a.tif", (QUARTER, reduced), (HALF, reduced), (NOISE, TILED))
    with auto(file) as reader:
        assert reader.sizes == ((400, 300), (200, 150), (100, 75))
        np.testing.assert_array_equal(reader.read((0, 0), 0, (400, 300)), NOISE)


def test_levels_that_nobody_marked_are_known_by_their_shape(tmp_path: Path) -> None:
    file = written(tmp_path / "a.tif", (NOISE, TILED), (HALF, TILED), (QUARTER, TILED))
    with auto(file) as reader:
        assert reader.sizes == ((400, 300), (200, 150), (100, 75))


def test_levels_may_be_filled_up_to_whole_tiles(tmp_path: Path) -> None:
    filled = np.zeros((192, 256, 3), np.uint8)
    filled[:150, :200] = HALF
    file = written(
        tmp_path / "a.tif", (NOISE, TILED), (filled, {**TILED, "subfiletype": 1})
    )
    with auto(file) as reader:
        assert reader.library == "native"
        assert reader.sizes == ((400, 300), (256, 192))


def several(pixels: Pixels) -> tuple[tuple[Pixels, dict[str, Any]], ...]:
    return tuple((pixels, TILED) for _ in range(3))


def deep_jpeg_2000(file: Path) -> Path:
    deep = NOISE.astype(np.uint16) * 16
    tifffile.imwrite(file, deep, compression=33005, **TILED)
    with tifffile.TiffFile(file, mode="r+") as tiff:
        tiff.pages.first.tags["BitsPerSample"].overwrite((8, 8, 8))
    return file


def animation(file: Path) -> Path:
    frames = [Image.fromarray(each) for each in (NOISE, 255 - NOISE)]
    frames[0].save(file.with_suffix(".gif"), save_all=True, append_images=frames[1:])
    return file.with_suffix(".gif")


def deep_png(file: Path) -> Path:
    import cv2

    cv2.imwrite(str(file.with_suffix(".png")), NOISE.astype(np.uint16) * 256)
    return file.with_suffix(".png")


def stored(pixels: Any, **options: Any) -> Callable[[Path], Path]:
    def write(file: Path) -> Path:
        return written(file, (pixels, {**TILED, **options}))

    return write


def described(name: str, pixels: Any, **options: Any) -> Callable[[Path], Path]:
    def write(file: Path) -> Path:
        file = file.with_name(name)
        tifffile.imwrite(file, pixels, **options)
        return file

    return write


GREYS: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig"}
UNDECIDED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "planes": (
        lambda file: written(file, *several(NOISE)),
        "3 pictures of 400 x 300 pixels: planes of a stack, or channels",
    ),
    "planes in strips": (
        lambda file: written(file, (NOISE, STRIPS), (NOISE, STRIPS)),
        "2 pictures of 400 x 300",
    ),
    "two slides": (
        lambda file: written(file, (NOISE, TILED), (NOISE[:200, :300], TILED)),
        r"several pictures \(400 x 300, 300 x 200 pixels\)",
    ),
    "a stack of OME": (
        described(
            "a.ome.tif",
            np.stack((NOISE, NOISE)),
            tile=(64, 64),
            photometric="rgb",
            metadata={"axes": "ZYXS"},
        ),
        "2 planes",
    ),
    "channels of OME": (
        described(
            "a.ome.tif",
            np.moveaxis(NOISE, 2, 0),
            tile=(64, 64),
            photometric="minisblack",
            metadata={"axes": "CYX"},
        ),
        "3 channels",
    ),
    "a stack of ImageJ": (
        described("a.tif", np.stack((NOISE, NOISE)), imagej=True),
        "2 planes",
    ),
    "two channels": (stored(NOISE[..., :2], **GREYS), "2 channels"),
    "three channels": (stored(NOISE, **GREYS), "3 channels"),
    "16 bits": (stored(NOISE.astype(np.uint16)), "numbers of 16 bits"),
    "16 bits of grey": (
        stored(NOISE[..., 0].astype(np.uint16), photometric="minisblack"),
        "numbers of 16 bits",
    ),
    "floats": (stored(NOISE.astype(np.float32)), "floating-point numbers of 32 bits"),
    "signed": (stored(NOISE.view(np.int8)), "signed numbers"),
    "16 bits in JPEG 2000": (deep_jpeg_2000, "JPEG 2000 tiles have 16 bits"),
    "an animation": (animation, "several pictures"),
    "16 bits in PNG": (deep_png, "16 bits"),
}


@pytest.mark.parametrize("kind", UNDECIDED)
def test_nothing_is_chosen_silently(tmp_path: Path, kind: str) -> None:
    write, words = UNDECIDED[kind]
    file = write(tmp_path / "a.tif")
    with pytest.raises(AmbiguousSlideError, match=words) as caught:
        auto(file)
    assert str(caught.value).startswith(f"{file.name}: ")
    assert "damaged" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_aperio_planes_are_not_taken_for_levels(tmp_path: Path) -> None:
    pages = {**TILED, "description": "Aperio Image Library\r\n400x300"}
    file = written(tmp_path / "a.svs", (NOISE, pages), (NOISE, pages))
    with pytest.raises(AmbiguousSlideError, match="several pictures of 400 x 300"):
        auto(file)


@pytest.mark.parametrize("compression", ["jpeg", "deflate", "lzw", "none", 34712])
def test_grey_needs_no_decision(tmp_path: Path, compression: Any) -> None:
    smooth = np.add.outer(np.arange(300), np.arange(400)).astype(np.uint8)
    options = {**TILED, "photometric": "minisblack", "compression": compression}
    if compression in ("deflate", "lzw"):
        options["predictor"] = True
    file = written(tmp_path / "a.tif", (smooth, options))
    with auto(file) as reader:
        assert reader.library == "native"
        pixels = reader.read((0, 0), 0, (400, 300))
        assert reader.properties["openslide.level-count"] == "1"
    assert (pixels == pixels[..., :1]).all()
    with tifffile.TiffFile(file) as tiff:
        np.testing.assert_array_equal(pixels[..., 0], tiff.pages.first.asarray())
    if compression != 34712:
        with open_reader(file, settings=Settings(slide_library="openslide")) as other:
            np.testing.assert_array_equal(pixels, other.read((0, 0), 0, (400, 300)))


def test_grey_jpeg_is_never_handed_on_as_it_is(tmp_path: Path) -> None:
    options = {**TILED, "photometric": "minisblack", "compression": "jpeg"}
    file = written(tmp_path / "a.tif", (NOISE[..., 0], options))
    with NativeReader(file, background=WHITE) as reader:
        assert not reader.stored_jpegs(np.array([(0, 0)]), 0, sizes=np.array([(64, 64)]))


# -- who reads what ----------------------------------------------------------------------


@pytest.mark.parametrize("vendor", ["argos", "huron", "leica", "some-vendor"])
def test_what_openslide_knows_better_is_left_to_it(
    made_slide: Path, vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openslide.OpenSlide, "detect_format", lambda _: vendor)
    with auto(made_slide) as reader:
        assert reader.library == "openslide"


@pytest.mark.parametrize("vendor", ["aperio", "generic-tiff", None])
def test_what_openslide_knows_no_better_is_read_natively(
    made_slide: Path, vendor: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openslide.OpenSlide, "detect_format", lambda _: vendor)
    with auto(made_slide) as reader:
        assert reader.library == "native"


def test_nobody_else_opens_what_openslide_knows_and_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openslide.OpenSlide, "detect_format", lambda _: "leica")
    file = written(tmp_path / "a.scn", (NOISE, {**STRIPS, "compression": "lzw"}))
    with pytest.raises(UnsupportedSlideError, match="OpenSlide knows leica files") as told:
        auto(file)
    assert "tiffslide: not tried" in str(told.value)


def test_an_overview_is_not_the_slide(tmp_path: Path) -> None:
    file = make_slide(tmp_path / "a.tif", size=(256, 256)).rename(tmp_path / "a.vsi")
    with pytest.raises(UnsupportedSlideError, match=r"overview of \.vsi files"):
        auto(file)


def test_real_files_of_hamamatsu_are_read_natively(slides_dir: Path) -> None:
    with auto(slides_dir / "hamamatsu-dapi.ndpi") as reader:
        assert reader.library == "native"
