"""Runs over slides in an object store: a real server of S3, near and unreliable."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dplabtools._typing import Pixels
from dplabtools.errors import (
    ChangedSlideError,
    MissingSlideError,
    OutputError,
    ParameterError,
    UnreachableSlideError,
    UnsupportedSlideError,
)
from dplabtools.pipeline import upload_run
from dplabtools.readers.finding import find_slides
from dplabtools.readers.native.assemble import plan_tiles
from dplabtools.readers.native.families import open_indexed
from dplabtools.readers.opening import open_reader
from dplabtools.settings import Settings
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractorPool,
    PatchesMock,
    StreamPatchExtractorPool,
    open_patches,
)
from dplabtools.sources.stores import StoredObject
from dplabtools.sources.stream import HEAD_BYTES
from dplabtools.testing.make_dicom import make_dicom_slide
from dplabtools.testing.object_store import ObjectStore

pytestmark = pytest.mark.usefixtures("client", "study")

COMMAND = [sys.executable, "-c", "from dplabtools.cli.main import main; main()"]
NAMES = ("a.svs", "b.svs")
ROWS = [((x, y), (100, 100), "t") for y in range(0, 1400, 100) for x in range(0, 1900, 100)]


def urls() -> list[str]:
    return [f"s3://slides/a study/{name}" for name in NAMES]


def mock(file: str | Path) -> PatchesMock:
    return PatchesMock(patch_data=ROWS, wsi_file=file, level_or_mpp=0)


def in_memory(files: Sequence[str | Path], *, workers: int = 2) -> Pixels:
    with MemPatchExtractorPool(
        patches_pool=[mock(each) for each in files],
        proc_num_workers=workers,
        thread_num_workers=1,
    ) as pool:
        return pool.patch_array.copy()


@pytest.fixture(scope="module")
def expected(large_slides: Path) -> Pixels:
    return in_memory([large_slides / name for name in NAMES])


def test_all_slides_below_an_address_are_found() -> None:
    for address in (
        "s3://slides",
        "s3://slides/",
        "s3://slides/a study",
        Path("s3://slides"),
    ):
        assert find_slides([address]) == tuple(urls())
    assert find_slides([urls()[1]]) == (urls()[1],)


def test_a_slide_is_used_by_its_address(large_slides: Path) -> None:
    far = GenericSlide(wsi_file=urls()[0])
    near = GenericSlide(wsi_file=large_slides / NAMES[0])
    assert far.slide_file == urls()[0]
    assert far.slide_name == NAMES[0]
    assert far.level_dimensions == near.level_dimensions
    far.close()
    near.close()


def test_bytes_fetched_are_hardly_more_than_the_tiles(
    store: ObjectStore, large_slides: Path, expected: Pixels
) -> None:
    index = open_indexed(large_slides / NAMES[0])[1]
    plan = plan_tiles(
        index.levels[0],
        np.array([row[0] for row in ROWS]),
        np.array([row[1] for row in ROWS]),
    )
    needed = int(index.levels[0].counts[plan.tiles].sum())
    before = store.nbytes
    GenericSlide(wsi_file=urls()[0]).close()
    header, before = store.nbytes - before, store.nbytes
    assert np.array_equal(in_memory(urls()[:1]), expected[: len(ROWS)])
    fetched = store.nbytes - before - header
    assert needed - HEAD_BYTES < fetched <= 1.3 * needed  # some came with the header


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("latency_s", "failing", "cut"), [(0.05, 0, 0), (0, 3, 0), (0, 0, 3), (0.05, 4, 3)]
)
def test_a_far_and_unreliable_store_changes_nothing(
    store: ObjectStore,
    expected: Pixels,
    latency_s: float,
    failing: int,
    cut: int,
    workers: int,
) -> None:
    store.latency_s, store.failing, store.cut = latency_s, failing, cut
    assert np.array_equal(in_memory(urls(), workers=workers), expected)
    assert bool(store.failed) == bool(failing)
    assert bool(store.was_cut) == bool(cut)


def test_a_stream_comes_from_a_store(expected: Pixels) -> None:
    batches = StreamPatchExtractorPool(
        patches_pool=[mock(each) for each in urls()],
        proc_num_workers=2,
        thread_num_workers=2,
        batch_size=32,
    )
    assert np.array_equal(np.concatenate([batch.pixels for batch in batches]), expected)


def test_files_of_the_command_are_those_of_local_slides(
    store: ObjectStore, large_slides: Path, tmp_path: Path
) -> None:
    options = [
        "--patch-size",
        "128",
        "--proc-num-workers",
        "2",
        "--foreground-ratio",
        "0.2",
    ]
    for slides, out in ((["s3://slides/a study/"], "far"), ([str(large_slides)], "near")):
        done = subprocess.run(
            [*COMMAND, "extract", *slides, "--out", out, *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    far, near = (
        {
            re.sub("_[a-z0-9]{8}_", "_", file.name): file.read_bytes()
            for file in (tmp_path / out).rglob("*.png")
        }
        for out in ("far", "near")
    )
    assert len(far) > 10
    assert far == near
    texts = [
        file.read_text(errors="replace")
        for file in (tmp_path / "far").rglob("*")
        if file.is_file()
    ]
    assert any(urls()[0] in text for text in texts)
    assert not any(store.secret in text for text in texts)
    again = subprocess.run(
        [*COMMAND, "extract", "s3://slides/a study/", "--out", "far", *options, "--resume"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert len(list((tmp_path / "far").rglob("*_x*.png"))) == len(
        [name for name in far if "_x" in name]
    )


def test_an_object_that_is_replaced_is_an_error(client: Any, large_slides: Path) -> None:
    key = "changing/a.svs"
    client.upload_file(str(large_slides / "a.svs"), "slides", key)
    pool = StreamPatchExtractorPool(
        patches_pool=[mock(f"s3://slides/{key}")] * 3,
        proc_num_workers=2,
        thread_num_workers=1,
        batch_size=16,
        max_memory=17 * 16 * 100 * 100 * 3,
    )
    batches = iter(pool)
    next(batches)
    client.upload_file(str(large_slides / "b.svs"), "slides", key)
    with pytest.raises(ChangedSlideError, match=r"^a\.svs: .*has changed"):
        list(batches)


def stored(client: Any, case: Path) -> list[str]:
    """Store the files of a folder, and return their addresses."""
    names = [file.name for file in files_in(case)]
    for name in names:
        client.upload_file(str(case / name), "dicom", f"{case.name}/{name}")
    return [f"s3://dicom/{case.name}/{name}" for name in names]


def test_a_series_below_an_address_is_one_slide_as_in_a_folder(
    client: Any, tmp_path: Path
) -> None:
    for number, case in enumerate(("two cases", "two cases", "another/case")):
        made = tmp_path / f"made {number}"
        make_dicom_slide(made, size=(300, 200), tile=64, seed=number)
        folder = tmp_path / "near" / case
        folder.mkdir(parents=True, exist_ok=True)
        for file in files_in(made):
            file.rename(folder / f"{number} {file.name}")
    (tmp_path / "near" / "two cases" / "damaged.dcm").touch()
    for file in files_in(tmp_path / "near"):
        key = file.relative_to(tmp_path / "near").as_posix()
        client.upload_file(str(file), "dicom", f"cases/{key}")
    near = find_slides([tmp_path / "near"])
    assert len(near) == 4
    assert [
        url.removeprefix("s3://dicom/cases/") for url in find_slides(["s3://dicom/cases"])
    ] == [Path(file).relative_to(tmp_path / "near").as_posix() for file in near]


@pytest.mark.parametrize(
    ("table", "sparse", "parts"),
    [("basic", False, 1), ("extended", True, 1), ("none", False, 3)],
)
def test_a_slide_of_dicom_in_a_store_is_as_in_a_folder(
    client: Any, tmp_path: Path, table: str, parts: int, *, sparse: bool
) -> None:
    case = tmp_path / f"{table} case"
    make_dicom_slide(case, tile=64, table=table, sparse=sparse, parts=parts)
    others = tmp_path / "others"
    make_dicom_slide(others, size=(300, 200), seed=1)
    for file in files_in(others):  # of another series
        file.rename(case / f"other {file.name}")
    (case / "notes").write_text("-")
    urls = stored(client, case)
    for number in (-1, 0):
        near = open_reader(files_in(case)[number], settings=Settings())
        far = open_reader(urls[number], settings=Settings())
        with near, far:
            assert far.library == "native"
            assert far.sizes == near.sizes
            assert far.properties == near.properties
            assert far.associated_image("label") == near.associated_image("label")
            for level, size in enumerate(near.sizes):
                assert np.array_equal(
                    far.read((0, 0), level, size), near.read((0, 0), level, size)
                )


def test_of_a_slide_of_dicom_hardly_more_than_frames_is_fetched(
    client: Any, store: ObjectStore, tmp_path: Path
) -> None:
    case = tmp_path / "large case"
    make_dicom_slide(case, size=(4096, 2048), tile=128)
    url = stored(client, case)[0]
    near = case / Path(url).name
    index = open_indexed(near)[1]
    plan = plan_tiles(
        index.levels[0],
        np.array([row[0] for row in ROWS]),
        np.array([row[1] for row in ROWS]),
    )
    needed = int(index.levels[0].counts[plan.tiles].sum())
    before = store.nbytes
    GenericSlide(wsi_file=url).close()
    header, before = store.nbytes - before, store.nbytes
    assert header <= len(files_in(case)) * 2 * HEAD_BYTES
    for number, workers in enumerate((1, 2)):
        before = store.nbytes
        assert np.array_equal(in_memory([url], workers=workers), in_memory([near]))
        fetched = store.nbytes - before - header
        assert needed - HEAD_BYTES < fetched <= 1.3 * needed, number


def test_real_slides_of_dicom_are_as_in_a_folder(
    client: Any, store: ObjectStore, slides_dir: Path
) -> None:
    urls = stored(client, slides_dir / "dicom")
    assert find_slides(["s3://dicom/dicom/"]) == tuple(urls)
    for url, file in zip(urls, files_in(slides_dir / "dicom"), strict=True):
        nbytes, begin = file.stat().st_size, store.nbytes
        near = open_reader(file, settings=Settings())
        far = open_reader(url, settings=Settings())
        with near, far:
            assert store.nbytes - begin <= nbytes + 2 * HEAD_BYTES  # one has no table
            begin = store.nbytes
            assert far.library == near.library == "native"
            assert far.properties == near.properties
            size = near.sizes[0]
            assert np.array_equal(far.read((0, 0), 0, size), near.read((0, 0), 0, size))
            assert store.nbytes - begin <= 1.3 * nbytes


@pytest.mark.parametrize("workers", [1, 2])
def test_a_slide_of_dicom_comes_whole_from_an_unreliable_store(
    client: Any, store: ObjectStore, tmp_path: Path, workers: int
) -> None:
    case = tmp_path / "unreliable case"
    make_dicom_slide(case, size=(2048, 1600), tile=128, parts=2)
    url = stored(client, case)[0]
    expected = in_memory([case / Path(url).name], workers=1)
    store.failing, store.cut = 4, 3
    assert np.array_equal(in_memory([url], workers=workers), expected)
    assert store.failed
    assert store.was_cut


def test_a_part_of_a_slide_that_is_replaced_is_an_error(
    client: Any, tmp_path: Path
) -> None:
    case, other = tmp_path / "changing case", tmp_path / "other"
    make_dicom_slide(case, size=(2048, 1600), tile=128)
    make_dicom_slide(other, size=(2048, 1600), tile=128, seed=1)
    urls = stored(client, case)
    named = next(url for url in urls if not url.endswith("level-0.dcm"))
    pool = StreamPatchExtractorPool(
        patches_pool=[mock(named)] * 3,
        proc_num_workers=2,
        thread_num_workers=1,
        batch_size=16,
        max_memory=17 * 16 * 100 * 100 * 3,
    )
    batches = iter(pool)
    next(batches)
    client.upload_file(str(other / "level-0.dcm"), "dicom", "changing case/level-0.dcm")
    with pytest.raises(ChangedSlideError, match=r"has changed since it was opened"):
        list(batches)


@pytest.mark.parametrize("library", ["auto", "openslide"])
def test_one_file_of_dicom_is_never_taken_for_the_slide(
    client: Any, tmp_path: Path, library: str
) -> None:
    case = tmp_path / "strange case"
    make_dicom_slide(case)
    for file in files_in(case):  # a transfer syntax that nobody knows
        data = file.read_bytes()
        assert data.count(b"1.2.840.10008.1.2.4.50") == 1
        file.write_bytes(data.replace(b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4.99"))
    url = stored(client, case)[0]
    with pytest.raises(
        UnsupportedSlideError, match=r"not read natively.*copy its files here"
    ):
        open_reader(url, settings=Settings(slide_library=library))


def test_a_store_that_lists_nothing_is_told(
    client: Any, store: ObjectStore, tmp_path: Path
) -> None:
    case = tmp_path / "hidden case"
    make_dicom_slide(case)
    url = stored(client, case)[0]
    store.lists = False
    with pytest.raises(UnreachableSlideError, match=r"refuses access.*what they allow"):
        GenericSlide(wsi_file=url)


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("s3://slides/none.svs", MissingSlideError, "there is no slide file 's3://"),
        ("s3://none/a.svs", MissingSlideError, "there is no bucket of 's3://none"),
        ("s3://slides/a.svs?sig=x", ParameterError, "signed by what the environment says"),
    ],
)
def test_what_is_not_there_is_told(url: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        GenericSlide(wsi_file=url)


def test_missing_credentials_are_told() -> None:
    program = (
        f"from dplabtools.slides import GenericSlide;GenericSlide(wsi_file={urls()[0]!r})"
    )
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    metadata = {"AWS_METADATA_ENDPOINT": "http://127.0.0.1:9"}  # no machine of a cloud
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={name: value for name, value in os.environ.items() if name not in names}
        | metadata,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "UnreachableSlideError: a.svs: " in done.stderr
    assert "AWS_ACCESS_KEY_ID" in done.stderr


@pytest.fixture
def written(large_slides: Path, tmp_path: Path) -> Path:
    """The folder of a run: a container for each slide, and manifests."""
    out = tmp_path / "out"
    out.mkdir()
    DiskPatchExtractorPool(
        patches_pool=[mock(large_slides / name) for name in NAMES],
        proc_num_workers=1,
        thread_num_workers=1,
        output_dir=out,
        image_type="jpg",
        container="webdataset",
    )
    return out


def test_what_was_written_is_stored_and_read_again(
    client: Any, written: Path, tmp_path: Path
) -> None:
    stored = upload_run(written, "s3://slides/written/here/")
    back = tmp_path / "back"
    for url in stored:
        key = url.removeprefix("s3://slides/")
        file = back / key.removeprefix("written/here/")
        file.parent.mkdir(parents=True, exist_ok=True)
        client.download_file("slides", key, str(file))
    assert [file.relative_to(back) for file in files_in(back)] == [
        file.relative_to(written) for file in files_in(written)
    ]
    near, far = open_patches(written), open_patches(back)
    assert len(near) == len(far) == 2 * len(ROWS)
    assert np.array_equal(np.asarray(near[3].image), np.asarray(far[3].image))


def test_what_is_there_is_not_mixed_with(client: Any, written: Path) -> None:
    client.put_object(Bucket="slides", Key="taken/notes.txt", Body=b"-")
    with pytest.raises(OutputError, match="something under s3://slides/taken already"):
        upload_run(written, "s3://slides/taken")


def test_nothing_stays_if_something_cannot_be_stored(
    client: Any, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = StoredObject.put
    names: list[str] = []

    def fails_with_the_last(self: StoredObject, file: Path) -> None:
        names.append(file.parent.name)
        if len(names) == len(files_in(written)):
            msg = "its store refuses"
            raise UnreachableSlideError(msg, slide=self.name)
        put(self, file)

    monkeypatch.setattr(StoredObject, "put", fails_with_the_last)
    with pytest.raises(OutputError, match="its store refuses"):
        upload_run(written, "s3://slides/half")
    first = names.index("manifests")
    assert 0 < first < len(names) - 1
    assert set(names[first:]) == {"manifests"}
    assert "Contents" not in client.list_objects_v2(Bucket="slides", Prefix="half/")


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("s3://none/out", OutputError, "there is no bucket"),
        ("https://there/out", ParameterError, "not the address of an object store"),
        ("out", ParameterError, "not the address of an object store"),
        ("s3://slides/out?sig=x", ParameterError, "leave them out"),
    ],
)
def test_where_nothing_can_be_stored_is_told(
    written: Path, address: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        upload_run(written, address)
    with pytest.raises(OutputError, match="nothing in the folder"):
        upload_run(written / "none", "s3://slides/out")


def files_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())
