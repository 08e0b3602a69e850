from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dplabtools.engine import slabs
from dplabtools.engine.slabs import Segment
from dplabtools.errors import NotEnoughMemoryError
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

    def must_not_read(*_: object) -> None:
        pytest.fail("a pixel was read")

    monkeypatch.setattr(slabs, "available_memory", no_memory)
    monkeypatch.setattr(shutil, "disk_usage", full_disk)
    monkeypatch.setattr("dplabtools.extraction.run.Extraction.work", must_not_read)
    with pytest.raises(MemoryError, match=r"1,048,576 bytes.*12,345 bytes") as caught:
        MemPatchExtractorPool(patches_pool=pool, proc_num_workers=1, thread_num_workers=1)
    assert isinstance(caught.value, NotEnoughMemoryError)


def test_a_stream_that_cannot_hold_two_batches_says_so(pool: list[PatchesMock]) -> None:
    stream = StreamPatchExtractorPool(
        patches_pool=pool, proc_num_workers=1, thread_num_workers=1, max_memory=MB
    )
    with pytest.raises(NotEnoughMemoryError, match="max_memory=1,048,576 holds 0 batches"):
        next(iter(stream))


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 150\n")
    assert slabs._cgroup_available(tmp_path) == 450
    (tmp_path / "memory.max").write_text("max\n")
    assert slabs._cgroup_available(tmp_path) is None


def test_more_memory_than_the_machine_has_is_no_bus_error() -> None:
    huge = slabs.available_memory() * 1000
    with pytest.raises(NotEnoughMemoryError):
        Segment.create(huge)
