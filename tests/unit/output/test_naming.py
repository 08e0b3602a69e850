from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dplabtools.geometry.resolution import Level, Mpp
from dplabtools.output.naming import Naming, escape, new_manifest_id
from dplabtools.testing.sink import plan_of

RESERVED = re.compile(r"(?i)con|prn|aux|nul|com\d|lpt\d")
texts = st.text(st.sampled_from([*"./\\%2fFEe0c~ \n\0", *"conul1"])) | st.text()


@given(st.sets(texts, max_size=30))
@example({"a/b", "a%2Fb", "a%252Fb", "a%2fb"})
@example({"nul", "%6Eul", "NUL", "%4EUL"})
@example({".", "%2E", "..", "%2E%2E", "%2E."})
def test_no_two_texts_have_the_same_name(given_texts: set[str]) -> None:
    assert len({escape(text) for text in given_texts}) == len(given_texts)


@given(texts)
@example("nul")
@example("COM1.txt")
def test_a_name_never_leaves_its_folder(text: str) -> None:
    name = escape(text)
    assert not name.startswith(".")
    assert not re.search(r"[/\\\x00-\x1f\x7f]", name)
    assert not RESERVED.fullmatch(name.partition(".")[0])
    assert len(PurePosixPath(name).parts) <= 1


@given(st.text(st.sampled_from("abcXYZ019 _-+(),µé")))
@example("50% fat")
@example("a.b")
@example("console")
@example("common")
def test_what_is_harmless_stays_as_it_is(text: str) -> None:
    assert escape(text) == text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("nul", "%6Eul"),
        ("COM1.txt", "%43OM1.txt"),
        ("a/b", "a%2Fb"),
        (".hidden", "%2Ehidden"),
    ],
)
def test_what_is_not_stands_as_its_code(text: str, name: str) -> None:
    assert escape(text) == name


def naming(**changes: Any) -> Naming:
    given: dict[str, Any] = {
        "image_type": "png",
        "comment": "",
        "separator": "_",
        "subdirs": False,
        "sets": False,
        "first_set": None,
    }
    return Naming(**{**given, **changes})


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "slide4_ID_a_x0_y7.png"),
        ({"comment": "c", "separator": "--"}, "slide4--ID--c--a--x0--y7.png"),
        ({"separator": "."}, "slide4.ID.a.x0.y7.png"),
        ({"separator": "/../"}, "slide4%2F..%2FID%2F..%2Fa%2F..%2Fx0%2F..%2Fy7.png"),
        ({"comment": "../c"}, "slide4_ID_%2E%2E%2Fc_a_x0_y7.png"),
        ({"subdirs": True}, "a/slide4_ID_a_x0_y7.png"),
        ({"sets": True}, "slide4__set9/slide4_ID_level0_a_x0_y7.png"),
        ({"sets": True, "first_set": 1}, "set9/slide4_ID_level0_a_x0_y7.png"),
        (
            {"sets": True, "first_set": 1, "subdirs": True},
            "a/set9/slide4_ID_level0_a_x0_y7.png",
        ),
    ],
)
def test_names(changes: dict[str, Any], name: str) -> None:
    names = naming(**changes).names(plan_of(4, [(8, 8)]), "ID", first_set=9)
    assert (len(names), names[0]) == (1, (name,))


def test_each_resolution_has_a_file() -> None:
    plan = plan_of(4, [(8, 8)] * 2, views=[Mpp(0.7), Level(2)])
    names = naming(sets=True).names(plan, "ID", first_set=1)
    assert names.of(np.array([1]))[0] == names[1]
    assert [names[row] for row in range(2)] == [
        (
            "slide4__set1/slide4_ID_mpp0.7_a_x0_y7.png",
            "slide4__set1/slide4_ID_level2_a_x0_y7.png",
        ),
        (
            "slide4__set2/slide4_ID_mpp0.7_b_x100_y7.png",
            "slide4__set2/slide4_ID_level2_b_x100_y7.png",
        ),
    ]


def test_manifest_ids_are_random() -> None:
    ids = {new_manifest_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch("[a-z0-9]{8}", each) for each in ids)
