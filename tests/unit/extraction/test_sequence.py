"""Patches are taken in order, as far as slides are known."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dplabtools.extraction import sequence
from dplabtools.extraction.sequence import PatchSequence


def of_lengths(lengths: list[int]) -> PatchSequence:
    parts = [(slide, np.arange(count)) for slide, count in enumerate(lengths)]
    return PatchSequence(parts, range(len(lengths)))


def everything(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.ones(count, dtype=np.bool_)


def test_it_begins_when_the_first_slides_are_known() -> None:
    patches = of_lengths([4, 4, 4])
    assert patches.take(6) is None
    patches.known(0, everything(4))
    patches.known(2, everything(4))
    assert patches.take(6) is None
    assert patches.left
    first = patches.take(4)
    assert first is not None
    assert [(slide, rows.tolist()) for slide, rows in first] == [(0, [0, 1, 2, 3])]
    patches.known(1, everything(4))
    rest = patches.take(100)
    assert rest is not None
    assert [slide for slide, _ in rest] == [1, 2]
    assert not patches.left
    assert patches.take(100) == []


def test_no_more_slides_are_looked_at_than_need_be() -> None:
    patches = of_lengths([1] * 1000)
    asked = [patches.next_slide() for _ in range(sequence._LOOK_AHEAD + 1)]
    assert asked == [*range(sequence._LOOK_AHEAD), None]
    patches.known(0, everything(1))
    assert patches.take(1)
    assert patches.next_slide() == sequence._LOOK_AHEAD
    assert patches.next_slide() is None


def test_a_list_of_patches_is_cut_where_the_slide_changes() -> None:
    slides, rows = np.array([0, 0, 2, 2, 2, 0]), np.array([5, 3, 1, 0, 2, 4])
    patches = PatchSequence.of(slides, rows, cut=lambda _, rows: [rows[:2], rows[2:]])
    for slide in (0, 2):
        patches.known(slide, everything(6))
    taken = patches.take(100)
    assert taken is not None
    assert [(slide, part.tolist()) for slide, part in taken] == [
        (0, [5, 3]),
        (2, [1, 0]),
        (2, [2]),
        (0, [4]),
    ]


@given(
    lengths=st.lists(st.integers(0, 9), max_size=20),
    parts_of=st.integers(1, 4),
    least=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_whatever_the_order_each_patch_comes_once_and_nothing_is_waited_for_in_vain(
    lengths: list[int], parts_of: int, least: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    inside = [rng.random(length) < 0.7 for length in lengths]
    parts = [
        (slide, rows)
        for slide, length in enumerate(lengths)
        for rows in np.array_split(np.arange(length), parts_of)
    ]
    parts = [parts[place] for place in rng.permutation(len(parts))]
    patches = PatchSequence(parts, dict.fromkeys(slide for slide, _ in parts))
    taken: list[tuple[int, int]] = []
    while (some := patches.take(least)) != []:
        if some is None:
            slide = patches.next_slide()
            assert slide is not None
            patches.known(slide, inside[slide])
            continue
        taken += [(slide, row) for slide, rows in some for row in rows.tolist()]
        assert sum(len(rows) for _, rows in some) >= least or not patches.left
    wanted = [(slide, row) for slide, rows in parts for row in rows if inside[slide][row]]
    assert taken == wanted
