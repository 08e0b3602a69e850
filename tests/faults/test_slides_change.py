"""A slide that is replaced during a run gives no pixels of the other one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dplabtools._typing import Pixels
from dplabtools.errors import ChangedSlideError
from dplabtools.extraction.run import Extraction
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractor,
    MemPatchExtractorPool,
    PatchesMock,
    StreamPatchExtractorPool,
)
from dplabtools.testing.make_slide import make_slide

Change = Callable[[Path, Path], None]
ROWS = [((x, y), (64, 64), "t") for y in range(0, 700, 64) for x in range(0, 960, 64)]
BATCH = 16


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two slides of the same size in bytes, with other pixels."""
    folder = tmp_path_factory.mktemp("pair")
    files = [
        make_slide(folder / f"{seed}.svs", size=(1024, 768), seed=seed, compression="none")
        for seed in (1, 2)
    ]
    assert files[0].stat().st_size == files[1].stat().st_size
    return files[0], files[1]


@pytest.fixture
def slide(pair: tuple[Path, Path], tmp_path: Path) -> Path:
    file = tmp_path / "slide.svs"
    shutil.copy2(pair[0], file)
    return file


def exchange(slide: Path, other: Path) -> None:
    """Put another slide in its place, at once."""
    aside = slide.with_suffix(".part")
    shutil.copy2(other, aside)
    aside.replace(slide)


def write_over(slide: Path, other: Path) -> None:
    """Write another slide into the same file."""
    with slide.open("r+b") as file:
        file.write(other.read_bytes())


def mock(slide: Path) -> PatchesMock:
    return PatchesMock(patch_data=ROWS, wsi_file=str(slide), level_or_mpp=0)


def stream(slide: Path, *, on_error: str = "raise") -> StreamPatchExtractorPool:
    return StreamPatchExtractorPool(
        patches_pool=[mock(slide)] * 3,
        proc_num_workers=2,
        thread_num_workers=1,
        batch_size=BATCH,
        max_memory=17 * BATCH * 64 * 64 * 3,  # so that not all is read ahead
        on_error="skip" if on_error == "skip" else "raise",
    )


@pytest.fixture
def wanted(slide: Path) -> Pixels:
    """The patches of the slide as it was."""
    with MemPatchExtractorPool(
        patches_pool=[mock(slide)], proc_num_workers=1, thread_num_workers=1
    ) as extracted:
        return extracted.patch_array.copy()


def after_the_first(
    batches: StreamPatchExtractorPool, wanted: Pixels, change: Callable[[], object]
) -> int:
    """Change something after the first batch; return how many patches come, all right."""
    count = 0
    for batch in batches:
        if not count:
            change()
        np.testing.assert_array_equal(batch.pixels, wanted[batch.rows])
        count += len(batch)
    return count


@pytest.mark.parametrize("change", [exchange, write_over])
def test_a_stream_ends_with_an_error_that_says_so(
    slide: Path, pair: tuple[Path, Path], wanted: Pixels, change: Change
) -> None:
    with pytest.raises(ChangedSlideError, match=r"^slide\.svs: slide\.svs has changed"):
        after_the_first(stream(slide), wanted, lambda: change(slide, pair[1]))


def test_what_is_skipped_is_named_and_what_came_before_is_right(
    slide: Path, pair: tuple[Path, Path], wanted: Pixels
) -> None:
    batches = stream(slide, on_error="skip")
    count = after_the_first(batches, wanted, lambda: exchange(slide, pair[1]))
    assert batches.errors
    assert all(isinstance(each.error, ChangedSlideError) for each in batches.errors)
    skipped = sum(len(ROWS) if each.row is None else 1 for each in batches.errors)
    assert count + skipped == 3 * len(ROWS)


@pytest.fixture
def changed_after_planning(
    slide: Path, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exchange the slide when all slides have been looked at, and none has been read."""
    plan = Extraction.plan

    def then_exchange(*arguments: object) -> None:
        plan(*arguments)  # type: ignore[arg-type]
        exchange(slide, pair[1])

    monkeypatch.setattr(Extraction, "plan", then_exchange)


@pytest.mark.usefixtures("changed_after_planning")
def test_a_pool_in_memory_ends_with_an_error_that_says_so(slide: Path) -> None:
    with pytest.raises(ChangedSlideError, match=r"^slide\.svs: slide\.svs has changed"):
        MemPatchExtractorPool(
            patches_pool=[mock(slide)], proc_num_workers=2, thread_num_workers=1
        )


@pytest.mark.usefixtures("changed_after_planning")
@pytest.mark.parametrize("container", [None, "webdataset"])
def test_a_pool_on_disk_leaves_nothing_of_another_slide(
    slide: Path, tmp_path: Path, container: str | None
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    pool = DiskPatchExtractorPool(
        patches_pool=[mock(slide)],
        proc_num_workers=2,
        thread_num_workers=1,
        output_dir=out,
        image_type="png",
        on_error="skip",
        **({} if container is None else {"container": container}),  # type: ignore[arg-type]
    )
    assert len(pool.errors) == len(ROWS)
    assert all(isinstance(each.error, ChangedSlideError) for each in pool.errors)
    assert not [file for file in out.rglob("*") if file.suffix in {".png", ".tar"}]


def test_an_extractor_of_one_slide_notices_too(
    slide: Path, pair: tuple[Path, Path]
) -> None:
    extractor = MemPatchExtractor(patches=mock(slide), num_workers=1)
    exchange(slide, pair[1])
    with pytest.raises(ChangedSlideError):
        list(extractor.patch_stream)


def test_a_slide_that_is_removed_is_no_damage(slide: Path, wanted: Pixels) -> None:
    with pytest.raises(ChangedSlideError, match="has gone"):
        after_the_first(stream(slide), wanted, slide.unlink)


def test_a_slide_that_is_only_read_by_others_has_not_changed(slide: Path) -> None:
    for batch in stream(slide):
        os.utime(slide, ns=(0, slide.stat().st_mtime_ns))  # looked at, by a backup say
        slide.read_bytes()
        assert len(batch) <= BATCH
