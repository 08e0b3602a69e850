from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dplabtools.errors import (
    DuplicatePatchesError,
    InvalidLocationError,
    MissingLibraryError,
    MissingLocationsError,
    MissingMppError,
    OutputError,
    ParameterError,
    ParameterTypeError,
    ResolutionError,
)
from dplabtools.slides.annotations import GeoJsonReader
from dplabtools.slides.patches import (
    MemPatchExtractorPool,
    PatchesMock,
    WholeImageGridPatches,
    WholeImageGridPatchesPool,
    read_locations,
    save_locations,
)
from dplabtools.testing.make_slide import make_slide

SIZE = (1024, 768)  # of the made slide: downsamples 1, 2 and 4, 0.5 microns, 20x
COORDS = [(0, 0), (128, 0), (0, 128), (896, 640)]
TRIDENT = {
    "patch_size": 64,
    "patch_size_level0": 128,
    "level0_magnification": 20,
    "target_magnification": 10,
    "overlap": 0,
    "name": "made",
    "savetodir": "out",
    "level0_width": SIZE[0],
    "level0_height": SIZE[1],
}
CLAM = {
    "patch_size": 64,
    "patch_level": 1,
    "downsample": (2.0, 2.0),
    "downsampled_level_dim": (512, 384),
    "level_dim": (512, 384),
    "name": "made",
    "save_path": "out",
}
ATLAS = {
    "patch_size": 64,
    "patch_size_level0": 128,
    "level0_magnification": 20,
    "target_magnification": 10,
    "overlap": 0,
    "level0_width": SIZE[0],
    "level0_height": SIZE[1],
    "wsi_path": "made.svs",
    "passport_version": 2,
}
TABLE: dict[str, Any] = {"level_or_mpp": 1, "frame": 0}
ROWS = [((0, 0), (64, 64), "b"), ((128, 64), (64, 64), "a"), ((-32, 0), (64, 64), "b")]


def trident(folder: Path, coords: Any = COORDS, **attributes: Any) -> Path:
    """Write coordinates as TRIDENT does; None removes an attribute."""
    file = folder / "made_patches.h5"
    with h5py.File(file, "w") as stream:
        dataset = stream.create_dataset(
            "coords", data=np.array(coords, dtype=np.int64), chunks=(1, 2),
            maxshape=(None, 2),
        )  # fmt: skip
        for name, value in {**TRIDENT, **attributes}.items():
            if value is not None:
                dataset.attrs[name] = value
    return file


def clam(folder: Path, coords: Any = COORDS, **attributes: Any) -> Path:
    file = folder / "made.h5"
    with h5py.File(file, "w") as stream:
        dataset = stream.create_dataset("coords", data=np.array(coords, dtype=np.int64))
        for name, value in {**CLAM, **attributes}.items():
            if value is not None:
                dataset.attrs[name] = value
    return file


def atlaspatch(folder: Path, rows: Any, **attributes: Any) -> Path:
    file = folder / "made.h5"
    with h5py.File(file, "w") as stream:
        stream["coords"] = np.array(rows, dtype=np.int32)
        stream["passports"] = np.array([b"made__x0_y0"] * len(rows), dtype="S160")
        for name, value in {**ATLAS, **attributes}.items():
            if value is not None:
                stream.attrs[name] = value
    return file


def read(file: Path, file_format: str, slide: Path, **said: Any) -> PatchesMock:
    return read_locations(file=file, file_format=file_format, wsi_file=slide, **said)


def mock(slide: Path, **changes: Any) -> PatchesMock:
    given: dict[str, Any] = {"patch_data": ROWS, "wsi_file": slide, "level_or_mpp": 1}
    return PatchesMock(**{**given, **changes})


# ----------------------------------------------------------------- foreign files


def test_trident(made_slide: Path, tmp_path: Path) -> None:
    patches = read(trident(tmp_path), "trident", made_slide, label="t")
    assert [location for location, _, _ in patches.patch_data] == COORDS
    assert set(patches.patch_data[0][1:]) == {(64, 64), "t"}
    assert patches.level_or_mpp == 1
    assert patches.wsi_file == str(made_slide)
    assert patches.param_info["file_format"] == "trident"
    assert patches.patch_coverage is None
    pool = MemPatchExtractorPool(
        patches_pool=[patches], proc_num_workers=1, thread_num_workers=1
    )
    assert pool.patch_array.shape == (4, 64, 64, 3)


def test_trident_between_levels_is_at_mpp(made_slide: Path, tmp_path: Path) -> None:
    file = trident(tmp_path, patch_size_level0=96, level0_magnification="None")
    assert read(file, "trident", made_slide).level_or_mpp == 0.75
    assert read(file, "trident", made_slide, level_or_mpp=0.76).level_or_mpp == 0.76
    bare = make_slide(tmp_path / "bare.svs", size=SIZE, mpp=None)
    with pytest.raises(MissingMppError, match=r"^bare\.svs"):
        read(file, "trident", bare)


def test_trident_of_old(made_slide: Path, tmp_path: Path) -> None:
    removed = dict.fromkeys(TRIDENT)
    file = trident(tmp_path, **{**removed, "patch_size": 64, "patch_level": 1})
    assert read(file, "trident", made_slide).level_or_mpp == 1
    options = {"patch_size": 64, "patch_level": 1, "custom_downsample": 2}
    file = trident(tmp_path, **{**removed, **options})
    assert read(file, "trident", made_slide).level_or_mpp == 2


def test_clam(made_slide: Path, tmp_path: Path) -> None:
    patches = read(clam(tmp_path), "clam", made_slide)
    assert [location for location, _, _ in patches.patch_data] == COORDS
    assert (patches.level_or_mpp, patches.patch_labels) == (1, [""])


def test_atlaspatch(made_slide: Path, tmp_path: Path) -> None:
    rows = [(x, y, 128, 128, 0) for x, y in COORDS[:2]]
    rows += [(x, y, 64, 64, 1) for x, y in COORDS[2:]]
    patches = read(atlaspatch(tmp_path, rows), "atlaspatch", made_slide)
    assert [location for location, _, _ in patches.patch_data] == COORDS
    assert (patches.level_or_mpp, patches.patch_data[0][1]) == (1, (64, 64))


def test_there_may_be_no_patches(made_slide: Path, tmp_path: Path) -> None:
    empty = np.empty((0, 2))
    assert read(trident(tmp_path, empty), "trident", made_slide).patch_count == 0
    assert read(clam(tmp_path, empty), "clam", made_slide).patch_count == 0
    none = atlaspatch(tmp_path, np.empty((0, 5)))
    assert read(none, "atlaspatch", made_slide).patch_count == 0


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"patch_size": None}, "'patch_size' is missing"),
        ({"patch_size_level0": None}, "'patch_level' is missing"),
        ({"level0_width": None}, "'level0_width' is missing"),
        ({"patch_size": "x"}, "'patch_size' is no number"),
        ({"patch_size": 0}, "'patch_size' is 0"),
        ({"level0_width": 2048}, "made for a slide of 2048 x 768"),
        ({"coords": [(0, 0), (1024, 0)]}, "patch 1 lies beside the slide"),
    ],
)
def test_trident_for_another_slide_or_damaged(
    made_slide: Path, tmp_path: Path, attributes: dict[str, Any], message: str
) -> None:
    file = trident(tmp_path, attributes.pop("coords", COORDS), **attributes)
    with pytest.raises(InvalidLocationError, match=message) as caught:
        read(file, "trident", made_slide)
    assert str(caught.value).startswith(f"made.svs: {file}: ")


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"patch_level": None}, "'patch_level' is missing"),
        ({"patch_level": 7}, "levels 0 to 2"),
        ({"level_dim": (500, 384)}, "500 x 384 pixels at level 1"),
        ({"level_dim": "x"}, "no pair"),
        ({"coords": [(0, 0), (0, -128)]}, "patch 1 lies beside"),
        ({"coords": [(0, 0, 1)]}, r"shape \(1, 3\)"),
    ],
)
def test_clam_for_another_slide_or_damaged(
    made_slide: Path, tmp_path: Path, attributes: dict[str, Any], message: str
) -> None:
    file = clam(tmp_path, attributes.pop("coords", COORDS), **attributes)
    with pytest.raises(InvalidLocationError, match=message):
        read(file, "clam", made_slide)


@pytest.mark.parametrize(
    ("row", "attributes", "message"),
    [
        ((0, 0, 128, 128, 1), {}, "patch 1 is read as 128 x 128 pixels of level 1"),
        ((0, 0, 64, 64, 5), {}, "level 5"),
        ((0, 0, 64, 64, -1), {}, "level -1"),
        ((0, 0, 64, 64, 1), {"patch_size_level0": None}, "patch_size_level0"),
        ((0, 0, 64, 64, 1), {"level0_height": 9}, "1024 x 9"),
    ],
)
def test_atlaspatch_for_another_slide_or_damaged(
    made_slide: Path, tmp_path: Path, row: Any, attributes: Any, message: str
) -> None:
    file = atlaspatch(tmp_path, [(128, 0, 64, 64, 1), row], **attributes)
    with pytest.raises(InvalidLocationError, match=message):
        read(file, "atlaspatch", made_slide)


@pytest.mark.parametrize("file_format", ["trident", "clam", "atlaspatch", "parquet"])
def test_files_that_are_something_else(
    made_slide: Path, tmp_path: Path, file_format: str
) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"something else")
    said = TABLE if file_format == "parquet" else {}
    with pytest.raises(InvalidLocationError, match=r"^made\.svs: .*/f: it "):
        read(file, file_format, made_slide, **said)
    if file_format != "parquet":
        with h5py.File(file, "w"):
            pass
        with pytest.raises(InvalidLocationError, match="no dataset 'coords'"):
            read(file, file_format, made_slide)


@pytest.mark.parametrize("file_format", ["trident", "csv", "parquet", "geojson"])
def test_missing_files_are_named(
    made_slide: Path, tmp_path: Path, file_format: str
) -> None:
    said: Any = {"trident": {}, "geojson": {"level_or_mpp": 0}}.get(file_format, TABLE)
    with pytest.raises(MissingLocationsError, match="nowhere") as caught:
        read(tmp_path / "nowhere", file_format, made_slide, **said)
    assert isinstance(caught.value, FileNotFoundError)


def test_the_same_place_twice(made_slide: Path, tmp_path: Path) -> None:
    file = trident(tmp_path, [(0, 0), (0, 0)])
    with pytest.raises(DuplicatePatchesError, match=r"^made\.svs"):
        read(file, "trident", made_slide)
    assert read(file, "trident", made_slide, check_location=False).patch_count == 2


def features(folder: Path, *geometries: Any, **properties: Any) -> Path:
    file = folder / "a.geojson"
    items = [
        {"type": "Feature", "geometry": geometry, "properties": properties}
        for geometry in geometries
    ]
    file.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return file


def rectangle(x: float, y: float, width: float, height: float) -> dict[str, Any]:
    right, bottom = x + width, y + height
    ring = [[right, y], [right, bottom], [x, bottom], [x, y], [right, y]]
    return {"type": "Polygon", "coordinates": [ring]}


def test_squares_of_qupath(made_slide: Path, tmp_path: Path) -> None:
    file = features(
        tmp_path, rectangle(0, 64, 128, 128), rectangle(128, 64, 128, 64),
        objectType="tile", classification={"name": "Tumor"},
    )  # fmt: skip
    patches = read(file, "geojson", made_slide, level_or_mpp=1)
    assert patches.patch_data == [
        ((0, 64), (64, 64), "Tumor"),
        ((128, 64), (64, 32), "Tumor"),
    ]
    assert read(file, "geojson", made_slide, level_or_mpp=1.0).level_or_mpp == 1.0


def test_points_of_qupath_are_centres(made_slide: Path, tmp_path: Path) -> None:
    file = features(tmp_path, {"type": "Point", "coordinates": [200, 100]})
    patches = read(file, "geojson", made_slide, level_or_mpp=1, patch_size=64, label="p")
    assert patches.patch_data == [((136, 36), (64, 64), "p")]
    with pytest.raises(InvalidLocationError, match="object 0 is a point; give patch_size"):
        read(file, "geojson", made_slide, level_or_mpp=1)


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        ({"type": "LineString", "coordinates": [[0, 0], [1, 1]]}, "object 1 is a LineS"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [9, 9], [0, 9], [0, 0]]]}, "upright"),
        ({"type": "Polygon", "coordinates": []}, "none"),
        ({"type": "Point", "coordinates": ["a", "b"]}, "none"),
        (rectangle(0, 0, 100, 128), "100 x 128 level 0 pixels"),
        (rectangle(5000, 0, 128, 128), "patch 1 lies beside"),
    ],
)
def test_geojson_that_is_no_patches(
    made_slide: Path, tmp_path: Path, geometry: Any, message: str
) -> None:
    file = features(tmp_path, rectangle(0, 0, 128, 128), geometry)
    with pytest.raises(InvalidLocationError, match=message):
        read(file, "geojson", made_slide, level_or_mpp=1, patch_size=64)


def test_text_that_is_no_geojson(made_slide: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.geojson"
    file.write_text("[3")
    with pytest.raises(InvalidLocationError, match="no valid JSON"):
        read(file, "geojson", made_slide, level_or_mpp=1)


def test_tables_in_other_frames(made_slide: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id,y,x\n1,10,20.5\n2,30,40\n")
    said: dict[str, Any] = {"level_or_mpp": 0, "patch_size": 32, "label": "q"}
    at_level = read(file, "csv", made_slide, frame=2, **said)
    assert at_level.patch_data == [((82, 40), (32, 32), "q"), ((160, 120), (32, 32), "q")]
    at_mpp = read(file, "csv", made_slide, frame=1.0, **said)
    assert [location for location, _, _ in at_mpp.patch_data] == [(41, 20), (80, 60)]
    pq.write_table(pa.table({"x": [20.5, 40], "y": [10, 30]}), tmp_path / "a.parquet")
    same = read(tmp_path / "a.parquet", "parquet", made_slide, frame=2, **said)
    assert same.patch_data == at_level.patch_data


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column 'x' is missing"),
        ("x,why\n1,2\n", "column 'y' is missing"),
        ("x,y\n1,2\n3\n", "patch 1 has 1 values for 2 columns"),
        ("x,y\n1,2\n3,q\n", "patch 1: y is no finite number but 'q'"),
        ("x,y\n1,2\n3,nan\n", "patch 1: y is no finite number"),
        ("x,y\n1,2\n3,99999\n", "patch 1 lies beside the slide"),
    ],
)
def test_tables_that_are_none(
    made_slide: Path, tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "a.csv"
    file.write_text(text)
    with pytest.raises(InvalidLocationError, match=message):
        read(file, "csv", made_slide, patch_size=32, **TABLE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y\n1,2\n", "give patch_size"),
        ("x,y,width,height\n1,2,8,8.5\n", "patch 0 has a size that is no whole number"),
        ("x,y,width,height\n1,2,8,0\n", "patch 0 has no area"),
    ],
)
def test_tables_without_sizes(
    made_slide: Path, tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "a.csv"
    file.write_text(text)
    with pytest.raises(InvalidLocationError, match=message):
        read(file, "csv", made_slide, **TABLE)


def test_a_table_that_is_no_text(made_slide: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"x,y\n\xff\xfe,2\n")
    with pytest.raises(InvalidLocationError, match="no CSV"):
        read(tmp_path / "a.csv", "csv", made_slide, **TABLE)


@pytest.mark.parametrize(
    ("file_format", "said", "message"),
    [
        ("what", {}, "file_format must be"),
        ("csv", {"level_or_mpp": 1}, "give frame"),
        ("csv", {"frame": 0}, "give level_or_mpp"),
        ("geojson", {}, "give level_or_mpp"),
        ("geojson", {"level_or_mpp": 0, "frame": 1}, "do not give frame"),
        ("trident", {"patch_size": 64}, "do not give patch_size"),
        ("csv", {**TABLE, "patch_size": 0}, "patch_size must be at least 1"),
        ("csv", {**TABLE, "level_or_mpp": "x"}, "level_or_mpp"),
    ],
)
def test_arguments_that_do_not_suit(
    made_slide: Path, tmp_path: Path, file_format: str, said: Any, message: str
) -> None:
    file = tmp_path / "a"
    file.write_text("x,y\n1,2\n")
    with pytest.raises(ParameterError, match=message):
        read(file, file_format, made_slide, **said)


# ------------------------------------------------------------------------ exports


@pytest.mark.parametrize("level_or_mpp", [0, 1, 0.77])
@pytest.mark.parametrize("file_format", ["trident", "geojson", "csv", "parquet"])
def test_what_is_saved_is_read_again(
    made_slide: Path, tmp_path: Path, file_format: str, level_or_mpp: Any
) -> None:
    patches = mock(made_slide, level_or_mpp=level_or_mpp)
    file = tmp_path / "out"
    saved = save_locations(patches=patches, path=file, file_format=file_format)
    assert saved == (file,)
    assert list(tmp_path.iterdir()) == [file]
    said: dict[str, Any] = {}
    if file_format != "trident":
        said["level_or_mpp"] = level_or_mpp
    if file_format in {"csv", "parquet"}:
        said["frame"] = 0
    again = read(file, file_format, made_slide, **said)
    assert again.level_or_mpp == level_or_mpp
    expected = patches.patch_data
    if file_format == "trident":
        expected = [(location, size, "") for location, size, _ in expected]
    assert again.patch_data == expected


@pytest.mark.parametrize(("level_or_mpp", "level"), [(1, 1), (1.001, 1), (0, 0)])
def test_clam_is_saved_at_levels(
    made_slide: Path, tmp_path: Path, level_or_mpp: Any, level: int
) -> None:
    patches = mock(made_slide, level_or_mpp=level_or_mpp)
    (file,) = save_locations(patches=patches, path=tmp_path / "c.h5", file_format="clam")
    with h5py.File(file) as stream:
        attributes = dict(stream["coords"].attrs)
        assert stream["coords"][()].tolist() == [[0, 0], [128, 64], [-32, 0]]
    assert set(CLAM) <= set(attributes)
    assert (attributes["patch_size"], attributes["patch_level"]) == (64, level)
    assert read(file, "clam", made_slide).level_or_mpp == level


def test_clam_refuses_what_is_no_level(made_slide: Path, tmp_path: Path) -> None:
    with pytest.raises(ResolutionError, match=r"^made\.svs: CLAM .* 0\.5, 1, 2"):
        save_locations(
            patches=mock(made_slide, level_or_mpp=0.77),
            path=tmp_path / "c.h5",
            file_format="clam",
        )
    assert not list(tmp_path.iterdir())


def test_trident_gets_all_that_it_reads(made_slide: Path, tmp_path: Path) -> None:
    patches = mock(made_slide, level_or_mpp=1)
    (file,) = save_locations(patches=patches, path=tmp_path / "t.h5", file_format="trident")
    with h5py.File(file) as stream:
        dataset = stream["coords"]
        assert (dataset.dtype, dataset.maxshape) == (np.int64, (None, 2))
        found = {name: dataset.attrs[name] for name in TRIDENT}
    assert found == {**TRIDENT, "savetodir": str(tmp_path)}


def test_trident_is_told_how_far_patches_of_a_grid_overlap(
    made_slide: Path, tmp_path: Path
) -> None:
    for level, step, overlap in ((0, 48, 16), (0, 64, 0), (1, 96, 16), (0, 100, 0)):
        rows = [((x * step, y * 7), (64, 64), "") for x in range(5) for y in range(3)]
        patches = mock(made_slide, patch_data=rows, level_or_mpp=level)
        (file,) = save_locations(
            patches=patches, path=tmp_path / f"{level}-{step}.h5", file_format="trident"
        )
        with h5py.File(file) as opened:
            assert opened["coords"].attrs["overlap"] == overlap


@pytest.mark.parametrize("file_format", ["trident", "clam"])
def test_hdf5_holds_squares_of_one_size(
    made_slide: Path, tmp_path: Path, file_format: str
) -> None:
    patches = mock(made_slide, patch_data=[((0, 0), (64, 32), "a")])
    with pytest.raises(InvalidLocationError, match="squares of one size"):
        save_locations(patches=patches, path=tmp_path / "a.h5", file_format=file_format)


def test_qupath_gets_tiles_with_a_class_and_colour_for_each_label(
    made_slide: Path, tmp_path: Path
) -> None:
    file = tmp_path / "q.geojson"
    save_locations(patches=mock(made_slide), path=file, file_format="geojson")
    items = json.loads(file.read_text())["features"]
    assert {item["properties"]["objectType"] for item in items} == {"tile"}
    classified = [item["properties"]["classification"] for item in items]
    assert [each["name"] for each in classified] == ["b", "a", "b"]
    assert classified[0]["color"] == classified[2]["color"] != classified[1]["color"]
    assert len({item["id"] for item in items}) == 3
    assert items[0]["geometry"]["coordinates"] == [
        [[0, 0], [128, 0], [128, 128], [0, 128], [0, 0]]
    ]
    polygons = GeoJsonReader(data_file=file, all_objects=True).polygons
    assert [polygon.label for polygon in polygons] == ["b", "a", "b"]


def located(slide: Path) -> WholeImageGridPatches:
    mask = np.ones((256, 192), dtype=bool)
    mask[:24] = False
    return WholeImageGridPatches(
        wsi_file=slide, mask_data=mask, patch_size=64, foreground_ratio=0.5, weak_label="w"
    )


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_coverage_is_saved_and_read(
    made_slide: Path, tmp_path: Path, file_format: str
) -> None:
    patches = located(made_slide)
    (file,) = save_locations(patches=patches, path=tmp_path / "a", file_format=file_format)
    again = read(file, file_format, made_slide, level_or_mpp=0, frame=0)
    assert again.patch_coverage is not None
    np.testing.assert_allclose(again.patch_coverage, patches.patch_coverage)
    if file_format == "csv":
        with file.open() as stream:
            header = next(csv.reader(stream))
        assert header == [
            "wsi_file", "x", "y", "width", "height", "level_or_mpp", "label", "coverage",
        ]  # fmt: skip


def test_a_pool_is_saved_as_a_file_for_each_slide(
    made_slide: Path, lossless_slide: Path, tmp_path: Path
) -> None:
    pool = WholeImageGridPatchesPool(
        wsi_file_list=[made_slide, lossless_slide],
        mask_data_list=[np.ones((256, 192))] * 2,
        patches_args={"patch_size": 128},
        proc_num_workers=1,
    )
    files = save_locations(patches=pool, path=tmp_path, file_format="trident")
    assert [file.name for file in files] == ["made_patches.h5", "lossless_patches.h5"]
    assert read(files[1], "trident", lossless_slide).patch_count == 48
    coverage = pool[0].patch_coverage
    assert coverage is not None
    assert coverage.tolist() == [1.0] * 48
    with pytest.raises(OutputError, match=r"made\.csv"):
        save_locations(patches=[pool[0], pool[0]], path=tmp_path, file_format="csv")


def test_foreign_location_objects_are_saved(made_slide: Path, tmp_path: Path) -> None:
    foreign: Any = SimpleNamespace(
        patch_data=ROWS, wsi_file=made_slide, level_or_mpp=1, class_name="X", param_info={}
    )
    save_locations(patches=foreign, path=tmp_path / "a.csv", file_format="csv")
    again = read(tmp_path / "a.csv", "csv", made_slide, **TABLE)
    assert again.patch_data == ROWS


def test_saving_that_cannot_be(made_slide: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="file_format"):
        save_locations(patches=mock(made_slide), path=tmp_path, file_format="atlaspatch")
    wrong: Any = [3]
    with pytest.raises(ParameterTypeError, match="no location object"):
        save_locations(patches=wrong, path=tmp_path, file_format="csv")
    for file_format in ("csv", "parquet", "geojson", "trident", "clam"):
        with pytest.raises(OutputError, match="nowhere"):
            save_locations(
                patches=mock(made_slide),
                path=tmp_path / "nowhere" / "a",
                file_format=file_format,
            )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("library", "file_format", "extra"),
    [("h5py", "trident", "hdf5"), ("pyarrow", "parquet", "parquet")],
)
def test_libraries_that_are_not_installed(
    made_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    library: str, file_format: str, extra: str,
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingLibraryError, match=rf"dplabtools-next\[{extra}\]") as caught:
        save_locations(
            patches=mock(made_slide), path=tmp_path / "a", file_format=file_format
        )
    assert isinstance(caught.value, ImportError)
