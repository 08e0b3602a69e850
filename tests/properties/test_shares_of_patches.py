"""What jobs read of slides, in chunks: all of it, once, and about as much each."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from dplabtools._typing import IntArray
from dplabtools.extraction.plan import CHUNK_ROWS, runs
from dplabtools.geometry.resolution import Level
from dplabtools.records.patch_table import PatchTable
from dplabtools.records.share import divide

SEVEN = (9_000, 300, 4_100, 12_500, 800, 2_600, 6_000)  # patches, all unequal


@cache
def chunks(count: int) -> list[IntArray]:
    """Return the chunks of a slide with so many patches."""
    side = int(np.ceil(count**0.5))
    places = np.arange(count)
    table = PatchTable(
        slide="s.svs",
        resolution=Level(0),
        origins=np.stack([places % side, places // side], axis=1) * 256,
        sizes=np.full((count, 2), 256),
        codes=np.zeros(count, dtype=np.int64),
        labels=("",),
    )
    return list(runs(table, places, views=1, count=CHUNK_ROWS))


@pytest.mark.parametrize("count", range(1, 6))
def test_of_seven_unequal_slides_jobs_read_all_once_and_about_as_much_each(
    count: int,
) -> None:
    slides = [f"{number}.svs" for number in range(7)]
    read: list[list[tuple[int, int]]] = []
    for number in range(1, count + 1):
        share = divide(slides, SEVEN, shard=(number, count), cut=True)
        own: list[tuple[int, int]] = []
        for part in share.parts:
            cells = chunks(SEVEN[part.place])
            for cell in part.chunks(len(cells)):
                own += [(part.place, row) for row in cells[cell].tolist()]
        read.append(own)
    every = [pair for own in read for pair in own]
    assert len(every) == len(set(every)) == sum(SEVEN)
    assert max(map(len, read)) <= 1.25 * sum(SEVEN) / count
