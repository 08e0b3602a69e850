"""Slides on a web server, of which is fetched what waits for its turn."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dplabtools._typing import IntArray, Pixels
from dplabtools.engine.choose import RunOptions
from dplabtools.errors import ChangedSlideError, MissingSlideError, UnreachableSlideError
from dplabtools.extraction import read_ahead
from dplabtools.extraction.chunk_reader import Chunk, ChunkReport
from dplabtools.extraction.inspection import InspectedSlide, InspectSlide, SlideSpec
from dplabtools.extraction.plan import ReadOptions, plan_slide
from dplabtools.extraction.read_ahead import ReadAhead
from dplabtools.extraction.returned import ReturnedPatches
from dplabtools.extraction.run import Extraction
from dplabtools.geometry.resolution import Level, Mpp, Resolution
from dplabtools.readers.native.levels import NativeIndex
from dplabtools.records.patch_table import PatchTable
from dplabtools.settings import Settings
from dplabtools.sources.stream import HEAD_BYTES
from dplabtools.testing.make_slide import make_slide
from dplabtools.testing.web_server import SlideServer

pytest.importorskip("obstore")

CORNERS = [(x, y) for y in range(50, 1400, 100) for x in range(50, 1900, 100)]
ROWS = [(corner, (100, 100), "t") for corner in CORNERS]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SlideServer]:
    make_slide(tmp_path / "slide.svs", size=(4096, 2048), tile=128, quality=95)
    with SlideServer(tmp_path) as server:
        yield server


class Run:
    """Slides that have been looked at, and what workers do with their patches."""

    def __init__(
        self, path: str, *, views: tuple[Resolution, ...] = (Level(0),), skip: bool = False
    ) -> None:
        mode = "tile" if any(isinstance(view, Mpp) for view in views) else None
        reading = ReadOptions(views=views, mode=mode, settings=Settings())
        self.table = PatchTable.from_rows(ROWS, slide=path, resolution=Level(0))
        extraction = Extraction(
            tables=[self.table], reading=reading, options=RunOptions(skip_errors=skip)
        )
        work = extraction.work()
        assert isinstance(work, ReadAhead)
        self.work = work
        spec = extraction.specs()[0]
        facts = InspectSlide(reading=reading)(spec)
        self.spec = facts.known(spec)
        self.plan = plan_slide(0, self.table, pyramid=facts.pyramid, reading=reading)

    def chunk(self, first: int, last: int) -> Chunk:
        rows = np.arange(first, last)
        return Chunk.of(self.plan, rows, writer=ReturnedPatches(), spec=self.spec)


def pixels(report: ChunkReport | InspectedSlide) -> dict[int, list[Pixels]]:
    assert isinstance(report, ChunkReport)
    assert report.returned is not None
    return report.returned.take()


def settled(server: SlideServer) -> tuple[int, int]:
    """Return requests and bytes, once no more come."""
    counts = server.requests, server.nbytes
    while True:
        time.sleep(0.3)
        now = server.requests, server.nbytes
        if now == counts:
            return now
        counts = now


@pytest.mark.parametrize(
    "views", [(Level(0),), (Level(0), Level(1)), (Mpp(0.7), Mpp(1.3))], ids=str
)
def test_a_chunk_that_was_prepared_asks_for_nothing_more(
    server: SlideServer, views: tuple[Resolution, ...]
) -> None:
    run = Run(server.url + "slide.svs", views=views)
    expected = pixels(run.work(run.chunk(0, 60)))
    run.work.close()
    before, chunk = settled(server), run.chunk(0, 60)
    run.work.prepare(chunk)
    prepared = settled(server)
    assert prepared > before
    found = pixels(run.work(chunk))
    assert settled(server) == prepared
    run.work.close()
    assert sorted(found) == sorted(expected)
    for item, pictures in expected.items():
        for picture, same in zip(pictures, found[item], strict=True):
            np.testing.assert_array_equal(picture, same)


def test_a_slide_that_only_another_worker_was_told_of_is_looked_at_ahead(
    server: SlideServer,
) -> None:
    run = Run(server.url + "slide.svs")
    expected = pixels(run.work(run.chunk(0, 30)))
    run.work.close()
    chunks = [
        replace(run.chunk(first, first + 30), spec=replace(run.spec, index=None))
        for first in (0, 30)
    ]
    before = settled(server)[1]
    for chunk in chunks:
        run.work.prepare(chunk)
    header = settled(server)[1] - before
    assert header > HEAD_BYTES
    found = pixels(run.work(chunks[0]))
    assert isinstance(run.work(chunks[1]), ChunkReport)
    assert settled(server)[1] - before - header < HEAD_BYTES < header
    run.work.close()
    for item, pictures in expected.items():
        np.testing.assert_array_equal(pictures[0], found[item][0])


@pytest.mark.parametrize("early", [True, False])
def test_tiles_of_neighbouring_chunks_are_fetched_once(
    server: SlideServer, *, early: bool
) -> None:
    run = Run(server.url + "slide.svs")
    chunks = [run.chunk(first, first + 38) for first in range(0, len(ROWS), 38)]
    before = settled(server)[1]
    tiles: list[IntArray] = []
    run.work.prepare(chunks[0])
    for number, chunk in enumerate(chunks):
        following = chunks[number + 1 : number + 2]
        if early:
            list(map(run.work.prepare, following))
        report = run.work(chunk)
        if not early:
            list(map(run.work.prepare, following))
        assert isinstance(report, ChunkReport)
        tiles += report.tiles
    decoded = np.concatenate(tiles)
    assert len(set(decoded.tolist())) == len(decoded)
    index: NativeIndex = pickle.loads(run.spec.index or b"")
    wanted = int(index.levels[0].counts[decoded].sum())
    assert 0.9 * wanted < settled(server)[1] - before <= 1.1 * wanted
    run.work.close()


def test_of_a_large_chunk_a_part_is_fetched_ahead(
    server: SlideServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(server.url + "slide.svs")
    monkeypatch.setattr(read_ahead, "_CHUNK_BYTES", 100_000)
    before, chunk = settled(server)[1], run.chunk(0, len(ROWS))
    run.work.prepare(chunk)
    ahead = settled(server)[1] - before
    assert 50_000 < ahead <= 110_000
    assert len(pixels(run.work(chunk))) == len(ROWS)
    assert settled(server)[1] - before > 5 * ahead
    run.work.close()


def test_what_goes_wrong_ahead_is_told_of_the_chunk(
    server: SlideServer, tmp_path: Path
) -> None:
    run = Run(server.url + "slide.svs", skip=True)
    first, second, third = run.chunk(0, 20), run.chunk(80, 100), run.chunk(160, 180)
    run.work.prepare(first)
    settled(server)
    server.faults.status = 403
    run.work.prepare(second)
    settled(server)
    server.faults.status = 0
    report = run.work(first)
    assert isinstance(report, ChunkReport)
    assert not report.failed
    report = run.work(second)
    assert isinstance(report, ChunkReport)
    assert len(report.failed) == 20
    assert {type(error) for _, error in report.failed} == {UnreachableSlideError}
    os.utime(tmp_path / "slide.svs", (1, 1))
    run.work.prepare(third)
    settled(server)
    with pytest.raises(ChangedSlideError, match="has changed since"):
        run.work(third)
    run.work.close()


def test_slides_are_looked_at_together(server: SlideServer, tmp_path: Path) -> None:
    names = [f"slide-{number}.svs" for number in range(6)]
    for name in names:
        (tmp_path / name).write_bytes((tmp_path / "slide.svs").read_bytes())
    work = Run(server.url + "slide.svs").work
    specs = [SlideSpec(path=server.url + name) for name in (*names, "none.svs")]
    before = settled(server)[0]
    server.faults.latency_s = 1.0
    for spec in (*specs, specs[0]):
        work.prepare(spec)
    while server.requests < before + len(specs):
        time.sleep(0.01)
    assert not any(look.done() for look in work._looks.values())
    server.faults.latency_s = 0.0
    for spec in specs[:-1]:
        assert isinstance(work(spec), InspectedSlide)
    with pytest.raises(MissingSlideError, match="there is no slide file"):
        work(specs[-1])
    assert server.requests <= before + 3 * len(names) + 1
    work.close()


def test_nothing_is_left_under_way_when_a_run_ends(server: SlideServer) -> None:
    run = Run(server.url + "slide.svs")
    before = settled(server)[0]
    server.faults.latency_s = 0.3
    for first in range(0, 240, 20):
        run.work.prepare(run.chunk(first, first + 20))
    for number in range(40):
        run.work.prepare(SlideSpec(path=f"{server.url}none-{number}.svs"))
    run.work.close()
    server.faults.latency_s = 0.0
    assert settled(server)[0] - before < 16 + 32 + 5
    assert not [each for each in threading.enumerate() if "dplabtools-look" in each.name]


def test_jobs_of_slides_of_this_machine_are_left_alone(
    server: SlideServer, made_slide: Path
) -> None:
    work = Run(server.url + "slide.svs").work
    work.prepare(SlideSpec(path=str(made_slide)))
    assert not work._looks
    assert isinstance(work(SlideSpec(path=str(made_slide))), InspectedSlide)
    work.close()
