"""Patches in containers, read back by this package and by others."""

from __future__ import annotations

import multiprocessing
import operator
import pickle
import re
import sys
import tarfile
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
import psutil
import pytest
import zarr

from dplabtools.errors import (
    DuplicatePatchesError,
    MissingLibraryError,
    OutputError,
    ParameterError,
    ParameterTypeError,
    SlideReadError,
    StoredPatchesError,
)
from dplabtools.records.slide_columns import slide_columns
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    MultiResMemPatchExtractorPool,
    PatchesMock,
    StoredPatches,
    WholeImageGridPatches,
    open_patches,
    read_locations,
)

Row = tuple[tuple[int, int], tuple[int, int], str]
KINDS = ("webdataset", "parquet", "hdf5", "zarr")
EVERY = (None, *KINDS)
LEVELS = [0, 0.8]


def grid(count: int = 60, size: int = 48) -> list[Row]:
    """Patches in no spatial order, some of them half outside."""
    rng = np.random.default_rng(3)
    corners = rng.permutation(
        [(x, y) for x in range(-20, 900, 80) for y in range(0, 700, 80)]
    )
    return [
        ((x, y), (size, size), "ab"[row % 2])
        for row, (x, y) in enumerate(corners[:count].tolist())
    ]


def mock(slide: Path, rows: Sequence[Row] | None = None, **changes: Any) -> PatchesMock:
    given: dict[str, Any] = {"level_or_mpp": 0, "check_location": False}
    return PatchesMock(patch_data=rows or grid(), wsi_file=slide, **{**given, **changes})


def write(folder: Path, kind: str | None, *patches: Any, **changes: Any) -> Any:
    """Write patches, each image as a PNG where there are images."""
    folder.mkdir(exist_ok=True)
    given: dict[str, Any] = {
        "output_dir": folder,
        "container": kind,
        "patches_pool": patches,
        "proc_num_workers": 1,
        "thread_num_workers": 1,
    }
    if kind not in {"hdf5", "zarr"}:
        given["image_type"] = "png"
    sets = "levels_or_mpps" in changes
    make: Any = MultiResDiskPatchExtractorPool if sets else DiskPatchExtractorPool
    return make(**{**given, **changes})


def wanted(*patches: Any, **changes: Any) -> Any:
    """The same patches in memory."""
    sets = "levels_or_mpps" in changes
    make: Any = MultiResMemPatchExtractorPool if sets else MemPatchExtractorPool
    return make(patches_pool=patches, proc_num_workers=1, thread_num_workers=1, **changes)


def shards_of(size: int, kind: str) -> dict[str, Any]:
    """An option for small shards, where there are shards."""
    return {} if kind == "hdf5" else {"save_options": {"shard_size": size}}


def containers(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.name != "manifests")


@pytest.fixture(scope="module")
def twins(lossless_slide: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two slides with one name."""
    folder = tmp_path_factory.mktemp("twin")
    (folder / lossless_slide.name).symlink_to(lossless_slide)
    return [lossless_slide, folder / lossless_slide.name]


# --------------------------------------------------------------- reading back


@pytest.mark.parametrize("kind", EVERY)
def test_patches_come_back_as_they_were_placed(
    twins: list[Path], tmp_path: Path, kind: str | None
) -> None:
    pool = [mock(twins[0]), mock(twins[1], grid(7, 32), level_or_mpp=1)]
    write(tmp_path / "out", kind, *pool)
    found = open_patches(tmp_path / "out")
    memory = wanted(*pool)
    assert len(found) == len(memory.patch_list) == 67
    table = memory.patch_table
    for index, (image, label) in enumerate(memory.patch_list):
        patch = found[index]
        np.testing.assert_array_equal(patch.array, np.asarray(image))
        assert patch.image.size == image.size == patch.size
        assert (patch.label, *patch.location) == (label, table.x[index], table.y[index])
        assert patch.level_or_mpp == table.level_or_mpp[index]
        assert type(patch.level_or_mpp) is int
        assert patch.mpp == (0.5 if index < 60 else 1.0)
        assert patch.views == (patch,)
        assert patch.set_number is None
    assert {name: list(found.table[name]) for name in ("x", "y", "label", "width")} == {
        name: list(table[name]) for name in ("x", "y", "label", "width")
    }


@pytest.mark.parametrize("kind", EVERY)
def test_sets_come_back_as_sets(
    lossless_slide: Path, tmp_path: Path, kind: str | None
) -> None:
    options = {"levels_or_mpps": LEVELS, "resampling_mode": "tile"}
    pool = write(tmp_path / "out", kind, mock(lossless_slide), global_counter=5, **options)
    assert (pool.patchset_count, pool.patch_count) == (60, 120)
    memory = wanted(mock(lossless_slide), **options).patch_list
    for index, patch in enumerate(open_patches(tmp_path / "out")):
        assert patch.set_number == 5 + index
        assert [view.level_or_mpp for view in patch.views] == LEVELS
        assert [view.mpp for view in patch.views] == [0.5, 0.8]
        x, y = patch.location
        assert patch.views[1].location == (x - round(48 * 0.3), y - round(48 * 0.3))
        for view, (image, label) in zip(patch.views, memory[index], strict=True):
            np.testing.assert_array_equal(view.array, np.asarray(image))
            assert view.label == label


@pytest.mark.parametrize("kind", KINDS)
def test_a_container_says_all_by_itself(
    lossless_slide: Path, tmp_path: Path, kind: str
) -> None:
    write(tmp_path, kind, mock(lossless_slide), proc_num_workers=2)
    listed = open_patches(tmp_path)
    by_place = {(*patch.location, patch.label): patch for patch in listed}
    (file,) = containers(tmp_path)
    alone = open_patches(file)
    assert len(alone) == len(listed) == len(by_place)
    for patch in alone:
        twin = by_place[(*patch.location, patch.label)]
        assert (patch.size, patch.level_or_mpp, patch.mpp) == ((48, 48), 0, 0.5)
        assert patch.wsi_file == lossless_slide.name
        assert twin.wsi_file == str(lossless_slide)
        np.testing.assert_array_equal(patch.array, twin.array)
    (tmp_path / "apart").mkdir()
    file.rename(tmp_path / "apart" / file.name)
    assert len(open_patches(tmp_path / "apart")) == 60


@pytest.mark.parametrize("kind", KINDS)
def test_sets_say_all_by_themselves(
    lossless_slide: Path, tmp_path: Path, kind: str
) -> None:
    options = {"levels_or_mpps": LEVELS, "resampling_mode": "tile"}
    write(tmp_path, kind, mock(lossless_slide), **options)
    by_place = {patch.location: patch for patch in open_patches(tmp_path)}
    alone = open_patches(containers(tmp_path)[0])
    assert len(alone) == 60
    for patch in alone:
        for view, twin in zip(patch.views, by_place[patch.location].views, strict=True):
            assert (view.location, view.level_or_mpp) == (twin.location, twin.level_or_mpp)
            assert view.mpp == twin.mpp
            np.testing.assert_array_equal(view.array, twin.array)


@pytest.mark.parametrize("kind", EVERY)
def test_the_share_of_foreground_comes_along(
    lossless_slide: Path, tmp_path: Path, kind: str | None
) -> None:
    x, y = np.ogrid[:256, :192]
    mask = ((x - 128) ** 2 + (y - 96) ** 2 < 80**2).astype(np.uint8)
    patches = WholeImageGridPatches(
        wsi_file=str(lossless_slide), mask_data=mask, patch_size=64, foreground_ratio=0.3
    )
    write(tmp_path, kind, patches)
    shares = patches.table.coverage
    assert shares is not None
    assert 0.3 <= shares.min() < shares.max() == 1
    found = open_patches(tmp_path)
    np.testing.assert_allclose(found.table.coverage, shares, atol=1e-6)
    assert found[0].coverage == pytest.approx(shares[0], abs=1e-6)
    if kind is not None:
        alone = open_patches(containers(tmp_path)[0])
        assert sorted(alone.table.coverage) == sorted(found.table.coverage)


@pytest.mark.parametrize("kind", EVERY)
def test_workers_of_data_loaders_may_share_them(
    lossless_slide: Path, tmp_path: Path, kind: str | None
) -> None:
    write(tmp_path, kind, mock(lossless_slide))
    found = open_patches(tmp_path)
    pictures = [patch.array for patch in found]
    twin: StoredPatches = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal([patch.array for patch in twin], pictures)
    for method in ("spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            read = list(pool.map(operator.attrgetter("array"), found))
        np.testing.assert_array_equal(read, pictures)


def test_they_are_a_sequence(lossless_slide: Path, tmp_path: Path) -> None:
    write(tmp_path, "webdataset", mock(lossless_slide))
    found = open_patches(str(tmp_path))
    assert found[-1].location == grid()[59][0]
    assert [patch.location for patch in found[2:6:2]] == [grid()[2][0], grid()[4][0]]
    with pytest.raises(IndexError):
        found[60]
    columns = dict(found.table)
    assert columns["x"].tolist() == [x for (x, _), _, _ in grid()]
    assert set(columns["wsi_file"]) == {str(lossless_slide)}
    assert np.isnan(columns["coverage"]).all()
    with pytest.raises(KeyError):
        found.table["nothing"]


def test_what_holds_no_patches_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.tar").write_text("no tar at all" * 100)
    with pytest.raises(StoredPatchesError, match="there is no file or folder"):
        open_patches(tmp_path / "nowhere")
    with pytest.raises(StoredPatchesError, match="holds no patches"):
        open_patches(tmp_path / "empty")
    with pytest.raises(StoredPatchesError, match=r"text\.tar cannot be read"):
        open_patches(tmp_path / "text.tar")
    with pytest.raises(ParameterTypeError, match="path must be a path"):
        open_patches(3)  # type: ignore[arg-type]


def test_a_file_that_has_gone_is_named(lossless_slide: Path, tmp_path: Path) -> None:
    write(tmp_path, "webdataset", mock(lossless_slide))
    found = open_patches(tmp_path)
    (file,) = containers(tmp_path)
    file.unlink()
    with pytest.raises(StoredPatchesError, match=re.escape(file.name)):
        _ = found[0].array


@pytest.mark.parametrize("kind", EVERY)
def test_a_manifest_that_was_cut_is_refused(
    lossless_slide: Path, tmp_path: Path, kind: str | None
) -> None:
    write(tmp_path, kind, mock(lossless_slide))
    (table,) = tmp_path.glob("manifests/*.csv")
    lines = table.read_bytes().splitlines(keepends=True)
    table.write_bytes(b"".join(lines[:11]))
    with pytest.raises(StoredPatchesError, match=rf"{table.name} .*resume=True"):
        open_patches(tmp_path)
    write(tmp_path, kind, mock(lossless_slide), resume=True)
    assert len(open_patches(tmp_path)) == 60


def test_a_manifest_without_a_checksum_is_taken_as_it_is(
    lossless_slide: Path, tmp_path: Path
) -> None:
    write(tmp_path, "webdataset", mock(lossless_slide))
    (table,) = tmp_path.glob("manifests/*.csv")
    lines = table.read_bytes().splitlines(keepends=True)
    table.write_bytes(b"".join(lines[:11]))
    (journal,) = tmp_path.glob("manifests/journal__*")
    journal.unlink()
    assert len(open_patches(tmp_path)) == 10


def test_the_index_of_a_zarr_shard_is_checked(lossless_slide: Path, tmp_path: Path) -> None:
    write(tmp_path, "zarr", mock(lossless_slide))
    (shard,) = tmp_path.glob("*.zarr/imgs/c.*")
    data = bytearray(shard.read_bytes())
    data[-21] ^= 1  # of the last entry of the index
    shard.write_bytes(data)
    found = open_patches(tmp_path)
    with pytest.raises(StoredPatchesError, match=re.escape(shard.name)):
        _ = found[0].array


def test_a_byte_that_changed_in_parquet_is_found(
    lossless_slide: Path, tmp_path: Path
) -> None:
    write(tmp_path, "parquet", mock(lossless_slide), image_type="bmp")
    pictures = [patch.array for patch in open_patches(tmp_path)]
    (file,) = containers(tmp_path)
    data = bytearray(file.read_bytes())
    begin = data.index(pictures[30][-1].tobytes()[::-1][:9])
    data[begin] ^= 1
    file.write_bytes(data)
    with pytest.raises(StoredPatchesError, match=r"CRC|checksum"):
        _ = [patch.array for patch in open_patches(tmp_path)]


# --------------------------------------------------------- programs they are for


def test_webdataset_reads_it(twins: list[Path], tmp_path: Path) -> None:
    import webdataset

    write(tmp_path, "webdataset", *(mock(slide) for slide in twins))
    urls = [str(file) for file in containers(tmp_path)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"))
    assert len({sample["__key__"] for sample in samples}) == 120
    pictures = {
        (*patch.location, patch.label): patch.array for patch in open_patches(tmp_path)
    }
    for sample in samples:
        known = sample["json"]
        assert sample.keys() == {"__key__", "__url__", "__local_path__", "png", "json"}
        assert re.fullmatch(r"lossless(_\w{8})?__x-?\d+_y\d+_level0", sample["__key__"])
        assert (known["slide"], known["level_or_mpp"]) == ("lossless.svs", 0)
        assert (known["width"], known["mpp"], known["coverage"]) == (48, 0.5, None)
        picture = pictures[known["x"], known["y"], known["label"]]
        np.testing.assert_array_equal(sample["png"], picture)


def test_webdataset_reads_sets(lossless_slide: Path, tmp_path: Path) -> None:
    import webdataset

    write(
        tmp_path,
        "webdataset",
        mock(lossless_slide, level_or_mpp=0.75),
        levels_or_mpps=LEVELS,
        resampling_mode="tile",
    )
    (url,) = map(str, containers(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        samples = list(webdataset.WebDataset(url, shardshuffle=False).decode("rgb8"))
    assert len(samples) == 60
    assert all("." not in sample["__key__"] for sample in samples)
    assert samples[0]["__key__"].endswith("_mpp0p75")
    sample = samples[7]
    assert {"0.png", "1.png", "json"} <= sample.keys()
    assert [sample["json"][f"level_or_mpp_{view}"] for view in (0, 1)] == LEVELS


def test_tarfile_finds_nothing_that_changes(lossless_slide: Path, tmp_path: Path) -> None:
    write(tmp_path, "webdataset", mock(lossless_slide))
    with tarfile.open(containers(tmp_path)[0]) as archive:
        every = archive.getmembers()
    assert len(every) == 120
    assert {(info.mtime, info.uid, info.gid, info.uname) for info in every} == {
        (0, 0, 0, "")
    }
    assert [info.name.endswith("json") for info in every] == [False, True] * 60


@pytest.mark.parametrize("stem", ["a.b c", "Gewebe-ü", "n" * 120])
def test_any_name_of_a_slide_will_do(
    lossless_slide: Path, tmp_path: Path, stem: str
) -> None:
    slide = tmp_path / f"{stem}.svs"
    slide.symlink_to(lossless_slide)
    two_labels: list[Row] = [((0, 0), (9, 9), "a"), ((0, 0), (9, 9), "b/ü")]
    write(tmp_path / "out", "webdataset", mock(slide, two_labels))
    (file,) = containers(tmp_path / "out")
    with tarfile.open(file) as archive:
        names = [name.split(".", 1) for name in archive.getnames()]
    begin = stem.replace(".", "_").replace(" ", "_")
    assert names == [
        [f"{begin}__x0_y0_level0{end}", extension]
        for end in ("", "_2")
        for extension in ("png", "json")
    ]
    for patches in (open_patches(file), open_patches(tmp_path / "out")):
        assert [patch.label for patch in patches] == ["a", "b/ü"]
        assert patches[1].array.shape == (9, 9, 3)


def test_datasets_reads_it(
    lossless_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets = pytest.importorskip("datasets")
        write(tmp_path / "out", "parquet", mock(lossless_slide))
        loaded = datasets.load_dataset(
            "parquet",
            data_files=[str(file) for file in containers(tmp_path / "out")],
            split="train",
            cache_dir=str(tmp_path / "cache"),
        )
        assert isinstance(loaded.features["image"], datasets.Image)
        rows = list(loaded)
    pictures = {
        (*patch.location, patch.label): patch.array
        for patch in open_patches(tmp_path / "out")
    }
    assert len(rows) == 60
    for row in rows:
        picture = pictures[row["x"], row["y"], row["label"]]
        np.testing.assert_array_equal(np.asarray(row["image"]), picture)
        assert (row["slide"], row["width"], row["level_or_mpp"]) == (
            "lossless.svs",
            48,
            "0",
        )
        assert (row["mpp"], row["coverage"]) == (0.5, None)


def test_datasets_reads_sets(
    lossless_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets = pytest.importorskip("datasets")
        options = {"levels_or_mpps": LEVELS, "resampling_mode": "tile"}
        write(tmp_path / "out", "parquet", mock(lossless_slide), **options)
        loaded = datasets.load_dataset(
            "parquet",
            data_files=[str(file) for file in containers(tmp_path / "out")],
            split="train",
            cache_dir=str(tmp_path / "cache"),
        )
        row = loaded[0]
    assert row["image_0"].size == row["image_1"].size == (48, 48)
    assert [row["level_or_mpp_0"], row["level_or_mpp_1"]] == ["0", "0.8"]
    assert row["x_1"] == row["x_0"] - round(48 * 0.3)


@pytest.mark.parametrize("tool", ["clam", "trident"])
@pytest.mark.parametrize("level_or_mpp", [0, 1, 0.8])
def test_tools_read_their_coordinates_from_hdf5(
    lossless_slide: Path, tmp_path: Path, tool: Any, level_or_mpp: float
) -> None:
    inside = [row for row in grid() if row[0][0] >= 0]
    patches = mock(lossless_slide, inside, level_or_mpp=level_or_mpp)
    write(tmp_path, "hdf5", patches, resampling_mode="tile")
    (file,) = containers(tmp_path)
    assert file.name == "lossless.h5"
    with h5py.File(file) as opened:
        assert opened["imgs"].chunks == (1, 48, 48, 3)
        assert opened["coords"].dtype == np.int32
        assert opened["imgs"].attrs["wsi_name"] == "lossless"
        assert opened["coords"].attrs["patch_size"] == 48
        assert opened["labels"].asstr()[:].tolist() == [label for _, _, label in inside]
    if (tool, level_or_mpp) != ("clam", 0.8):  # CLAM knows levels only
        read = read_locations(file=file, wsi_file=lossless_slide, file_format=tool)
        assert [row[:2] for row in read.patch_data] == [row[:2] for row in inside]
        assert read.level_or_mpp == pytest.approx(level_or_mpp)


def test_zarr_reads_it(lossless_slide: Path, tmp_path: Path) -> None:
    sizes = {"shard_size": 25}
    write(tmp_path, "zarr", mock(lossless_slide), save_options=sizes, proc_num_workers=2)
    (folder,) = containers(tmp_path)
    group: Any = zarr.open_group(folder, mode="r")
    images = group["imgs"]
    assert (images.shape, images.chunks, images.shards) == (
        (60, 48, 48, 3),
        (1, 48, 48, 3),
        (25, 48, 48, 3),
    )
    assert len(list((folder / "imgs").glob("c.*"))) == 3
    corners, codes = group["coords"][:].tolist(), group["label"][:].tolist()
    labels = group.attrs["labels"]
    found = {
        (x, y, labels[code]): picture
        for (x, y), code, picture in zip(corners, codes, images[:], strict=True)
    }
    for patch in open_patches(tmp_path):
        np.testing.assert_array_equal(found[(*patch.location, patch.label)], patch.array)


def test_jpegs_are_those_of_image_files(made_slide: Path, tmp_path: Path) -> None:
    for kind in (None, "webdataset", "parquet"):
        write(tmp_path / str(kind), kind, mock(made_slide), image_type="jpg")
    for files, tar, rows in zip(
        *(open_patches(tmp_path / str(kind)) for kind in (None, "webdataset", "parquet")),
        strict=True,
    ):
        np.testing.assert_array_equal(files.array, tar.array)
        np.testing.assert_array_equal(files.array, rows.array)


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_stored_tiles_go_into_shards_as_they_are(
    made_slide: Path, tmp_path: Path, kind: str
) -> None:
    tiles: list[Row] = [
        ((256 * x, 256 * y), (256, 256), "t") for x in range(4) for y in (0, 1)
    ]
    options = {"image_type": "jpg", "save_options": {"passthrough": True}}
    write(tmp_path, kind, mock(made_slide, tiles), **options)
    memory = wanted(mock(made_slide, tiles)).patch_array
    for patch, pixels in zip(open_patches(tmp_path), memory, strict=True):
        np.testing.assert_array_equal(patch.array, pixels)


# ------------------------------------------------------------------ always the same


@pytest.mark.parametrize("kind", KINDS)
def test_files_do_not_depend_on_the_number_of_workers(
    made_slide: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = shards_of(40, kind)
    for workers, threads in ((1, 1), (4, 1), (2, 3)):
        numbers = map("{:08}".format, range(100))
        monkeypatch.setattr(
            "dplabtools.output.run_folder.folder.new_manifest_id", numbers.__next__
        )
        write(
            tmp_path / f"{workers}",
            kind,
            mock(made_slide, grid(100)),
            mock(made_slide, grid(30, 36)),
            proc_num_workers=workers,
            thread_num_workers=threads,
            **shards,
        )
    first = files_by_name(tmp_path / "1")
    for other in ("2", "4"):
        files = files_by_name(tmp_path / other)
        assert first.keys() == files.keys()
        for name, file in first.items():
            if (
                file.is_file() and file.suffix not in {".txt", ".json"}
            ) or "zarr.json" in str(name):
                assert file.read_bytes() == files[name].read_bytes(), name


def files_by_name(folder: Path) -> dict[Path, Path]:
    """All that there is, but for the journal, which has a name of its own."""
    return {
        each.relative_to(folder): each
        for each in folder.rglob("*")
        if not each.name.startswith("journal__")
    }


@pytest.mark.slow
def test_many_patches_make_few_files(made_slide: Path, tmp_path: Path) -> None:
    """And no worker holds more than a part of them."""
    every = np.random.default_rng(0).permutation(1000 * 700)[:200_000]
    rows: list[Row] = [((i % 1000, i // 1000), (8, 8), "t") for i in every.tolist()]
    peak = Peak()
    with peak:
        pool = write(
            tmp_path,
            "webdataset",
            mock(made_slide, rows),
            proc_num_workers=2,
            image_type="jpg",
        )
    assert pool.patch_count == 200_000
    assert sum(each.is_file() for each in tmp_path.rglob("*")) <= 1000
    assert peak.workers < 300 << 20
    found = open_patches(tmp_path)
    assert len(found) == 200_000
    for index in (0, 99_999, 199_999):
        assert found[index].location == rows[index][0]
        assert found[index].array.shape == (8, 8, 3)


class Peak:
    """The largest memory of a worker, as long as the block lasts."""

    def __init__(self) -> None:
        self.workers = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    self.workers = max(self.workers, process.memory_info().rss)


# ------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize("kind", KINDS)
def test_patches_that_fail_are_not_there(
    damaged_slide: Path, made_slide: Path, tmp_path: Path, kind: str
) -> None:
    shards = shards_of(16, kind)
    pool = write(tmp_path, kind, mock(damaged_slide, grid(100)), on_error="skip", **shards)
    lost = {error.row for error in pool.errors}
    kept = [row for index, row in enumerate(grid(100)) if index not in lost]
    assert 10 < len(lost) < 40
    assert pool.patch_count == len(kept)
    found = open_patches(tmp_path)
    assert [(patch.location, patch.size, patch.label) for patch in found] == kept
    memory = wanted(mock(made_slide, kept)).patch_array
    if kind in {"hdf5", "zarr"}:
        np.testing.assert_array_equal([patch.array for patch in found], memory)
    for file in containers(tmp_path):  # nor in the container itself
        places = {(*patch.location, patch.label) for patch in open_patches(file)}
        assert places <= {(*location, label) for location, _, label in kept}
    assert sum(len(open_patches(file)) for file in containers(tmp_path)) == len(kept)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_error_leaves_nothing(
    damaged_slide: Path, tmp_path: Path, kind: str
) -> None:
    with pytest.raises(SlideReadError, match=r"^damaged\.svs"):
        write(tmp_path, kind, mock(damaged_slide, grid(100)), proc_num_workers=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_slide_without_patches_makes_no_file(
    lossless_slide: Path, tmp_path: Path, kind: str
) -> None:
    nothing = PatchesMock(patch_data=[], wsi_file=lossless_slide, level_or_mpp=0)
    pool = write(tmp_path, kind, nothing)
    assert pool.patch_count == 0
    assert containers(tmp_path) == []
    assert len(open_patches(tmp_path)) == 0
    assert len(open_patches(tmp_path).table) == 0


@pytest.mark.parametrize("kind", ["hdf5", "zarr"])
def test_arrays_are_of_one_size(lossless_slide: Path, tmp_path: Path, kind: str) -> None:
    rows: list[Row] = [((0, 0), (48, 32), "a"), ((9, 0), (32, 32), "a")]
    with pytest.raises(ParameterError, match=r"^lossless\.svs: .*differ in size"):
        write(tmp_path, kind, mock(lossless_slide, rows))
    assert list(tmp_path.iterdir()) == []
    write(tmp_path, "webdataset", mock(lossless_slide, rows))
    assert [patch.size for patch in open_patches(tmp_path)] == [(48, 32), (32, 32)]


@pytest.mark.filterwarnings("ignore::dplabtools.errors.EarlierRunWarning")
@pytest.mark.parametrize("kind", ["hdf5", "zarr"])
def test_what_is_there_is_not_replaced(
    lossless_slide: Path, tmp_path: Path, kind: str
) -> None:
    write(tmp_path, kind, mock(lossless_slide))
    with pytest.raises(OutputError, match="exists already"):
        write(tmp_path, kind, mock(lossless_slide))
    assert len(open_patches(tmp_path)) == 60


@pytest.mark.parametrize("kind", KINDS)
def test_a_patch_may_not_be_there_twice(
    lossless_slide: Path, tmp_path: Path, kind: str
) -> None:
    with pytest.raises(DuplicatePatchesError, match="is there twice"):
        write(tmp_path, kind, mock(lossless_slide, [*grid(), grid()[0]]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("lmdb", {}, 'container must be "webdataset" or'),
        ("webdataset", {"create_subdirs": True}, "create_subdirs is about image files"),
        ("parquet", {"filename_comment": "x"}, "filename_comment is about image files"),
        ("zarr", {"filename_separator": "-"}, "filename_separator is about image files"),
        ("hdf5", {"image_type": "png"}, "leave image_type out"),
        ("zarr", {"image_type": "png"}, "leave image_type out"),
        ("hdf5", {"save_options": {"quality": 90}}, "may be nothing, not quality"),
        (
            "zarr",
            {"save_options": {"level": 9}},
            "compress_level and shard_size, not level",
        ),
        ("webdataset", {"save_options": {"shard_size": 0}}, "shard_size.* at least 1"),
        ("parquet", {"image_type": "nope"}, "unknown file extension"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    lossless_slide: Path, tmp_path: Path, kind: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write(tmp_path, kind, mock(lossless_slide), **changes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [None, "webdataset", "parquet"])
def test_images_need_a_type(lossless_slide: Path, tmp_path: Path, kind: str | None) -> None:
    with pytest.raises(ParameterTypeError, match="image_type must be text"):
        write(tmp_path, kind, mock(lossless_slide), image_type=None)


@pytest.mark.parametrize(("kind", "library"), [("hdf5", "h5py"), ("zarr", "zarr")])
def test_a_library_that_is_missing_is_named(
    lossless_slide: Path,
    tmp_path: Path,
    kind: str,
    library: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingLibraryError, match=rf"dplabtools-next\[{kind}\]"):
        write(tmp_path, kind, mock(lossless_slide))


# ------------------------------------------------------------------ going on


@pytest.mark.parametrize("kind", KINDS)
def test_only_shards_that_are_missing_are_made_again(
    made_slide: Path, tmp_path: Path, kind: str
) -> None:
    shards = shards_of(16, kind)
    write(tmp_path, kind, mock(made_slide, grid(100)), **shards)
    before = {file: file.read_bytes() for file in pixels_of(tmp_path)}
    times = {file: file.stat().st_mtime_ns for file in before}
    gone = list(before)[:2]
    for file in gone:
        file.unlink()
    pool = write(tmp_path, kind, mock(made_slide, grid(100)), resume=True, **shards)
    assert pool.patch_count == 100
    assert {file: file.read_bytes() for file in pixels_of(tmp_path)} == before
    again = {file for file in before if file.stat().st_mtime_ns != times[file]}
    assert again == set(gone)
    assert len(open_patches(tmp_path)) == 100


def pixels_of(folder: Path) -> list[Path]:
    """The shards, sorted."""
    found = [*folder.glob("*.tar"), *folder.glob("*.parquet"), *folder.glob("*.h5")]
    return sorted([*found, *folder.glob("*.zarr/imgs/c.*")])


@pytest.mark.parametrize("kind", KINDS)
def test_patches_that_failed_are_tried_again(
    damaged_slide: Path, tmp_path: Path, kind: str
) -> None:
    shards = shards_of(16, kind)
    slide = tmp_path / "slide.svs"
    slide.write_bytes(damaged_slide.read_bytes())
    out = tmp_path / "out"
    options: dict[str, Any] = {"on_error": "skip", **shards}
    assert write(out, kind, mock(slide, grid(100)), **options).errors
    again = write(out, kind, mock(slide, grid(100)), resume=True, **options)
    assert again.errors
    assert len(open_patches(out)) == again.patch_count == 100 - len(again.errors)
    assert sum(len(open_patches(file)) for file in containers(out)) == again.patch_count


# ------------------------------------------------------------ columns of slides


def with_columns(patches: PatchesMock, **columns: str) -> PatchesMock:
    return PatchesMock.from_table(
        replace(patches.table, slide_columns=slide_columns(columns)),
        class_name="Any",
        class_params={},
    )


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("levels", [None, LEVELS])
def test_columns_of_slides_come_back_with_their_patches(
    twins: list[Path], tmp_path: Path, kind: str | None, levels: list[float] | None
) -> None:
    pool = [
        with_columns(mock(twins[0], grid(5)), site="Bern, CH", batch="07"),
        with_columns(mock(twins[1], grid(4, 32)), site='"x"\n'),
    ]
    changes: dict[str, Any] = {}
    if levels is not None:
        changes = {"levels_or_mpps": levels, "resampling_mode": "tile"}
    folder = tmp_path / "out"
    write(folder, kind, *pool, **changes)
    found = open_patches(folder)
    assert list(found.table["site"]) == ["Bern, CH"] * 5 + ['"x"\n'] * 4
    assert list(found.table["batch"]) == ["07"] * 5 + [""] * 4
    assert set(dict(found.table)) >= {"x", "label", "site", "batch"}
    source = {"mpp_source": "openslide.mpp-x"}
    assert found[0].columns == {**source, "site": "Bern, CH", "batch": "07"}
    assert found[-1].columns == {**source, "site": '"x"\n'}
    assert len(found[0].views) == len(levels or [0])
    with next(folder.glob("manifests/*.csv")).open(encoding="utf-8") as file:
        names = file.readline().strip().split(",")
    assert names[9] == "coverage"
    assert "site" in names[10:]
    if kind is not None:
        bare = [open_patches(each) for each in containers(folder)]
        assert sorted({patch.columns["site"] for each in bare for patch in each}) == [
            '"x"\n',
            "Bern, CH",
        ]


def test_a_column_of_slides_has_a_name_of_its_own() -> None:
    for name in ("label", "x_1", "image", " ", "item"):
        with pytest.raises(ParameterError, match="rename it"):
            slide_columns({name: "text"})


# ------------------------------------------------------------------- how it is looked at


def test_a_stored_patch_shows_itself_in_one_line(
    lossless_slide: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    write(folder, None, mock(lossless_slide, grid(3)))
    shown = repr(open_patches(folder)[1])
    assert shown.startswith("<StoredPatch: ")
    assert shown.endswith(" of lossless.svs>")
    assert len(shown) < 100


def test_the_table_of_stored_patches_is_iterated_by_rows(
    lossless_slide: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    write(folder, None, with_columns(mock(lossless_slide, grid(5)), site="Bern"))
    table = open_patches(folder).table
    rows = list(table)
    assert len(rows) == len(table) == 5
    assert [(row.x, row.y) for row in rows] == list(
        zip(table.x.tolist(), table.y.tolist(), strict=True)
    )
    assert rows[3][:8] == table[3][:8] == table[-2][:8]
    assert rows[0]._fields[:-1] == table.keys()[: len(rows[0]) - 1]
    assert rows[0].extra["site"] == "Bern"
    with pytest.raises(IndexError):
        table[5]
