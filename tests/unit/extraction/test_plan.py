from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dplabtools._typing import IntArray, Size
from dplabtools.extraction.plan import (
    ReadOptions,
    blocks,
    closer,
    groups,
    is_scattered,
    pieces,
    rows_outside,
    runs,
    strips,
)
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.geometry.resolution import Level
from dplabtools.records.patch_table import PatchTable
from dplabtools.records.slide_plan import SlidePlan
from dplabtools.settings import Settings

corner = st.integers(-300, 10_000)


def plan_at(
    origins: list[tuple[int, int]], size: Size = (64, 64), *, views: int = 1
) -> SlidePlan:
    table = PatchTable.from_rows(
        [(origin, size, "a") for origin in origins], slide="a.svs", resolution=Level(0)
    )
    return SlidePlan(
        slide_index=0,
        table=table,
        pyramid=Pyramid(slide="a.svs", sizes=((9000, 9000),), downsamples=(1.0,)),
        views=(Level(0),) * views,
        origins=np.repeat(table.origins[:, np.newaxis], views, axis=1),
    )


def cut(
    plan: SlidePlan, *, workers: int = 1, total: int = 10**6, banded: bool = False
) -> list[IntArray]:
    return list(
        blocks(
            plan.table,
            np.arange(len(plan)),
            views=len(plan.views),
            total=total,
            workers=workers,
            banded=banded,
        )
    )


@given(
    st.lists(st.tuples(corner, corner), max_size=300),
    st.integers(1, 9),
    st.sampled_from([(1, 1), (64, 64), (700, 3), (5000, 5000)]),
    st.booleans(),
)
def test_each_row_is_in_one_chunk(
    origins: list[tuple[int, int]],
    workers: int,
    size: Size,
    banded: bool,  # noqa: FBT001 - drawn
) -> None:
    plan = plan_at(origins, size)
    parts = cut(plan, workers=workers, total=len(origins), banded=banded)
    rows = [row for part in parts for row in part.tolist()]
    assert sorted(rows) == list(range(len(origins)))
    most = 1 if size == (5000, 5000) else 256
    assert all(1 <= len(part) <= most for part in parts)


def test_only_rows_asked_for_are_cut() -> None:
    plan = plan_at([(64 * i, 0) for i in range(100)])
    wanted = np.array([3, 50, 51, 98])
    parts = list(blocks(plan.table, wanted, views=1, total=4, workers=1))
    assert sorted(row for part in parts for row in part.tolist()) == wanted.tolist()


def test_chunks_lie_together() -> None:
    plan = plan_at([(64 * x, 64 * y) for y in range(32) for x in range(32)])
    parts = cut(plan)
    assert [len(part) for part in parts] == [256] * 4
    for part in parts:
        extent = np.ptp(plan.table.origins[part], axis=0)
        assert (extent == 15 * 64).all()  # sixteen by sixteen


def test_bands_are_whole_lines_across_the_slide() -> None:
    plan = plan_at([(64 * x, 64 * y) for x in range(100) for y in range(7)])
    parts = cut(plan, banded=True)
    assert [len(part) for part in parts] == [200, 200, 200, 100]
    for number, part in enumerate(parts):
        rows = plan.table.origins[part, 1] // 64
        assert set(rows.tolist()) <= {2 * number, 2 * number + 1}


def test_every_worker_gets_some_of_a_small_run() -> None:
    plan = plan_at([(64 * i, 0) for i in range(80)])
    assert len(cut(plan, workers=8, total=80)) >= 8


def test_chunks_of_large_patches_are_small() -> None:
    parts = cut(plan_at([(i, 0) for i in range(64)], (1024, 1024), views=4))
    assert max(map(len, parts)) * 1024 * 1024 * 3 * 4 <= 64 << 20
    assert [len(part) for part in cut(plan_at([(0, 0)], (8000, 8000)))] == [1]


def test_each_patch_outside_is_told_of_by_its_place() -> None:
    plan = plan_at([(0, 0), (9500, 3), (5, 5), (-70, 8)])
    reading = ReadOptions(views=None, mode=None, settings=Settings())
    outside = rows_outside(plan, reading)
    assert [row for row, _ in outside] == [1, 3]
    assert "(9500, 3)" in str(outside[0][1])
    assert "(-70, 8)" in str(outside[1][1])


def test_a_strip_has_a_share_for_every_worker() -> None:
    plan = plan_at([(64 * x, 64 * y) for y in range(20) for x in range(15)])
    parts = pieces(plan.table, np.arange(300), views=1, weights=[1.0] * 3, parts=1)
    assert [share for share, _ in parts] == [0, 1, 2]
    assert [len(places) for _, places in parts] == pytest.approx([100] * 3, abs=10)


def test_a_worker_that_is_fast_has_a_larger_share() -> None:
    plan = plan_at([(64 * x, 64 * y) for y in range(2) for x in range(200)])
    weights = [3.0, 1.0, 2.0, 2.0]
    parts = pieces(plan.table, np.arange(400), views=1, weights=weights, parts=1)
    counts = np.bincount([share for share, places in parts for _ in places])
    assert counts.tolist() == [150, 50, 100, 100]


def test_pieces_that_are_read_in_parts_are_larger() -> None:
    plan = plan_at([(64 * x, 64 * y) for y in range(60) for x in range(60)])
    parts = pieces(plan.table, np.arange(3600), views=1, weights=[1.0] * 2, parts=3)
    assert max(len(places) for _, places in parts) > 2 * 256


def test_few_patches_are_not_shared() -> None:
    plan = plan_at([(64 * x, 0) for x in range(50)])
    assert len(pieces(plan.table, np.arange(50), views=1, weights=[1.0] * 8, parts=1)) == 1


@given(st.lists(st.tuples(corner, corner), max_size=900), st.integers(1, 5), st.randoms())
def test_each_place_is_in_one_piece(
    origins: list[tuple[int, int]], workers: int, random: Random
) -> None:
    rows = np.array(random.sample(range(len(origins)), len(origins)), dtype=np.int64)
    parts = pieces(plan_at(origins).table, rows, views=1, weights=[1.0] * workers, parts=1)
    places = [place for _, part in parts for place in part.tolist()]
    assert sorted(places) == list(range(len(origins)))
    assert all(share < workers and 1 <= len(part) <= 256 for share, part in parts)


@pytest.mark.parametrize("by_columns", [False, True])
def test_strips_are_whole_lines(*, by_columns: bool) -> None:
    lines = [7, 120, 40, 50, 90, 3, 100]
    points = np.array([(9 * n, m) for n, line in enumerate(lines) for m in range(line)])
    points = points[:, :: 1 if by_columns else -1]
    found = [part.stop - part.start for part in strips(points, least=100, most=250)]
    assert found == [7 + 120, 40 + 50 + 90, 3 + 100]


def test_a_long_line_is_cut_into_equal_strips() -> None:
    points = np.array([(x, y) for y in range(2) for x in range(600)])
    assert list(strips(points, least=100, most=250)) == [
        *(slice(0, 200), slice(200, 400), slice(400, 600)),
        *(slice(600, 800), slice(800, 1000), slice(1000, 1200)),
    ]


@given(st.lists(st.tuples(corner, corner), max_size=500), st.integers(1, 90))
def test_strips_follow_each_other(points: list[tuple[int, int]], least: int) -> None:
    corners = np.array(points, dtype=np.int64).reshape(-1, 2)
    found = list(strips(corners, least=least, most=2 * least))
    ends = [part.stop for part in found]
    assert [part.start for part in found] == [0, *ends][:-1] if found else not points
    assert ends[-1:] == [len(points)][: len(found)]
    assert all(part.stop - part.start >= least for part in found[:-1])


@pytest.mark.parametrize("shape", [(30, 40), (1, 900), (900, 1), (2, 2)])
def test_grids_are_not_scattered_in_whatever_direction(shape: tuple[int, int]) -> None:
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) * 77
    assert not is_scattered(grid.reshape(-1, 2))
    assert not is_scattered(grid.transpose(1, 0, 2).reshape(-1, 2))


def test_what_lies_anywhere_is_scattered_until_it_is_put_in_order() -> None:
    anywhere = np.random.default_rng(1).integers(0, 50_000, (1000, 2))
    assert is_scattered(anywhere)
    assert is_scattered(anywhere * np.array([1, 0]))
    assert not is_scattered(np.sort(anywhere * np.array([1, 0]), axis=0))
    assert not is_scattered(anywhere[:1])


def test_in_order_all_workers_read_what_comes_next() -> None:
    origins = np.random.default_rng(2).integers(0, 4000, (1000, 2))
    table = plan_at([(x, y) for x, y in origins.tolist()]).table
    parts = pieces(
        table, np.arange(1000), views=1, weights=[1.0] * 2, parts=1, in_order=True
    )
    assert [share for share, _ in parts] == [0, 1] * 4
    for start in range(4):
        both = np.concatenate([places for _, places in parts[2 * start : 2 * start + 2]])
        rows = range(256 * start, min(256 * start + 256, 1000))
        assert sorted(both.tolist()) == list(rows)


def test_runs_have_the_length_asked_for() -> None:
    plan = plan_at([(64 * x, 64 * y) for y in range(10) for x in range(10)])
    parts = list(runs(plan.table, np.arange(100), views=1, count=32))
    assert [len(part) for part in parts] == [32, 32, 32, 4]
    assert sorted(np.concatenate(parts).tolist()) == list(range(100))


def test_those_of_a_group_lie_closer() -> None:
    origins = np.random.default_rng(2).integers(0, 4000, (500, 2))
    table = plan_at([(x, y) for x, y in origins.tolist()]).table
    places = closer(table, np.arange(500), views=1)
    assert sorted(places.tolist()) == list(range(500))
    for group in groups(table.sizes, views=1):
        assert np.ptp(origins[places[group]], axis=0).min() < 2200


def test_grids_are_cut_between_columns_near_the_middle() -> None:
    plan = plan_at([(64 * x, 64 * y) for y in range(10) for x in range(37)])
    parts = cut(plan)
    columns = [set((plan.table.origins[part, 0] // 64).tolist()) for part in parts]
    assert sum(map(len, columns)) == 37  # none is in two chunks
    assert sorted(map(len, columns)) == [18, 19]
