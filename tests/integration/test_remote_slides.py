"""Runs over slides in an object store: a real server of S3, near and unreliable."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
)
from dplabtools.pipeline import upload_run
from dplabtools.readers.finding import find_slides
from dplabtools.readers.native.assemble import plan_tiles
from dplabtools.readers.native.families import open_indexed
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
from dplabtools.testing.make_slide import make_slide

pytest.importorskip("obstore")
moto_server = pytest.importorskip("moto.server")

COMMAND = [sys.executable, "-c", "from dplabtools.cli.main import main; main()"]
SECRET = "S3CRETS3CRET"  # noqa: S105 - of a store that is made here
NAMES = ("a.svs", "b.svs")
ROWS = [((x, y), (100, 100), "t") for y in range(0, 1400, 100) for x in range(0, 1900, 100)]


class Unreliable:
    """A server of S3 that is far away, and answers some requests with errors."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self.app = app
        self.latency_s = 0.0
        self.failing = self.cut = self.failed = self.was_cut = self.nbytes = 0
        self._count = itertools.count(1)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "GET" or ".svs" not in environ["PATH_INFO"]:
            return self.app(environ, start_response)
        time.sleep(self.latency_s)
        nth = next(self._count)
        if self.failing and nth % self.failing == 0:
            self.failed += 1
            start_response("500 Internal Server Error", [("Content-Length", "0")])
            return [b""]
        data = b"".join(self.app(environ, start_response))
        self.nbytes += len(data)
        if self.cut and nth % self.cut == 0 and len(data) > 1:
            self.was_cut += 1
            return self._half(data)
        return [data]

    def _half(self, data: bytes) -> Iterator[bytes]:
        yield data[: len(data) // 2]
        raise ConnectionError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("near")
    for seed, name in enumerate(NAMES):
        make_slide(folder / name, size=(4096, 2048), tile=128, seed=seed, quality=95)
    return folder


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[Unreliable]:
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Silent(WSGIRequestHandler):
        def log(self, *_: object, **__: object) -> None:
            """Say nothing."""

    app = Unreliable(
        moto_server.DomainDispatcherApplication(moto_server.create_backend_app)
    )
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Silent)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
        import boto3

        client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
        client.create_bucket(Bucket="slides")
        for name in NAMES:
            client.upload_file(str(folder / name), "slides", f"a study/{name}")
        client.put_object(Bucket="slides", Key="a study/notes.txt", Body=b"-")
        yield app
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(store: Unreliable) -> Any:  # noqa: ARG001 - that has to be there
    import boto3

    return boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])


@pytest.fixture(autouse=True)
def reliable(store: Unreliable) -> None:
    store.latency_s = store.failing = store.cut = store.failed = store.was_cut = 0


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
def expected(folder: Path) -> Pixels:
    return in_memory([folder / name for name in NAMES])


def test_all_slides_below_an_address_are_found() -> None:
    for address in (
        "s3://slides",
        "s3://slides/",
        "s3://slides/a study",
        Path("s3://slides"),
    ):
        assert find_slides([address]) == tuple(urls())
    assert find_slides([urls()[1]]) == (urls()[1],)


def test_a_slide_is_used_by_its_address(folder: Path) -> None:
    far, near = GenericSlide(wsi_file=urls()[0]), GenericSlide(wsi_file=folder / NAMES[0])
    assert far.slide_file == urls()[0]
    assert far.slide_name == NAMES[0]
    assert far.level_dimensions == near.level_dimensions
    far.close()
    near.close()


def test_bytes_fetched_are_hardly_more_than_the_tiles(
    store: Unreliable, folder: Path, expected: Pixels
) -> None:
    index = open_indexed(folder / NAMES[0])[1]
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
    store: Unreliable,
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
    folder: Path, tmp_path: Path
) -> None:
    options = [
        "--patch-size",
        "128",
        "--proc-num-workers",
        "2",
        "--foreground-ratio",
        "0.2",
    ]
    for slides, out in ((["s3://slides/a study/"], "far"), ([str(folder)], "near")):
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
    assert not any(SECRET in text for text in texts)
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


def test_an_object_that_is_replaced_is_an_error(client: Any, folder: Path) -> None:
    key = "changing/a.svs"
    client.upload_file(str(folder / "a.svs"), "slides", key)
    pool = StreamPatchExtractorPool(
        patches_pool=[mock(f"s3://slides/{key}")] * 3,
        proc_num_workers=2,
        thread_num_workers=1,
        batch_size=16,
        max_memory=17 * 16 * 100 * 100 * 3,
    )
    batches = iter(pool)
    next(batches)
    client.upload_file(str(folder / "b.svs"), "slides", key)
    with pytest.raises(ChangedSlideError, match=r"^a\.svs: .*has changed"):
        list(batches)


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
def written(folder: Path, tmp_path: Path) -> Path:
    """The folder of a run: a container for each slide, and manifests."""
    out = tmp_path / "out"
    out.mkdir()
    DiskPatchExtractorPool(
        patches_pool=[mock(folder / name) for name in NAMES],
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
