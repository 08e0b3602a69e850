"""Regions that are read in one piece are what each is alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dplabtools._typing import IntArray
from dplabtools.readers.base import BatchReader
from dplabtools.readers.merging import merged
from dplabtools.readers.openslide import OpenSlideReader
from dplabtools.readers.registry import READERS
from dplabtools.records.pixel_buffer import PixelBuffer
from dplabtools.settings import Settings
from dplabtools.testing.make_slide import make_slide

PINK = (250, 10, 120)
areas = st.lists(
    st.tuples(
        *(st.integers(-60, 1050), st.integers(-60, 800)),
        *(st.integers(1, 300), st.integers(1, 300)),
    ),
    max_size=12,
)


@pytest.fixture(scope="module", params=["openslide", "tiffslide"])
def reader(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BatchReader]:
    pytest.importorskip(request.param)
    file = tmp_path_factory.mktemp("merged") / "a.svs"
    make_slide(file, size=(1024, 768), levels=2, downsample=4)
    entry = READERS.own[request.param]
    with entry.open(str(file), Settings(background=PINK)) as reader:
        assert isinstance(reader, BatchReader)
        yield reader


def check(reader: BatchReader, table: IntArray, level: int) -> None:
    buffer = PixelBuffer.allocated(table[:, 2:])
    assert not reader.read_into(table[:, :2], level, buffer)
    for number, (x, y, width, height) in enumerate(table.tolist()):
        alone = reader.read((x, y), level, (width, height))
        np.testing.assert_array_equal(buffer.picture(number), alone)


@settings(max_examples=60)
@given(asked_for=areas, level=st.integers(0, 1), whole=st.booleans())
def test_each_is_what_it_is_alone(
    reader: BatchReader, asked_for: list[tuple[int, ...]], level: int, *, whole: bool
) -> None:
    table = np.array(asked_for, dtype=np.int64).reshape(-1, 4)
    if whole:  # all begin at pixels of the level
        table[:, :2] = table[:, :2] // 4 * 4
    check(reader, table, level)


@pytest.mark.parametrize(("first", "count"), [(0, 1), (1, 16)])
def test_reduced_levels_are_merged_where_nothing_is_interpolated(
    made_slide: Path, first: int, count: int
) -> None:
    corners = np.array([(x, y) for y in range(4) for x in range(4)]) * 64 + first
    buffer = PixelBuffer.allocated(np.full((16, 2), 64))
    with OpenSlideReader(made_slide, background=PINK) as reader:
        assert reader.downsamples[1] == 2
        with mock.patch.object(reader, "read", wraps=reader.read) as read:
            assert not reader.read_into(corners, 1, buffer)
    assert read.call_count == count


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "tcga-cr-7395-01a-01-ts1.svs"])
def test_it_is_so_on_real_slides(slides_dir: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    table = np.concatenate([rng.integers(0, 1500, (60, 2)), np.full((60, 2), 200)], axis=1)
    with OpenSlideReader(slides_dir / name, background=PINK) as reader:
        check(reader, table, 0)


@given(asked_for=areas)
def test_every_region_is_read_once(asked_for: list[tuple[int, ...]]) -> None:
    table = np.array(asked_for, dtype=np.int64).reshape(-1, 4)
    parts = list(merged(table[:, :2], table[:, 2:]))
    numbers = [number for part in parts for number in part.tolist()]
    assert sorted(numbers) == list(range(len(table)))


def test_only_what_overlaps_is_merged() -> None:
    def count(step: int) -> int:
        corners = np.array([(x, y) for y in range(16) for x in range(16)]) * step
        return len(list(merged(corners, np.full((256, 2), 256))))

    assert count(256) == count(300) == count(5000) == 256
    assert count(128) <= 8


def test_damage_costs_what_touches_it(damaged_slide: Path, made_slide: Path) -> None:
    corners = np.array([(x, y) for y in range(0, 700, 60) for x in range(0, 900, 60)])
    buffer = PixelBuffer.allocated(np.full((len(corners), 2), 120))
    with (
        OpenSlideReader(damaged_slide, background=PINK) as broken,
        OpenSlideReader(made_slide, background=PINK) as whole,
        ThreadPoolExecutor(2) as threads,
    ):
        errors = broken.read_into(corners, 0, buffer, threads=threads)
        for number, (x, y) in enumerate(corners.tolist()):
            touches = 256 - 120 < x < 512 and 256 - 120 < y < 512
            assert (number in errors) == touches
            if not touches:
                alone = whole.read((x, y), 0, (120, 120))
                np.testing.assert_array_equal(buffer.picture(number), alone)
