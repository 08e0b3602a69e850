"""Slides on a web server, read by ranges."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import weakref
from asyncio import StreamWriter
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dplabtools._typing import IntArray, Pixels
from dplabtools.errors import (
    ChangedSlideError,
    MissingLibraryError,
    MissingSlideError,
    SlideError,
    UnreachableSlideError,
    UnsupportedSlideError,
)
from dplabtools.readers.native.families import read_any_tiff
from dplabtools.readers.native.reader import NativeReader
from dplabtools.readers.opening import open_reader
from dplabtools.readers.stamps import SlideStamp
from dplabtools.records.pixel_buffer import PixelBuffer
from dplabtools.settings import Settings
from dplabtools.sources.remote import RemoteFile, merged, open_remote
from dplabtools.sources.stores import StoredObject
from dplabtools.sources.threads import AskingThreads
from dplabtools.testing.make_slide import make_slide
from dplabtools.testing.web_server import ServerFaults, SlideServer

pytest.importorskip("obstore")

WHITE = (255, 255, 255)
SIDE = 200
CORNERS = np.array([(x, y) for y in range(100, 1700, SIDE) for x in range(100, 2500, SIDE)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("far")
    make_slide(folder / "slide.svs", size=(4096, 3072), tile=128, quality=95)
    (folder / "empty.svs").write_bytes(b"")
    (folder / "page.svs").write_text("<html>log in first</html>")
    return folder


@pytest.fixture
def server(folder: Path) -> Iterator[SlideServer]:
    with SlideServer(folder) as server:
        yield server


@pytest.fixture(scope="module")
def expected(folder: Path) -> tuple[list[Pixels], int]:
    """Pixels of the regions, and how many bytes their tiles have."""
    with NativeReader(folder / "slide.svs", background=WHITE) as reader:
        decoded: list[IntArray] = []
        pixels = regions(reader, decoded=decoded)
        return pixels, int(reader.index.levels[0].counts[decoded[0]].sum())


def opened(server: SlideServer, name: str = "slide.svs") -> NativeReader:
    return NativeReader(server.url + name, background=WHITE)


def regions(reader: NativeReader, *, decoded: list[IntArray] | None = None) -> list[Pixels]:
    buffer = PixelBuffer.allocated(np.full((len(CORNERS), 2), SIDE, dtype=np.int64))
    errors = reader.read_into(CORNERS, 0, buffer, decoded=decoded)
    if errors:
        raise next(iter(errors.values()))
    return [buffer.picture(place) for place in range(len(CORNERS))]


def test_all_is_as_in_the_file(
    server: SlideServer, folder: Path, expected: tuple[list[Pixels], int]
) -> None:
    with (
        opened(server) as far,
        NativeReader(folder / "slide.svs", background=WHITE) as near,
    ):
        assert far.properties == near.properties
        assert far.sizes == near.sizes
        label, other = far.associated_image("label"), near.associated_image("label")
        assert label is not None
        assert label == other
        tile = np.array([(128, 256)]), 0
        sizes = np.array([(128, 128)])
        stored = far.stored_jpegs(*tile, sizes=sizes)
        assert len(stored) == 1
        assert stored == near.stored_jpegs(*tile, sizes=sizes)
        assert np.array_equal(regions(far), expected[0])


def test_the_end_of_a_file_is_asked_for_along_with_the_first_directory(
    tmp_path: Path,
) -> None:
    asked: list[int] = []

    class Noting(SlideServer):
        async def _answer(self, request: bytes, writer: StreamWriter) -> bool:
            asked.append(self.requests)
            return await super()._answer(request, writer)

    make_slide(tmp_path / "slide.svs", compression="none", levels=2)
    with Noting(tmp_path, faults=ServerFaults(latency_s=0.2)) as server, opened(server):
        assert asked[:3] == [1, 3, 3]  # then come tiles, to be looked at


def test_few_bytes_are_fetched_in_vain_by_few_requests(
    server: SlideServer, expected: tuple[list[Pixels], int]
) -> None:
    with opened(server) as reader:
        assert server.requests <= 4
        requests, nbytes = server.requests, server.nbytes
        decoded: list[IntArray] = []
        regions(reader, decoded=decoded)
        assert expected[1] <= server.nbytes - nbytes <= 1.1 * expected[1]
        assert server.requests - requests < len(decoded[0]) / 8
        requests = server.requests
        inside = CORNERS[len(CORNERS) // 3] + SIDE // 2
        reader.read((int(inside[0]), int(inside[1])), 0, (8, 8))
        assert server.requests == requests + 1  # its tile had met all around it


@pytest.mark.parametrize(
    ("scheme", "code"), [("s3", "NoSuchBucket"), ("az", "ContainerNotFound")]
)
def test_every_store_tells_that_a_bucket_is_not_there(
    monkeypatch: pytest.MonkeyPatch, scheme: str, code: str
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        msg = f"Generic error: status code: 404 Not Found: <Error><Code>{code}</Code>"
        raise OSError(msg)

    monkeypatch.setattr("obstore.list_with_delimiter_async", refuse)
    there = StoredObject(url=f"{scheme}://none/out", store=None, key="out")
    with pytest.raises(MissingSlideError, match="no bucket"):
        there.names()


def test_a_slide_that_nobody_has_is_let_go_of_at_once(server: SlideServer) -> None:
    gc.disable()
    try:
        reader = opened(server)
        file = weakref.ref(open_remote(server.url + "slide.svs"))
        assert file() is not None
        reader.close()
        del reader
        assert file() is None
    finally:
        gc.enable()


def test_tiles_that_are_kept_are_not_fetched_again(
    server: SlideServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    submit = RemoteFile.submit

    def noted(self: RemoteFile, start: int, stop: int) -> Future[memoryview]:
        asked.append(start)
        return submit(self, start, stop)

    monkeypatch.setattr(RemoteFile, "submit", noted)
    with opened(server) as reader:
        asked.clear()
        reader.read((10, 10), 0, (50, 50))
        reader.read((10, 10), 0, (50, 50))
    assert len(asked) == 1


def test_what_somebody_still_reads_is_not_fetched_again(
    server: SlideServer, folder: Path
) -> None:
    with opened(server) as reader:
        file, level = open_remote(server.url + "slide.svs"), reader.index.levels[0]
    spots = level.spots(np.argsort(level.offsets)[100:300])
    nbytes = server.nbytes
    first = file.prefetch(*(each[:120] for each in spots))
    second = file.prefetch(*(each[80:] for each in spots))
    third = file.prefetch(*(each[40:160] for each in spots))
    with (folder / "slide.svs").open("rb") as near:
        for some, ahead in ((slice(120), first), (slice(80, None), second)):
            for offset, count in zip(*(each[some].tolist() for each in spots), strict=True):
                near.seek(offset)
                assert ahead.read(count, offset) == near.read(count)
    wanted = int(spots[1].sum())
    assert wanted <= server.nbytes - nbytes <= 1.1 * wanted
    del first, second, ahead
    requests = server.requests
    third.read(int(spots[1][40]), int(spots[0][40]))
    assert server.requests == requests  # it has what it takes of theirs
    del third
    file.prefetch(*(each[40:41] for each in spots)).read(
        int(spots[1][40]), int(spots[0][40])
    )
    assert server.requests == requests + 1


def test_what_others_gave_up_is_asked_for_again(server: SlideServer, folder: Path) -> None:
    with opened(server) as reader:
        file, level = open_remote(server.url + "slide.svs"), reader.index.levels[0]
    spots = level.spots(np.array([100]))
    offset, count = int(spots[0][0]), int(spots[1][0])
    server.faults.latency_s = 0.2
    given_up, reading = file.prefetch(*spots), threading.Event()

    def read() -> bytes:
        reading.set()
        return given_up.read(count, offset)

    with suppress(KeyboardInterrupt), AskingThreads(1, name="others") as threads:
        asked = threads.submit(read)
        reading.wait()
        ahead = file.prefetch(*spots)
        raise KeyboardInterrupt
    assert isinstance(asked.exception(), CancelledError)
    stored = (folder / "slide.svs").read_bytes()[offset : offset + count]
    assert ahead.read(count, offset) == given_up.read(count, offset) == stored


def test_what_nobody_reads_any_more_is_not_asked_for(server: SlideServer) -> None:
    server.faults.latency_s = 0.2
    with opened(server) as reader:
        file, level = open_remote(server.url + "slide.svs"), reader.index.levels[0]
    far_apart = np.argsort(level.offsets)[::3]
    requests = server.requests
    ahead = file.prefetch(*level.spots(far_apart))
    del ahead
    gc.collect()
    server.faults.latency_s = 0.0
    count, offset = int(level.counts[5]), int(level.offsets[5])
    file.prefetch(*level.spots(np.array([5]))).read(count, offset)  # behind all of them
    assert server.requests - requests < len(far_apart) / 2


def test_requests_wait_together(
    server: SlideServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.faults.latency_s = 0.05
    waiting = most = 0
    fetch = StoredObject.fetch

    async def counted(self: StoredObject, *args: Any, **kwargs: Any) -> Any:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        try:
            return await fetch(self, *args, **kwargs)
        finally:
            waiting -= 1

    with opened(server) as reader:
        monkeypatch.setattr(StoredObject, "fetch", counted)
        regions(reader)
    assert most >= 8


@pytest.mark.parametrize(
    "faults",
    [
        ServerFaults(failing=3),
        ServerFaults(cut=3),
        ServerFaults(bytes_per_s=2e6),
        ServerFaults(latency_s=0.05, failing=4, cut=5),
    ],
    ids=["fails", "cuts", "slow", "all of it"],
)
def test_a_bad_connection_changes_nothing(
    folder: Path, faults: ServerFaults, expected: tuple[list[Pixels], int]
) -> None:
    with SlideServer(folder, faults=faults) as server, opened(server) as reader:
        assert np.array_equal(regions(reader), expected[0])
        assert server.requests > (faults.failing or faults.cut)
        assert server.nbytes < 2.5 * expected[1]


def test_a_file_that_changes_is_an_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "slide.svs").write_bytes((folder / "slide.svs").read_bytes())
    with SlideServer(tmp_path) as server, opened(server) as reader:
        url = server.url + "slide.svs"
        stamp = SlideStamp.of(url)
        stamp.check(slide="slide.svs")
        index = pickle.loads(pickle.dumps(reader.index))
        os.utime(tmp_path / "slide.svs", (1, 1))
        with pytest.raises(ChangedSlideError, match=r"^slide\.svs: it has changed"):
            regions(reader)
        with pytest.raises(ChangedSlideError, match="has changed"):
            stamp.check(slide="slide.svs")
        with (
            NativeReader(url, background=WHITE, index=index) as elsewhere,
            pytest.raises(ChangedSlideError),
        ):
            regions(elsewhere)
        with opened(server) as again:
            assert len(regions(again)) == len(CORNERS)


def test_who_has_the_index_asks_for_tiles_only(server: SlideServer) -> None:
    with opened(server) as reader:
        index = pickle.loads(pickle.dumps(reader.index))
    del reader
    gc.collect()
    requests = server.requests
    url = server.url + "slide.svs"
    with NativeReader(url, background=WHITE, index=index) as reader:
        assert server.requests == requests
        reader.read((0, 0), 0, (10, 10))
        assert server.requests == requests + 1


@pytest.mark.parametrize(
    ("name", "faults", "error", "words"),
    [
        ("none.svs", ServerFaults(), MissingSlideError, "there is no slide file 'http://"),
        ("empty.svs", ServerFaults(), UnsupportedSlideError, "it is empty"),
        ("page.svs", ServerFaults(), UnsupportedSlideError, "no TIFF file"),
        (
            "slide.svs",
            ServerFaults(status=403),
            UnreachableSlideError,
            "refuses.*credentials",
        ),
        (
            "slide.svs",
            ServerFaults(status=401),
            UnreachableSlideError,
            "refuses.*credentials",
        ),
        ("slide.svs", ServerFaults(status=503), UnreachableSlideError, "tried 10 times"),
        ("slide.svs", ServerFaults(ranges=False), UnsupportedSlideError, "download it"),
    ],
)
def test_what_cannot_be_had_is_told(
    folder: Path, name: str, faults: ServerFaults, error: type[SlideError], words: str
) -> None:
    with (
        SlideServer(folder, faults=faults) as server,
        pytest.raises(error, match=rf"^{name}: .*{words}"),
    ):
        opened(server, name)


def test_that_nobody_answers_is_told(folder: Path) -> None:
    with SlideServer(folder) as server:
        url = server.url
    with pytest.raises(UnreachableSlideError, match=r"tried 10 times .*check the address"):
        NativeReader(url + "slide.svs", background=WHITE)


def test_a_server_that_goes_fails_those_regions_only(server: SlideServer) -> None:
    with opened(server) as reader:
        reader.read((10, 10), 0, (50, 50))
        server.faults.status = 500
        buffer = PixelBuffer.allocated(np.full((2, 2), 50, dtype=np.int64))
        errors = reader.read_into(np.array([(10, 10), (2000, 1000)]), 0, buffer)
        assert list(errors) == [1]
        assert "tried 10 times" in str(errors[1])


def test_a_server_that_goes_while_a_slide_is_opened_has_not_damaged_it(
    folder: Path,
) -> None:
    with SlideServer(folder) as server:
        file = open_remote(server.url + "slide.svs")
        server.faults.status = 403
        with pytest.raises(UnreachableSlideError, match="refuses"):
            read_any_tiff(file)


@pytest.mark.parametrize(
    ("url", "environment"),
    [
        ("s3://box/a.svs", {"AWS_PROFILE": "nobody"}),
        ("gs://box/a.svs", {"GOOGLE_APPLICATION_CREDENTIALS": "/none.json"}),
        ("az://box/a.svs", {}),
        (
            "az://box/a.svs",
            {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_ACCOUNT_KEY": "S3CRET"},
        ),
    ],
)
def test_an_environment_that_cannot_be_is_told(
    url: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        UnreachableSlideError, match=r"^a\.svs: its store cannot be"
    ) as caught:
        StoredObject.at(url)
    assert "say who you are" in str(caught.value)
    assert "S3CRET" not in str(caught.value)


def test_what_the_environment_says_later_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    before = StoredObject.at("s3://box/a.svs").store
    assert StoredObject.at("s3://box/b.svs").store is before
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:2")
    assert StoredObject.at("s3://box/a.svs").store is not before


def test_real_slides_are_as_in_their_files(slides_dir: Path) -> None:
    names = [each.name for each in slides_dir.iterdir() if each.suffix in REAL]
    assert names
    with SlideServer(slides_dir) as server:
        for name in sorted(names):
            both = outcome(slides_dir / name), outcome(server.url + name)
            assert both[0] == both[1], name


REAL = {".svs", ".tif", ".ndpi"}


def outcome(path: str | Path) -> object:
    """Return what becomes of reading a slide: pixels of each level, or an error."""
    try:
        with open_reader(path, settings=Settings()) as reader:
            return reader.library, [
                reader.read((width // 3, height // 3), level, (300, 200)).tobytes()
                for level, (width, height) in enumerate(reader.sizes)
            ]
    except SlideError as error:
        return type(error), error.reason


def test_without_the_library_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, server: SlideServer
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(MissingLibraryError, match=r"dplabtools-next\[remote\]"):
        opened(server)


INHERITED: dict[str, NativeReader] = {}


def read_inherited(url: str) -> None:
    INHERITED[url].read((0, 0), 0, (10, 10))


def read_anew(url: str) -> None:
    NativeReader(url + "page.svs", background=WHITE)


def test_a_forked_process_says_that_it_cannot_read(server: SlideServer) -> None:
    with opened(server) as reader:
        INHERITED[server.url] = reader
        fork = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(1, mp_context=fork) as processes:
            errors = [
                processes.submit(task, server.url).exception(timeout=30)
                for task in (read_inherited, read_anew)
            ]
    for error in errors:
        assert isinstance(error, UnreachableSlideError)
        assert "spawn" in str(error)
    INHERITED.clear()


def test_local_slides_load_nothing_of_it(made_slide: Path) -> None:
    program = (
        "import sys; from dplabtools.slides import GenericSlide;"
        f"GenericSlide(wsi_file={str(made_slide)!r});"
        "sys.exit(any(name in sys.modules for name in ('obstore', 'fsspec', 'boto3')))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_one_thread_waits_for_all_answers(server: SlideServer) -> None:
    before = set(threading.enumerate())
    with opened(server) as reader, opened(server, "slide.svs") as other:
        regions(reader)
        regions(other)
        names = [each.name for each in set(threading.enumerate()) - before]
    assert names in ([], ["dplabtools-requests"])  # which may be there already


def test_what_nobody_waits_for_does_not_hold_up_the_end(server: SlideServer) -> None:
    program = f"""
import numpy as np
from dplabtools.sources.remote import RemoteFile
file = RemoteFile({server.url + "slide.svs"!r})
begun = [file.submit(start, start + 10) for start in range(300_000, 301_000)]
begun[0].result()
"""
    server.faults.latency_s = 0.2
    subprocess.run([sys.executable, "-X", "dev", "-c", program], check=True, timeout=30)
    assert server.requests < 500


ranges = st.lists(
    st.tuples(st.integers(0, 2_000_000), st.integers(-5, 40_000)), max_size=60
).map(sorted)


@given(ranges=ranges, end=st.integers(1, 2_100_000))
@example(ranges=[(0, 9), (9, 600_000), (9, 600_000)], end=700_000)
def test_each_range_is_in_one_request_and_little_is_in_vain(
    ranges: list[tuple[int, int]], end: int
) -> None:
    offsets, counts = np.array(ranges, dtype=np.int64).reshape(-1, 2).T
    starts, stops = merged(offsets, counts, end=end)
    assert starts == sorted(set(starts))  # writers store equal tiles once
    wanted = np.zeros(2_100_000, dtype=bool)
    total = 0
    for offset, count in ranges:
        if count > 0 and offset + count <= end:
            wanted[offset : offset + count] = True
            total += count
            assert any(
                start <= offset and offset + count <= stop
                for start, stop in zip(starts, stops, strict=True)
            )
    asked = np.zeros_like(wanted)
    for start, stop in zip(starts, stops, strict=True):
        asked[start:stop] = True
    assert (wanted & ~asked).sum() == 0
    assert (asked & ~wanted).sum() <= 0.1 * total
    assert all(stop <= end for stop in stops)
