"""Whatever decides what is written changes the fingerprint, and nothing else does."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dplabtools.geometry.resolution import parse_level_or_mpp
from dplabtools.output.run_folder.fingerprint import (
    Fingerprint,
    SlideIdentity,
    differences,
    plain,
)
from dplabtools.records.patch_table import PatchTable

ROWS: list[Any] = [
    ((0, 0), (32, 24), "a"),
    ((60, 40), (32, 24), "b"),
    ((120, 80), (32, 24), "a"),
]


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    file = tmp_path / "a.svs"
    file.write_bytes(bytes(range(256)) * 1024)  # more than both ends
    return file


def table(slide: Path, rows: list[Any], number: float = 0, labels: Any = ()) -> PatchTable:
    resolution = parse_level_or_mpp(number)
    return PatchTable.from_rows(
        rows, slide=str(slide), resolution=resolution, labels=labels
    )


def of(slide: Path, rows: list[Any] = ROWS, number: float = 0, **more: Any) -> Fingerprint:
    return Fingerprint.of(table(slide, rows, number), more.pop("parameters", {}), **more)


def with_label(number: int, label: str) -> list[Any]:
    return [
        (place, size, label if index == number else old)
        for index, (place, size, old) in enumerate(ROWS)
    ]


@pytest.mark.parametrize(
    "rows",
    [
        [(*ROWS[0][:2], "b"), (*ROWS[1][:2], "a"), ROWS[2]],  # the same labels, swapped
        with_label(2, "b"),
        with_label(0, "c"),
        [((1, 0), (32, 24), "a"), *ROWS[1:]],
        [((0, 1), (32, 24), "a"), *ROWS[1:]],
        [((0, 0), (33, 24), "a"), *ROWS[1:]],
        [((0, 0), (32, 25), "a"), *ROWS[1:]],
        ROWS[:-1],
        [*ROWS, ROWS[0]],
        [ROWS[1], ROWS[0], ROWS[2]],
    ],
)
def test_which_patch_has_which_place_size_and_label_counts(
    slide: Path, rows: list[Any]
) -> None:
    before, after = of(slide), of(slide, rows)
    assert before.patches["sha256"] != after.patches["sha256"]
    assert before.sha256 != after.sha256
    assert before != after


def test_names_of_labels_count_where_their_numbers_are_the_same(slide: Path) -> None:
    renamed = [(place, size, {"a": "x", "b": "y"}[label]) for place, size, label in ROWS]
    assert of(slide).sha256 != of(slide, renamed).sha256


def test_a_level_is_no_mpp_and_coverage_and_columns_count(slide: Path) -> None:
    plain_table = table(slide, ROWS)
    shares = np.array([0.5, 0.6, 0.7], np.float32)
    found = {
        Fingerprint.of(each, {}).sha256
        for each in (
            plain_table,
            table(slide, ROWS, 1),
            table(slide, ROWS, 1.0),
            replace(plain_table, coverage=shares),
            replace(plain_table, coverage=shares[::-1].copy()),
        )
    }
    assert len(found) == 5


def test_parameters_and_a_stated_mpp_count(slide: Path) -> None:
    found = [
        of(slide),
        of(slide, parameters={"image_type": "png"}),
        of(slide, parameters={"image_type": "jpg"}),
        of(slide, parameters={"quality": 1}),
        of(slide, parameters={"quality": 1.0}),
        of(slide, slide_mpp=0.25),
        of(slide, slide_mpp=0.5),
    ]
    assert len({each.sha256 for each in found}) == len(found)
    assert len({each.parameters_sha256 for each in found}) == 5  # mpp is of the slide


def test_the_order_of_parameters_and_the_folder_do_not_count(slide: Path) -> None:
    before = of(slide, parameters={"a": (1, 2), "b": None})
    moved = slide.parent / "elsewhere" / slide.name
    moved.parent.mkdir()
    shutil.copy2(slide, moved)
    assert of(moved, parameters={"b": None, "a": [1, 2]}).sha256 == before.sha256


@pytest.mark.parametrize("where", [0, 65_535, -1, -65_536])
def test_either_end_of_the_slide_counts(slide: Path, where: int) -> None:
    before, times = of(slide), slide.stat()
    content = bytearray(slide.read_bytes())
    content[where] ^= 1
    slide.write_bytes(content)
    os.utime(slide, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = of(slide)
    assert before.slide.edges_sha256 != after.slide.edges_sha256
    assert before.sha256 != after.sha256


def test_name_size_and_time_of_the_slide_count(slide: Path) -> None:
    before = of(slide)
    os.utime(slide, (0, before.slide.mtime + 1))
    assert of(slide).slide == replace(before.slide, mtime=before.slide.mtime + 1)
    os.utime(slide, (0, before.slide.mtime))
    with slide.open("r+b") as file:
        file.seek(100_000)
        file.write(b"in the middle, of the same size")
    os.utime(slide, (0, before.slide.mtime))
    assert of(slide) == before
    other = slide.rename(slide.with_name("b.svs"))
    assert of(other).slide.name == "b.svs"


def test_a_slide_that_is_not_there_has_a_name_and_nothing_else(tmp_path: Path) -> None:
    expected = SlideIdentity(name="gone.svs", size=0, mtime=0, edges_sha256="")
    assert SlideIdentity.of(tmp_path / "gone.svs") == expected


def test_what_a_folder_holds_counts_beside_the_index_of_a_slide(slide: Path) -> None:
    index, folder = slide.rename(slide.with_suffix(".mrxs")), slide.with_suffix("")
    folder.mkdir()
    (folder / "Data0001.dat").write_bytes(b"12345")
    before = SlideIdentity.of(index)
    assert SlideIdentity.of(folder).edges_sha256 in before.edges_sha256
    (folder / "Data0001.dat").write_bytes(b"123456")
    longer = SlideIdentity.of(index)
    (folder / "Data0001.dat").rename(folder / "Data0002.dat")
    renamed = SlideIdentity.of(index)
    assert len({each.edges_sha256 for each in (before, longer, renamed)}) == 3


def test_changes_are_told_by_name() -> None:
    old = {"a": 1, "b": "x", "same": [1, 2], "gone": None}
    new = {"a": 1.0, "b": "y" * 200, "same": [1, 2], "more": 3}
    told = list(map(str, differences(old, new, prefix="p.")))
    assert told[0] == "p.a: 1 -> 1.0"
    assert told[1].startswith("p.b: 'x' -> 'yyy")
    assert told[1].endswith("y...")
    assert told[2:] == ["p.more: None -> 3"]


def test_values_become_what_json_gives_back() -> None:
    given = {1: (np.float32(0.5), np.int64(2), True), "b": b"icc", "c": {"d": slice(1)}}
    found = plain(given)
    assert found["1"] == [0.5, 2, True]
    assert [type(each) for each in found["1"]] == [float, int, bool]
    assert found["b"].startswith("sha256:")
    assert found["b"] != plain(b"other")
    assert found["c"] == {"d": "slice(None, 1, None)"}
