"""Extractor pools that keep patches in memory."""

from __future__ import annotations

import copy
import gc
import itertools
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from PIL import Image

from dplabtools import config
from dplabtools._typing import Pixels
from dplabtools.errors import (
    ClosedPoolError,
    DplabError,
    LevelOutOfRangeError,
    MissingMppError,
    MissingSlideError,
    RegionOutOfBoundsError,
    ResolutionError,
    ResolutionTypeError,
    SlideReadError,
    UnsupportedSlideError,
)
from dplabtools.extraction.progress import Progress
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import (
    MemPatchExtractorPool,
    MultiResMemPatchExtractorPool,
    PatchesMock,
    WholeImageGridPatches,
)
from dplabtools.testing.make_slide import make_slide

Row = tuple[tuple[int, int], tuple[int, int], str]
ROWS: list[Row] = [
    ((640, 320), (48, 32), "b"),
    ((0, 0), (48, 32), "a"),
    ((-9, 500), (48, 32), "b"),
    ((1000, 740), (48, 32), "a"),
    ((333, 77), (48, 32), ""),
]


@pytest.fixture(scope="module")
def other_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smaller, without mpp and power."""
    file = tmp_path_factory.mktemp("other") / "other.svs"
    return make_slide(
        file, size=(512, 448), seed=2, compression="deflate", mpp=None, power=None, levels=2
    )


def mock(slide: Path, rows: Sequence[Row] = ROWS, level_or_mpp: float = 0) -> PatchesMock:
    return PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=level_or_mpp)


def grid(slide: Path, count: int, *, label: str = "t", side: int = 40) -> PatchesMock:
    places = itertools.islice(
        ((x, y) for y in range(0, 380, side) for x in range(0, 480, side)), count
    )
    return mock(slide, [(place, (side, side), label) for place in places])


def pool(*patches: Any, **changes: Any) -> MemPatchExtractorPool:
    given: dict[str, Any] = {"proc_num_workers": 1, "thread_num_workers": 1}
    return MemPatchExtractorPool(**{"patches_pool": list(patches), **given, **changes})


def sets(*patches: Any, **changes: Any) -> MultiResMemPatchExtractorPool:
    given: dict[str, Any] = {"proc_num_workers": 1, "thread_num_workers": 1}
    return MultiResMemPatchExtractorPool(
        **{"patches_pool": list(patches), "levels_or_mpps": [0, 2], **given, **changes}
    )


def region(slide: Path, origin: tuple[int, int], level: int, size: Any) -> Pixels:
    """The pixels that OpenSlide reads, on white."""
    with openslide.OpenSlide(slide) as opened:
        image = opened.read_region(origin, level, size)
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return np.array(Image.alpha_composite(white, image).convert("RGB"))


def memory_mappings() -> int:
    gc.collect()
    return Path("/proc/self/maps").read_text(encoding="utf-8").count("memfd:dplabtools")


# ------------------------------------------------------------------ order, pixels


@pytest.mark.parametrize(("processes", "threads"), [(1, 1), (1, 2), (3, 1), (2, 2)])
def test_order_and_pixels_do_not_depend_on_the_workers(
    lossless_slide: Path, other_slide: Path, processes: int, threads: int
) -> None:
    slides = [other_slide, lossless_slide, other_slide]
    given = [grid(other_slide, 90), mock(lossless_slide), grid(other_slide, 3, label="z")]
    with pool(*given, proc_num_workers=processes, thread_num_workers=threads) as extracted:
        patches = iter(extracted.patch_list)
        for slide, each in zip(slides, given, strict=True):
            for origin, size, label in each.patch_data:
                image, found = next(patches)
                assert found == label
                assert image.mode == "RGB"
                np.testing.assert_array_equal(image, region(slide, origin, 0, size))
        assert next(patches, None) is None
        assert extracted.patch_count == 98
        assert len(extracted.pids) == 3


@pytest.mark.parametrize("level", [1, 2])
def test_patches_of_a_reduced_level(lossless_slide: Path, level: int) -> None:
    rows: list[Row] = [((64, 128), (30, 50), "a"), ((-40, 720), (30, 50), "b")]
    for (image, _), (origin, size, _) in zip(
        pool(mock(lossless_slide, rows, level)).patch_list, rows, strict=True
    ):
        np.testing.assert_array_equal(image, region(lossless_slide, origin, level, size))


def test_patches_of_a_level_are_those_of_openslide_between_pixels(
    lossless_slide: Path,
) -> None:
    config.slide_library = "openslide"
    rows: list[Row] = [((65, 127), (30, 50), "a")]
    (image, _) = pool(mock(lossless_slide, rows, 1)).patch_list[0]
    np.testing.assert_array_equal(image, region(lossless_slide, (65, 127), 1, (30, 50)))


def test_a_grid_over_a_mask_goes_through_the_pool(lossless_slide: Path) -> None:
    locations = WholeImageGridPatches(
        wsi_file=lossless_slide, mask_data=np.ones((256, 192)), patch_size=128
    )
    extracted = pool(locations)
    assert extracted.patch_count == locations.patch_count == 48
    origin, size, _ = locations.patch_data[17]
    np.testing.assert_array_equal(
        extracted.patch_list[17][0], region(lossless_slide, origin, 0, size)
    )


# ---------------------------------------------------------------- what is handed out


def test_the_list_is_a_sequence_that_cannot_be_written_to(lossless_slide: Path) -> None:
    patches = pool(mock(lossless_slide)).patch_list
    assert isinstance(patches, Sequence)
    assert len(patches) == 5
    labels = ["b", "a", "b", "a", ""]
    assert [label for _, label in patches] == labels
    assert [label for _, label in patches] == labels
    assert patches[-1][1] == ""
    assert patches[-5][1] == "b"
    assert [label for _, label in patches[1:4]] == ["a", "b", "a"]
    assert [label for _, label in patches[::-2]] == ["", "b", "b"]
    assert [label for _, label in reversed(patches)] == labels[::-1]
    np.testing.assert_array_equal(patches[2][0], patches[2:3][0][0])
    for index in (5, -6):
        with pytest.raises(IndexError):
            patches[index]
    with pytest.raises(TypeError):
        patches[0] = patches[1]  # type: ignore[index]


def test_an_image_is_the_caller_s_own(lossless_slide: Path) -> None:
    patches = pool(mock(lossless_slide)).patch_list
    image, before = patches[0][0], np.array(patches[0][0])
    image.paste((1, 2, 3), (0, 0, 48, 32))
    np.testing.assert_array_equal(patches[0][0], before)


@pytest.mark.parametrize(
    "use",
    [
        lambda image: pickle.loads(pickle.dumps(image)),
        copy.deepcopy,
        lambda image: image.copy(),
        lambda image: image.crop((3, 4, 40, 20)),
        lambda image: image.resize((20, 10)),
        lambda image: image.rotate(30),
        lambda image: image.convert("L"),
        lambda image: image.split()[1],
        lambda image: Image.blend(image, image.transpose(Image.Transpose.ROTATE_180), 0.4),
    ],
    ids=[
        *("pickle", "deepcopy", "copy", "crop", "resize", "rotate", "convert", "split"),
        "blend",
    ],
)
def test_an_image_does_what_images_do(lossless_slide: Path, use: Any) -> None:
    image, _ = pool(mock(lossless_slide)).patch_list[0]
    plain = Image.fromarray(region(lossless_slide, (640, 320), 0, (48, 32)))
    np.testing.assert_array_equal(use(image), use(plain))
    assert image.tobytes() == plain.tobytes()
    assert image.getpixel((5, 6)) == plain.getpixel((5, 6))
    assert image.size == plain.size
    assert image == plain


def test_the_array_is_a_view_of_what_the_list_shows(lossless_slide: Path) -> None:
    extracted = pool(mock(lossless_slide), grid(lossless_slide, 0))
    array = extracted.patch_array
    assert array.shape == (5, 32, 48, 3)
    assert array.dtype == np.uint8
    assert np.shares_memory(array, extracted.patch_array)
    for pixels, (image, _) in zip(array, extracted.patch_list, strict=True):
        np.testing.assert_array_equal(pixels, image)


def test_the_table_has_a_row_for_each_patch(
    lossless_slide: Path, other_slide: Path
) -> None:
    first = mock(lossless_slide, [((5, 6), (7, 8), "a"), ((-1, 0), (7, 8), "")], 0.5)
    table = pool(first, mock(other_slide, [((9, 9), (3, 4), "b")], 1)).patch_table
    columns: dict[str, list[object]] = {
        name: table[name].tolist()
        for name in table.keys()  # noqa: SIM118 - no mapping
    }
    del columns["coverage"]
    assert np.isnan(table.coverage).all()  # these locations do not state it
    assert columns == {
        "slide": [0, 0, 1],
        "wsi_file": [str(lossless_slide)] * 2 + [str(other_slide)],
        "x": [5, -1, 9],
        "y": [6, 0, 9],
        "width": [7, 7, 3],
        "height": [8, 8, 4],
        "level_or_mpp": [0.5, 0.5, 1],
        "label": ["a", "", "b"],
        "status": ["ok"] * 3,
    }
    assert [type(value) for value in columns["level_or_mpp"]] == [float, float, int]
    assert len(table) == 3
    assert table[1][:-1] == table[-2][:-1]
    assert table[1][:-1] == (0, str(lossless_slide), -1, 0, 7, 8, 0.5, "", "ok")
    with pytest.raises(IndexError):
        table[3]


def test_the_table_holds_the_share_of_foreground(lossless_slide: Path) -> None:
    mask = np.ones((64, 48), bool)
    mask[:32] = False
    patches = WholeImageGridPatches(
        wsi_file=str(lossless_slide), mask_data=mask, patch_size=96, foreground_ratio=0.3
    )
    extracted = pool(patches)
    np.testing.assert_array_equal(extracted.patch_table.coverage, patches.patch_coverage)
    assert set(extracted.patch_table.coverage.tolist()) == {1.0}


def test_sizes_may_differ_but_form_no_array(lossless_slide: Path) -> None:
    rows: list[Row] = [((0, 0), (9, 5), "a"), ((8, 8), (4, 6), "b"), ((9, 9), (9, 5), "c")]
    extracted = pool(mock(lossless_slide, rows))
    for (image, _), (origin, size, _) in zip(extracted.patch_list, rows, strict=True):
        np.testing.assert_array_equal(image, region(lossless_slide, origin, 0, size))
    with pytest.raises(ValueError, match=r"patches differ in size.*use patch_list"):
        _ = extracted.patch_array


@pytest.mark.parametrize("given", [[], ["empty"], ["filtered"]])
def test_no_patches_are_no_error(lossless_slide: Path, given: list[str]) -> None:
    patches = {
        "empty": mock(lossless_slide, []),
        "filtered": mock(lossless_slide, ROWS[:2]),
    }
    extracted = pool(*(patches[name] for name in given), included_labels=["none such"])
    assert extracted.patch_count == 0
    assert list(extracted.patch_list) == []
    assert extracted.patch_array.shape[0] == len(extracted.patch_table) == 0
    assert extracted.errors == []
    assert len(extracted.pids) == len(given)


@pytest.mark.parametrize(
    ("labels", "rows"),
    [
        ({"included_labels": ["b"]}, [0, 2]),
        ({"included_labels": ("b", "", "unknown")}, [0, 2, 4]),
        ({"excluded_labels": ["b"]}, [1, 3, 4]),
        ({"excluded_labels": {"b", ""}}, [1, 3]),
        ({"excluded_labels": ["unknown"]}, [0, 1, 2, 3, 4]),
    ],
)
def test_labels_are_selected(lossless_slide: Path, labels: Any, rows: list[int]) -> None:
    extracted = pool(mock(lossless_slide), **labels)
    assert extracted.patch_table.x.tolist() == [ROWS[row][0][0] for row in rows]
    np.testing.assert_array_equal(
        extracted.patch_list[-1][0],
        region(lossless_slide, *ROWS[rows[-1]][:1], 0, (48, 32)),
    )


# ------------------------------------------------------------------------ lifetime


def test_pixels_outlive_the_pool_and_memory_goes_with_the_last_of_them(
    lossless_slide: Path,
) -> None:
    before = memory_mappings()
    extracted = pool(mock(lossless_slide))
    array, image = extracted.patch_array, extracted.patch_list[0][0]
    wanted = array.copy()
    assert memory_mappings() == before + 1
    extracted.close()
    extracted.close()
    del extracted
    np.testing.assert_array_equal(array, wanted)
    np.testing.assert_array_equal(image, wanted[0])
    view = array[3:, ::2]
    del array, image
    assert memory_mappings() == before + 1
    del view
    assert memory_mappings() == before


def test_a_list_that_is_held_stays_valid(lossless_slide: Path) -> None:
    with pool(mock(lossless_slide)) as extracted:
        patches = extracted.patch_list
        wanted = np.array(patches[4][0])
    np.testing.assert_array_equal(patches[4][0], wanted)


def test_a_closed_pool_has_no_pixels_but_still_tells(lossless_slide: Path) -> None:
    with pool(mock(lossless_slide)) as extracted:
        pass
    with pytest.raises(ClosedPoolError, match="closed"):
        _ = extracted.patch_list
    with pytest.raises(ValueError, match="closed"):
        _ = extracted.patch_array
    assert extracted.patch_count == 5
    assert len(extracted.patch_table) == 5


# ---------------------------------------------------------- several resolutions


def test_sets_have_one_image_of_the_same_size_for_each_resolution(
    lossless_slide: Path,
) -> None:
    extracted = sets(mock(lossless_slide), levels_or_mpps=[2, 0, 1])
    assert extracted.patchset_count == 5
    assert extracted.patch_count == 15
    assert len(extracted.patch_list) == 5
    assert extracted.patch_array.shape == (5, 3, 32, 48, 3)
    for pixels, patch_set in zip(extracted.patch_array, extracted.patch_list, strict=True):
        assert isinstance(patch_set, list)
        for of_level, (image, _) in zip(pixels, patch_set, strict=True):
            np.testing.assert_array_equal(of_level, image)
    assert [[label for _, label in each] for each in extracted.patch_list] == [
        [label] * 3 for _, _, label in ROWS
    ]
    for (origin, size, _), patch_set in zip(ROWS, extracted.patch_list, strict=True):
        np.testing.assert_array_equal(
            patch_set[1][0], region(lossless_slide, origin, 0, size)
        )


def test_levels_work_without_mpp(other_slide: Path) -> None:
    rows: list[Row] = [((100, 61), (20, 10), "a")]
    ((fine, _), (coarse, _)) = sets(
        mock(other_slide, rows), levels_or_mpps=[0, 1]
    ).patch_list[0]
    np.testing.assert_array_equal(fine, region(other_slide, (100, 61), 0, (20, 10)))
    # the centre is (110, 66); 20 x 10 pixels of level 1 are 40 x 20 of level 0
    np.testing.assert_array_equal(coarse, region(other_slide, (90, 56), 1, (20, 10)))
    with pytest.raises(MissingMppError, match=r"^other\.svs: .*set_external_mpp"):
        sets(mock(other_slide, rows), levels_or_mpps=[0, 0.7], resampling_mode="tile")


def test_a_resolution_may_be_there_twice_in_memory(lossless_slide: Path) -> None:
    extracted = sets(
        mock(lossless_slide), levels_or_mpps=[0.7, 0.7, 1, 1], resampling_mode="tile"
    )
    array = extracted.patch_array
    np.testing.assert_array_equal(array[:, 0], array[:, 1])
    np.testing.assert_array_equal(array[:, 2], array[:, 3])


def test_numbers_of_numpy_are_levels_and_mpps(lossless_slide: Path) -> None:
    numbers = [np.int64(1), np.float64(2.0), np.float32(0.5)]
    extracted = sets(mock(lossless_slide), levels_or_mpps=numbers)
    wanted = sets(mock(lossless_slide), levels_or_mpps=[1, 2, 0])
    np.testing.assert_array_equal(extracted.patch_array, wanted.patch_array)


# -------------------------------------------------------------------- resampling


def test_an_mpp_that_no_level_has_needs_a_mode(lossless_slide: Path) -> None:
    with pytest.raises(ResolutionError, match=r"^lossless\.svs: .*resampling_mode"):
        pool(mock(lossless_slide, level_or_mpp=0.7))
    with pytest.raises(ValueError, match="resampling_mode"):
        sets(mock(lossless_slide), levels_or_mpps=[0, 0.7])


@pytest.mark.parametrize("mpp", [0.5, 0.5029, 0.4971])
def test_an_mpp_close_to_that_of_a_level_is_the_level(
    lossless_slide: Path, mpp: float
) -> None:
    extracted = pool(mock(lossless_slide, level_or_mpp=mpp))
    np.testing.assert_array_equal(
        extracted.patch_array, pool(mock(lossless_slide)).patch_array
    )
    with pytest.raises(ResolutionError):
        pool(mock(lossless_slide, level_or_mpp=0.5031))


def test_tile_mode_resizes_what_each_patch_takes_of_level_0(lossless_slide: Path) -> None:
    rows: list[Row] = [((101, 203), (40, 30), "a")]
    (image, _) = pool(mock(lossless_slide, rows, 0.8), resampling_mode="tile").patch_list[0]
    pixels = region(lossless_slide, (101, 203), 0, (64, 48))
    wanted = Image.fromarray(pixels).resize((40, 30), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(image, wanted)


def test_wsi_mode_cuts_from_the_resized_slide(lossless_slide: Path) -> None:
    rows: list[Row] = [((101, 203), (40, 30), "a"), ((960, 700), (40, 30), "b")]
    patches = pool(mock(lossless_slide, rows, 0.8), resampling_mode="wsi").patch_array
    level0 = Image.fromarray(region(lossless_slide, (0, 0), 0, (1024, 768)))
    whole = np.asarray(level0.resize((640, 480), Image.Resampling.LANCZOS)).astype(int)
    # 101 / 1.6 = 63.125 and 203 / 1.6 = 126.875
    assert np.abs(whole[127:157, 63:103] - patches[0]).max() <= 1
    wanted = np.full((30, 40, 3), 255)
    wanted[:, :] = 255
    wanted[: 480 - 438, :] = whole[438:468, 600:640]
    assert np.abs(wanted - patches[1]).max() <= 1


@pytest.mark.parametrize("mode", ["tile", "wsi"])
def test_a_mode_with_levels_that_match_reads_them_as_they_are(
    lossless_slide: Path, mode: str
) -> None:
    extracted = sets(mock(lossless_slide), levels_or_mpps=[0, 1.0], resampling_mode=mode)
    wanted = sets(mock(lossless_slide), levels_or_mpps=[0, 1])
    np.testing.assert_array_equal(extracted.patch_array, wanted.patch_array)


def test_wsi_mode_needs_different_mpps(lossless_slide: Path) -> None:
    with pytest.raises(ValueError, match="Missing MPP values"):
        pool(mock(lossless_slide), resampling_mode="wsi")
    with pytest.raises(ValueError, match="Missing MPP values"):
        sets(mock(lossless_slide), levels_or_mpps=[0, 1], resampling_mode="wsi")
    with pytest.raises(ValueError, match="twice"):
        sets(mock(lossless_slide), levels_or_mpps=[0.7, 0.7], resampling_mode="wsi")


@pytest.mark.parametrize("mpp", [0.0005, 10.1])
def test_an_mpp_out_of_range_is_refused(lossless_slide: Path, mpp: float) -> None:
    with pytest.raises(ResolutionError, match=r"^lossless\.svs: .*range"):
        pool(mock(lossless_slide, level_or_mpp=mpp), resampling_mode="tile")


# ------------------------------------------------------------------------ settings


@pytest.fixture(params=["forkserver", "spawn"])
def start_method(request: pytest.FixtureRequest) -> Iterator[str]:
    """How worker processes start."""
    import multiprocessing

    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(request.param, force=True)
    yield request.param
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.usefixtures("start_method")
def test_settings_reach_the_workers(lossless_slide: Path, other_slide: Path) -> None:
    rows: list[Row] = [((-16, -16), (40, 30), "a")]
    GenericSlide.set_external_mpp(0.5)
    GenericSlide.set_resampling_filter("NEAREST")
    config.background = (1, 2, 3)
    config.slide_library = "openslide"
    extracted = pool(
        mock(other_slide, rows, 1.0),
        mock(lossless_slide, rows, 2.5),
        resampling_mode="tile",
    )
    of_level, resampled = extracted.patch_array
    assert (of_level[:8, :8] == (1, 2, 3)).all()
    np.testing.assert_array_equal(
        of_level[8:, 8:], region(other_slide, (0, 0), 1, (32, 22))
    )
    read = region(lossless_slide, (-16, -16), 0, (200, 150))
    read[:16] = read[:, :16] = (1, 2, 3)
    wanted = Image.fromarray(read).resize((40, 30), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(resampled, wanted)


def test_the_library_named_is_used_in_the_workers(
    lossless_slide: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "picture.png"
    Image.fromarray(region(lossless_slide, (0, 0), 0, (100, 100))).save(picture)
    rows: list[Row] = [((10, 20), (30, 40), "a")]
    config.slide_library = "openslide"
    with pytest.raises(UnsupportedSlideError, match=r"^picture\.png"):
        pool(mock(picture, rows))
    config.slide_library = "pillow"
    np.testing.assert_array_equal(
        pool(mock(picture, rows)).patch_list[0][0],
        region(lossless_slide, (10, 20), 0, (30, 40)),
    )


def test_relative_paths_are_those_of_the_caller(
    lossless_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool(mock(lossless_slide))  # the process that workers are forked from is elsewhere
    (tmp_path / "here.svs").symlink_to(lossless_slide)
    monkeypatch.chdir(tmp_path)
    assert pool(mock(Path("here.svs"))).patch_count == 5


# ---------------------------------------------------------------------- bad slides


@pytest.fixture
def garbled_slide(tmp_path: Path) -> Path:
    """Not a slide at all."""
    file = tmp_path / "garbled.svs"
    file.write_bytes(bytes(range(256)) * 40)
    return file


DAMAGED_ROWS: list[Row] = [
    ((0, 0), (64, 64), "a"),
    ((300, 300), (64, 64), "a"),
    ((600, 300), (64, 64), "b"),
]


@pytest.mark.parametrize(
    ("case", "error", "builtin", "message"),
    [
        ("garbled", UnsupportedSlideError, ValueError, r"^garbled\.svs: "),
        ("missing", MissingSlideError, OSError, r"^missing\.svs: "),
        ("level", LevelOutOfRangeError, IndexError, r"^lossless\.svs: .*levels 0 to 2"),
        ("mpp", MissingMppError, ValueError, r"^other\.svs: .*set_external_mpp"),
    ],
)
def test_a_slide_that_fails(
    request: pytest.FixtureRequest,
    lossless_slide: Path,
    case: str,
    error: type[DplabError],
    builtin: type[Exception],
    message: str,
) -> None:
    bad = {
        "garbled": lambda: mock(request.getfixturevalue("garbled_slide")),
        "missing": lambda: mock(Path("/none/missing.svs")),
        "level": lambda: mock(lossless_slide, level_or_mpp=3),
        "mpp": lambda: mock(request.getfixturevalue("other_slide"), ROWS[1:2], 0.5),
    }[case]()
    given = [mock(lossless_slide), bad, grid(lossless_slide, 2)]
    for process in (1, 2):
        with pytest.raises(error, match=message) as caught:
            pool(*given, proc_num_workers=process)
        assert isinstance(caught.value, builtin)
    extracted = pool(*given, on_error="skip")
    (failure,) = extracted.errors
    assert failure.wsi_file == bad.wsi_file
    assert failure.row is None
    assert failure.attempts == 1
    assert isinstance(failure.error, error)
    bad_rows = bad.patch_count
    assert extracted.patch_table.status.tolist() == (
        ["ok"] * 5 + ["failed"] * bad_rows + ["ok"] * 2
    )
    assert extracted.patch_count == len(extracted.patch_list) == 7
    assert len(extracted.patch_table) == 7 + bad_rows
    wanted = [region(lossless_slide, origin, 0, (48, 32)) for origin, _, _ in ROWS]
    wanted += [region(lossless_slide, (x, 0), 0, (40, 40)) for x in (0, 40)]
    for (image, _), pixels in zip(extracted.patch_list, wanted, strict=True):
        np.testing.assert_array_equal(image, pixels)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_patch_that_cannot_be_decoded(
    made_slide: Path, damaged_slide: Path, threads: int
) -> None:
    given = [mock(damaged_slide, DAMAGED_ROWS), mock(made_slide, DAMAGED_ROWS)]
    with pytest.raises(SlideReadError, match=r"^damaged\.svs: .*damaged"):
        pool(*given, thread_num_workers=threads)
    extracted = pool(*given, thread_num_workers=threads, on_error="skip")
    (failure,) = extracted.errors
    assert (failure.wsi_file, failure.row) == (str(damaged_slide), 1)
    assert isinstance(failure.error, OSError)
    assert extracted.patch_table.status.tolist() == ["ok", "failed", *["ok"] * 4]
    array = extracted.patch_array
    assert array.shape == (5, 64, 64, 3)
    np.testing.assert_array_equal(array[[0, 1]], array[[2, 4]])
    np.testing.assert_array_equal(array[3], region(made_slide, (300, 300), 0, (64, 64)))


@pytest.mark.parametrize(
    ("origin", "outside"),
    [
        ((1025, 0), True),
        ((0, 769), True),
        ((1024, 768), False),
        ((-48, 0), True),
        ((-47, 0), False),
        ((0, -32), True),
        ((0, -31), False),
    ],
)
def test_where_the_slide_ends(
    lossless_slide: Path,
    origin: tuple[int, int],
    outside: bool,  # noqa: FBT001
) -> None:
    patches = mock(lossless_slide, [ROWS[0], (origin, (48, 32), "a")])
    if not outside:
        (image, _) = pool(patches).patch_list[1]
        np.testing.assert_array_equal(image, region(lossless_slide, origin, 0, (48, 32)))
        return
    with pytest.raises(RegionOutOfBoundsError, match=r"^lossless\.svs: the region at"):
        pool(patches)
    extracted = pool(patches, on_error="skip")
    (failure,) = extracted.errors
    assert failure.row == 1
    assert str(origin) in str(failure.error)
    assert extracted.patch_table.status.tolist() == ["ok", "failed"]


def test_each_patch_outside_has_its_own_error(lossless_slide: Path) -> None:
    rows: list[Row] = [((2000 + x, 0), (8, 8), "a") for x in range(3)]
    failures = pool(mock(lossless_slide, rows), on_error="skip").errors
    assert [failure.row for failure in failures] == [0, 1, 2]
    for row, failure in enumerate(failures):
        assert str(rows[row][0]) in str(failure.error)


def test_a_set_that_spans_the_slide_at_one_resolution_fails_whole(
    lossless_slide: Path,
) -> None:
    rows: list[Row] = [((500, 250), (200, 200), "a"), ((500, 250), (90, 90), "b")]
    patches = PatchesMock(
        patch_data=rows, wsi_file=lossless_slide, level_or_mpp=0, check_location=False
    )
    with pytest.raises(RegionOutOfBoundsError, match=r"^lossless\.svs"):
        sets(patches)  # 200 pixels of level 2 are 800, from y = -50
    extracted = sets(patches, on_error="skip")
    assert extracted.patchset_count == 1
    assert extracted.patch_count == 2
    assert [label for _, label in extracted.patch_list[0]] == ["b", "b"]


# ------------------------------------------------------------------- bad arguments


def test_everything_has_a_name(lossless_slide: Path) -> None:
    with pytest.raises(TypeError):
        MemPatchExtractorPool([mock(lossless_slide)], 1, 1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="frobnicate"):
        pool(mock(lossless_slide), frobnicate=1)
    with pytest.raises(TypeError, match="proc_num_workers"):
        MemPatchExtractorPool(patches_pool=[], thread_num_workers=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="levels_or_mpps"):
        MultiResMemPatchExtractorPool(  # type: ignore[call-arg]
            patches_pool=[], proc_num_workers=1, thread_num_workers=1
        )


COUNTS = [
    "proc_num_workers",
    "thread_num_workers",
    "proc_mp_chunksize",
    "thread_mp_chunksize",
]


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [0, -1])
def test_a_number_that_is_too_small(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        pool(**{name: value})


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [None, True, 1.0, "1"])
def test_a_number_that_is_none(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"{name} must be an int"):
        pool(**{name: value})


@pytest.mark.parametrize("name", COUNTS)
def test_a_whole_number_of_numpy_will_do(name: str) -> None:
    assert pool(**{name: np.int32(1)}).patch_count == 0


@pytest.mark.parametrize("given", [None, 5, "slide.svs", [1], [None], ["slide.svs"]])
def test_a_pool_that_holds_no_locations(given: object) -> None:
    with pytest.raises(TypeError, match="location object"):
        pool(patches_pool=given)


def test_a_location_object_is_no_pool(lossless_slide: Path) -> None:
    with pytest.raises(TypeError, match="patches_pool must hold location objects"):
        pool(patches_pool=mock(lossless_slide))


@pytest.mark.parametrize("name", ["included_labels", "excluded_labels"])
@pytest.mark.parametrize("labels", ["tumor", [1], None, 5, iter(["a"])])
def test_labels_that_are_no_list_of_labels(name: str, labels: object) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a list of labels"):
        pool(**{name: labels})


def test_labels_are_included_or_excluded(lossless_slide: Path) -> None:
    with pytest.raises(ValueError, match="not both"):
        pool(mock(lossless_slide), included_labels=["a"], excluded_labels=["b"])


@pytest.mark.parametrize("mode", ["TILE", "", 5, True, ["tile"]])
def test_an_unknown_resampling_mode(lossless_slide: Path, mode: object) -> None:
    with pytest.raises(ValueError, match="resampling_mode must be"):
        pool(mock(lossless_slide), resampling_mode=mode)


@pytest.mark.parametrize("levels", [None, 5, "0", {"a": 1}])
def test_levels_that_are_no_list(lossless_slide: Path, levels: object) -> None:
    with pytest.raises(TypeError, match="levels_or_mpps must be a list"):
        sets(mock(lossless_slide), levels_or_mpps=levels)


def test_no_levels_at_all(lossless_slide: Path) -> None:
    with pytest.raises(ValueError, match="levels_or_mpps is empty"):
        sets(mock(lossless_slide), levels_or_mpps=[])


@pytest.mark.parametrize("level", [True, None, "1"])
def test_a_level_that_is_no_number(lossless_slide: Path, level: object) -> None:
    with pytest.raises(ResolutionTypeError, match="must be an int"):
        sets(mock(lossless_slide), levels_or_mpps=[0, level])


@pytest.mark.parametrize("level", [-1, 0.0, -0.5, float("nan")])
def test_a_level_or_mpp_below_zero(lossless_slide: Path, level: float) -> None:
    with pytest.raises(ValueError, match="must be >"):
        sets(mock(lossless_slide), levels_or_mpps=[0, level])


def test_a_level_that_only_one_slide_lacks(lossless_slide: Path, other_slide: Path) -> None:
    with pytest.raises(IndexError, match=r"^other\.svs: .*levels 0 to 1"):
        sets(mock(lossless_slide), mock(other_slide, ROWS[:1]), levels_or_mpps=[2])


def test_on_error_is_raise_or_skip(lossless_slide: Path) -> None:
    with pytest.raises(ValueError, match="on_error must be"):
        pool(mock(lossless_slide), on_error="ignore")


def test_progress_is_a_bool_or_callable(lossless_slide: Path) -> None:
    with pytest.raises(TypeError, match="progress must be"):
        pool(mock(lossless_slide), progress="yes")


# ---------------------------------------------------------- locations from elsewhere


class Foreign:
    """The least that a location object has."""

    def __init__(self, slide: Any, patch_data: Any = ROWS, level_or_mpp: Any = 0) -> None:
        self.wsi_file = slide
        self.patch_data = patch_data
        self.level_or_mpp = level_or_mpp
        self.class_name = "Foreign"
        self.param_info: Any = {"made": "elsewhere"}


def test_locations_may_come_from_any_class(lossless_slide: Path) -> None:
    given: Any = (
        each
        for each in (
            Foreign(str(lossless_slide)),
            mock(lossless_slide),
            Foreign(lossless_slide),
        )
    )
    array = pool(patches_pool=given).patch_array
    assert len(array) == 15
    np.testing.assert_array_equal(array[:5], array[5:10])
    np.testing.assert_array_equal(array[:5], array[10:])


def test_numbers_of_numpy_are_locations(lossless_slide: Path) -> None:
    rows = [
        (np.array(origin), (np.int32(size[0]), np.uint8(size[1])), np.str_(label))
        for origin, size, label in ROWS
    ]
    extracted = pool(Foreign(lossless_slide, iter(rows), np.int16(0)), mock(lossless_slide))
    np.testing.assert_array_equal(extracted.patch_array[:5], extracted.patch_array[5:])


def test_a_table_of_another_kind_does_not_count(lossless_slide: Path) -> None:
    foreign = Foreign(lossless_slide)
    foreign.table = "a table of something else"  # type: ignore[attr-defined]
    assert pool(foreign).patch_count == 5


@pytest.mark.parametrize(
    "patch_data",
    [
        None,
        5,
        [((0, 0), (8, 8))],
        [((0, 0), (8, 8), 5)],
        [((0, 0), (8, 8), None)],
        [((0.5, 0), (8, 8), "a")],
        [((0,), (8, 8), "a")],
        [((0, 0), (8, 0), "a")],
        [((0, 0), (-8, 8), "a")],
        [((2**70, 0), (8, 8), "a")],
    ],
)
def test_patch_data_in_another_form(lossless_slide: Path, patch_data: object) -> None:
    with pytest.raises(ValueError, match=r"^lossless\.svs: "):
        pool(Foreign(lossless_slide, patch_data))


def test_a_location_object_that_lacks_something(lossless_slide: Path) -> None:
    for name in ("wsi_file", "patch_data", "level_or_mpp", "class_name", "param_info"):
        foreign = Foreign(lossless_slide)
        delattr(foreign, name)
        with pytest.raises(TypeError, match=f"Foreign is no location object.*{name}"):
            pool(foreign)
    with pytest.raises(TypeError, match="wsi_file must be a path"):
        pool(Foreign(None))
    foreign = Foreign(lossless_slide)
    foreign.param_info = None
    with pytest.raises(TypeError, match="param_info"):
        pool(foreign)


# ------------------------------------------------------------------------ progress


def test_progress_is_told_to_the_end(lossless_slide: Path, other_slide: Path) -> None:
    told: list[Progress] = []
    pool(grid(other_slide, 70), mock(lossless_slide), progress=told.append)
    last = told[-1]
    assert (last.done, last.total) == (75, 75)
    assert (last.slides_done, last.slides_total) == (2, 2)
    assert last.rate > 0
    assert last.seconds_left == 0
    done = [each.done for each in told]
    assert done == sorted(done)


def test_progress_counts_what_failed(lossless_slide: Path, garbled_slide: Path) -> None:
    told: list[Progress] = []
    pool(
        mock(garbled_slide),
        mock(lossless_slide),
        progress=told.append,
        on_error="skip",
    )
    assert (told[-1].done, told[-1].slides_done) == (10, 2)


def test_progress_can_be_a_line_on_standard_error(
    lossless_slide: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pool(mock(lossless_slide))
    assert capfd.readouterr() == ("", "")
    pool(mock(lossless_slide), progress=True)
    assert "5/5 patches, 1/1 slides" in capfd.readouterr().err
