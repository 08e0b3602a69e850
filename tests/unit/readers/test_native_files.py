"""What the native reader makes of files, and which it leaves to others."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile

from dplabtools._typing import Pixels
from dplabtools.errors import (
    MissingSlideError,
    SlideReadError,
    UnsupportedSlideError,
)
from dplabtools.readers.native.families import open_indexed
from dplabtools.readers.native.reader import NativeReader
from dplabtools.readers.opening import open_reader
from dplabtools.readers.openslide import OpenSlideReader
from dplabtools.settings import Settings
from dplabtools.testing.make_slide import make_slide

WHITE = (255, 255, 255)
RNG = np.random.default_rng(3)
NOISE: Pixels = RNG.integers(0, 256, (150, 200, 3), dtype=np.uint8)
_SLOPE = np.outer(np.arange(200), [1, 0.5, 0.2])
SMOOTH: Pixels = np.add.outer(np.arange(150), _SLOPE).astype(np.uint8)


def written(file: Path, pixels: Pixels = NOISE, **options: Any) -> Path:
    """Write a tiled TIFF."""
    options = {"tile": (64, 64), "photometric": "rgb", "metadata": None} | options
    tifffile.imwrite(file, pixels, **options)
    return file


def native(file: Path) -> NativeReader:
    return NativeReader(file, background=WHITE)


def whole(file: Path, level: int = 0) -> Pixels:
    with native(file) as reader:
        return reader.read((0, 0), level, reader.sizes[level])


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize("compression", ["none", "deflate", "adobe_deflate", "lzw", "zstd"])
def test_lossless_tiles_come_out_exactly(
    tmp_path: Path, compression: str, *, predictor: bool, byteorder: Any, bigtiff: bool
) -> None:
    if compression == "none" and predictor:
        pytest.skip("nothing is predicted where nothing is compressed")
    file = written(
        tmp_path / "a.tif",
        compression=compression,
        predictor=predictor,
        byteorder=byteorder,
        bigtiff=bigtiff,
    )
    np.testing.assert_array_equal(whole(file), NOISE)


def test_lossless_webp_comes_out_exactly(tmp_path: Path) -> None:
    options: dict[str, Any] = {"compressionargs": {"lossless": True}}
    file = written(tmp_path / "a.tif", compression="webp", **options)
    np.testing.assert_array_equal(whole(file), NOISE)


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2), (4, 1)])
def test_jpeg_of_every_subsampling_is_what_openslide_shows(
    tmp_path: Path, subsampling: tuple[int, int]
) -> None:
    file = written(tmp_path / "a.tif", SMOOTH, compression="jpeg", subsampling=subsampling)
    with OpenSlideReader(file, background=WHITE) as other:
        expected = other.read((0, 0), 0, (200, 150))
    np.testing.assert_array_equal(whole(file), expected)


def test_rgb_jpeg_goes_by_the_tag_alone(tmp_path: Path) -> None:
    """As in the files of Aperio: no marker in the stream tells of the colour space."""
    options: dict[str, Any] = {"compressionargs": {"outcolorspace": "rgb", "level": 95}}
    file = written(tmp_path / "a.tif", SMOOTH, compression="jpeg", **options)
    data = file.read_bytes()
    assert b"JFIF" not in data
    assert b"\xff\xee\x00\x0eAdobe" in data
    file.write_bytes(data.replace(b"\xff\xee\x00\x0eAdobe", b"\xff\xfe\x00\x0eNotes"))
    with tifffile.TiffFile(file) as tiff:
        assert tiff.pages.first.photometric == tifffile.PHOTOMETRIC.RGB
    assert np.abs(whole(file).astype(int) - SMOOTH).mean() < 4
    with OpenSlideReader(file, background=WHITE) as other:
        np.testing.assert_array_equal(whole(file), other.read((0, 0), 0, (200, 150)))


def test_ycbcr_jpeg_2000_comes_out_in_true_colours(tmp_path: Path) -> None:
    red, green, blue = (SMOOTH[..., i].astype(float) for i in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    ycc = np.stack((luma, 128 + (blue - luma) / 1.772, 128 + (red - luma) / 1.402), -1)
    file = written(tmp_path / "a.svs", ycc.round().astype(np.uint8), compression=33005)
    with tifffile.TiffFile(file, mode="r+") as tiff:
        tiff.pages.first.tags["Compression"].overwrite(33003)
    assert np.abs(whole(file).astype(int) - SMOOTH).max() <= 2


def set_first(file: Path, name: str, number: int, value: int) -> None:
    """Change what the first directory says of one tile."""
    with tifffile.TiffFile(file, mode="r+") as tiff:
        values = list(tiff.pages.first.tags[name].value)
        values[number] = value
        tiff.pages.first.tags[name].overwrite(values)


@pytest.mark.parametrize("kind", ["generic", "aperio"])
def test_tiles_that_are_not_stored_are_background(tmp_path: Path, kind: str) -> None:
    pixels = NOISE.copy()
    pixels[:64, 64:128] = 0
    description = "Aperio\r\nx" if kind == "aperio" else None
    file = written(tmp_path / "a.tif", pixels, description=description)
    set_first(file, "TileByteCounts", 1, 0)
    if kind == "generic":  # where a length of zero alone is damage
        with pytest.raises(SlideReadError, match="is stored, and has no length"):
            whole(file)
        set_first(file, "TileOffsets", 1, 0)
    pixels[:64, 64:128] = 255
    np.testing.assert_array_equal(whole(file), pixels)
    with OpenSlideReader(file, background=WHITE) as other:
        np.testing.assert_array_equal(other.read((0, 0), 0, (200, 150)), pixels)


def test_the_levels_of_an_ome_file_are_in_its_sub_directories(tmp_path: Path) -> None:
    file = tmp_path / "a.ome.tif"
    options: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb"}
    metadata = {"axes": "YXS", "PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm"}
    metadata |= {"PhysicalSizeY": 0.25, "PhysicalSizeYUnit": "µm"}
    with tifffile.TiffWriter(file) as tiff:
        tiff.write(NOISE, subifds=2, metadata=metadata, **options)
        tiff.write(NOISE[::2, ::2], subfiletype=1, **options)
        tiff.write(NOISE[::4, ::4], subfiletype=1, **options)
    with native(file) as reader:
        assert reader.sizes == ((200, 150), (100, 75), (50, 38))
        assert (reader.scan.mpp_x, reader.scan.mpp_y) == (0.25, 0.25)
    np.testing.assert_array_equal(whole(file, 1), NOISE[::2, ::2])
    np.testing.assert_array_equal(whole(file, 2), NOISE[::4, ::4])


def associated(reader: NativeReader | OpenSlideReader, name: str) -> Pixels:
    image = reader.associated_image(name)
    assert image is not None
    return np.asarray(image)


KINDS: dict[str, Callable[[Path], Path]] = {
    "aperio": lambda folder: make_slide(folder / "a.svs", size=(601, 507), mpp=0.2527),
    "no mpp": lambda folder: make_slide(
        folder / "a.svs", size=(601, 507), mpp=None, power=None
    ),
    "generic": lambda folder: make_slide(
        folder / "a.tif", size=(601, 507), vendor="generic", mpp=0.2527
    ),
    "per inch": lambda folder: written(
        folder / "a.tif", resolution=(90000.3, 90000.3), resolutionunit="INCH"
    ),
    "per nothing": lambda folder: written(folder / "a.tif", resolution=(5, 5)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_of_a_file_what_openslide_says(tmp_path: Path, kind: str) -> None:
    file = KINDS[kind](tmp_path)
    with native(file) as reader, OpenSlideReader(file, background=WHITE) as other:
        assert_same_statements(reader, other)


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "tcga-cr-7395-01a-01-ts1.svs"])
def test_it_says_of_real_files_what_openslide_says(slides_dir: Path, name: str) -> None:
    file = slides_dir / name
    with native(file) as reader, OpenSlideReader(file, background=WHITE) as other:
        assert_same_statements(reader, other)


def assert_same_statements(reader: NativeReader, other: OpenSlideReader) -> None:
    assert reader.sizes == other.sizes
    assert reader.downsamples == pytest.approx(other.downsamples, rel=1e-15)
    assert reader.scan == other.scan
    ours, theirs = dict(reader.properties), dict(other.properties)
    for name in [name for name in theirs if "quickhash" in name or "icc-size" in name]:
        del theirs[name]
        ours.pop(name, None)
    downsamples = [name for name in theirs if name.endswith(".downsample")]
    for name in downsamples:  # differ in the last of seventeen digits, at most
        assert float(ours.pop(name)) == pytest.approx(float(theirs.pop(name)), rel=1e-15)
    assert ours == theirs
    names = {key.split(".")[2] for key in theirs if key.startswith("openslide.associated")}
    for name in names:
        np.testing.assert_array_equal(associated(reader, name), associated(other, name))


ODD: dict[str, dict[str, Any]] = {
    "photometric 0": {"pixels": NOISE[..., 0], "photometric": "miniswhite"},
    "separate planes": {"pixels": np.moveaxis(NOISE, 2, 0), "planarconfig": "separate"},
    "compression 34925": {"compression": "lzma"},
    "photometric 6": {"photometric": "ycbcr"},
    "photometric 5": {"pixels": np.dstack((NOISE, NOISE[..., 0])), "photometric": 5},
    "photometric 3": {
        "pixels": NOISE[..., 0],
        "photometric": "palette",
        "colormap": np.zeros((3, 256), np.uint16),
    },
    "Philips": {"software": "Philips DP v1.0"},
    "Trestle": {"software": "MedScan"},
    "Leica": {"description": "<scn xmlns='http://www.leica-microsystems.com/scn/2010'/>"},
    "Ventana": {"extratags": [(700, "B", 9, b"<iScan />", True)]},
}


@pytest.mark.parametrize("oddity", ODD)
def test_what_is_not_understood_is_declined_before_the_first_read(
    tmp_path: Path, oddity: str
) -> None:
    file = written(tmp_path / "odd.tif", **ODD[oddity])
    with pytest.raises(UnsupportedSlideError, match=rf"^odd\.tif: .*{oddity}"):
        native(file)


def test_alpha_is_declined(tmp_path: Path) -> None:
    file = written(
        tmp_path / "a.tif", np.dstack((NOISE, NOISE[..., :1])), extrasamples=["unassalpha"]
    )
    with pytest.raises(UnsupportedSlideError, match="not three samples"):
        native(file)


def test_auto_falls_through_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dplabtools")
    planes = np.moveaxis(NOISE, 2, 0)
    file = written(tmp_path / "a.tif", planes, planarconfig="separate")
    with open_reader(file, settings=Settings()) as reader:
        assert reader.library == "openslide"
        np.testing.assert_array_equal(reader.read((0, 0), 0, (200, 150)), NOISE)
    message = caplog.messages[0]
    assert message.startswith("a.tif: read by openslide (native: separate planes are not")


def test_an_index_travels_and_saves_looking(made_slide: Path) -> None:
    index = pickle.loads(pickle.dumps(open_indexed(made_slide)[1]))
    with (
        NativeReader(made_slide, background=WHITE, index=index) as reader,
        native(made_slide) as other,
    ):
        np.testing.assert_array_equal(
            reader.read((40, 50), 0, (300, 200)), other.read((40, 50), 0, (300, 200))
        )


def test_an_index_of_another_file_is_refused(
    made_slide: Path, lossless_slide: Path
) -> None:
    with pytest.raises(UnsupportedSlideError, match=r"^lossless\.svs: .*has changed"):
        NativeReader(lossless_slide, background=WHITE, index=open_indexed(made_slide)[1])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingSlideError, match=r"^gone\.svs"):
        native(tmp_path / "gone.svs")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_file_is_left_open(made_slide: Path, tmp_path: Path) -> None:
    before = open_files()
    with native(made_slide) as reader:
        reader.read((0, 0), 0, (300, 300))
        assert reader.associated_image("label") is not None
        assert open_files() == before + 1
    (tmp_path / "bad.tif").write_bytes(b"II*\0" + b"\xff" * 60)
    with pytest.raises(UnsupportedSlideError):
        native(tmp_path / "bad.tif")
    assert open_files() == before


def test_openslide_confirms_that_ome_pyramids_are_hidden_from_it(tmp_path: Path) -> None:
    """If this fails, OpenSlide has learnt to see them: compare with it then."""
    file = tmp_path / "a.ome.tif"
    options: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb"}
    with tifffile.TiffWriter(file) as tiff:
        tiff.write(NOISE, subifds=1, **options)
        tiff.write(NOISE[::2, ::2], subfiletype=1, **options)
    with openslide.OpenSlide(file) as slide:
        assert slide.level_count == 1


@pytest.mark.parametrize("suffix", [".mrxs", ".dcm"])
def test_what_is_no_tiff_is_not_even_tried(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    file.write_bytes(b"\xff\xd8\xff\xe0 no slide at all" * 40)
    with pytest.raises(
        UnsupportedSlideError, match="native: not tried, as this is no TIFF"
    ):
        open_reader(file, settings=Settings())


def test_an_index_spares_asking_other_readers(made_slide: Path) -> None:
    index = open_indexed(made_slide)[1]
    with open_reader(made_slide, settings=Settings(), index=index) as reader:
        assert reader.library == index.library == "native"
        assert isinstance(reader, NativeReader)
        assert reader.index is index
