"""Whole copies of remote slides."""

from __future__ import annotations

import gc
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dplabtools.errors import (
    AmbiguousSlideError,
    SlideReadError,
    UnreachableSlideError,
    UnsupportedSlideError,
)
from dplabtools.readers.opening import open_reader
from dplabtools.settings import Settings
from dplabtools.sources import staging
from dplabtools.sources.remote import open_remote
from dplabtools.sources.staging import drop_copies, staged_copy
from dplabtools.sources.stream import HEAD_BYTES
from dplabtools.testing.web_server import SlideServer

pytest.importorskip("obstore")

NOISE = np.random.default_rng(1).integers(0, 255, (300, 400, 3), dtype=np.uint8)
PROGRAM = """
import sys
from dplabtools.sources.staging import staged_copy
print(staged_copy(sys.argv[1]).path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlideServer]:
    (tmp_path / "far").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    Image.fromarray(NOISE).save(tmp_path / "far" / "picture.png")
    with SlideServer(tmp_path / "far") as server:
        yield server
    gc.collect()
    drop_copies()


@pytest.fixture
def left(tmp_path: Path) -> Callable[[], list[str]]:
    """Names of all that lies in the folder of temporary files."""
    return lambda: sorted(each.name for each in (tmp_path / "temporary").rglob("*"))


def test_a_format_of_other_readers_is_read_from_a_copy_that_goes(
    server: SlideServer, left: Callable[[], list[str]]
) -> None:
    with open_reader(server.url + "picture.png", settings=Settings()) as reader:
        assert np.array_equal(reader.read((0, 0), 0, (400, 300)), NOISE)
        assert "picture.png" in left()
        drop_copies()
        assert "picture.png" in left()
    del reader
    gc.collect()
    nbytes = server.nbytes
    with open_reader(server.url + "picture.png", settings=Settings()):
        assert server.nbytes - nbytes <= HEAD_BYTES  # the copy was still there
    gc.collect()
    drop_copies()
    assert left() == []


def test_processes_share_a_copy_and_the_last_removes_it(
    server: SlideServer, left: Callable[[], list[str]]
) -> None:
    copy = staged_copy(server.url + "picture.png")
    with other_process(server) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == str(copy.path)
        copy.release()
        drop_copies()
        assert "picture.png" in left()
        process.communicate("")
    assert left() == []


def test_what_a_killed_process_leaves_is_removed_by_the_next(
    server: SlideServer, left: Callable[[], list[str]]
) -> None:
    with other_process(server) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert "picture.png" in left()
    drop_copies()
    assert left() == []


def test_half_a_copy_is_none(
    server: SlideServer, left: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "_PART_BYTES", 1 << 16)
    file = open_remote(server.url + "picture.png")
    server.faults.status = 403
    with pytest.raises(UnreachableSlideError, match="refuses"):
        staged_copy(server.url + "picture.png")
    assert file.state.nbytes > 1 << 16
    assert "picture.png" not in left()
    drop_copies()
    assert left() == []


def test_a_lack_of_room_is_told_before_anything_is_fetched(
    server: SlideServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=1 << 30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SlideReadError, match=r"no room for a copy .* set TMPDIR"):
        staged_copy(server.url + "picture.png")


def test_copies_that_nobody_uses_make_room(
    server: SlideServer,
    tmp_path: Path,
    left: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copy(tmp_path / "far" / "picture.png", tmp_path / "far" / "second.png")
    nbytes = (tmp_path / "far" / "second.png").stat().st_size
    monkeypatch.setattr(staging, "_IDLE_BYTES", nbytes)
    staged_copy(server.url + "picture.png").release()
    assert "picture.png" in left()
    staged_copy(server.url + "second.png").release()
    assert "picture.png" not in left()
    assert "second.png" in left()


def test_nobody_waits_who_lets_go_of_a_copy_while_another_is_fetched(
    server: SlideServer, left: Callable[[], list[str]]
) -> None:
    copy = staged_copy(server.url + "picture.png")
    with staging._LOCK:
        copy.release()  # as a finalizer does, in the thread that waits, or that fetches
    drop_copies()
    assert left() == []


def test_slides_of_several_files_are_not_copied(server: SlideServer) -> None:
    with pytest.raises(UnsupportedSlideError, match=r"^a\.mrxs: .*several files.*copy"):
        open_reader(server.url + "a.mrxs", settings=Settings())


def test_dicom_under_any_name_is_not_taken_for_one_file(
    server: SlideServer, tmp_path: Path
) -> None:
    (tmp_path / "far" / "unnamed").write_bytes(bytes(128) + b"DICM" + bytes(200))
    with pytest.raises(AmbiguousSlideError, match=r"^unnamed: .*several files.*copy"):
        open_reader(server.url + "unnamed", settings=Settings())


@pytest.mark.parametrize("kill", [False, True], ids=["ends", "is killed"])
def test_a_run_leaves_no_copy(
    server: SlideServer, tmp_path: Path, left: Callable[[], list[str]], *, kill: bool
) -> None:
    url = server.url + "picture.png"
    with subprocess.Popen(
        [sys.executable, "-c", RUN, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == int(NOISE[:200, :300].sum())
        if kill:
            process.kill()
        process.communicate("")
    if kill:
        drop_copies()
    assert left() == []
    size = (tmp_path / "far" / "picture.png").stat().st_size
    assert server.nbytes < 4 * size  # for two workers, and looking at it before


RUN = """
import sys
import numpy as np
from dplabtools.slides.patches import MemPatchExtractorPool, PatchesMock
rows = [((x, y), (100, 100), "") for y in (0, 100) for x in (0, 100, 200)]
mocks = [PatchesMock(patch_data=rows, wsi_file=sys.argv[1], level_or_mpp=0)]
pool = MemPatchExtractorPool(
    patches_pool=mocks, proc_num_workers=2, thread_num_workers=1
)
print(int(pool.patch_array.sum()), flush=True)
sys.stdin.read()
"""


def other_process(server: SlideServer) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, server.url + "picture.png"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
