"""The vectorised rules against the rules as they are written down, one square at a time."""

from __future__ import annotations

import hypothesis.extra.numpy as npst
import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st

from dplabtools._typing import BoolArray
from dplabtools.locations.acceptance import Acceptance
from dplabtools.locations.regions import Frame, Region
from dplabtools.locations.samplers import Grid
from dplabtools.masks.foreground import ForegroundMask

MASKS = npst.arrays(np.bool_, st.tuples(st.integers(1, 25), st.integers(1, 25)))
EDGES = st.floats(0.6, 12) | st.integers(1, 12).map(float)
CORNERS = st.lists(
    st.tuples(st.integers(-80, 120), st.integers(-80, 120)), min_size=1, max_size=30
)  # in quarters of a mask pixel: halves have to be rounded, too
RATIOS = st.sampled_from([0.0, 0.25, 0.5, 0.75, 0.95, 1.0]) | st.floats(0, 1)


def share_by_hand(mask: BoolArray, x: float, y: float, edge: float) -> float:
    """Rule 1, pixel by pixel."""
    columns = range(round(x), round(x + edge))
    rows = range(round(y), round(y + edge))
    inside = sum(
        bool(mask[row, column])
        for row in rows
        for column in columns
        if 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]
    )
    return round(inside / (len(columns) * len(rows)), 10)


def lies_inside(region: Region, x: float, y: float, edge: float, ratio: float) -> bool:
    """Rule 2, by geometry."""
    x0, y0, x1, y1 = region.bounds
    if region.loose and x >= x0 and y >= y0 and x + edge <= x1 and y + edge <= y1:
        return True
    square = shapely.box(x, y, x + edge, y + edge)
    area = round(square.intersection(region.shape).area, 8)
    return bool(area >= round(edge * edge * ratio, 8))


@given(mask=MASKS, edge=EDGES, quarters=CORNERS)
def test_the_share_of_foreground(
    mask: BoolArray, edge: float, quarters: list[tuple[int, int]]
) -> None:
    corners = np.array(quarters) / 4
    # An edge above half a pixel can still round to nothing; that has a rule of its own.
    kept = (np.rint(corners + edge) > np.rint(corners)).all(axis=1)
    shares = ForegroundMask(mask).share(corners[kept], edge)
    expected = [share_by_hand(mask, x, y, edge) for x, y in corners[kept].tolist()]
    np.testing.assert_array_equal(np.round(shares, 10), expected)


@given(mask=MASKS, edge=EDGES, quarters=CORNERS, ratio=RATIOS, loose=st.booleans())
def test_acceptance_in_a_box(
    *,
    mask: BoolArray,
    edge: float,
    quarters: list[tuple[int, int]],
    ratio: float,
    loose: bool,
) -> None:
    foreground = ForegroundMask(mask)
    region = Region(shapely.box(*foreground.bounds), "", loose=loose)
    check(foreground, region, edge=edge, quarters=quarters, ratio=ratio)


@given(mask=MASKS, edge=EDGES, quarters=CORNERS, ratio=RATIOS, loose=st.booleans())
def test_acceptance_in_other_shapes(
    *,
    mask: BoolArray,
    edge: float,
    quarters: list[tuple[int, int]],
    ratio: float,
    loose: bool,
) -> None:
    star = shapely.Polygon([(0, 0), (25, 3), (12, 9), (20, 22), (3, 14)]).difference(
        shapely.box(8, 5, 11, 8)
    )
    region = Region(star.buffer(0.7), "", loose=loose)
    check(ForegroundMask(mask), region, edge=edge, quarters=quarters, ratio=ratio)


def check(
    mask: ForegroundMask,
    region: Region,
    *,
    edge: float,
    quarters: list[tuple[int, int]],
    ratio: float,
) -> None:
    corners = np.array(quarters) / 4
    corners = corners[(np.rint(corners + edge) > np.rint(corners)).all(axis=1)]
    rule = Acceptance(foreground=0.25, overlap=ratio)
    accepted = rule.accepts(corners, edge=edge, region=region, mask=mask)
    expected = [
        share_by_hand(mask.pixels, x, y, edge) >= 0.25
        and lies_inside(region, x, y, edge, ratio)
        for x, y in corners.tolist()
    ]
    assert accepted.tolist() == expected


@given(
    start=st.floats(0, 100),
    length=st.floats(1, 100),
    stride=st.floats(0.1, 5),
    size=st.integers(10, 300),
)
def test_grid_lines_end_with_the_first_that_reaches_the_edge(
    start: float, length: float, stride: float, size: int
) -> None:
    frame = Frame(downsample=16.0, scale=16.0, patch_size=size)
    bounds = (start, start, start + length, start + length)
    parts = Grid(stride).propose(bounds, frame, np.random.default_rng(0))
    lines = np.unique(np.concatenate([*parts])[:, 0])
    step = stride * size / 16
    expected = [start]
    while expected[-1] < start + length:
        expected.append(start + len(expected) * step)
    assert lines.tolist() == expected
