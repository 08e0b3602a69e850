"""Streams of slides on a web server, of which workers fetch ahead, and what may happen."""

from __future__ import annotations

import os
import signal
import time
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import psutil
import pytest

from dplabtools._typing import Pixels
from dplabtools.engine.base import Engine, EngineLike
from dplabtools.engine.choose import RunOptions, open_engine
from dplabtools.errors import ChangedSlideError
from dplabtools.extraction import pool_run
from dplabtools.readers.native.assemble import plan_tiles
from dplabtools.readers.native.families import open_indexed
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import (
    MemPatchExtractorPool,
    PatchesMock,
    StreamPatchExtractorPool,
)
from dplabtools.testing.make_slide import make_slide
from dplabtools.testing.web_server import ServerFaults, SlideServer

pytest.importorskip("obstore")

NAMES = ("a.svs", "b.svs", "c.svs")
CORNERS = [(x, y) for y in range(50, 1900, 100) for x in range(50, 2900, 100)]
ROWS = [(corner, (100, 100), "t") for corner in CORNERS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("far")
    for seed, name in enumerate(NAMES):
        make_slide(folder / name, size=(3072, 2048), tile=128, seed=seed, quality=95)
    return folder


def mocks(base: str) -> list[PatchesMock]:
    return [
        PatchesMock(patch_data=ROWS, wsi_file=base + name, level_or_mpp=0) for name in NAMES
    ]


def stream(
    base: str, *, workers: int = 2, order: str = "table"
) -> StreamPatchExtractorPool:
    return StreamPatchExtractorPool(
        patches_pool=mocks(base),
        proc_num_workers=workers,
        thread_num_workers=1,
        batch_size=32,
        order=order,  # type: ignore[arg-type]
        max_memory=20 * 32 * 100 * 100 * 3,  # so that the first batches are not the last
    )


@pytest.fixture(scope="module")
def expected(folder: Path) -> Pixels:
    with MemPatchExtractorPool(
        patches_pool=mocks(f"{folder}/"), proc_num_workers=1, thread_num_workers=1
    ) as pool:
        return pool.patch_array.copy()


def check(pool: StreamPatchExtractorPool, expected: Pixels) -> None:
    seen = np.zeros(len(expected), dtype=np.int64)
    for batch in pool:
        numbers = batch.slides * len(ROWS) + batch.rows
        np.testing.assert_array_equal(batch.pixels, expected[numbers])
        np.add.at(seen, numbers, 1)
    assert (seen == 1).all()


def needed(folder: Path) -> int:
    """Bytes of the tiles that the patches take."""
    total = 0
    for name in NAMES:
        level = open_indexed(folder / name)[1].levels[0]
        tiles = plan_tiles(level, np.array(CORNERS), np.full((len(CORNERS), 2), 100)).tiles
        total += int(level.counts[tiles].sum())
    return total


def workers() -> list[psutil.Process]:
    """Our worker processes, by the threads that only they have."""
    children = psutil.Process().children(recursive=True)
    return [each for each in children if each.num_threads() > 1]


def test_workers_get_more_jobs_before_their_turn_to_fetch_for_them(
    folder: Path, expected: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead: list[int] = []

    def noted(engine: EngineLike, options: RunOptions) -> AbstractContextManager[Engine]:
        ahead.append(options.ahead)
        return open_engine(engine, options)

    monkeypatch.setattr(pool_run, "open_engine", noted)
    with SlideServer(folder) as server:
        for base in (f"{folder}/", server.url):
            check(stream(base), expected)
    assert ahead == [2, 4]


@pytest.mark.parametrize("order", ["table", "near", "ready"])
def test_hardly_anything_is_fetched_in_vain(
    folder: Path, expected: Pixels, order: str
) -> None:
    with SlideServer(folder) as server:
        for name in NAMES:
            GenericSlide(wsi_file=server.url + name).close()
        headers = server.nbytes
        check(stream(server.url, order=order), expected)
        assert server.nbytes - 2 * headers <= 1.3 * needed(folder)


def test_one_worker_fetches_each_tile_once(folder: Path, expected: Pixels) -> None:
    with SlideServer(folder) as server:
        for name in NAMES:
            GenericSlide(wsi_file=server.url + name).close()
        headers = server.nbytes
        check(stream(server.url, workers=1), expected)
        assert server.nbytes - 2 * headers <= 1.1 * needed(folder)


@pytest.mark.parametrize(
    "faults",
    [
        ServerFaults(latency_s=0.05, failing=7),
        ServerFaults(latency_s=0.02, cut=6),
        ServerFaults(bytes_per_s=4e6),
    ],
    ids=["fails", "cuts", "slow"],
)
def test_a_bad_connection_changes_nothing(
    folder: Path, expected: Pixels, faults: ServerFaults
) -> None:
    with SlideServer(folder, faults=faults) as server:
        check(stream(server.url), expected)
        assert server.requests > 2 * max(faults.failing, faults.cut)


def test_a_worker_that_is_killed_changes_nothing(folder: Path, expected: Pixels) -> None:
    with SlideServer(folder, faults=ServerFaults(latency_s=0.05)) as server:
        seen = 0
        for batch in (batches := iter(stream(server.url))):
            numbers = batch.slides * len(ROWS) + batch.rows
            np.testing.assert_array_equal(batch.pixels, expected[numbers])
            if seen == 0:
                victims = workers()
                os.kill(victims[0].pid, signal.SIGKILL)
            seen += len(batch)
        del batches
        assert seen == len(expected)
        assert victims


def test_a_slide_that_is_replaced_is_an_error(folder: Path, expected: Pixels) -> None:
    with SlideServer(folder, faults=ServerFaults(latency_s=0.02)) as server:
        batches = iter(stream(server.url))
        np.testing.assert_array_equal(next(batches).pixels, expected[:32])
        os.utime(folder / NAMES[-1], (1, 1))
        with pytest.raises(ChangedSlideError, match=rf"^{NAMES[-1]}: .* has changed"):
            for _ in batches:
                pass


def test_a_stream_that_is_left_asks_for_nothing_more(folder: Path) -> None:
    with SlideServer(folder, faults=ServerFaults(latency_s=0.2)) as server:
        batches = iter(stream(server.url))
        next(batches)
        assert workers()
        batches.close()  # type: ignore[attr-defined]
        assert not workers()
        asked = server.requests
        time.sleep(1.0)
        assert server.requests == asked
