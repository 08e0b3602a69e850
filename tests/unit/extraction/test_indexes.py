"""A slide is looked at once, and workers are told."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dplabtools.engine.choose import RunOptions
from dplabtools.engine.serial import SerialEngine
from dplabtools.extraction import run_state
from dplabtools.extraction.plan import ReadOptions
from dplabtools.extraction.progress import ProgressClock
from dplabtools.extraction.run import Extraction
from dplabtools.geometry.resolution import Level
from dplabtools.output.memory import MemorySink
from dplabtools.readers.native import families
from dplabtools.readers.native.levels import NativeIndex
from dplabtools.readers.native.tiff import read_tiff_index
from dplabtools.records.patch_table import PatchTable
from dplabtools.records.profile import Profile
from dplabtools.settings import Settings
from dplabtools.sources.base import ByteSource


def extraction(file: Path) -> Extraction:
    rows = [((x, y), (100, 90), "a") for y in (10, 300, 600) for x in range(0, 900, 70)]
    table = PatchTable.from_rows(rows, slide=str(file), resolution=Level(0))
    reading = ReadOptions(views=None, mode=None, settings=Settings(slide_library="native"))
    return Extraction(tables=[table, table], reading=reading, options=RunOptions(workers=2))


def run(extraction: Extraction) -> run_state.RunState:
    clock = ProgressClock(None, total=78, slides=2)
    return extraction.run(SerialEngine(), MemorySink(), clock)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose index was made."""
    files: list[str] = []

    def noted(tiff: Any, directories: Any, *, source: ByteSource) -> NativeIndex:
        files.append(source.name)
        return read_tiff_index(tiff, directories, source=source)

    monkeypatch.setattr(families, "read_tiff_index", noted)
    return files


def test_each_slide_is_looked_at_once(made_slide: Path, looks: list[str]) -> None:
    state = run(extraction(made_slide))
    assert all(delivered.all() for delivered in state.delivered)
    assert len(looks) == 2  # slides


def test_what_is_too_much_to_send_is_found_out_again(
    made_slide: Path, looks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = extraction(made_slide)
    with task.specs()[0].open(task.reading) as slide:
        one = len(pickle.dumps(slide.index))
    looks.clear()
    monkeypatch.setattr(run_state, "_INDEX_BYTES", one * 3 // 2)
    state = run(task)
    assert all(delivered.all() for delivered in state.delivered)
    assert len(looks) == 3


def test_the_work_carries_the_indexes(made_slide: Path, looks: list[str]) -> None:
    task = extraction(made_slide)
    state = run(task)
    looks.clear()
    work = pickle.loads(pickle.dumps(task.work(state)))
    for spec in work.slides:
        with spec.open(task.reading) as slide:
            assert slide.read((0, 0), Level(0), (5, 5)).shape == (5, 5, 3)
    assert not looks


def test_the_profile_counts_tiles(made_slide: Path) -> None:
    profile = run(extraction(made_slide)).profile
    assert profile.tiles_distinct == 2 * 4 * 3  # tiles of 256 in 1024 x 768, two slides
    assert profile.tiles_decoded >= profile.tiles_distinct
    assert profile.excess == pytest.approx(
        profile.tiles_decoded / profile.tiles_distinct - 1
    )


def test_the_excess_is_what_was_decoded_again() -> None:
    profile = Profile()
    assert profile.excess == 0
    profile.add_tiles(0, [np.array([1, 2, 3]), np.array([3, 4])])
    profile.add_tiles(1, [np.array([1, 2, 3])])
    assert (profile.tiles_decoded, profile.tiles_distinct) == (8, 7)
    assert profile.excess == pytest.approx(1 / 7)
