from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest
import shapely

from dplabtools.errors import (
    AnnotationsLeftOutWarning,
    InvalidPolygonError,
    MissingAnnotationError,
    MissingLibraryError,
    OutputError,
    ParameterError,
    ParameterTypeError,
)
from dplabtools.slides.annotations import (
    AsapReader,
    GeoJsonReader,
    QuPathProjectReader,
    SedeenReader,
)
from dplabtools.slides.utils import AnnotationPolygon, PolygonData

ASAP = """<?xml version="1.0"?>
<ASAP_Annotations><Annotations>
<Annotation Name="A0" Type="Polygon" PartOfGroup="Tumor" Color="#F4FA58"><Coordinates>
<Coordinate Order="1" X="10,6" Y="0" /><Coordinate Order="0" X="0.2" Y="0" />
<Coordinate Order="2" X="10" Y="8.5" /></Coordinates></Annotation>
<Annotation Name="D" Type="Dot" PartOfGroup="None" Color="#ffffff"><Coordinates>
<Coordinate Order="0" X="5" Y="5" /></Coordinates></Annotation>
<Annotation Name="R" Type="Rectangle" PartOfGroup="None" Color="#00FF00"><Coordinates>
<Coordinate Order="0" X="1" Y="1" /><Coordinate Order="1" X="3" Y="1" />
<Coordinate Order="2" X="3" Y="3" /><Coordinate Order="3" X="1" Y="3" />
</Coordinates></Annotation>
</Annotations><AnnotationGroups/></ASAP_Annotations>"""
SEDEEN = """<?xml version="1.0"?>
<session><image><overlays>
<graphic type="polygon" name="one" description="d"><pen color="#ff00AA80" width="3"/>
<point-list><point>0,0</point><point>10.4,0</point><point>10,8</point></point-list></graphic>
<graphic type="ellipse" name="two" description=""><pen color="#0000ff"/>
<point-list><point>0,0</point><point>200,0</point><point>200,100</point><point>0,100</point>
</point-list></graphic>
<graphic type="text" name="no"><pen color="#ffff0000"/>
<point-list><point>0,0</point></point-list></graphic>
</overlays></image></session>"""
BOMB = """<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><b>&b;</b>"""
EXTERNAL = """<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a SYSTEM "file:///etc/passwd">]>
<b>&a;</b>"""
RING = [[0, 0], [20, 0], [20, 20], [0, 20], [0, 0]]
HOLE = [[5, 5], [10, 5], [10, 10], [5, 5]]


def written(folder: Path, text: str | bytes, name: str = "a.xml") -> Path:
    file = folder / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def by_name(**attributes: Any) -> str:
    return str(attributes.get("Name", attributes.get("name")))


def test_asap_polygons_rectangles_and_their_attributes(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    def label(**attributes: Any) -> str:
        seen.append(attributes)
        return str(attributes["PartOfGroup"])

    reader = AsapReader(data_file=written(tmp_path, ASAP), get_label_fn=label)
    assert reader.polygons == [
        AnnotationPolygon([(0, 0), (11, 0), (10, 8)], "Tumor"),
        AnnotationPolygon([(1, 1), (3, 1), (3, 3), (1, 3)], "None"),
    ]
    assert all(type(value) is int for value in reader.polygons[0].points[0])
    documented = {"Type", "Name", "PartOfGroup", "Color", "points", "user_label"}
    assert set(seen[0]) == {*documented, "color"}
    assert (seen[0]["Type"], seen[0]["Color"]) == ("Polygon", "#f4fa58")
    assert reader.polygons is not reader.polygons


def test_asap_functions_of_certain_keywords_get_no_others(tmp_path: Path) -> None:
    def label(
        Type: str,  # noqa: N803
        Name: str,  # noqa: N803
        PartOfGroup: str,  # noqa: N803
        Color: str,  # noqa: N803
        points: Any,
        user_label: str,
    ) -> str:
        assert len(points) >= 3
        return f"{Type} {Name} {PartOfGroup} {Color} {user_label}"

    reader = AsapReader(data_file=written(tmp_path, ASAP), get_label_fn=label)
    assert reader.polygons[0].label == "Polygon A0 Tumor #f4fa58 A0"


def test_sedeen_polygons_ellipses_and_their_attributes(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    def label(**attributes: Any) -> str:
        seen.append(attributes)
        return by_name(**attributes)

    reader = SedeenReader(data_file=written(tmp_path, SEDEEN), get_label_fn=label)
    first, second = reader.polygons
    assert first == AnnotationPolygon([(0, 0), (10, 0), (10, 8)], "one")
    assert set(seen[0]) == {
        "type", "name", "description", "color", "points", "user_label",
    }  # fmt: skip
    assert [each["color"] for each in seen] == ["#ff00AA", "#0000ff"]  # without the alpha
    assert len(second.points) == 65
    ellipse = shapely.Polygon(second.points)
    assert ellipse.bounds == (0, 0, 200, 100)
    assert ellipse.area == pytest.approx(np.pi * 100 * 50, rel=0.01)


def test_polygons_are_saved_in_the_form_that_is_read(tmp_path: Path) -> None:
    reader = AsapReader(data_file=written(tmp_path, ASAP), get_label_fn=by_name)
    reader.save_json(tmp_path / "a.json")
    assert PolygonData(polygon_data=tmp_path / "a.json").polygons == reader.polygons
    with pytest.raises(OutputError, match="nowhere"):
        reader.save_json(tmp_path / "nowhere" / "a.json")


@pytest.mark.parametrize("kind", [AsapReader, SedeenReader])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "declares entities"),
        (EXTERNAL, "declares entities"),
        ("<a><b></a>", "no valid XML"),
        ("", "no valid XML"),
        ("\x00\x01", "no valid XML"),
        (ASAP.replace('Y="8.5"', 'Y="x"'), "annotation 0: .*number"),
        (ASAP.replace('Y="8.5"', 'Y="nan"'), "annotation 0: .*number"),
        (ASAP.replace('<Coordinate Order="1" X="10,6" Y="0" />', ""), "annotation 0: .*3"),
        (ASAP.replace('<Coordinate Order="3" X="1" Y="3" />', ""), "annotation 2: .*4"),
        (SEDEEN.replace("<point>10,8</point>", ""), "annotation 0: .*3"),
        (SEDEEN.replace("<point>0,100</point>", ""), "annotation 1: .*4"),
        (SEDEEN.replace("10,8", "10;8"), "annotation 0: .*10;8"),
        (SEDEEN.replace("10,8", "inf,8"), "annotation 0: .*finite"),
    ],
)
def test_xml_that_is_none_or_dangerous(
    tmp_path: Path, kind: Any, text: str, message: str
) -> None:
    other = "session" if kind is AsapReader else "ASAP"
    if other in text:
        assert kind(data_file=written(tmp_path, text), get_label_fn=by_name).polygons == []
        return
    with pytest.raises(InvalidPolygonError, match=message) as caught:
        kind(data_file=written(tmp_path, text), get_label_fn=by_name)
    assert "a.xml" in str(caught.value)


def test_labels_are_text(tmp_path: Path) -> None:
    file = written(tmp_path, ASAP)
    with pytest.raises(InvalidPolygonError, match="get_label_fn must return text, or None"):
        AsapReader(data_file=file, get_label_fn=lambda **_: 3)  # type: ignore[arg-type]


def test_missing_files_are_named(tmp_path: Path) -> None:
    for read in (
        lambda file: AsapReader(data_file=file, get_label_fn=by_name),
        lambda file: SedeenReader(data_file=file, get_label_fn=by_name),
        lambda file: GeoJsonReader(data_file=file),
    ):
        with pytest.raises(MissingAnnotationError, match="nowhere"):
            read(tmp_path / "nowhere.xml")


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "id": "x", "geometry": geometry, "properties": properties}


POLYGON = {"type": "Polygon", "coordinates": [RING, HOLE]}


def geojson(folder: Path, content: Any) -> GeoJsonReader:
    return GeoJsonReader(data_file=written(folder, json.dumps(content), "a.geojson"))


@pytest.mark.parametrize(
    ("classification", "label"),
    [
        ({"name": "Tumor", "color": [200, 0, 0]}, "Tumor"),
        (json.dumps({"name": "Tumor", "color": [200, 0, 0]}), "Tumor"),
        ({"names": ["Tumor", "Positive"]}, "Tumor: Positive"),
        ("Tumor", "Tumor"),
    ],
)
def test_geojson_classes_in_whatever_form(
    tmp_path: Path, classification: Any, label: str
) -> None:
    item = feature(POLYGON, objectType="annotation", classification=classification)
    expected = [AnnotationPolygon(RING[:-1], label, [HOLE[:-1]])]
    for content in ({"type": "FeatureCollection", "features": [item]}, [item], item):
        assert geojson(tmp_path, content).polygons == expected


def test_geojson_parts_islands_and_other_kinds(tmp_path: Path) -> None:
    island = [[6, 6], [7, 6], [7, 7], [6, 6]]
    many = {"type": "MultiPolygon", "coordinates": [[RING, HOLE], [island]]}
    point = {"type": "Point", "coordinates": [1, 1]}
    line = {"type": "LineString", "coordinates": [[1, 1], [2, 2]]}
    items = [feature(each, classification="Tumor") for each in (point, many, line)]
    reader = geojson(tmp_path, items)
    assert [len(polygon.holes) for polygon in reader.polygons] == [1, 0]
    assert reader.polygons[1].points == [(6, 6), (7, 6), (7, 7)]


def test_geojson_may_be_gzipped(tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps([feature(POLYGON, classification="a")]).encode())
    file = written(tmp_path, packed, "a.geojson.gz")
    assert len(GeoJsonReader(data_file=file).polygons) == 1
    with pytest.raises(InvalidPolygonError, match="cannot be read"):
        GeoJsonReader(data_file=written(tmp_path, packed[:40], "b.gz"))


def test_geojson_labels_by_function(tmp_path: Path) -> None:
    item = feature(
        POLYGON, name="n", color=-65536, objectType="annotation", measurements={"a": 1}
    )
    seen: list[dict[str, Any]] = []

    def label(**attributes: Any) -> str:
        seen.append(attributes)
        return "mine"

    file = written(tmp_path, json.dumps([item]))
    assert GeoJsonReader(data_file=file, get_label_fn=label).polygons[0].label == "mine"
    assert seen[0] == {
        "name": "n",
        "classification": "",
        "color": [255, 0, 0],
        "object_type": "annotation",
        "measurements": {"a": 1},
        "points": RING[:-1],
    }


@pytest.mark.parametrize(
    "content",
    [
        3,
        {},
        {"type": "FeatureCollection"},
        [3],
        [{"type": "Feature", "geometry": None}],
        [feature({"type": "Polygon"})],
        [feature({"type": "Polygon", "coordinates": []})],
        [feature({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 0]]]})],
        [feature({"type": "Polygon", "coordinates": [[[0, "a"], [1, 1], [2, 0]]]})],
        [feature({"type": "MultiPolygon", "coordinates": [3]})],
        [{"type": "Feature", "geometry": POLYGON, "properties": 3}],
    ],
)
def test_json_that_is_no_geojson(tmp_path: Path, content: Any) -> None:
    with pytest.raises(InvalidPolygonError, match=r"a\.geojson"):
        GeoJsonReader(
            data_file=written(tmp_path, json.dumps(content), "a.geojson"), all_objects=True
        )


def objects_of_all_kinds() -> list[dict[str, Any]]:
    """What QuPath exports when nobody has tidied up."""
    old = {**feature(POLYGON, classification="Tumor"), "id": "PathDetectionObject"}
    return [
        feature(POLYGON, objectType="annotation", classification={"name": "Tumor"}),
        feature(POLYGON, objectType="annotation", classification={"name": "Stroma"}),
        feature(POLYGON, objectType="annotation"),
        feature(POLYGON, objectType="annotation", name="not yet"),
        feature(POLYGON, objectType="annotation", classification={"name": "Ignore*"}),
        feature(POLYGON, objectType="cell", classification={"name": "Tumor"}),
        feature(POLYGON, objectType="detection"),
        feature(POLYGON, objectType="tile", classification={"name": "Tumor"}),
        old,
        feature({"type": "Point", "coordinates": [1, 1]}, objectType="annotation"),
    ]


def everything(folder: Path, **options: Any) -> list[str]:
    file = written(folder, json.dumps(objects_of_all_kinds()), "a.geojson")
    return [each.label for each in GeoJsonReader(data_file=file, **options).polygons]


def test_what_nobody_classified_and_what_programs_found_is_left_out(tmp_path: Path) -> None:
    with pytest.warns(AnnotationsLeftOutWarning) as caught:
        assert everything(tmp_path) == ["Tumor", "Stroma"]
    (warning,) = caught
    assert "a.geojson: left out are objects" in str(warning.message)
    for count in (
        "2 without a class",
        "1 of classes to ignore",
        "4 detections, cells or tiles",
        "all_objects",
        "--all-objects",
    ):
        assert count in str(warning.message)
    assert warning.filename == __file__


def test_all_objects_can_be_had(tmp_path: Path) -> None:
    labels = everything(tmp_path, all_objects=True)
    assert labels == [
        *("Tumor", "Stroma", "", "", "Ignore*", "Tumor", "", "Tumor", "Tumor"),
    ]


def test_a_map_of_classes_chooses_and_renames(tmp_path: Path) -> None:
    with pytest.warns(AnnotationsLeftOutWarning, match="objects 4 detections, [^;]*; all"):
        assert everything(tmp_path, classes={"Stroma": 2, "Tumor": 1}) == ["1", "2"]
    with pytest.warns(AnnotationsLeftOutWarning, match="4 detections"):
        labels = everything(tmp_path, classes={"": "none", "Ignore*": "other"})
    assert labels == ["none", "none", "other"]
    labels = everything(tmp_path, classes={"Tumor": 1}, all_objects=True)
    assert labels == ["1"] * 4


def test_a_function_is_asked_about_annotations_of_any_class_and_none(
    tmp_path: Path,
) -> None:
    def label(*, name: str, classification: str, **_: object) -> str | None:
        return classification.rstrip("*").lower() or name or None

    with pytest.warns(AnnotationsLeftOutWarning, match="4 detections"):
        labels = everything(tmp_path, get_label_fn=label)
    assert labels == ["tumor", "stroma", "not yet", "ignore"]


def test_an_annotation_file_of_which_nothing_remains_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidPolygonError, match="nothing remains") as caught:
        everything(tmp_path, classes={"Tumour": 1})
    assert "1 of 'Tumor', 1 of 'Stroma', 2 of 'no class'" in str(caught.value)
    assert "--classes" in str(caught.value)
    items = [feature(POLYGON), feature(POLYGON, classification="Ignore*")]
    with pytest.raises(InvalidPolygonError, match="1 without a class, 1 of classes to"):
        geojson(tmp_path, items)
    assert geojson(tmp_path, {"type": "FeatureCollection", "features": []}).polygons == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"classes": {}}, ParameterError, "classes is empty"),
        ({"classes": ["Tumor"]}, ParameterTypeError, "must be a dict"),
        ({"classes": {1: "Tumor"}}, ParameterTypeError, "must be a dict"),
        ({"classes": {"Tumor": 1.5}}, ParameterTypeError, "must be a dict"),
        (
            {"classes": {"Tumor": 1}, "get_label_fn": by_name},
            ParameterError,
            "either classes or get_label_fn",
        ),
    ],
)
def test_classes_that_are_no_map(
    tmp_path: Path, options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        everything(tmp_path, **options)


@pytest.mark.parametrize(("kind", "text"), [(AsapReader, ASAP), (SedeenReader, SEDEEN)])
def test_functions_may_leave_annotations_out(tmp_path: Path, kind: Any, text: str) -> None:
    def label(**attributes: Any) -> str | None:
        name = by_name(**attributes)
        return name if name in {"A0", "two"} else None

    reader = kind(data_file=written(tmp_path, text), get_label_fn=label)
    assert [each.label for each in reader.polygons] in (["A0"], ["two"])


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_text_that_is_no_json(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidPolygonError, match="no valid JSON"):
        GeoJsonReader(data_file=written(tmp_path, text))


class FakeProject:
    """What the reader uses of paquo."""

    def __init__(self, path: Path, mode: str) -> None:
        assert path.is_dir()
        assert mode == "r"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    @property
    def images(self) -> list[Any]:
        tumor, ignored = SimpleNamespace(name="Tumor"), SimpleNamespace(name="Ignore*")
        ring = shapely.Polygon(RING, [HOLE])
        two = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(2, 2, 3, 3)])
        annotations = [
            SimpleNamespace(roi=ring, path_class=tumor),
            SimpleNamespace(roi=two, path_class=None),
            SimpleNamespace(roi=shapely.Point(1, 1), path_class=tumor),
            SimpleNamespace(roi=shapely.box(0, 0, 5, 5), path_class=ignored),
        ]
        cells = [SimpleNamespace(roi=shapely.box(0, 0, 2, 2), path_class=tumor)]
        hierarchy = SimpleNamespace(annotations=annotations, detections=cells)
        return [SimpleNamespace(image_name="a.svs", hierarchy=hierarchy)]


@pytest.fixture
def paquo(monkeypatch: pytest.MonkeyPatch) -> None:
    paquo, projects = ModuleType("paquo"), ModuleType("paquo.projects")
    projects.QuPathProject = FakeProject  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "paquo", paquo)
    monkeypatch.setitem(sys.modules, "paquo.projects", projects)
    monkeypatch.delenv("PAQUO_QUPATH_DIR", raising=False)


def project(folder: Path, **options: Any) -> QuPathProjectReader:
    return QuPathProjectReader(
        qupath_install_dir=folder, qupath_project_dir=folder, **options
    )


@pytest.mark.usefixtures("paquo")
def test_a_qupath_project_leaves_out_what_an_export_does(tmp_path: Path) -> None:
    with pytest.warns(
        AnnotationsLeftOutWarning, match="1 without a class, 1 of classes to ignore"
    ):
        ((_, polygons),) = project(tmp_path).project_data
    assert [polygon.label for polygon in polygons] == ["Tumor"]
    ((_, polygons),) = project(tmp_path, classes={"Tumor": 7}).project_data
    assert [polygon.label for polygon in polygons] == ["7"]
    with pytest.raises(InvalidPolygonError, match="nothing remains"):
        project(tmp_path, classes={"Stroma": 7})


@pytest.mark.usefixtures("paquo")
def test_a_qupath_project(tmp_path: Path) -> None:
    reader = project(tmp_path, all_objects=True)
    ((name, polygons),) = reader.project_data
    assert name == "a.svs"
    assert [each.label for each in polygons] == ["Tumor", "", "", "Ignore*", "Tumor"]
    assert [len(polygon.holes) for polygon in polygons] == [1, 0, 0, 0, 0]
    assert len(polygons[0].points) == 4
    reader.save_json(tmp_path)
    assert PolygonData(polygon_data=tmp_path / "a.svs.json").polygons == polygons
    with pytest.raises(MissingAnnotationError, match="nowhere"):
        QuPathProjectReader(qupath_install_dir=tmp_path, qupath_project_dir="nowhere")


def test_a_qupath_project_without_paquo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "paquo", None)
    monkeypatch.setenv("PAQUO_QUPATH_DIR", "")
    with pytest.raises(MissingLibraryError, match=r"dplabtools-next\[qupath\]") as caught:
        QuPathProjectReader(qupath_install_dir=tmp_path, qupath_project_dir=tmp_path)
    assert isinstance(caught.value, ImportError)
