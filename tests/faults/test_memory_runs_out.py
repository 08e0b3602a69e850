from __future__ import annotations

import errno
import resource
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dplabtools.engine import slabs
from dplabtools.engine.limits import available_memory
from dplabtools.engine.slabs import Segment
from dplabtools.errors import NotEnoughMemoryError, SystemLimitError
from dplabtools.slides.patches import (
    MemPatchExtractorPool,
    PatchesMock,
    StreamPatchExtractorPool,
)

MB = 1 << 20


def no_memory() -> int:
    return MB


@pytest.fixture
def pool(made_slide: Path) -> list[PatchesMock]:
    rows = [((x, y), (64, 64), "t") for y in range(0, 700, 64) for x in range(0, 960, 64)]
    return [PatchesMock(patch_data=rows, wsi_file=str(made_slide), level_or_mpp=0)]


def test_a_segment_is_memory_without_a_file() -> None:
    segment = Segment.create(MB)
    assert "memfd:dplabtools" in Path("/proc/self/maps").read_text()
    assert not segment.array((MB,)).any()
    segment.close()
    assert "memfd:dplabtools" not in Path("/proc/self/maps").read_text()


def test_memory_lives_as_long_as_a_view() -> None:
    segment = Segment.create(MB)
    view = segment.array((10, 10), dtype=np.uint16, offset=100)
    view[:] = 7
    segment.close()
    assert (view == 7).all()
    with pytest.raises(ValueError, match="closed"):
        segment.array((1,))


def test_what_does_not_fit_memory_goes_to_a_file(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    pool: list[PatchesMock],
) -> None:
    monkeypatch.setattr(slabs, "available_memory", no_memory)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with MemPatchExtractorPool(
        patches_pool=pool, proc_num_workers=2, thread_num_workers=1
    ) as extracted:
        assert str(tmp_path) in Path("/proc/self/maps").read_text()
        assert extracted.patch_array.any(axis=(1, 2, 3)).all()
        left = [each.name for each in tmp_path.iterdir()]
        assert not [name for name in left if not name.startswith("pymp-")]  # Python's own
    said = [each for each in caplog.messages if "go to a file" in each]
    assert len(said) == 1
    assert str(tmp_path) in said[0]


def test_the_folder_of_the_file_can_be_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DPLABTOOLS_SHM_DIR", str(tmp_path))
    segment = Segment.create(MB)
    segment.array((MB,))[-1] = 1
    assert str(tmp_path) in Path("/proc/self/maps").read_text()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DPLABTOOLS_SHM_DIR", str(tmp_path / "missing"))
    with pytest.raises(NotEnoughMemoryError, match="DPLABTOOLS_SHM_DIR"):
        Segment.create(MB)


def test_what_fits_nowhere_is_an_error_with_the_numbers_before_any_read(
    monkeypatch: pytest.MonkeyPatch, pool: list[PatchesMock]
) -> None:
    def full_disk(_: object) -> SimpleNamespace:
        return SimpleNamespace(total=MB, used=MB, free=12345)

    def must_not_read(*_: object, **__: object) -> None:
        pytest.fail("a pixel was read")

    monkeypatch.setattr(slabs, "available_memory", no_memory)
    monkeypatch.setattr(shutil, "disk_usage", full_disk)
    monkeypatch.setattr("dplabtools.extraction.run.Extraction._read", must_not_read)
    with pytest.raises(MemoryError, match=r"1,048,576 bytes.*12,345 bytes") as caught:
        MemPatchExtractorPool(patches_pool=pool, proc_num_workers=1, thread_num_workers=1)
    assert isinstance(caught.value, NotEnoughMemoryError)


def test_a_stream_that_cannot_hold_two_batches_says_so(pool: list[PatchesMock]) -> None:
    stream = StreamPatchExtractorPool(
        patches_pool=pool, proc_num_workers=1, thread_num_workers=1, max_memory=MB
    )
    with pytest.raises(NotEnoughMemoryError, match="max_memory=1,048,576 holds 0 batches"):
        next(iter(stream))


def test_a_file_instead_of_memory_does_not_lie_in_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    memory, disk = tmp_path / "memory", tmp_path / "disk"
    memory.mkdir()
    disk.mkdir()
    monkeypatch.setattr(slabs, "available_memory", no_memory)
    monkeypatch.setattr(slabs, "lies_in_memory", lambda folder: folder == memory)
    monkeypatch.setattr(slabs, "_MORE_FOLDERS", (str(disk),))
    monkeypatch.setattr("tempfile.tempdir", str(memory))
    segment = Segment.create(MB)
    assert str(disk) in Path("/proc/self/maps").read_text()
    segment.close()
    monkeypatch.setattr(slabs, "_MORE_FOLDERS", ())
    with pytest.raises(NotEnoughMemoryError, match=r"memory [(]which takes memory too"):
        Segment.create(MB)


def test_a_folder_in_memory_that_is_asked_for_has_the_room_that_memory_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DPLABTOOLS_SHM_DIR", str(tmp_path))
    monkeypatch.setattr(slabs, "lies_in_memory", lambda _: True)
    Segment.create(MB).close()
    monkeypatch.setattr(slabs, "available_memory", no_memory)
    with pytest.raises(NotEnoughMemoryError, match="which takes memory too"):
        Segment.create(MB)


@contextmanager
def at_most(limit: int, most: int) -> Generator[None]:
    """Let the system allow no more than this."""
    before = resource.getrlimit(limit)
    resource.setrlimit(limit, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(limit, before)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_too_many_open_files_are_a_named_error() -> None:
    with (
        pytest.raises(SystemLimitError, match=r"1,048,576 bytes of memory.*ulimit -n"),
        at_most(resource.RLIMIT_NOFILE, 1),
    ):
        Segment.create(MB)


def test_a_limit_of_the_size_of_files_is_a_named_error_and_nothing_leaks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = open_files()
    with at_most(resource.RLIMIT_FSIZE, 100_000):
        with pytest.raises(SystemLimitError, match=r"1,048,576 bytes of.*ulimit -f"):
            Segment.create(MB)
        monkeypatch.setenv("DPLABTOOLS_SHM_DIR", str(tmp_path))
        with pytest.raises(SystemLimitError, match="ulimit -f"):
            Segment.create(MB)
    assert open_files() == before


def test_memory_that_cannot_be_mapped_is_a_named_error_and_nothing_leaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    before = open_files()
    monkeypatch.setattr("mmap.mmap", refuse)
    with pytest.raises(NotEnoughMemoryError, match="Cannot allocate memory"):
        Segment.create(MB)
    assert open_files() == before


def test_more_memory_than_the_machine_has_is_no_bus_error() -> None:
    huge = available_memory() * 1000
    with pytest.raises(NotEnoughMemoryError):
        Segment.create(huge)
