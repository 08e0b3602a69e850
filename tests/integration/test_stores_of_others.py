"""Stores of Google and Azure do what those of S3 do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dplabtools._typing import Pixels
from dplabtools.errors import (
    ChangedSlideError,
    MissingSlideError,
    OutputError,
    UnreachableSlideError,
)
from dplabtools.pipeline import upload_run
from dplabtools.readers.finding import find_slides
from dplabtools.readers.opening import open_reader
from dplabtools.settings import Settings
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractorPool,
    PatchesMock,
)
from dplabtools.testing.make_dicom import make_dicom_slide
from dplabtools.testing.object_store import ObjectStore

pytestmark = [
    pytest.mark.usefixtures("client", "stage"),
    pytest.mark.parametrize("store", ["gs", "az"], indirect=True, scope="module"),
]

NAMES = ("a.svs", "b.svs")
ROWS = [((x, y), (100, 100), "t") for y in range(0, 700, 100) for x in range(0, 900, 100)]


def mocks(files: list[str]) -> list[PatchesMock]:
    return [PatchesMock(patch_data=ROWS, wsi_file=each, level_or_mpp=0) for each in files]


def in_memory(files: list[str], *, workers: int) -> Pixels:
    with MemPatchExtractorPool(
        patches_pool=mocks(files), proc_num_workers=workers, thread_num_workers=1
    ) as pool:
        return pool.patch_array.copy()


def write(large_slides: Path, address: str, **options: Any) -> DiskPatchExtractorPool:
    return DiskPatchExtractorPool(
        patches_pool=mocks([str(large_slides / name) for name in NAMES]),
        output_dir=address,
        proc_num_workers=1,
        thread_num_workers=1,
        image_type="png",
        **options,
    )


def keys(store: ObjectStore, prefix: str) -> set[str]:
    found = store.client().list_objects_v2(Bucket="runs", Prefix=prefix)
    return {each["Key"] for each in found.get("Contents", ())}


def test_slides_are_found_and_read_however_bad_the_connection(
    store: ObjectStore, study: list[str], large_slides: Path
) -> None:
    assert find_slides([store.address("slides")]) == tuple(study)
    assert find_slides([store.address("slides/a study/")]) == tuple(study)
    expected = in_memory([str(large_slides / name) for name in NAMES], workers=1)
    store.failing, store.cut = 4, 3
    assert np.array_equal(in_memory(study, workers=2), expected)
    assert store.failed
    assert store.was_cut


def test_a_slide_of_several_files_is_read(
    store: ObjectStore, client: Any, tmp_path: Path
) -> None:
    make_dicom_slide(tmp_path / "case", tile=64)
    files = sorted((tmp_path / "case").iterdir())
    for file in files:
        client.upload_file(str(file), "dicom", f"case/{file.name}")
    near = GenericSlide(wsi_file=files[0])
    far = GenericSlide(wsi_file=store.address(f"dicom/case/{files[0].name}"))
    assert far.level_dimensions == near.level_dimensions
    near.close()
    far.close()


def test_a_slide_that_is_replaced_is_an_error(
    store: ObjectStore, client: Any, large_slides: Path
) -> None:
    client.upload_file(str(large_slides / "a.svs"), "slides", "changing/a.svs")
    url = store.address("slides/changing/a.svs")
    with open_reader(url, settings=Settings()) as reader:
        reader.read((0, 0), 0, (100, 100))
        client.upload_file(str(large_slides / "b.svs"), "slides", "changing/a.svs")
        with pytest.raises(ChangedSlideError, match=r"^a\.svs: .*has changed"):
            reader.read((2000, 1000), 0, (100, 100))


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("slides/none.svs", "there is no slide file '"),
        ("nowhere/a.svs", "there is no bucket of '"),
    ],
)
def test_what_is_not_there_is_told(store: ObjectStore, place: str, words: str) -> None:
    with pytest.raises(MissingSlideError, match=words):
        GenericSlide(wsi_file=store.address(place))


def test_who_may_not_read_is_told(store: ObjectStore, study: list[str]) -> None:
    store.refused = ".svs"
    with pytest.raises(UnreachableSlideError, match=r"refuses access.*what they allow"):
        GenericSlide(wsi_file=study[0])
    store.lists = False
    with pytest.raises(UnreachableSlideError, match=r"refuses access.*what they allow"):
        find_slides([store.address("slides")])


def test_who_may_not_write_is_told(store: ObjectStore, large_slides: Path) -> None:
    store.refused = "/"
    with pytest.raises(OutputError, match="refuses access"):
        write(large_slides, store.address("runs/forbidden"))
    with pytest.raises(OutputError, match="there is no bucket"):
        write(large_slides, store.address("nowhere/out"))


@pytest.mark.parametrize("container", [None, "webdataset"])
def test_what_is_written_is_there_and_gone_on_with(
    store: ObjectStore, large_slides: Path, container: Any
) -> None:
    address = store.address(f"runs/whole {container}")
    store.failing_writes = 5
    pool = write(large_slides, address, container=container)
    assert pool.patch_count == 2 * len(ROWS)
    assert store.failures["PUT"]
    found = keys(store, f"whole {container}/")
    assert sum("/manifest__" in key for key in found) == 4
    patches = {key for key in found if key.endswith((".png", ".tar"))}
    assert len(patches) == (2 * len(ROWS) if container is None else 2)
    store.reset()
    with pytest.raises(OutputError, match=r"something under .* already"):
        write(large_slides, address, container=container)
    write(large_slides, address, container=container, resume=True)
    assert not [key for key in store.stored if not key.endswith("/.dplabtools")]


def test_a_slide_that_cannot_be_stored_is_not_there_at_all(
    store: ObjectStore, large_slides: Path
) -> None:
    store.refused = "_x300_y500"
    with pytest.raises(OutputError, match=r"half: .*refuses access"):
        write(large_slides, store.address("runs/half"))
    assert [key for key in store.stored if key.endswith(".png")]
    assert not [key for key in keys(store, "half/") if "journal" not in key]


def test_a_large_file_is_stored_in_parts(store: ObjectStore, tmp_path: Path) -> None:
    data = np.random.default_rng(1).bytes(12 << 20)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "patches.tar").write_bytes(data)
    upload_run(tmp_path / "out", store.address("runs/large"))
    there = store.client().get_object(Bucket="runs", Key="large/patches.tar")
    assert there["Body"].read() == data
    assert len(store.stored) > 2
