from __future__ import annotations

import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest

from dplabtools.errors import (
    DuplicatePatchesError,
    InvalidLocationError,
    ResolutionTypeError,
)
from dplabtools.slides.patches._mock import PatchesMock

ROWS = [((0, 5), (32, 16), "b"), ((-7, 3), (8, 8), "a"), ((9, 9), (8, 8), "b")]


def mock(**changes: Any) -> PatchesMock:
    return PatchesMock(
        **{"patch_data": ROWS, "wsi_file": "f/s.svs", "level_or_mpp": 1, **changes}
    )


def test_a_mock_gives_back_what_it_got() -> None:
    patches = mock()
    assert patches.patch_data == ROWS
    assert patches.patch_count == 3
    assert patches.patch_info == {"a": 1, "b": 2}
    assert patches.patch_labels == ["a", "b"]
    assert (patches.level_or_mpp, patches.wsi_file) == (1, "f/s.svs")
    assert patches.table.rows() == ROWS


def test_a_mock_goes_by_its_own_name_or_another() -> None:
    assert mock().class_name == "PatchesMock"
    assert mock().param_info["level_or_mpp"] == 1
    assert mock().param_info["patch_data"] == ROWS
    named = mock(class_name="Mine", class_params={"a": 1})
    assert (named.class_name, named.param_info) == ("Mine", {"a": 1})


def test_parameters_hold_the_patches_and_no_list_of_the_caller() -> None:
    rows, labels = list(ROWS), ["b", "a", "c"]
    patches = mock(patch_data=rows, patch_labels=labels)
    rows.clear()
    labels.clear()
    assert patches.param_info == {
        "patch_data": ROWS,
        "wsi_file": "f/s.svs",
        "level_or_mpp": 1,
        "patch_labels": ["b", "a", "c"],
        "check_location": True,
        "class_name": None,
        "class_params": {},
    }
    patches.param_info["patch_data"].clear()
    assert patches.param_info["patch_data"] == ROWS


def test_rows_of_the_caller_do_not_outlive_the_constructor() -> None:
    class Rows(list[Any]):
        """A list that can be referred to weakly."""

    rows = Rows(ROWS)
    kept = weakref.ref(rows)
    patches = mock(patch_data=rows)
    del rows
    gc.collect()
    assert kept() is None
    assert patches.patch_data == ROWS


def test_other_patches_of_a_slide_go_by_the_same_name_and_parameters() -> None:
    named = mock(class_name="Mine", class_params={"a": 1})
    some = named.with_table(named.table.take(np.array([2])))
    assert (some.patch_data, named.patch_data) == (ROWS[2:], ROWS)
    assert (some.class_name, some.param_info) == ("Mine", {"a": 1})
    own = mock().with_table(named.table.take(np.array([2])))
    assert own.param_info["patch_data"] == ROWS[2:]


def test_listed_labels_are_counted_even_if_no_patch_has_them() -> None:
    assert mock(patch_labels=["b", "c", "a"]).patch_info == {"a": 1, "b": 2, "c": 0}


def test_unlisted_labels_are_refused() -> None:
    with pytest.raises(InvalidLocationError, match=r"^s\.svs: .*lacks: a"):
        mock(patch_labels=["b", "c"])


def test_the_same_location_twice_is_refused_unless_allowed() -> None:
    twice = [*ROWS, ((0, 5), (8, 8), "a")]
    with pytest.raises(DuplicatePatchesError, match=r"^s\.svs: 1 patches .* \(0, 5\)"):
        mock(patch_data=twice)
    assert mock(patch_data=twice, check_location=False).patch_count == 4


def test_there_may_be_no_patches() -> None:
    assert mock(patch_data=[], patch_labels=["a"]).patch_info == {"a": 0}


@pytest.mark.parametrize("level", [1.5, np.int64(1), np.float32(0.5)])
def test_levels_and_mpps_may_come_from_numpy(level: Any) -> None:
    assert mock(level_or_mpp=level).level_or_mpp == pytest.approx(float(level))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"patch_data": [((0, 0), (8, 8))]}, InvalidLocationError),
        ({"patch_data": [((0, 0.5), (8, 8), "a")]}, InvalidLocationError),
        ({"patch_data": [((0, 0), (8, 0), "a")]}, InvalidLocationError),
        ({"patch_data": [((0, 0), (8, 8), 3)]}, InvalidLocationError),
        ({"level_or_mpp": None}, ResolutionTypeError),
        ({"level_or_mpp": True}, ResolutionTypeError),
        ({"level_or_mpp": 0.0}, ValueError),
        ({"unknown": 1}, TypeError),
    ],
)
def test_nonsense_is_refused(changes: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        mock(**changes)


def test_a_mock_travels() -> None:
    assert pickle.loads(pickle.dumps(mock())).patch_data == ROWS
