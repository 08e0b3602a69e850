"""Extractor pools that write image files."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from PIL import Image

from dplabtools._typing import Pixels
from dplabtools.errors import (
    DuplicatePatchesError,
    LevelOutOfRangeError,
    OutputError,
    OutputFormatError,
    ParameterError,
    ParameterTypeError,
    RegionOutOfBoundsError,
    SlideReadError,
    UnsupportedSlideError,
)
from dplabtools.slides.patches import (
    DiskPatchExtractor,
    DiskPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    PatchesMock,
)

Row = tuple[tuple[int, int], tuple[int, int], str]
ROWS: list[Row] = [
    ((640, 320), (48, 32), "b"),
    ((0, 0), (48, 32), "a"),
    ((-9, 500), (48, 32), "b"),
]
WINDOWS_NAMES = ["CON", "nul", "Com1", "lpt9.txt", "aux"]


def mock(slide: Path, rows: Sequence[Row] = ROWS, level_or_mpp: float = 0) -> PatchesMock:
    return PatchesMock(
        patch_data=rows, wsi_file=slide, level_or_mpp=level_or_mpp, check_location=False
    )


def pool(folder: Path | str, *patches: Any, **changes: Any) -> DiskPatchExtractorPool:
    given: dict[str, Any] = {
        "output_dir": folder,
        "image_type": "png",
        "proc_num_workers": 1,
        "thread_num_workers": 1,
    }
    return DiskPatchExtractorPool(**{"patches_pool": patches, **given, **changes})


def sets(
    folder: Path | str, *patches: Any, **changes: Any
) -> MultiResDiskPatchExtractorPool:
    given: dict[str, Any] = {
        "levels_or_mpps": [0, 1],
        "output_dir": folder,
        "image_type": "png",
        "proc_num_workers": 1,
        "thread_num_workers": 1,
    }
    return MultiResDiskPatchExtractorPool(**{"patches_pool": patches, **given, **changes})


def files(folder: Path, pattern: str = "**/*") -> list[str]:
    """Everything in a folder, manifests aside."""
    every = (str(each.relative_to(folder)) for each in folder.glob(pattern))
    return sorted(each for each in every if not each.startswith("manifests"))


def everything(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))


def region(slide: Path, origin: tuple[int, int], level: int, size: Any) -> Pixels:
    """The pixels that OpenSlide reads, on white."""
    with openslide.OpenSlide(slide) as opened:
        image = opened.read_region(origin, level, size)
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return np.array(Image.alpha_composite(white, image).convert("RGB"))


def manifest(folder: Path, manifest_id: str) -> str:
    (file,) = folder.glob(f"manifests/manifest__{manifest_id}__*.txt")
    return file.read_text("utf-8")


def table(folder: Path, manifest_id: str) -> list[dict[str, str]]:
    (file,) = folder.glob(f"manifests/manifest__{manifest_id}__*.csv")
    return list(csv.DictReader(file.read_text("utf-8").splitlines()))


@pytest.fixture
def twin(lossless_slide: Path, tmp_path: Path) -> Path:
    """The same slide, under the same name in another folder."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / lossless_slide.name).symlink_to(lossless_slide)
    return folder / lossless_slide.name


# ---------------------------------------------------------------- names and pixels


@pytest.mark.parametrize(("processes", "threads"), [(1, 1), (2, 2)])
def test_files_hold_the_pixels_of_their_names(
    lossless_slide: Path, twin: Path, out: Path, processes: int, threads: int
) -> None:
    extracted = pool(
        out,
        mock(lossless_slide),
        mock(twin, [((5, 6), (20, 10), "")], 1),
        proc_num_workers=processes,
        thread_num_workers=threads,
    )
    assert extracted.patch_count == 4
    assert len(extracted.pids) == 2
    first, second = extracted.manifest_ids
    assert first != second
    assert re.fullmatch("[a-z0-9]{8}", first)
    wanted = {
        f"lossless_{first}_b_x640_y320.png": region(
            lossless_slide, (640, 320), 0, (48, 32)
        ),
        f"lossless_{first}_a_x0_y0.png": region(lossless_slide, (0, 0), 0, (48, 32)),
        f"lossless_{first}_b_x-9_y500.png": region(lossless_slide, (-9, 500), 0, (48, 32)),
    }
    assert files(out) == sorted([*wanted, f"lossless_{second}_x5_y6.png"])
    for name, pixels in wanted.items():
        with Image.open(out / name) as image:
            assert image.mode == "RGB"
            np.testing.assert_array_equal(image, pixels)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "lossless_{}_b_x640_y320.png"),
        ({"filename_comment": "note"}, "lossless_{}_note_b_x640_y320.png"),
        ({"filename_separator": "-"}, "lossless-{}-b-x640-y320.png"),
        ({"filename_separator": "."}, "lossless.{}.b.x640.y320.png"),
        ({"filename_separator": ""}, "lossless{}bx640y320.png"),
        (
            {"filename_separator": "__", "filename_comment": "a b"},
            "lossless__{}__a b__b__x640__y320.png",
        ),
        ({"create_subdirs": True}, "b/lossless_{}_b_x640_y320.png"),
        ({"image_type": "jpg"}, "lossless_{}_b_x640_y320.jpg"),
        ({"image_type": "PNG"}, "lossless_{}_b_x640_y320.PNG"),
        ({"image_type": "Tif"}, "lossless_{}_b_x640_y320.Tif"),
    ],
)
def test_how_files_are_called(
    lossless_slide: Path, out: Path, changes: dict[str, Any], name: str
) -> None:
    extracted = pool(out, mock(lossless_slide, ROWS[:1]), **changes)
    found = [each for each in files(out) if (out / each).is_file()]
    assert found == [name.format(*extracted.manifest_ids)]


def test_an_extension_in_capitals_says_the_format_too(
    lossless_slide: Path, out: Path
) -> None:
    pool(out, mock(lossless_slide, ROWS[:1]), image_type="PNG")
    (file,) = files(out)
    with Image.open(out / file) as image:
        assert image.format == "PNG"


def test_folders_are_made_for_labels_that_occur(lossless_slide: Path, out: Path) -> None:
    patches = PatchesMock(
        patch_data=ROWS,
        wsi_file=lossless_slide,
        level_or_mpp=0,
        patch_labels=["a", "b", "never"],
    )
    extracted = pool(out, patches, create_subdirs=True, excluded_labels=["a"])
    assert files(out, "*") == ["b"]
    assert len(files(out, "b/*")) == 2
    (manifest_id,) = extracted.manifest_ids
    assert "Patch labels:           {'a': 1, 'b': 2, 'never': 0}" in manifest(
        out, manifest_id
    )


@pytest.mark.parametrize(
    "label",
    [
        *("../x", "a/b", "..", ".", ".hidden", "/etc/passwd", "a\\b", "..\\..\\x"),
        *("%2F", "%252F", "50% fat", "a\nb", "\x00", "\x7f", "é µ", " ", "a.b"),
        *WINDOWS_NAMES,
        *("manifests", "set1", "~", "*?[]"),
    ],
)
@pytest.mark.parametrize("where", ["label", "filename_comment", "filename_separator"])
def test_names_stay_in_the_folder_whatever_the_labels(
    lossless_slide: Path, out: Path, label: str, where: str
) -> None:
    before = everything(out.parent)
    text = label if where == "label" else "fine"
    changes: dict[str, Any] = {} if where == "label" else {where: label}
    manifest_id = DiskPatchExtractor(
        patches=mock(lossless_slide, [((8, 9), (9, 7), text)]),
        output_dir=out,
        image_type="png",
        num_workers=1,
        create_subdirs=True,
        **changes,
    ).manifest_id
    new = set(everything(out.parent)) - set(before)
    (file,) = (each for each in new if each.endswith(".png"))
    top, folder, name = file.split("/")
    assert top == "out"
    assert new == {
        f"out/{folder}",
        file,
        "out/manifests",
        *(f"out/manifests/manifest__{manifest_id}__lossless{x}" for x in (".csv", ".txt")),
        *(each for each in new if each.startswith("out/manifests/journal__")),
    }
    for part in (folder, name):
        assert not part.startswith(".")
        assert not set(part) & set("/\\\0\n\x7f")
        assert part.split(".")[0].upper() not in {"CON", "NUL", "COM1", "LPT9", "AUX"}
    (row,) = table(out, manifest_id)
    assert row["file"] == f"{folder}/{name}"
    if where == "label":
        (file_of_table,) = out.glob("manifests/*.csv")
        with file_of_table.open(encoding="utf-8", newline="") as stream:
            (whole,) = csv.DictReader(stream)
        assert whole["label"] == label
        assert f"Patch labels:           { ({label: 1}) }" in manifest(out, manifest_id)


def test_labels_that_look_alike_when_encoded_have_files_of_their_own(
    lossless_slide: Path, out: Path
) -> None:
    labels = [
        "../a",
        "/a/b",
        "..",
        "a/b",
        "a%2Fb",
        "a%252Fb",
        "%61/b",
        ".a",
        "%2Ea",
        "nul",
        "%6Eul",
    ]
    rows: list[Row] = [((8, 9), (9, 7), label) for label in labels]
    extracted = pool(out, mock(lossless_slide, rows), create_subdirs=True)
    assert len([each for each in files(out) if each.endswith(".png")]) == len(labels)
    assert len(files(out, "*")) == len(labels)
    assert extracted.patch_count == len(labels)
    assert {row["label"] for row in table(out, *extracted.manifest_ids)} == set(labels)


def test_a_folder_whose_name_looks_like_a_pattern(
    lossless_slide: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "[out] *?"
    folder.mkdir()
    extracted = pool(folder, mock(lossless_slide))
    assert len(list(folder.iterdir())) == 4
    assert "Disk file count:        3" in (
        next((folder / "manifests").glob(f"*{extracted.manifest_ids[0]}*.txt")).read_text()
    )


def test_an_empty_label_has_no_folder(lossless_slide: Path, out: Path) -> None:
    patches = mock(lossless_slide, [((0, 0), (8, 8), ""), ((9, 0), (8, 8), "a")])
    with pytest.raises(
        ParameterError, match=r"^lossless\.svs: create_subdirs needs labels"
    ):
        pool(out, patches, create_subdirs=True)
    with pytest.raises(ValueError, match="create_subdirs"):
        sets(out, patches, create_subdirs=True)
    assert everything(out) == []
    assert pool(out, patches, create_subdirs=True, included_labels=["a"]).patch_count == 1


def test_an_empty_label_that_no_patch_has_is_no_error(
    lossless_slide: Path, out: Path
) -> None:
    patches = PatchesMock(
        patch_data=ROWS,
        wsi_file=lossless_slide,
        level_or_mpp=0,
        patch_labels=["", "a", "b"],
    )
    assert pool(out, patches, create_subdirs=True).patch_count == 3


# -------------------------------------------------------------------------- encoders


@pytest.mark.filterwarnings("ignore::dplabtools.errors.EarlierRunWarning")
def test_options_reach_the_encoder(made_slide: Path, out: Path) -> None:
    size: dict[int, int] = {}
    for quality in (20, 75, 95):
        extracted = pool(
            out,
            mock(made_slide, [((300, 300), (256, 256), "a")]),
            image_type="jpg",
            save_options={"quality": quality, "subsampling": 0},
        )
        (file,) = out.glob(f"*{extracted.manifest_ids[0]}*")
        size[quality] = file.stat().st_size
        with Image.open(file) as image:
            assert image.format == "JPEG"
    assert size[20] < size[75] < size[95]


@pytest.mark.parametrize("image_type", ["xyz", "", ".png", "pn g", "psd"])
def test_an_unknown_image_type(lossless_slide: Path, out: Path, image_type: str) -> None:
    with pytest.raises(OutputFormatError, match=r"unknown file extension.*png"):
        pool(out, mock(lossless_slide), image_type=image_type)
    with pytest.raises(ValueError, match="unknown file extension"):
        sets(out, image_type=image_type)
    assert everything(out) == []


def test_options_that_the_encoder_does_not_take(lossless_slide: Path, out: Path) -> None:
    with pytest.raises(OutputFormatError, match=r"save_options.*best"):
        pool(
            out,
            mock(lossless_slide),
            image_type="jpg",
            save_options={"quality": "best"},
        )
    assert everything(out) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("output_dir", None),
        ("output_dir", 5),
        ("image_type", None),
        ("image_type", b"png"),
        ("filename_comment", None),
        ("filename_separator", 5),
        ("save_options", 5),
        ("save_options", ["quality"]),
    ],
)
def test_parameters_of_another_type(out: Path, name: str, value: object) -> None:
    with pytest.raises(ParameterTypeError, match=f"{name} must be"):
        pool(out, **{name: value})


# ------------------------------------------------------------------------ the folder


@pytest.mark.parametrize("given", [True, False])
def test_the_folder_has_to_exist(
    lossless_slide: Path,
    tmp_path: Path,
    given: bool,  # noqa: FBT001
) -> None:
    patches = [mock(lossless_slide)] if given else []
    with pytest.raises(OutputError, match=r"none such.*create it"):
        pool(tmp_path / "none such", *patches)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="is not an existing folder"):
        sets(tmp_path / "file", *patches)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_the_folder_has_to_be_writable(lossless_slide: Path, out: Path) -> None:
    out.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        pool(out, mock(lossless_slide))
    assert everything(out) == []


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no /proc")
def test_not_even_root_writes_everywhere(lossless_slide: Path) -> None:
    with pytest.raises(OutputError, match=r"^/proc cannot be written"):
        pool("/proc", mock(lossless_slide))


def test_manifests_that_cannot_be_written(lossless_slide: Path, out: Path) -> None:
    (out / "manifests").touch()
    with pytest.raises(OutputError, match="manifest"):
        pool(out, mock(lossless_slide))
    assert everything(out) == ["manifests"]


def test_a_folder_that_is_a_file(lossless_slide: Path, out: Path) -> None:
    (out / "b").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        pool(out, mock(lossless_slide), create_subdirs=True)
    assert everything(out) == ["b"]


def test_a_label_that_is_too_long_for_a_name(lossless_slide: Path, out: Path) -> None:
    with pytest.raises(OutputError, match=r"lossless.svs: the file name .* is too long"):
        pool(out, mock(lossless_slide, [*ROWS, ((9, 9), (8, 8), "x" * 300)]))
    assert everything(out) == []


@pytest.mark.filterwarnings("ignore::dplabtools.errors.EarlierRunWarning")
def test_the_same_folder_may_be_used_again(lossless_slide: Path, out: Path) -> None:
    pool(out, mock(lossless_slide), create_subdirs=True)
    pool(out, mock(lossless_slide), create_subdirs=True)
    assert len(list((out / "manifests").glob("manifest__*"))) == 4
    assert len(list((out / "manifests").glob("journal__*"))) == 2
    assert len(files(out, "*/*.png")) == 6


def test_a_relative_folder_is_that_of_the_caller(
    lossless_slide: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(out.parent)
    extracted = pool("out", mock(lossless_slide))
    (manifest_id,) = extracted.manifest_ids
    text = manifest(out, manifest_id)
    assert f"{'':24}out/lossless_{manifest_id}_b_x640_y320.png\n" in text
    path = out.resolve() / "manifests" / f"manifest__{manifest_id}__lossless.txt"
    assert f"Manifest file path:     {path}\n" in text
    assert len(files(out)) == 3


@pytest.mark.parametrize("make", [pool, sets])
def test_an_empty_pool_does_nothing(out: Path, make: Any) -> None:
    extracted = make(out)
    assert extracted.patch_count == 0
    assert extracted.manifest_ids == extracted.pids == extracted.errors == []
    assert files(out) == []


def test_a_filter_that_matches_nothing_leaves_a_manifest(
    lossless_slide: Path, out: Path
) -> None:
    extracted = pool(out, mock(lossless_slide), included_labels=["c"], create_subdirs=True)
    assert extracted.patch_count == 0
    assert files(out) == []
    text = manifest(out, *extracted.manifest_ids)
    assert "Patch count:            3\n" in text
    assert text.endswith("Saved patches:\nDisk file count:        0\n")


# ---------------------------------------------------------------------------- sets


def test_sets_are_numbered_through_all_slides_in_order(
    lossless_slide: Path, twin: Path, out: Path
) -> None:
    given = [mock(lossless_slide), mock(twin, ROWS[:1]), mock(lossless_slide, ROWS[:2])]
    extracted = sets(out, *given, proc_num_workers=2, levels_or_mpps=[2, 0, 1.0])
    assert files(out, "*") == [f"set{number}" for number in range(1, 7)]
    assert extracted.patchset_count == 6
    assert extracted.patch_count == len(files(out, "*/*.png")) == 18
    first, second, third = extracted.manifest_ids
    assert files(out, "set3/*") == [
        f"set3/lossless_{first}_level0_b_x-9_y500.png",
        f"set3/lossless_{first}_level2_b_x-81_y452.png",
        f"set3/lossless_{first}_mpp1.0_b_x-33_y484.png",
    ]
    assert [each[14:22] for each in files(out, "set4/*")] == [second] * 3
    assert [each[14:22] for each in files(out, "set6/*")] == [third] * 3
    assert [row["set"] for row in table(out, third)] == ["5"] * 3 + ["6"] * 3


@pytest.mark.parametrize(
    ("counter", "names"),
    [
        ({}, ["set1", "set2", "set3"]),
        ({"global_counter": 1}, ["set1", "set2", "set3"]),
        ({"global_counter": 0}, ["set0", "set1", "set2"]),
        ({"global_counter": 7}, ["set7", "set8", "set9"]),
        (
            {"global_counter": None},
            ["lossless__set1", "lossless__set2", "made__set1"],
        ),
    ],
)
def test_where_numbers_begin(
    lossless_slide: Path, made_slide: Path, out: Path, counter: Any, names: list[str]
) -> None:
    given = [mock(lossless_slide, ROWS[:2]), mock(made_slide, ROWS[:1])]
    for _ in range(2):  # no pool knows of one before it
        folder = out / str(len(list(out.iterdir())))
        folder.mkdir()
        sets(folder, *given, **counter)
        assert files(folder, "*") == names


@pytest.mark.filterwarnings("ignore::dplabtools.errors.EarlierRunWarning")
def test_resetting_the_counter_changes_nothing(lossless_slide: Path, out: Path) -> None:
    sets(out, mock(lossless_slide), global_counter=5)
    MultiResDiskPatchExtractorPool.reset_global_counter()
    MultiResDiskPatchExtractorPool.remove_global_counter()
    sets(out, mock(lossless_slide), global_counter=20)
    assert files(out, "*") == sorted(f"set{n}" for n in (5, 6, 7, 20, 21, 22))


def test_label_filters_leave_no_gaps(lossless_slide: Path, twin: Path, out: Path) -> None:
    extracted = sets(
        out,
        mock(lossless_slide),
        mock(twin, ROWS[1:2]),
        mock(twin),
        included_labels=["b"],
        create_subdirs=True,
    )
    assert files(out, "*/*") == [f"b/set{number}" for number in (1, 2, 3, 4)]
    assert extracted.patchset_count == 4
    assert len(extracted.manifest_ids) == 3


def test_slides_that_were_skipped_leave_no_gaps(
    lossless_slide: Path, out: Path, tmp_path: Path
) -> None:
    extracted = sets(
        out,
        mock(tmp_path / "missing.svs"),
        mock(lossless_slide),
        on_error="skip",
    )
    assert files(out, "*") == ["set1", "set2", "set3"]
    assert extracted.patchset_count == 3


def test_slides_of_the_same_name_need_a_common_counter(
    lossless_slide: Path, twin: Path, out: Path
) -> None:
    given = [mock(lossless_slide), mock(twin)]
    with pytest.raises(OutputError, match=r"^lossless\.svs: .*global_counter=1"):
        sets(out, *given, global_counter=None)
    assert everything(out) == []
    assert sets(out, *given, global_counter=1).patchset_count == 6


@pytest.mark.filterwarnings("ignore::dplabtools.errors.EarlierRunWarning")
@pytest.mark.parametrize("counter", [1, None])
def test_the_folder_of_a_set_must_be_new(
    lossless_slide: Path, out: Path, counter: int | None
) -> None:
    sets(out, mock(lossless_slide, ROWS[2:]), global_counter=counter)
    before = everything(out)
    with pytest.raises(OutputError, match=r"^lossless\.svs: .*set1 exists already"):
        sets(out, mock(lossless_slide), global_counter=counter)
    assert everything(out) == before


@pytest.mark.parametrize("counter", [-1, 1.0, "1", True])
def test_a_counter_that_is_none(out: Path, counter: object) -> None:
    error = ValueError if counter == -1 else TypeError
    with pytest.raises(error, match="global_counter"):
        sets(out, global_counter=counter)


# ----------------------------------------------------------------------- duplicates


def test_a_patch_may_not_be_there_twice(lossless_slide: Path, out: Path) -> None:
    twice = mock(lossless_slide, [*ROWS, ((0, 0), (9, 9), "a")])
    for make in (pool, sets):
        with pytest.raises(
            DuplicatePatchesError,
            match=r"^lossless\.svs: the patch at \(0, 0\) with label 'a' is there twice",
        ):
            make(out, twice)
    assert everything(out) == []
    other_label = mock(lossless_slide, [*ROWS, ((0, 0), (9, 9), "b")])
    assert pool(out, other_label).patch_count == 4


@pytest.mark.parametrize("levels", [[0, 1, 0], [1.0, 1.0], [0.7, 0.7]])
def test_a_resolution_may_not_be_there_twice(
    lossless_slide: Path, out: Path, levels: list[float]
) -> None:
    with pytest.raises(ValueError, match="names a resolution twice"):
        sets(out, mock(lossless_slide), levels_or_mpps=levels, resampling_mode="tile")
    assert everything(out) == []


def test_a_level_and_its_mpp_are_two(lossless_slide: Path, out: Path) -> None:
    extracted = sets(out, mock(lossless_slide, ROWS[:1]), levels_or_mpps=[0, 0.5])
    (manifest_id,) = extracted.manifest_ids
    assert files(out, "set1/*") == [
        f"set1/lossless_{manifest_id}_level0_b_x640_y320.png",
        f"set1/lossless_{manifest_id}_mpp0.5_b_x640_y320.png",
    ]


# --------------------------------------------------------------------------- errors


def failing(case: str, slide: Path, tmp_path: Path) -> Any:
    """A location object that fails."""
    if case == "garbled":
        (tmp_path / "garbled.svs").write_bytes(bytes(range(256)) * 40)
        return mock(tmp_path / "garbled.svs")
    if case == "level":
        return mock(slide, level_or_mpp=9)
    if case == "outside":
        return mock(slide, [*ROWS, ((5000, 0), (8, 8), "a")])
    rows = [((x, 300), (64, 64), "a") for x in (0, 100, 300, 600, 700)]
    return mock(slide, rows)  # of the damaged slide


@pytest.mark.parametrize(
    ("case", "error"),
    [
        ("garbled", UnsupportedSlideError),
        ("level", LevelOutOfRangeError),
        ("outside", RegionOutOfBoundsError),
        ("damaged", SlideReadError),
    ],
)
@pytest.mark.parametrize("make", [pool, sets])
def test_nothing_half_written_is_left_behind_an_error(
    request: pytest.FixtureRequest, out: Path, case: str, error: Any, make: Any
) -> None:
    name = "damaged_slide" if case == "damaged" else "made_slide"
    bad = failing(case, request.getfixturevalue(name), out.parent)
    good = mock(request.getfixturevalue("made_slide"))
    (out / "mine.txt").touch()
    with pytest.raises(error, match=r"^(garbled|made|damaged)\.svs: "):
        make(out, good, bad, good, create_subdirs=True, proc_num_workers=2)
    complete = {text.stem.split("__")[1] for text in out.glob("manifests/*.txt")}
    for image in out.rglob("*.png"):
        assert image.name.split("_")[1] in complete
    for manifest_id in complete:
        count = len(list(out.rglob(f"*{manifest_id}*.png")))
        assert f"Disk file count:        {count}\n" in manifest(out, manifest_id)
    for folder in (each for each in out.rglob("*") if each.is_dir()):
        assert any(folder.iterdir())
    assert not any(each.name.startswith(".") for each in out.iterdir())
    if case != "damaged":
        assert everything(out) == ["mine.txt"]


def test_only_what_failed_is_missing(
    made_slide: Path, damaged_slide: Path, out: Path
) -> None:
    bad = failing("damaged", damaged_slide, out)
    extracted = pool(out, mock(made_slide), bad, on_error="skip", create_subdirs=True)
    (failure,) = extracted.errors
    assert (failure.wsi_file, failure.row, failure.attempts) == (str(damaged_slide), 2, 1)
    assert isinstance(failure.error, SlideReadError)
    assert extracted.patch_count == 7
    good, damaged = extracted.manifest_ids
    assert "Disk file count:        3\n" in manifest(out, good)
    text = manifest(out, damaged)
    assert "Disk file count" not in text
    assert [row["x"] for row in table(out, damaged)] == ["0", "100", "600", "700"]
    listed = [line.strip() for line in text.partition("Saved patches:\n")[2].splitlines()]
    assert listed == [str(out / row["file"]) for row in table(out, damaged)]
    assert sorted(listed) == sorted(map(str, out.rglob(f"*{damaged}*.png")))


def test_sets_are_there_whole_or_not_at_all(
    made_slide: Path, damaged_slide: Path, out: Path
) -> None:
    bad = failing("damaged", damaged_slide, out)
    extracted = sets(out, bad, mock(made_slide), on_error="skip", levels_or_mpps=[1, 0, 2])
    assert [failure.row for failure in extracted.errors] == [2]
    assert extracted.patchset_count == 7
    assert extracted.patch_count == 21
    assert files(out, "*") == [f"set{number}" for number in (1, 2, 4, 5, 6, 7, 8)]
    for folder in out.glob("set*"):
        assert len(list(folder.iterdir())) == 3
    damaged, _ = extracted.manifest_ids
    assert [row["set"] for row in table(out, damaged)[::3]] == ["1", "2", "4", "5"]


def test_a_slide_that_cannot_be_opened_has_no_manifest(
    lossless_slide: Path, out: Path
) -> None:
    bad = failing("garbled", lossless_slide, out.parent)
    extracted = pool(out, bad, mock(lossless_slide), on_error="skip")
    (failure,) = extracted.errors
    assert failure.row is None
    assert str(failure).startswith("garbled.svs: ")
    missing, good = extracted.manifest_ids
    assert len(list(out.glob(f"manifests/*{good}*"))) == 2
    assert list(out.rglob(f"*{missing}*")) == []
    assert extracted.patch_count == 3


def test_errors_of_the_folder_are_never_skipped(lossless_slide: Path, out: Path) -> None:
    (out / "b").touch()
    with pytest.raises(OutputError):
        pool(out, mock(lossless_slide), create_subdirs=True, on_error="skip")


# ------------------------------------------------------------------------ arguments


def test_everything_has_a_name(lossless_slide: Path, out: Path) -> None:
    for make in (DiskPatchExtractorPool, MultiResDiskPatchExtractorPool):
        anything: Any = make
        with pytest.raises(TypeError, match="positional"):
            anything([mock(lossless_slide)], 1, 1)
        with pytest.raises(TypeError, match="output_dir"):
            anything(patches_pool=[], proc_num_workers=1, thread_num_workers=1)
    with pytest.raises(TypeError, match="levels_or_mpps"):
        pool(out, levels_or_mpps=[0])  # the single-resolution pool has none


@pytest.mark.parametrize("make", [pool, sets])
@pytest.mark.parametrize(
    "name",
    ["proc_num_workers", "thread_num_workers", "proc_mp_chunksize", "thread_mp_chunksize"],
)
def test_numbers_are_whole_and_positive(out: Path, make: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        make(out, **{name: 0})
    for value in (None, True, 2.0):
        with pytest.raises(TypeError, match=f"{name} must be an int"):
            make(out, **{name: value})


@pytest.mark.parametrize("make", [pool, sets])
def test_labels_are_included_or_excluded(
    lossless_slide: Path, out: Path, make: Any
) -> None:
    with pytest.raises(ValueError, match="not both"):
        make(out, mock(lossless_slide), included_labels=["a"], excluded_labels=["b"])
