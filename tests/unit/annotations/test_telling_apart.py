"""Annotation files are told apart by what is in them, not by their names."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from dplabtools.annotations.opening import read_annotations
from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.errors import (
    InvalidPolygonError,
    MissingAnnotationError,
    NoAnnotationsError,
)

SQUARE = [(0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0)]
ASAP = """<?xml version="1.0"?>
<ASAP_Annotations><Annotations>
<Annotation Name="one" Type="Polygon" PartOfGroup="{group}" Color="#F4FA58"><Coordinates>
<Coordinate Order="0" X="0" Y="0"/><Coordinate Order="1" X="9" Y="0"/>
<Coordinate Order="2" X="9" Y="9"/><Coordinate Order="3" X="0" Y="9"/>
</Coordinates></Annotation></Annotations></ASAP_Annotations>"""
SEDEEN = """<session><image><overlays>
<graphic type="polygon" name="stroma"><pen color="#ff00ff00"/><point-list>
<point>0,0</point><point>9,0</point><point>9,9</point><point>0,9</point></point-list>
</graphic></overlays></image></session>"""
FEATURE = {
    "type": "Feature",
    "geometry": {"type": "Polygon", "coordinates": [[*SQUARE, SQUARE[0]]]},
    "properties": {"classification": {"name": "tumour"}},
}


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (ASAP.format(group="tumour"), "tumour"),
        (ASAP.format(group="None"), "one"),
        (SEDEEN, "stroma"),
        (json.dumps({"type": "FeatureCollection", "features": [FEATURE]}), "tumour"),
        ("\ufeff" + json.dumps([FEATURE]), "tumour"),
        (json.dumps(FEATURE), "tumour"),
        (json.dumps([AnnotationPolygon(SQUARE, "mine").data_dict]), "mine"),
    ],
)
def test_each_kind_is_read_with_its_labels(text: str, label: str, tmp_path: Path) -> None:
    for name, content in (
        ("plain", text.encode("utf-8")),
        ("packed", gzip.compress(text.encode("utf-8"))),
    ):
        (tmp_path / name).write_bytes(content)
        (polygon,) = read_annotations(tmp_path / name)
        assert polygon.label == label
        assert polygon.points[:4] == SQUARE


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("<other/>", "neither of ASAP nor of Sedeen"),
        ("<broken", "no valid XML"),
        ("[", "no valid JSON"),
        ("[]", "has no polygons"),
        ('{"points": []}', "has no polygons"),
        ('[{"points": []}]', "object with the keys"),
        ('{"type": "FeatureCollection", "features": []}', "has no polygons"),
    ],
)
def test_something_else_is_refused(text: str, wrong: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(InvalidPolygonError, match=wrong):
        read_annotations(tmp_path / "file")


@pytest.mark.parametrize(
    "text",
    [
        ASAP.format(group="tumour"),
        json.dumps(FEATURE),
        json.dumps([AnnotationPolygon(SQUARE, "tumour", [SQUARE]).data_dict]),
    ],
)
def test_classes_are_chosen_in_each_kind(text: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text)
    (polygon,) = read_annotations(tmp_path / "file", classes={"tumour": 1, "other": 2})
    (before,) = read_annotations(tmp_path / "file")
    assert polygon == AnnotationPolygon(before.points, "1", before.holes)
    with pytest.raises(NoAnnotationsError, match=r"nothing remains.*1 of 'tumour'"):
        read_annotations(tmp_path / "file", classes={"other": 2})


def test_masks_take_outlines_without_a_class(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(json.dumps({**FEATURE, "properties": {}}))
    (polygon,) = read_annotations(tmp_path / "file", unclassified=True)
    assert polygon.label == ""
    with pytest.raises(NoAnnotationsError, match="1 without a class"):
        read_annotations(tmp_path / "file")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingAnnotationError, match=r"gone\.xml"):
        read_annotations(tmp_path / "gone.xml")
