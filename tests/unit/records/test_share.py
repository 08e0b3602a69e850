from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dplabtools.errors import ParameterError, ParameterTypeError
from dplabtools.records.share import Part, Share, divide, parse_shard

SEVEN = [40_000, 900, 12_000, 25_000, 3_100, 60_000, 7_700]  # patches


def shares(works: list[int], count: int, *, cut: bool) -> list[Share]:
    slides = [f"/slides/{number}.svs" for number in range(len(works))]
    return [
        divide(slides, works, shard=(number, count), cut=cut)
        for number in range(1, count + 1)
    ]


def load(share: Share, works: list[int]) -> Fraction:
    return sum(
        ((part.end - part.begin) * works[part.place] for part in share.parts), Fraction(0)
    )


@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=40),
    st.integers(1, 12),
    st.booleans(),
)
@example(works=[0, 0], count=5, cut=True)
def test_all_shares_together_are_every_slide_once(
    works: list[int],
    count: int,
    cut: bool,  # noqa: FBT001 - hypothesis gives it
) -> None:
    parts = [part for share in shares(works, count, cut=cut) for part in share.parts]
    for place in range(len(works)):
        own = sorted((part.begin, part.end) for part in parts if part.place == place)
        edges = [begin for begin, _ in own] + [own[-1][1]]
        assert [edges[0], edges[-1]] == [Fraction(0), Fraction(1)]
        assert [end for _, end in own] == edges[1:]
        chunks = [
            number for part in parts if part.place == place for number in part.chunks(97)
        ]
        assert sorted(chunks) == list(range(97))


@pytest.mark.parametrize("count", range(1, 6))
def test_of_seven_unequal_slides_no_share_is_a_quarter_too_large(count: int) -> None:
    found = shares(SEVEN, count, cut=True)
    mean = Fraction(sum(SEVEN), count)
    assert max(load(each, SEVEN) for each in found) <= Fraction(5, 4) * mean


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=60), st.integers(1, 20))
def test_where_slides_may_be_cut_shares_differ_by_a_tenth(
    works: list[int], count: int
) -> None:
    mean = Fraction(sum(works), count)
    found = shares(works, count, cut=True)
    assert max(load(each, works) for each in found) <= Fraction(11, 10) * mean


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=60), st.integers(1, 20))
def test_whole_slides_are_shared_out_as_well_as_the_largest_allows(
    works: list[int], count: int
) -> None:
    found = shares(works, count, cut=False)
    assert all(part.is_whole for share in found for part in share.parts)
    most = max(load(each, works) for each in found)
    assert most <= Fraction(sum(works), count) + max(works)


def test_who_divides_otherwise_has_another_division() -> None:
    same, *others = (
        divide(["a.svs", "b.svs"], [1, 2], shard=(1, 2), cut=True),
        divide(["a.svs", "c.svs"], [1, 2], shard=(2, 2), cut=True),
        divide(["a.svs", "b.svs"], [1, 3], shard=(2, 2), cut=True),
        divide(["a.svs", "b.svs"], [1, 2], shard=(2, 3), cut=True),
        divide(["a.svs", "b.svs"], [1, 2], shard=(2, 2), cut=False),
    )
    assert same.division not in {each.division for each in others}
    elsewhere = divide(["/mnt/a.svs", "/mnt/b.svs"], [1, 2], shard=(2, 2), cut=True)
    assert elsewhere.division == same.division


def test_a_share_can_do_without_slides_that_failed() -> None:
    share = divide(["a", "b", "c"], [1, 1, 1], shard=(1, 1), cut=True)
    assert share.of({"a", "c"}).places == [0, 2]
    assert Part(place=0, slide="a", end=Fraction(1, 2)).is_whole is False


@pytest.mark.parametrize("wrong", [(0, 4), (5, 4), (1, 0), (-1, 2)])
def test_there_is_no_shard_0(wrong: tuple[int, int]) -> None:
    with pytest.raises(ParameterError, match="counted from 1"):
        parse_shard(wrong)


@pytest.mark.parametrize("wrong", ["1/4", 1, (1,), (1.0, 2), (True, 2), None])
def test_a_shard_is_a_pair_of_whole_numbers(wrong: object) -> None:
    with pytest.raises(ParameterTypeError, match="shard must be a pair"):
        parse_shard(wrong)
