from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dplabtools.errors import InvalidLocationError
from dplabtools.geometry.resolution import Level
from dplabtools.records.patch_table import PatchRow, PatchTable

corners = st.integers(-(2**40), 2**40)
sides = st.integers(1, 2**20)
labels = st.sampled_from(["", "a", "b", "tumor", "µ"])
tables_of_rows = st.lists(
    st.tuples(st.tuples(corners, corners), st.tuples(sides, sides), labels)
)


def table(rows: list[PatchRow], **changes: Any) -> PatchTable:
    return PatchTable.from_rows(
        rows, **{"slide": "/f/a.svs", "resolution": Level(0), **changes}
    )


@given(tables_of_rows)
def test_rows_come_back_as_they_were(rows: list[PatchRow]) -> None:
    made = table(rows)
    assert made.rows() == rows
    assert len(made) == len(rows)
    assert list(made.row_labels()) == [label for _, _, label in rows]
    sent: PatchTable = pickle.loads(pickle.dumps(made))
    assert sent.rows() == rows
    assert (sent.slide, sent.labels) == (made.slide, made.labels)


@given(tables_of_rows, st.sets(labels))
def test_selecting_keeps_rows_in_order(rows: list[PatchRow], wanted: set[str]) -> None:
    selected = table(rows).select(wanted)
    assert selected.rows() == [row for row in rows if row[2] in wanted]
    assert selected.labels == tuple(sorted({row[2] for row in rows} & wanted))


def test_labels_that_no_patch_has_are_counted() -> None:
    made = table([((0, 0), (1, 1), "b")], labels=["c", "a"])
    assert made.labels == ("a", "b", "c")
    assert made.counts() == {"a": 0, "b": 1, "c": 0}
    assert made.select(["a", "b"]).labels == ("b",)


def test_a_table_cannot_be_written_to() -> None:
    made = table([((0, 0), (1, 1), "b")])
    for column in (made.origins, made.sizes, made.codes):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1
    with pytest.raises(AttributeError):
        made.slide = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    "row",
    [
        ((0, 0), (1, 1), None),
        ((0, 0), (1, 1), 3),
        ((0, 0.5), (1, 1), "a"),
        ((0,), (1, 1), "a"),
        ((0, 0, 0), (1, 1), "a"),
        ((0, 0), (0, 1), "a"),
        ((0, 0), "ab", "a"),
        ((0, 0), (1, 1)),
        None,
    ],
)
def test_a_row_in_another_form_is_refused_by_name(row: Any) -> None:
    with pytest.raises(InvalidLocationError, match=r"^a\.svs: "):
        table([((0, 0), (1, 1), "a"), row])


def test_columns_have_one_length() -> None:
    one, two = np.zeros((1, 2), dtype=np.int64), np.zeros((2, 2), dtype=np.int64)
    with pytest.raises(InvalidLocationError, match=r"^a\.svs: 2 labels"):
        PatchTable(
            slide="a.svs",
            resolution=Level(0),
            origins=one,
            sizes=two,
            codes=np.zeros(2, dtype=np.int64),
            labels=("a",),
        )
