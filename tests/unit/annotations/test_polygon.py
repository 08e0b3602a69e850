from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dplabtools.annotations.json import dump_polygons, parse_polygons
from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.errors import (
    InvalidPolygonError,
    MissingAnnotationError,
    ParameterTypeError,
)

POINTS = [(0, 0), (10, 0), (10, 8.5)]
HOLE = [(1, 1), (2, 1), (2, 2)]
POLYGON = AnnotationPolygon(POINTS, "tumor", [HOLE])
ITEM = {"points": [[0, 0], [10, 0], [10, 8.5]], "label": "tumor", "holes": [[*HOLE]]}


def test_a_polygon_gives_back_what_it_got() -> None:
    assert POLYGON.points == POINTS
    assert POLYGON.label == "tumor"
    assert POLYGON.holes == [HOLE]
    assert str(POLYGON) == repr(POLYGON) == str([POINTS, "tumor", [HOLE]])
    assert json.loads(json.dumps(POLYGON.data_dict)) == json.loads(json.dumps(ITEM))


def test_polygons_are_equal_by_their_values() -> None:
    same = AnnotationPolygon(points=np.array(POINTS), label="tumor", holes=((*HOLE,),))
    assert same == POLYGON
    assert hash(same) == hash(POLYGON)
    assert AnnotationPolygon(POINTS, "tumor") != POLYGON
    assert AnnotationPolygon(POINTS, "stroma", [HOLE]) != POLYGON
    assert POLYGON != "tumor"


def test_a_polygon_cannot_be_changed_through_its_lists() -> None:
    POLYGON.points.append((5, 5))
    assert POLYGON.points == POINTS


def test_a_polygon_travels() -> None:
    assert pickle.loads(pickle.dumps(POLYGON)) == POLYGON


@pytest.mark.parametrize(
    "points",
    [
        POINTS[:2],
        [],
        [(0, 0), (1, 1), (float("nan"), 2)],
        [(0, 0), (1, 1), (float("inf"), 2)],
        [(0, 0), (1, 1), (2,)],
        [(0, 0), (1, 1), ("2", "3")],
        7,
    ],
)
def test_points_that_enclose_nothing_are_refused(points: Any) -> None:
    with pytest.raises(InvalidPolygonError, match="'a'"):
        AnnotationPolygon(points, "a")
    with pytest.raises(InvalidPolygonError, match="'a'"):
        AnnotationPolygon(POINTS, "a", [points])


def test_a_label_is_text() -> None:
    with pytest.raises(InvalidPolygonError, match="text"):
        AnnotationPolygon(POINTS, 3)  # type: ignore[arg-type]


def test_polygons_come_as_a_list_as_json_and_as_a_file(tmp_path: Path) -> None:
    text = dump_polygons([POLYGON])
    file = tmp_path / "polygons.json"
    file.write_text(text)
    for given in ([POLYGON], text, str(file), file):
        assert parse_polygons(given) == (POLYGON,)


def test_json_may_hold_no_polygons() -> None:
    assert parse_polygons("[]") == ()


@pytest.mark.parametrize(
    "given",
    [
        [],
        [ITEM],
        "",
        "{}",
        "3",
        '"text"',
        "[3]",
        "[{]",
        *(
            json.dumps([{key: value for key, value in ITEM.items() if key != missing}])
            for missing in ITEM
        ),
    ],
)
def test_other_content_is_a_value_error(given: Any) -> None:
    with pytest.raises(InvalidPolygonError):
        parse_polygons(given)


@pytest.mark.parametrize("given", [None, 3, (POLYGON,), POLYGON])
def test_other_types_are_a_type_error(given: Any) -> None:
    with pytest.raises(ParameterTypeError, match=r"^a\.svs: polygon_data must be"):
        parse_polygons(given, slide="a.svs")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(MissingAnnotationError, match=r"nowhere\.json"):
        parse_polygons("nowhere.json")
