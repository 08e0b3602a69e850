"""Extractors of a single slide."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from PIL import Image

from dplabtools._typing import Pixels
from dplabtools.errors import (
    LevelOutOfRangeError,
    MissingMppError,
    MissingSlideError,
    OutputError,
    RegionOutOfBoundsError,
    ResolutionError,
    SlideReadError,
    UnsupportedSlideError,
)
from dplabtools.extraction.chunk_reader import Chunk, ChunkReport, ReadChunk
from dplabtools.extraction.inspection import InspectedSlide
from dplabtools.slides.patches import (
    DiskPatchExtractor,
    MemPatchExtractor,
    MultiResDiskPatchExtractor,
    MultiResDiskPatchExtractorPool,
    MultiResMemPatchExtractor,
    PatchesMock,
)
from dplabtools.testing.make_slide import make_slide

Row = tuple[tuple[int, int], tuple[int, int], str]
ROWS: list[Row] = [
    ((640, 320), (48, 32), "b"),
    ((0, 0), (30, 20), "a"),
    ((-9, 500), (48, 32), "b"),
]
MAKERS = [
    MemPatchExtractor,
    MultiResMemPatchExtractor,
    DiskPatchExtractor,
    MultiResDiskPatchExtractor,
]


def mock(slide: Path, rows: Sequence[Row] = ROWS, level_or_mpp: float = 0) -> PatchesMock:
    return PatchesMock(
        patch_data=rows,
        wsi_file=slide,
        level_or_mpp=level_or_mpp,
        patch_labels=["a", "b", "c"],
    )


def stream(patches: Any, **changes: Any) -> MemPatchExtractor:
    return MemPatchExtractor(**{"patches": patches, "num_workers": 2, **changes})


def sets(patches: Any, **changes: Any) -> MultiResMemPatchExtractor:
    given: dict[str, Any] = {"levels_or_mpps": [0, 1], "num_workers": 2}
    return MultiResMemPatchExtractor(**{"patches": patches, **given, **changes})


def disk(folder: Path, patches: Any, **changes: Any) -> DiskPatchExtractor:
    given: dict[str, Any] = {"output_dir": folder, "image_type": "png", "num_workers": 2}
    return DiskPatchExtractor(**{"patches": patches, **given, **changes})


def disk_sets(folder: Path, patches: Any, **changes: Any) -> MultiResDiskPatchExtractor:
    given: dict[str, Any] = {"output_dir": folder, "image_type": "png", "num_workers": 2}
    return MultiResDiskPatchExtractor(
        **{"patches": patches, "levels_or_mpps": [0, 1], **given, **changes}
    )


def any_of(make: type, folder: Path, patches: Any, **changes: Any) -> Any:
    """Make an extractor of any of the four classes."""
    if make is MemPatchExtractor:
        return stream(patches, **changes)
    if make is MultiResMemPatchExtractor:
        return sets(patches, **changes)
    if make is DiskPatchExtractor:
        return disk(folder, patches, **changes)
    return disk_sets(folder, patches, **changes)


def region(slide: Path, origin: tuple[int, int], level: int, size: Any) -> Pixels:
    """The pixels that OpenSlide reads, on white."""
    with openslide.OpenSlide(slide) as opened:
        image = opened.read_region(origin, level, size)
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return np.array(Image.alpha_composite(white, image).convert("RGB"))


def everything(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))


@pytest.fixture(autouse=True)
def counter_as_before() -> Iterator[None]:
    """Sets are numbered through the process; each test begins anew."""
    MultiResDiskPatchExtractor.reset_global_counter()
    yield
    MultiResDiskPatchExtractor.reset_global_counter()


@pytest.fixture(scope="module")
def slide_without_mpp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("nothing") / "nothing.svs"
    return make_slide(file, size=(300, 280), levels=2, mpp=None, power=None)


# ------------------------------------------------------------------------ all four


@pytest.mark.parametrize("make", MAKERS)
def test_properties_tell_of_the_patches(
    lossless_slide: Path, out: Path, make: type
) -> None:
    extractor = any_of(make, out, mock(lossless_slide))
    views = 2 if "MultiRes" in make.__name__ else 1
    assert extractor.patch_data == ROWS
    assert extractor.patch_labels == ["a", "b", "c"]
    assert extractor.patch_count == 3 * views


@pytest.mark.parametrize("make", MAKERS)
def test_labels_are_selected(lossless_slide: Path, out: Path, make: type) -> None:
    extractor = any_of(make, out, mock(lossless_slide), excluded_labels=["a"])
    assert extractor.patch_data == [ROWS[0], ROWS[2]]
    assert extractor.patch_labels == ["b"]
    nothing = any_of(make, out, mock(lossless_slide), included_labels=["none such"])
    assert (nothing.patch_data, nothing.patch_labels, nothing.patch_count) == ([], [], 0)


@pytest.mark.parametrize("make", MAKERS)
def test_arguments_that_make_no_sense(lossless_slide: Path, out: Path, make: Any) -> None:
    patches = mock(lossless_slide)
    with pytest.raises(TypeError, match="positional"):
        make(patches, 2)
    with pytest.raises(TypeError, match="frobnicate"):
        any_of(make, out, patches, frobnicate=1)
    with pytest.raises(ValueError, match="num_workers must be at least 1"):
        any_of(make, out, patches, num_workers=0)
    with pytest.raises(TypeError, match="mp_chunksize must be an int"):
        any_of(make, out, patches, mp_chunksize=None)
    with pytest.raises(ValueError, match="not both"):
        any_of(make, out, patches, included_labels=["a"], excluded_labels=["b"])
    with pytest.raises(ValueError, match="resampling_mode must be"):
        any_of(make, out, patches, resampling_mode="nearest")
    with pytest.raises(TypeError, match="list is no location object"):
        any_of(make, out, [patches])
    assert everything(out) == []


@pytest.mark.parametrize("make", MAKERS)
def test_wsi_mode_needs_an_mpp(lossless_slide: Path, out: Path, make: type) -> None:
    with pytest.raises(ValueError, match="Missing MPP values"):
        any_of(make, out, mock(lossless_slide), resampling_mode="wsi")


@pytest.mark.parametrize("make", MAKERS)
def test_a_slide_that_cannot_be_opened_fails_at_once(
    out: Path, tmp_path: Path, make: type
) -> None:
    with pytest.raises(MissingSlideError, match=r"^gone\.svs: "):
        any_of(make, out, mock(tmp_path / "gone.svs"))
    (tmp_path / "notes.svs").write_text("no slide")
    with pytest.raises(UnsupportedSlideError, match=r"^notes\.svs: "):
        any_of(make, out, mock(tmp_path / "notes.svs"))
    assert everything(out) == []


@pytest.mark.parametrize("make", MAKERS)
def test_resampling_a_slide_without_mpp_fails_at_once(
    slide_without_mpp: Path, out: Path, make: type
) -> None:
    with pytest.raises(MissingMppError, match=r"^nothing\.svs: .*set_external_mpp"):
        any_of(make, out, mock(slide_without_mpp), resampling_mode="tile")
    assert everything(out) == []


# ----------------------------------------------------------------------- the stream


@pytest.mark.parametrize("threads", [1, 3])
def test_patches_come_in_order(lossless_slide: Path, threads: int) -> None:
    rows: list[Row] = [((7 * i, 5 * i), (10 + i, 20), f"{i}") for i in range(70)]
    patches = PatchesMock(patch_data=rows, wsi_file=lossless_slide, level_or_mpp=0)
    found = list(stream(patches, num_workers=threads).patch_stream)
    assert [label for _, label in found] == [label for _, _, label in rows]
    for (image, _), (origin, size, _) in zip(found, rows, strict=True):
        assert image.mode == "RGB"
        np.testing.assert_array_equal(image, region(lossless_slide, origin, 0, size))


def test_a_stream_can_be_taken_once(lossless_slide: Path) -> None:
    extractor = stream(mock(lossless_slide))
    assert len(list(extractor.patch_stream)) == 3
    assert list(extractor.patch_stream) == []
    begun = stream(mock(lossless_slide))
    next(begun.patch_stream)
    assert len(list(begun.patch_stream)) == 2


def test_inference_mode_adds_the_index_into_patch_data(lossless_slide: Path) -> None:
    extractor = stream(mock(lossless_slide), inference_mode=True, included_labels=["b"])
    for image, label, index in extractor.patch_stream:
        origin, size, wanted = extractor.patch_data[index]
        assert label == wanted
        np.testing.assert_array_equal(image, region(lossless_slide, origin, 0, size))


def test_sets_are_streamed_in_order(lossless_slide: Path) -> None:
    extractor = sets(mock(lossless_slide), levels_or_mpps=[1, 0], inference_mode=True)
    found = list(extractor.patch_stream)
    assert [len(each) for each in found] == [2, 2, 2]
    for row, ((_, *first), (image, *second)) in enumerate(found):
        origin, size, label = ROWS[row]
        assert first == second == [label, row]
        np.testing.assert_array_equal(image, region(lossless_slide, origin, 0, size))
    plain = list(sets(mock(lossless_slide), levels_or_mpps=[1, 0]).patch_stream)
    assert [len(each[0]) for each in plain] == [2, 2, 2]


def test_no_patches_make_an_empty_stream(lossless_slide: Path) -> None:
    assert list(stream(mock(lossless_slide, [])).patch_stream) == []
    assert list(sets(mock(lossless_slide, [])).patch_stream) == []


class Spy:
    """Counts the patches that are read, when reading them begins."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._lock = threading.Lock()
        plain = ReadChunk.__call__

        def read(work: ReadChunk, chunk: Chunk) -> ChunkReport | InspectedSlide:
            with self._lock:
                self.count += len(chunk.rows)
            return plain(work, chunk)

        monkeypatch.setattr(ReadChunk, "__call__", read)

    def settled(self) -> int:
        """Return the count when nothing is read any more."""
        before = -1
        while before != self.count:
            before = self.count
            time.sleep(0.15)
        return self.count


def test_a_stream_waits_for_who_takes_it(
    lossless_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(monkeypatch)
    rows: list[Row] = [((i, i), (8, 8), "a") for i in range(700)]
    extractor = stream(mock(lossless_slide, rows))
    assert spy.settled() == 0
    iterator = iter(extractor.patch_stream)
    next(iterator)
    ahead = spy.settled()
    assert ahead <= 200
    for _ in range(100):
        next(iterator)
    assert ahead < spy.settled() <= ahead + 150
    assert len(list(iterator)) == 599
    assert spy.count == 700


def test_leaving_a_stream_ends_its_threads(lossless_slide: Path) -> None:
    before = set(threading.enumerate())
    extractor = stream(mock(lossless_slide))
    next(extractor.patch_stream)
    assert set(threading.enumerate()) > before
    del extractor
    assert set(threading.enumerate()) == before


@pytest.mark.parametrize(
    ("level", "rows", "error"),
    [
        (0.7, ROWS, ResolutionError),
        (5, ROWS, LevelOutOfRangeError),
        (0, [*ROWS, ((5000, 0), (8, 8), "a")], RegionOutOfBoundsError),
    ],
)
def test_what_concerns_patches_is_raised_by_the_stream(
    lossless_slide: Path, level: float, rows: list[Row], error: type[Exception]
) -> None:
    extractors = (
        stream(mock(lossless_slide, rows, level)),
        sets(mock(lossless_slide, rows, level), levels_or_mpps=[level]),
    )
    for extractor in extractors:
        with pytest.raises(error, match=r"^lossless\.svs: "):
            list(extractor.patch_stream)


def test_a_damaged_patch_is_raised_by_the_stream(damaged_slide: Path) -> None:
    rows: list[Row] = [((x, 300), (64, 64), "a") for x in (0, 300, 600)]
    before = threading.active_count()
    with pytest.raises(SlideReadError, match=r"^damaged\.svs: "):
        list(stream(mock(damaged_slide, rows)).patch_stream)
    assert threading.active_count() == before


def test_levels_without_mpp(slide_without_mpp: Path) -> None:
    rows: list[Row] = [((100, 61), (20, 10), "a")]
    (((_, _), (coarse, _)),) = sets(mock(slide_without_mpp, rows)).patch_stream
    np.testing.assert_array_equal(coarse, region(slide_without_mpp, (90, 56), 1, (20, 10)))


# -------------------------------------------------------------------------- on disk


def test_files_of_one_slide(lossless_slide: Path, out: Path) -> None:
    extractor = disk(out, mock(lossless_slide), filename_comment="c")
    own = extractor.manifest_id
    (journal,) = out.glob("manifests/journal__*.jsonl")
    assert everything(out) == [
        f"lossless_{own}_c_a_x0_y0.png",
        f"lossless_{own}_c_b_x-9_y500.png",
        f"lossless_{own}_c_b_x640_y320.png",
        "manifests",
        f"manifests/{journal.name}",
        f"manifests/manifest__{own}__lossless.csv",
        f"manifests/manifest__{own}__lossless.txt",
    ]
    with Image.open(out / f"lossless_{own}_c_a_x0_y0.png") as image:
        np.testing.assert_array_equal(image, region(lossless_slide, (0, 0), 0, (30, 20)))


@pytest.mark.parametrize(
    ("changes", "folders"),
    [
        ({}, ["a", "b", "c"]),
        ({"excluded_labels": ["a"]}, ["b"]),
        ({"pool_mode": True}, ["a", "b"]),
    ],
)
def test_every_label_that_is_known_has_a_folder(
    lossless_slide: Path, out: Path, changes: Any, folders: list[str]
) -> None:
    for make, folder in ((disk, out / "files"), (disk_sets, out / "sets")):
        folder.mkdir()
        make(folder, mock(lossless_slide), create_subdirs=True, **changes)
        found = sorted(each.name for each in folder.iterdir() if each.name != "manifests")
        assert found == folders


def test_sets_are_numbered_through_the_process(
    lossless_slide: Path, made_slide: Path, out: Path
) -> None:
    first = disk_sets(out, mock(lossless_slide), global_counter=4)
    assert first.patchset_counter == 6
    second = disk_sets(out, mock(made_slide, ROWS[:2]), global_counter=100)
    assert second.patchset_counter == 8
    folders = [each for each in everything(out) if each.startswith("set")]
    assert [each for each in folders if "/" not in each] == [
        f"set{number}" for number in (4, 5, 6, 7, 8)
    ]
    MultiResDiskPatchExtractor.reset_global_counter()
    assert disk_sets(out, mock(lossless_slide)).patchset_counter == 3


def test_sets_are_numbered_by_slide(
    lossless_slide: Path, made_slide: Path, out: Path
) -> None:
    disk_sets(out, mock(lossless_slide), global_counter=5)
    for slide in (lossless_slide, made_slide):
        extractor = disk_sets(out, mock(slide), global_counter=None)
        assert extractor.patchset_counter == 3
    names = {each.name for each in out.iterdir()}
    assert names == {
        "manifests",
        *("set5", "set6", "set7"),
        *(
            f"{slide}__set{number}"
            for slide in ("lossless", "made")
            for number in (1, 2, 3)
        ),
    }
    assert disk_sets(out, mock(lossless_slide)).patchset_counter == 10


def test_an_extractor_that_fails_uses_no_numbers(lossless_slide: Path, out: Path) -> None:
    disk_sets(out, mock(lossless_slide))
    with pytest.raises(RegionOutOfBoundsError):
        disk_sets(out, mock(lossless_slide, [*ROWS, ((5000, 0), (8, 8), "a")]))
    extractor = disk_sets(out, mock(lossless_slide), included_labels=["b"])
    assert extractor.patchset_counter == 5


def test_pools_do_not_count_with_the_process(lossless_slide: Path, out: Path) -> None:
    disk_sets(out, mock(lossless_slide))
    (out / "pool").mkdir()
    MultiResDiskPatchExtractorPool(
        patches_pool=[mock(lossless_slide)],
        levels_or_mpps=[0],
        output_dir=out / "pool",
        image_type="png",
        proc_num_workers=1,
        thread_num_workers=1,
    )
    assert (out / "pool" / "set1").is_dir()
    assert disk_sets(out, mock(lossless_slide)).patchset_counter == 6


def test_the_folder_of_a_set_must_be_new(lossless_slide: Path, out: Path) -> None:
    (out / "set2").mkdir()
    with pytest.raises(OutputError, match="set2 exists already"):
        disk_sets(out, mock(lossless_slide))
    assert everything(out) == ["set2"]


@pytest.mark.parametrize("make", [disk, disk_sets])
def test_nothing_is_left_behind_an_error(damaged_slide: Path, out: Path, make: Any) -> None:
    rows: list[Row] = [((x, 300), (64, 64), "a") for x in (0, 100, 300, 600, 700)]
    with pytest.raises(SlideReadError, match=r"^damaged\.svs: "):
        make(out, mock(damaged_slide, rows), create_subdirs=True)
    assert everything(out) == []


def test_the_folder_has_to_exist(lossless_slide: Path, out: Path) -> None:
    for make in (disk, disk_sets):
        with pytest.raises(OutputError, match="create it"):
            make(out / "none", mock(lossless_slide))


def test_options_reach_the_encoder(made_slide: Path, out: Path) -> None:
    rows: list[Row] = [((300, 300), (256, 256), "a")]
    sizes: list[int] = []
    for quality in (20, 95):
        options: dict[str, Any] = {
            "image_type": "jpg",
            "save_options": {"quality": quality},
        }
        extractor = disk(out, mock(made_slide, rows), **options)
        (file,) = out.glob(f"*{extractor.manifest_id}*")
        sizes.append(file.stat().st_size)
    assert sizes[0] < sizes[1]
