"""What is kept of tiles for later is what is read there without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dplabtools._typing import IntArray, Pixels
from dplabtools.geometry.resolution import Level, Mpp, Resolution
from dplabtools.readers.native import kept_parts
from dplabtools.readers.native.kept_parts import KeptParts, PartsOfCall
from dplabtools.readers.native.levels import NativeIndex
from dplabtools.readers.regions import read_regions
from dplabtools.readers.slide import Slide
from dplabtools.records.pixel_buffer import PixelBuffer
from dplabtools.records.upcoming import Upcoming
from dplabtools.settings import Settings
from dplabtools.testing.make_slide import make_slide

SIZE = (90, 70)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slide]:
    file = make_slide(tmp_path_factory.mktemp("kept") / "a.svs", size=(700, 500), tile=64)
    with Slide(file, settings=Settings(), resampling_mode="tile") as slide:
        assert slide.pyramid.foreseen
        yield slide


def calls(
    slide: Slide,
    views: Sequence[Resolution],
    corners: IntArray,
    *,
    cuts: Sequence[int],
    max_bytes: int | None,
    threads: ThreadPoolExecutor | None = None,
) -> tuple[list[Pixels], int]:
    """Read some after the other; return what was read, and how many tiles were decoded."""
    origins = np.repeat(corners[:, np.newaxis], len(views), axis=1)
    numbers = np.arange(len(corners))
    nth = np.searchsorted(np.unique(cuts), numbers, side="right")
    found: list[Pixels] = []
    decoded: list[IntArray] = []
    for call in np.unique(nth).tolist():
        now, later = np.flatnonzero(nth == call), np.flatnonzero(nth > call)
        upcoming = Upcoming(
            call=call,
            now=now,
            numbers=later,
            calls=nth[later],
            origins=origins[later],
            sizes=np.full((len(later), 2), SIZE),
            max_bytes=max_bytes or 0,
        )
        buffer = PixelBuffer.allocated(np.full((len(now) * len(views), 2), SIZE))
        errors = read_regions(
            slide,
            views,
            origins[now],
            buffer=buffer,
            threads=threads,
            decoded=decoded,
            upcoming=None if max_bytes is None else upcoming,
        )
        found += [
            np.zeros(0, np.uint8)
            if place // len(views) in errors
            else buffer.picture(place)
            for place in range(len(buffer))
        ]
    return found, sum(map(len, decoded))


@settings(max_examples=60, deadline=None)
@given(
    views=st.lists(
        st.sampled_from((Level(0), Level(1), Mpp(0.5), Mpp(0.7))), min_size=1, max_size=3
    ),
    points=st.lists(
        st.tuples(st.integers(-60, 720), st.integers(-60, 520)), min_size=1, max_size=40
    ),
    cuts=st.lists(st.integers(0, 40), max_size=6),
    max_bytes=st.sampled_from([0, 30_000, 300_000, 1 << 30]),
    block=st.sampled_from([300, 1 << 10, 1 << 17]),  # the first is a row, or less
)
def test_regions_are_the_same(
    slide: Slide,
    views: list[Resolution],
    points: list[tuple[int, int]],
    cuts: list[int],
    max_bytes: int,
    block: int,
) -> None:
    corners = np.array(points, dtype=np.int64)
    wanted, _ = calls(slide, views, corners, cuts=cuts, max_bytes=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_parts, "_LARGEST", block)
        patch.setattr(kept_parts, "PARTS", KeptParts())
        found, _ = calls(slide, views, corners, cuts=cuts, max_bytes=max_bytes)
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("threads", [1, 4])
def test_each_tile_is_decoded_once_if_there_is_memory(slide: Slide, threads: int) -> None:
    corners = np.random.default_rng(0).integers(0, (600, 420), (200, 2))
    cuts = range(0, 200, 20)
    with ThreadPoolExecutor(threads) as pool:
        found, decoded = calls(
            slide, [Level(0)], corners, cuts=cuts, max_bytes=1 << 30, threads=pool
        )
    wanted, distinct = calls(slide, [Level(0)], corners, cuts=(), max_bytes=None)
    assert decoded <= distinct  # some may be kept of the test before
    np.testing.assert_array_equal(np.stack(found), np.stack(wanted))


def test_small_parts_that_wait_long_spare_more_than_the_next_ones(
    slide: Slide, monkeypatch: pytest.MonkeyPatch
) -> None:
    def the_next(self: PartsOfCall, *columns: IntArray) -> IntArray:
        return np.argsort(self.upcoming.calls[columns[1]], kind="stable")

    corners = np.random.default_rng(0).integers(0, (600, 420), (400, 2))
    most = int(np.prod(SIZE)) * 3 * 80  # what a fifth of them takes
    monkeypatch.setattr(kept_parts, "_LARGEST", 1 << 10)
    decoded: list[int] = []
    for best in (PartsOfCall._best, the_next):
        monkeypatch.setattr(PartsOfCall, "_best", best)
        monkeypatch.setattr(kept_parts, "PARTS", KeptParts())
        found = calls(slide, [Level(0)], corners, cuts=range(0, 400, 10), max_bytes=most)
        decoded.append(found[1])
    assert decoded[0] < 0.9 * decoded[1], decoded


def test_what_a_damaged_tile_costs_is_the_same(tmp_path: Path) -> None:
    file = make_slide(tmp_path / "damaged.svs", size=(700, 500), tile=64)
    with Slide(file, settings=Settings()) as whole:
        assert isinstance(whole.index, NativeIndex)
        level = whole.index.levels[0]
    with file.open("r+b") as stream:
        stream.seek(int(level.offsets[35]))
        stream.write(bytes(int(level.counts[35])))
    corners = np.random.default_rng(0).integers(0, (600, 420), (120, 2))
    cuts = range(0, 120, 10)
    with Slide(file, settings=Settings()) as slide:
        wanted, _ = calls(slide, [Level(0)], corners, cuts=cuts, max_bytes=None)
        found, _ = calls(slide, [Level(0)], corners, cuts=cuts, max_bytes=1 << 30)
    assert 0 < sum(not picture.size for picture in wanted) < 30
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)
