from __future__ import annotations

import logging
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from dplabtools.errors import (
    MissingSlideError,
    NotEnoughMemoryError,
    ParameterTypeError,
    SlideReadError,
    SystemLimitError,
    UnsupportedSlideError,
)
from dplabtools.readers import pillow
from dplabtools.readers.base import SlideReader
from dplabtools.readers.finding import find_slides
from dplabtools.readers.opening import open_reader
from dplabtools.settings import Settings
from dplabtools.testing.make_slide import make_slide

LIBRARIES = ("auto", "native", "openslide", "tiffslide", "tiffopenslide", "pillow")


def opened(path: Path, library: str = "auto") -> SlideReader:
    if library.startswith("tiff"):
        pytest.importorskip("tiffslide")
    return open_reader(path, settings=Settings(slide_library=library))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.arange(90 * 70 * 3).reshape(70, 90, 3).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.mark.parametrize(
    ("library", "reader"),
    [
        ("auto", "native"),
        ("native", "native"),
        ("openslide", "openslide"),
        ("tiffslide", "tiffslide"),
        ("tiffopenslide", "tiffslide"),
        ("pillow", "pillow"),
    ],
)
def test_the_library_that_is_named_reads(
    made_slide: Path, library: str, reader: str
) -> None:
    with opened(made_slide, library) as slide:
        assert slide.library == reader


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_missing_file_is_named(tmp_path: Path, library: str) -> None:
    with pytest.raises(MissingSlideError, match=r"gone\.svs: there is no slide file"):
        opened(tmp_path / "gone.svs", library)
    with pytest.raises(FileNotFoundError):
        opened(tmp_path / "gone.svs", library)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_directory_is_no_slide(tmp_path: Path, library: str) -> None:
    with pytest.raises(UnsupportedSlideError, match="is a directory"):
        opened(tmp_path, library)


@pytest.mark.parametrize("library", ["auto", "openslide", "native"])
@pytest.mark.parametrize(
    ("name", "reason", "remedy"),
    [
        ("a.isyntax", "iSyntax of Philips", "wsidicomizer"),
        ("a.VSI", r"\.ets files", "bioformats2raw and raw2ometiff"),
        ("a.zvi", "ZVI of Zeiss", "bioformats2raw and raw2ometiff"),
        ("a.mrxs", "folder of its name, .* is missing", "copy all of the slide"),
        ("a.vms", "files .* which it names, are missing", "copy all of the slide"),
    ],
)
def test_a_file_that_is_not_read_is_refused_with_what_to_do(
    tmp_path: Path, library: str, name: str, reason: str, remedy: str
) -> None:
    text = "[Virtual Microscope Specimen]\nNoLayers=1\nImageFile=a.jpg\n"
    (tmp_path / name).write_text(text)
    with pytest.raises(UnsupportedSlideError, match=f"{name}: .*{reason}") as caught:
        opened(tmp_path / name, library)
    assert remedy in caught.value.remedy


def test_missing_files_are_noticed_however_their_names_are_written(tmp_path: Path) -> None:
    (tmp_path / "a.vms").write_text("NoLayers=1\nImageFile=A.JPG\n")
    with pytest.raises(UnsupportedSlideError, match="which it names, are missing"):
        opened(tmp_path / "a.vms")


def test_files_that_are_there_are_not_said_to_be_missing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a.jpg").touch()
    for name in ("a.mrxs", "a.vms"):
        (tmp_path / name).write_text("NoLayers=1\nImageFile=a.jpg\n")
        with pytest.raises(UnsupportedSlideError, match=r"no reader can open it \("):
            opened(tmp_path / name)


def test_slides_that_are_not_read_are_found_in_folders(tmp_path: Path) -> None:
    for name in ("a.vsi", "b.isyntax"):
        (tmp_path / name).touch()
    assert [Path(each).name for each in find_slides([tmp_path])] == ["a.vsi", "b.isyntax"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_file_that_is_no_slide_is_named(tmp_path: Path, library: str) -> None:
    (tmp_path / "notes.svs").write_text("no slide at all")
    with pytest.raises(UnsupportedSlideError, match=r"^notes\.svs: no reader") as caught:
        opened(tmp_path / "notes.svs", library)
    assert caught.value.slide == "notes.svs"


def test_auto_says_what_each_reader_has_against_a_file(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no slide at all")
    with pytest.raises(UnsupportedSlideError) as caught:
        opened(tmp_path / "notes.txt")
    for reader in ("native: ", "openslide: ", "tiffslide: ", "pillow: "):
        assert reader in str(caught.value)


def test_auto_does_not_repeat_what_to_do_about_each_reader(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no slide at all")
    with pytest.raises(UnsupportedSlideError) as caught:
        opened(tmp_path / "notes.txt")
    assert "config.slide_library" not in str(caught.value)
    assert caught.value.remedy == UnsupportedSlideError.advice


@pytest.mark.parametrize("library", ["native", "openslide", "pillow", "tiffopenslide"])
def test_a_library_that_was_named_tells_of_others_at_the_end(
    tmp_path: Path, library: str
) -> None:
    (tmp_path / "notes.txt").write_text("no slide at all")
    with pytest.raises(UnsupportedSlideError, match=r'"auto"$') as caught:
        opened(tmp_path / "notes.txt", library)
    assert str(caught.value).count("another config.slide_library") == 1


def test_something_else_than_a_path_is_a_type_error() -> None:
    with pytest.raises(ParameterTypeError, match="must be a str or a path, not None"):
        open_reader(None, settings=Settings())  # type: ignore[arg-type]


def test_auto_reads_ordinary_pictures_and_says_so(
    picture: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dplabtools")
    with opened(picture) as slide:
        assert slide.library == "pillow"
    assert caplog.messages[0].startswith("picture.png: read by pillow (native: ")


def test_auto_does_not_take_an_overview_for_the_slide(picture: Path) -> None:
    overview = picture.rename(picture.with_suffix(".mrxs"))
    with pytest.raises(UnsupportedSlideError, match="no more than an overview"):
        opened(overview)


@pytest.mark.filterwarnings("error")
def test_the_limit_of_pillow_does_not_count(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(picture, "pillow") as slide:
        pixels = slide.read((0, 0), 0, slide.sizes[0])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with opened(picture, "pillow") as slide:
        np.testing.assert_array_equal(slide.read((0, 0), 0, slide.sizes[0]), pixels)
    assert Image.MAX_IMAGE_PIXELS == 1000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(picture)


def test_a_picture_for_which_there_is_no_memory_is_refused(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pillow, "available_memory", lambda: 10_000)
    with (
        opened(picture, "pillow") as slide,
        pytest.raises(
            NotEnoughMemoryError, match=r"picture\.png: .* decoded whole"
        ) as caught,
    ):
        slide.read((0, 0), 0, (10, 10))
    assert "vips tiffsave" in caught.value.remedy


def test_a_large_region_is_converted_piece_by_piece(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(picture, "pillow") as slide:
        whole = slide.read((0, 0), 0, slide.sizes[0])
        monkeypatch.setattr(pillow, "_AT_ONCE", 7 * slide.sizes[0][0])
        np.testing.assert_array_equal(slide.read((0, 0), 0, slide.sizes[0]), whole)


@pytest.mark.parametrize("library", ["native", "tiffslide", "pillow"])
def test_sixteen_bits_are_refused(tmp_path: Path, library: str) -> None:
    deep = np.full((64, 64), 3000, np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", deep, tile=(16, 16), metadata=None)
    with pytest.raises(UnsupportedSlideError, match=r"deep\.tif"):
        opened(tmp_path / "deep.tif", library)


def test_tiffslide_refuses_what_it_would_show_in_false_colours(tmp_path: Path) -> None:
    file = make_slide(tmp_path / "ycc.svs", size=(256, 256), compression="jpeg2000")
    with tifffile.TiffFile(file, mode="r+") as tiff:
        for page in tiff.pages:
            page.tags["Compression"].overwrite(33003)  # type: ignore[union-attr]
    with pytest.raises(UnsupportedSlideError, match="false colours"):
        opened(file, "tiffslide")


@pytest.mark.parametrize("library", ["openslide", "tiffslide", "pillow"])
def test_transparent_pixels_show_the_background(tmp_path: Path, library: str) -> None:
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[..., 0] = 200
    pixels[:, 32:, 3] = 255
    options: dict[str, Any] = {
        "photometric": "rgb",
        "extrasamples": ["unassalpha"],
        "tile": (32, 32),
    }
    file = tmp_path / "alpha.tif"
    tifffile.imwrite(file, pixels, metadata=None, **options)
    settings = Settings(slide_library=library, background=(1, 2, 3))
    if library == "tiffslide":
        pytest.importorskip("tiffslide")
    with open_reader(file, settings=settings) as slide:
        region = slide.read((30, 0), 0, (4, 1))
    if library == "openslide":  # takes no notice of transparency in TIFF files
        assert region[0, 2:].tolist() == [[200, 0, 0]] * 2
    else:
        assert region[0].tolist() == [[1, 2, 3]] * 2 + [[200, 0, 0]] * 2


def test_importing_the_documented_slide_loads_no_library_that_it_may_not_need() -> None:
    code = (
        "import sys, dplabtools.slides;"
        "print([m for m in ('tiffslide', 'cv2', 'zarr', 'torch') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_a_real_file_that_opens_and_cannot_be_read_is_named(slides_dir: Path) -> None:
    message = r"^openslide-python-unreadable\.svs"
    with (
        opened(slides_dir / "openslide-python-unreadable.svs") as slide,
        pytest.raises(SlideReadError, match=message),
    ):
        slide.read((0, 0), 0, (16, 16))


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_real_file_that_does_not_open_is_named(slides_dir: Path, library: str) -> None:
    with pytest.raises(UnsupportedSlideError, match=r"^histolab-broken\.svs"):
        opened(slides_dir / "histolab-broken.svs", library)


@pytest.mark.parametrize("library", ["native", "tiffslide", "pillow"])
def test_other_readers_tell_of_damage_too(slides_dir: Path, library: str) -> None:
    with opened(slides_dir / "openslide-python-unreadable.svs", library) as slide:
        for _ in range(2):
            with pytest.raises(SlideReadError, match=r"^openslide-python-unreadable\.svs"):
                slide.read((0, 0), 0, (16, 16))


@pytest.mark.parametrize("library", ["native", "tiffslide"])
def test_a_real_file_that_openslide_does_not_read(slides_dir: Path, library: str) -> None:
    file = slides_dir / "OS-1-detail.ome.tif"
    with opened(file, library) as slide:
        assert slide.sizes == ((1101, 1101),)
        assert slide.scan.mpp_x == pytest.approx(0.2271, abs=1e-4)
        pixels = slide.read((0, 0), 0, slide.sizes[0])
    np.testing.assert_array_equal(pixels, tifffile.imread(file))


def test_too_many_open_files_are_no_fault_of_the_slide(made_slide: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, before[1]))
    try:
        error = _refused(made_slide)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert str(error).startswith("made.svs: ")
    assert "(ulimit -n)" in str(error)


def _refused(path: Path) -> SystemLimitError | None:
    try:
        opened(path).close()
    except SystemLimitError as error:
        return error
    return None
