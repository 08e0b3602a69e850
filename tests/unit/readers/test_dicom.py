"""DICOM slides are read as OpenSlide reads them, and those that it refuses as well."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames

from dplabtools._typing import Pixels
from dplabtools.errors import (
    AmbiguousSlideError,
    DamagedSlideError,
    SlideReadError,
    UnsupportedSlideError,
)
from dplabtools.readers.layout import stored_levels
from dplabtools.readers.native.reader import NativeReader
from dplabtools.readers.opening import open_reader
from dplabtools.settings import Settings
from dplabtools.testing.make_dicom import make_dicom_slide

WHITE, PINK = (255, 255, 255), (250, 10, 120)
SMALL: dict[str, Any] = {"size": (300, 230), "levels": 2, "tile": 64}
JPEG_2000 = ("jpeg2000", "jpeg2000 lossy", "jpeg2000 rgb")
BOTH_READ = ("jpeg", "jpeg rgb", *JPEG_2000, "none")
LOSSLESS = ("htj2k", "jpeg-ls", "rle")
ORGANISED: dict[str, dict[str, Any]] = {
    "basic table": {},
    "extended table": {"table": "extended"},
    "no table": {"table": "none"},
    "sparse": {"sparse": True},
    "concatenated": {"parts": 3},
    "all at once": {"parts": 2, "sparse": True, "table": "none"},
}
EACH = [
    *(("jpeg", kind) for kind in ORGANISED),
    *((codec, kind) for codec in BOTH_READ[1:] for kind in ("sparse", "all at once")),
]


def native(file: Path) -> NativeReader:
    return NativeReader(file, background=WHITE)


def whole(reader: NativeReader, level: int = 0) -> Pixels:
    return reader.read((0, 0), level, reader.sizes[level])


def by_openslide(slide: openslide.OpenSlide, level: int) -> Pixels:
    region = slide.read_region((0, 0), level, slide.level_dimensions[level])
    pixels = np.asarray(region)
    return np.where(pixels[..., 3:] == 0, 255, pixels[..., :3]).astype(np.uint8)


def check_alike(file: Path, *, tolerance: int) -> None:
    with openslide.OpenSlide(file) as slide, native(file) as reader:
        assert reader.sizes == slide.level_dimensions
        assert reader.downsamples == slide.level_downsamples
        for level in range(slide.level_count):
            ours = whole(reader, level).astype(np.int16)
            assert np.abs(ours - by_openslide(slide, level)).max() <= tolerance
        stated = {k: v for k, v in slide.properties.items() if "quickhash" not in k}
        assert reader.properties == stated
        profile = slide.color_profile
        assert reader.icc_profile == (profile and profile.tobytes())
        for name, picture in slide.associated_images.items():
            found = reader.associated_image(name)
            assert found is not None
            theirs = np.asarray(picture.convert("RGB")).astype(np.int16)
            assert np.abs(np.asarray(found) - theirs).max() <= tolerance
        assert set(reader.index.associated) == set(slide.associated_images)


def edited(file: Path, change: Callable[[Any], None]) -> Path:
    """Change what a file says, and return it."""
    data = pydicom.dcmread(file)
    change(data)
    data.save_as(file)
    return file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return make_dicom_slide(tmp_path, **SMALL)


@pytest.mark.parametrize(("compression", "kind"), EACH)
def test_it_is_what_openslide_gives(tmp_path: Path, compression: str, kind: str) -> None:
    file = make_dicom_slide(tmp_path, compression=compression, **SMALL, **ORGANISED[kind])
    check_alike(file, tolerance=int(compression in JPEG_2000))


@pytest.mark.parametrize("name", ["camelyon-jpeg.dcm", "camelyon-jpeg2000.dcm"])
def test_real_files_are_what_openslide_gives(slides_dir: Path, name: str) -> None:
    file = slides_dir / "dicom" / name
    check_alike(file, tolerance=int("2000" in name))
    with open_reader(file, settings=Settings()) as reader:
        assert reader.library == "native"


@pytest.mark.parametrize("kind", ["extended table", "all at once"])
@pytest.mark.parametrize("compression", LOSSLESS)
def test_what_openslide_refuses_is_read_too(
    tmp_path: Path, compression: str, kind: str
) -> None:
    options = {**SMALL, **ORGANISED[kind]}
    file = make_dicom_slide(tmp_path / "a", compression=compression, **options)
    plain = make_dicom_slide(tmp_path / "b", compression="none", **options)
    with pytest.raises(openslide.OpenSlideError):
        openslide.OpenSlide(file)
    with native(file) as reader, native(plain) as expected:
        for level in range(2):
            np.testing.assert_array_equal(whole(reader, level), whole(expected, level))
        label = expected.associated_image("label")
        assert label == reader.associated_image("label")
        assert label is not None


def test_tiles_that_are_left_out_are_background(tmp_path: Path) -> None:
    file = make_dicom_slide(tmp_path, sparse=True, **SMALL)
    with NativeReader(file, background=PINK) as reader:
        assert (reader.read((128, 0), 0, (64, 64)) == PINK).all()
        assert not (reader.read((0, 0), 0, (64, 64)) == PINK).all(axis=-1).any()


@pytest.mark.parametrize("name", ["level-1", "label", "overview"])
def test_any_of_its_files_stands_for_the_slide(file: Path, name: str) -> None:
    with native(file) as reader, native(file.with_name(f"{name}.dcm")) as other:
        assert other.sizes == reader.sizes
        np.testing.assert_array_equal(whole(other), whole(reader))


def test_files_of_other_slides_beside_it_do_not_matter(file: Path, tmp_path: Path) -> None:
    other = make_dicom_slide(tmp_path / "other", size=(500, 400), levels=1, seed=1)
    for each in other.parent.iterdir():
        each.rename(file.with_name(f"other-{each.name}"))
    with native(file) as reader:
        assert reader.sizes == ((300, 230), (150, 115))


def test_a_copy_of_a_file_is_no_second_level(file: Path) -> None:
    file.with_name("copy.dcm").write_bytes(file.read_bytes())
    with native(file) as reader:
        assert reader.sizes == ((300, 230), (150, 115))


def test_the_index_is_made_once(file: Path) -> None:
    with native(file) as reader:
        index = pickle.loads(pickle.dumps(reader.index))
        expected = whole(reader, 1)
    code = (
        "import pickle, sys; from dplabtools.readers.native.reader import *\n"
        "index = pickle.load(sys.stdin.buffer)\n"
        "reader = NativeReader(sys.argv[1], background=(255,) * 3, index=index)\n"
        "pixels = reader.read((0, 0), 1, reader.sizes[1])\n"
        "assert 'pydicom' not in sys.modules\n"
        "sys.stdout.buffer.write(pixels.tobytes())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)],
        input=pickle.dumps(index),
        capture_output=True,
        check=True,
    )
    assert done.stdout == expected.tobytes()


def test_a_slide_is_another_when_one_of_its_files_is(file: Path) -> None:
    with native(file) as reader:
        index = reader.index
    with file.with_name("level-1.dcm").open("ab") as stream:
        stream.write(bytes(8))
    with pytest.raises(UnsupportedSlideError, match="has changed"):
        NativeReader(file, background=WHITE, index=index)


def test_information_names_the_compression(file: Path) -> None:
    with native(file) as reader:
        assert {each.compression for each in stored_levels(str(file), reader)} == {"JPEG"}


@pytest.mark.parametrize("table", ["basic", "none"])
def test_frames_may_be_in_several_pieces(tmp_path: Path, table: str) -> None:
    file = make_dicom_slide(tmp_path, table=table, **SMALL)
    with native(file) as reader:
        expected = whole(reader)

    def cut(data: Any) -> None:
        frames = list(generate_frames(data.PixelData, number_of_frames=data.NumberOfFrames))
        data.PixelData = encapsulate(
            frames, fragments_per_frame=3, has_bot=table == "basic"
        )

    edited(file, cut)
    if table == "none":
        with pytest.raises(UnsupportedSlideError, match="several pieces"):
            native(file)
        return
    with native(file) as reader:
        np.testing.assert_array_equal(whole(reader), expected)
        assert reader.stored_jpegs(np.zeros((1, 2), int), 0, sizes=np.full((1, 2), 64))


def test_frames_that_are_missing_without_a_table_are_damage(tmp_path: Path) -> None:
    file = make_dicom_slide(tmp_path, table="none", **SMALL)

    def drop(data: Any) -> None:
        frames = list(generate_frames(data.PixelData, number_of_frames=data.NumberOfFrames))
        data.PixelData = encapsulate(frames[:-1], has_bot=False)

    with pytest.raises(DamagedSlideError, match=r"holds \d+ of its \d+ frames"):
        native(edited(file, drop))


@pytest.mark.parametrize("syntax", ["ExplicitVRLittleEndian", "ImplicitVRLittleEndian"])
@pytest.mark.parametrize("known", [True, False])
def test_sequences_may_be_written_in_any_way(
    tmp_path: Path, syntax: str, *, known: bool
) -> None:
    file = make_dicom_slide(tmp_path, compression="none", sparse=True, **SMALL)
    with native(file) as reader:
        expected = whole(reader)

    def rewrite(data: Any) -> None:
        data.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
        frames = data["PerFrameFunctionalGroupsSequence"]
        frames.is_undefined_length = not known
        for item in frames.value:
            item.is_undefined_length_sequence_item = not known
            item["PlanePositionSlideSequence"].is_undefined_length = not known
            item["FrameContentSequence"].is_undefined_length = not known
            for inner in item.PlanePositionSlideSequence:
                inner.is_undefined_length_sequence_item = not known

    data = pydicom.dcmread(file)
    rewrite(data)
    pydicom.dcmwrite(
        file, data, implicit_vr=syntax.startswith("Implicit"), little_endian=True
    )
    with native(file) as reader:
        np.testing.assert_array_equal(whole(reader), expected)


@pytest.mark.parametrize(
    ("compression", "claimed"), [("jpeg", "RGB"), ("jpeg rgb", "YBR_FULL_422")]
)
def test_colours_are_those_that_the_tiles_state(
    tmp_path: Path, compression: str, claimed: str
) -> None:
    file = make_dicom_slide(tmp_path, compression=compression, **SMALL)
    with native(file) as reader:
        expected = whole(reader)

    def claim(data: Any) -> None:
        data.PhotometricInterpretation = claimed

    with native(edited(file, claim)) as reader:
        np.testing.assert_array_equal(whole(reader), expected)


def test_grey_is_read_as_grey(tmp_path: Path) -> None:
    file = make_dicom_slide(tmp_path, compression="none", size=(64, 64), levels=1, tile=64)
    grey = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)

    def fade(data: Any) -> None:
        data.PhotometricInterpretation, data.SamplesPerPixel = "MONOCHROME2", 1
        del data.PlanarConfiguration
        data.PixelData = grey.tobytes()

    with native(edited(file, fade)) as reader:
        np.testing.assert_array_equal(whole(reader), np.dstack([grey] * 3))


def planes(data: Any) -> None:
    data.TotalPixelMatrixFocalPlanes = 2


def paths(data: Any) -> None:
    data.OpticalPathSequence = [*data.OpticalPathSequence, Dataset()]


def deep(data: Any) -> None:
    data.BitsAllocated, data.BitsStored = 16, 12


def same_size(data: Any) -> None:
    data.TotalPixelMatrixColumns, data.TotalPixelMatrixRows = 150, 115


@pytest.mark.parametrize("change", [planes, paths, deep, same_size])
def test_what_takes_a_decision_goes_to_no_other_library(
    file: Path, change: Callable[[Any], None]
) -> None:
    edited(file, change)
    with pytest.raises(AmbiguousSlideError, match=r"^level-0\.dcm: .*has to be decided"):
        open_reader(file, settings=Settings())


def test_several_frames_for_a_place_take_a_decision(tmp_path: Path) -> None:
    file = make_dicom_slide(tmp_path, sparse=True, **SMALL)

    def pile(data: Any) -> None:
        first, second, *_ = data.PerFrameFunctionalGroupsSequence
        second.PlanePositionSlideSequence = first.PlanePositionSlideSequence

    with pytest.raises(AmbiguousSlideError, match="2 frames for a place"):
        native(edited(file, pile))


def test_tiles_on_no_grid_are_left_to_openslide(tmp_path: Path) -> None:
    file = make_dicom_slide(tmp_path, sparse=True, **SMALL)

    def move(data: Any) -> None:
        position = data.PerFrameFunctionalGroupsSequence[0].PlanePositionSlideSequence[0]
        position.ColumnPositionInTotalImagePixelMatrix -= 7

    edited(file, move)
    with pytest.raises(UnsupportedSlideError, match="on no grid"):
        native(file)


def lengthen(data: Any) -> None:
    data.TotalPixelMatrixRows += 64


def outside(data: Any) -> None:
    position = data.PerFrameFunctionalGroupsSequence[0].PlanePositionSlideSequence[0]
    position.RowPositionInTotalImagePixelMatrix = 64 * 99 + 1


def fewer_positions(data: Any) -> None:
    del data.PerFrameFunctionalGroupsSequence[-1]


def samples(data: Any) -> None:
    data.SamplesPerPixel = 1


def no_size(data: Any) -> None:
    del data.Rows


@pytest.mark.parametrize(
    ("change", "sparse"),
    [
        (lengthen, False),
        (outside, True),
        (fewer_positions, True),
        (samples, False),
        (no_size, False),
    ],
)
def test_a_file_that_contradicts_itself_is_damaged(
    tmp_path: Path, change: Callable[[Any], None], *, sparse: bool
) -> None:
    file = edited(make_dicom_slide(tmp_path, sparse=sparse, **SMALL), change)
    with pytest.raises(DamagedSlideError, match=r"^level-0\.dcm: "):
        open_reader(file, settings=Settings())


def test_a_missing_part_is_noticed(tmp_path: Path) -> None:
    file = make_dicom_slide(tmp_path, parts=3, **SMALL)
    file.with_name("level-0-1.dcm").unlink()
    with pytest.raises(DamagedSlideError, match="a part of the picture is missing"):
        native(file)


def test_a_last_part_that_is_missing_is_noticed(tmp_path: Path) -> None:
    file = make_dicom_slide(tmp_path, parts=3, **SMALL)
    file.with_name("level-0-2.dcm").unlink()
    with pytest.raises(DamagedSlideError, match="has 14 frames, of 20"):
        native(file)


@pytest.mark.parametrize("table", ["basic", "extended", "none"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_a_file_that_ends_too_early_is_damaged(
    tmp_path: Path, table: str, share: float
) -> None:
    file = make_dicom_slide(tmp_path, table=table, **SMALL)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DamagedSlideError, match=r"^level-0\.dcm: "):
        native(file)


def test_a_table_that_leads_astray_is_noticed_where_it_does(tmp_path: Path) -> None:
    file = make_dicom_slide(tmp_path, **SMALL)
    data = bytearray(file.read_bytes())
    table = data.index(b"\xfe\xff\x00\xe0", data.index(b"\xe0\x7f\x10\x00OB")) + 8
    offsets = np.frombuffer(data, "<u4", 20, table).copy()
    offsets[7] += 20
    data[table : table + 80] = offsets.tobytes()
    file.write_bytes(data)
    with native(file) as reader:
        for number in (6, 7):
            with pytest.raises(SlideReadError, match=r"^level-0\.dcm: .*damaged"):
                reader.read((64 * (number % 5), 64 * (number // 5)), 0, (9, 9))
        assert reader.read((0, 0), 0, (300, 64)).shape == (64, 300, 3)


@pytest.mark.filterwarnings("error")
def test_odd_values_do_no_harm(file: Path) -> None:
    def spoil(data: Any) -> None:
        data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [
            *("0.0002500000000000000", "0.0002510000000000000")
        ]
        data.LossyImageCompressionRatio = "10"
        data.ContentDate = "yesterday, before noon"

    with pydicom.config.disable_value_validation():
        edited(file, spoil)
    ratio = b"\x28\x00\x12\x21DS\x02\x00"
    file.write_bytes(file.read_bytes().replace(ratio + b"10", ratio + b"a/"))
    with native(file) as reader:
        assert (reader.scan.mpp_x, reader.scan.mpp_y) == (0.251, 0.25)
        assert reader.properties["dicom.LossyImageCompressionRatio"] == "a/"


def test_a_table_that_leads_to_the_end_is_damaged(tmp_path: Path) -> None:
    file = make_dicom_slide(tmp_path, **SMALL)
    data = bytearray(file.read_bytes())
    table = data.index(b"\xfe\xff\x00\xe0", data.index(b"\xe0\x7f\x10\x00OB")) + 8
    end = len(data) - 8 - (table + 80)  # where the delimiter is
    data[table + 76 : table + 80] = end.to_bytes(4, "little")
    file.write_bytes(data)
    with pytest.raises(DamagedSlideError, match="20 offsets cannot be those"):
        native(file)


def test_other_files_of_dicom_are_no_slides(file: Path) -> None:
    def other(data: Any) -> None:
        data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"

    with pytest.raises(UnsupportedSlideError, match="no whole-slide image"):
        native(edited(file, other))


def test_frames_of_another_size_are_damaged(tmp_path: Path) -> None:
    file = make_dicom_slide(tmp_path, compression="jpeg-ls", **SMALL)
    small = imagecodecs.jpegls_encode(np.zeros((32, 32, 3), np.uint8))

    def swap(data: Any) -> None:
        frames = list(generate_frames(data.PixelData, number_of_frames=data.NumberOfFrames))
        frames[0] = bytes(small)
        data.PixelData = encapsulate(frames)

    with native(edited(file, swap)) as reader:
        with pytest.raises(SlideReadError):
            reader.read((0, 0), 0, (9, 9))
        assert reader.read((64, 64), 0, (9, 9)).shape == (9, 9, 3)
