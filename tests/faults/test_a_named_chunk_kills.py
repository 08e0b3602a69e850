"""Workers that die of one certain chunk, at its beginning or with it done but not told.

Nothing is left to chance here: who died, of which chunk and how often is read from what the
victims wrote, every patch is asked for, and without a second attempt the same deaths fail.
"""

from __future__ import annotations

import json
import os
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dplabtools._typing import Pixels
from dplabtools.engine import dealing
from dplabtools.errors import WorkerError
from dplabtools.extraction import run as extraction_run
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractorPool,
    PatchesMock,
    StreamPatchExtractorPool,
    open_patches,
)

ROWS = [
    ((x, y), (64, 64), "ab"[x // 48 % 2])
    for y in range(0, 700, 48)
    for x in range(0, 960, 48)
]
SLIDE, ROW = 1, 133  # the chunk with this patch kills
DEADLY = """
    import json, os, signal
    from pathlib import Path

    from dplabtools.extraction.chunk_reader import Chunk, ReadChunk

    SLIDE, ROW = {slide}, {row}

    class Deadly(ReadChunk):
        __slots__ = ()

        def __call__(self, job):
            is_it = isinstance(job, Chunk) and job.slide_index == SLIDE and ROW in job.rows
            if is_it and os.environ["DEATH"] == "before":
                self.die(job)
            report = super().__call__(job)
            if is_it and os.environ["DEATH"] == "after":
                self.die(job)
            return report

        def die(self, job):
            folder = Path(os.environ["GRAVES"])
            graves = len(list(folder.iterdir()))
            if graves < int(os.environ["DEATHS"]):
                stone = {{"pid": os.getpid(), "rows": job.rows.tolist()}}
                (folder / str(graves)).write_text(json.dumps(stone))
                os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def pool(made_slide: Path) -> list[PatchesMock]:
    return [
        PatchesMock(patch_data=ROWS, wsi_file=str(made_slide), level_or_mpp=0)
        for _ in range(3)
    ]


@pytest.fixture(scope="module")
def undisturbed(pool: list[PatchesMock]) -> Pixels:
    with MemPatchExtractorPool(
        patches_pool=pool, proc_num_workers=1, thread_num_workers=1
    ) as extracted:
        return extracted.patch_array.copy()


class Graves:
    """What the victims left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(each.read_text()) for each in sorted(self._folder.iterdir())]

    def check(self, deaths: int) -> None:
        """So many died, each of the chunk that kills, and none of them was this process."""
        found = self.read()
        assert len(found) == deaths
        assert all(ROW in each["rows"] for each in found)
        pids = {each["pid"] for each in found}
        assert len(pids) == deaths
        assert os.getpid() not in pids


@pytest.fixture(params=["before", "after"])
def graves(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Graves:
    modules, folder = tmp_path / "modules", tmp_path / "graves"
    modules.mkdir()
    folder.mkdir()
    name = f"deadly_{request.param}_{tmp_path.name}"
    text = textwrap.dedent(DEADLY).format(slide=SLIDE, row=ROW)
    (modules / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(modules)
    monkeypatch.setenv("DEATH", request.param)
    monkeypatch.setenv("GRAVES", str(folder))
    monkeypatch.setenv("DEATHS", "1")
    module = __import__(name)
    monkeypatch.setattr(extraction_run, "ReadChunk", module.Deadly)
    return Graves(folder)


def in_memory(pool: list[PatchesMock], **options: Any) -> MemPatchExtractorPool:
    return MemPatchExtractorPool(
        patches_pool=pool, proc_num_workers=2, thread_num_workers=1, **options
    )


def on_disk(pool: list[PatchesMock], out: Path, **options: Any) -> DiskPatchExtractorPool:
    out.mkdir()
    given = {"image_type": "bmp", **options}
    return DiskPatchExtractorPool(
        output_dir=out,
        patches_pool=pool,
        proc_num_workers=2,
        thread_num_workers=1,
        **given,
    )


def test_a_memory_pool_has_every_patch(
    pool: list[PatchesMock], undisturbed: Pixels, graves: Graves
) -> None:
    with in_memory(pool) as extracted:
        assert (extracted.patch_table.status == "ok").all()
        np.testing.assert_array_equal(extracted.patch_array, undisturbed)
        assert extracted.errors == []
    graves.check(1)


@pytest.mark.parametrize("order", ["table", "ready"])
def test_a_stream_has_every_patch_once(
    pool: list[PatchesMock], undisturbed: Pixels, graves: Graves, order: Any
) -> None:
    stream = StreamPatchExtractorPool(
        patches_pool=pool,
        proc_num_workers=2,
        thread_num_workers=1,
        batch_size=50,
        order=order,
    )
    seen: list[int] = []
    for batch in stream:
        numbers = batch.slides * len(ROWS) + batch.rows
        np.testing.assert_array_equal(batch.pixels, undisturbed[numbers])
        seen += numbers.tolist()
    assert sorted(seen) == list(range(3 * len(ROWS)))
    graves.check(1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "container": "webdataset",
            "image_type": "png",
            "save_options": {"shard_size": 32},
        },
        {"container": "zarr", "image_type": None, "save_options": {"shard_size": 32}},
        {"container": "hdf5", "image_type": None},
        {"container": "parquet", "image_type": "png", "save_options": {"shard_size": 32}},
    ],
    ids=["files", "webdataset", "zarr", "hdf5", "parquet"],
)
def test_what_is_on_the_disk_is_every_patch(
    pool: list[PatchesMock],
    undisturbed: Pixels,
    graves: Graves,
    tmp_path: Path,
    options: dict[str, Any],
) -> None:
    extracted = on_disk(pool, tmp_path / "out", **options)
    assert extracted.patch_count == 3 * len(ROWS)
    assert extracted.errors == []
    by_place = {place: row for row, (place, _, _) in enumerate(ROWS)}
    found = open_patches(tmp_path / "out")
    assert len(found) == 3 * len(ROWS)
    for patch in found:
        row = by_place[patch.location]
        np.testing.assert_array_equal(patch.array, undisturbed[row])
        assert patch.label == ROWS[row][2]
    graves.check(1)


def test_without_a_second_attempt_the_same_death_is_an_error(
    pool: list[PatchesMock], graves: Graves, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which shows that the tests above have it to thank."""
    monkeypatch.setattr(dealing, "_ATTEMPTS", 1)
    with pytest.raises(WorkerError):
        in_memory(pool)
    graves.check(1)


def test_a_chunk_that_kills_twice_costs_itself_and_nothing_else(
    pool: list[PatchesMock],
    undisturbed: Pixels,
    graves: Graves,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DEATHS", "2")
    with in_memory(pool, on_error="skip") as extracted:
        table = extracted.patch_table
        lost = np.flatnonzero(table.status != "ok").tolist()
        first, second = graves.read()
        assert first["rows"] == second["rows"]
        assert lost == sorted(SLIDE * len(ROWS) + row for row in first["rows"])
        assert {each.row for each in extracted.errors} == set(first["rows"])
        kept = table.status == "ok"
        np.testing.assert_array_equal(extracted.patch_array, undisturbed[kept])
    graves.check(2)
