"""Rows of all grid and custom classes, against the rules as they are written down.

`plain_loop` follows the rules one square at a time, with nothing but Python's `round` and
geometry. The tables in ``location_tables.json`` were written by it, and hold both to what
they once said.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from dplabtools._typing import BoolArray
from dplabtools.errors import DplabWarning
from dplabtools.slides import patches as classes
from dplabtools.slides.utils import AnnotationPolygon
from dplabtools.testing.make_slide import make_slide

TABLES = Path(__file__).with_name("location_tables.json")
DOWNSAMPLES = (1.0, 4.0, 16.0)
SIZE = (1280, 1024)
MPP = 0.25
REGIONS = ("WholeImage", "WholeImageInverted", "PolygonRegion")

HOLED = AnnotationPolygon(
    [(100, 120), (700, 80), (760, 600), (120, 560)],
    "tumor",
    [[(300, 200), (480, 220), (400, 400)]],
)
BOW_TIE = AnnotationPolygon([(800, 100), (1200, 500), (1200, 100), (800, 500)], "stroma")
OVER_THE_EDGE = AnnotationPolygon([(900, 700), (1500, 640), (1400, 1200)], "tumor")
INSIDE = AnnotationPolygon([(500, 300), (640, 300), (640, 460), (500, 460)], "necrosis")
POLYGONS = [HOLED, BOW_TIE, OVER_THE_EDGE, INSIDE]
POINTS = [(x, y) for y in range(-40, 1100, 57) for x in range(-30, 1300, 61)]

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "level": {"level_or_mpp": 1, "patch_size": 24},
    "mpp": {"level_or_mpp": 0.37, "patch_size": 70},
    "dense": {"patch_stride": 0.25, "patch_size": 128},
    "sparse": {"patch_stride": 5, "patch_size": 32},
    "odd": {"patch_stride": 1.3, "patch_size": 75},
    "grown": {"polygon_buffer": 3},
    "shrunk": {"polygon_buffer": -2},
    "half": {"overlap_ratio": 0.5, "foreground_ratio": 0.3},
    "anywhere": {"overlap_ratio": 0.1, "foreground_ratio": 0},
    "strict": {"overlap_ratio": 1.0, "foreground_ratio": 1.0},
    "fine mask": {"mask": 4},
    "finest mask": {"mask": 1, "patch_size": 128},
    "odd mask": {"mask": 8},
    "included": {"included_labels": ["tumor"]},
    "excluded": {"excluded_labels": ["tumor"]},
    "independent": {"check_polygons": False},
}


def foreground(downsample: int) -> BoolArray:
    """Return a mask with a round hole and ragged edges, indexed [x, y]."""
    width, height = SIZE[0] // downsample, SIZE[1] // downsample
    x = (np.arange(width)[:, None] + 0.5) * downsample
    y = (np.arange(height)[None] + 0.5) * downsample
    hole = (x - 500) ** 2 + (y - 650) ** 2 > 120**2
    edge = np.abs(y - 512) + 40 * np.sin(x / 90) < 480
    return np.asarray(hole & edge & (x > 33))


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("golden") / "tables.svs"
    return make_slide(file, size=SIZE, downsample=4, mpp=MPP, power=40)


# ------------------------------------------------------------------- the rules


def plain_loop(region: str, sampler: str, case: dict[str, Any]) -> list[Any]:
    """Return the rows that the rules demand."""
    case = dict(case)
    downsample = case.pop("mask", 16)
    mask = foreground(downsample)
    level_or_mpp = case.get("level_or_mpp", 0)
    target = (
        DOWNSAMPLES[level_or_mpp] if isinstance(level_or_mpp, int) else level_or_mpp / MPP
    )
    size = case.get("patch_size", 64)
    edge = size / (downsample / target)
    found: list[Any] = []
    for shape, label in regions(region, mask, downsample, case):
        for x, y in candidates(sampler, shape, edge, downsample, case):
            loose = region == "WholeImage"
            if is_patch(mask, shape, (x, y), edge, case, loose=loose):
                location = (round(x * downsample), round(y * downsample))
                row = (location, (size, size), label)
                if row not in found:
                    found.append(row)
    return found


def regions(
    region: str, mask: BoolArray, downsample: int, case: dict[str, Any]
) -> Iterator[tuple[Any, str]]:
    columns, rows = np.nonzero(mask)
    box = shapely.box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    chosen = [
        polygon
        for polygon in POLYGONS
        if polygon.label in case.get("included_labels", [polygon.label])
        and polygon.label not in case.get("excluded_labels", [])
    ]
    shapes = [
        shapely.make_valid(
            shapely.Polygon(
                np.array(polygon.points) / downsample,
                [np.array(hole) / downsample for hole in polygon.holes],
            )
        )
        for polygon in chosen
    ]
    buffer = case.get("polygon_buffer", 0)
    if region == "WholeImage":
        found = [(box, "weak")]
    elif region == "WholeImageInverted":
        filled = [
            shapely.Polygon(part.exterior) for part in parts(shapely.union_all(shapes))
        ]
        found = [(box.difference(shapely.union_all(filled)), "weak")]
    else:
        check = case.get("check_polygons", True)
        whole = zip(shapes, chosen, strict=True)
        found = [
            (punched(shapes, number) if check else shape, polygon.label)
            for number, (shape, polygon) in enumerate(whole)
        ]
    for shape, label in found:
        yield (shape.buffer(buffer) if buffer else shape), label


def parts(shape: Any) -> list[Any]:
    return list(getattr(shape, "geoms", [shape]))


def filled(shape: Any) -> Any:
    return shapely.union_all([shapely.Polygon(part.exterior) for part in parts(shape)])


def punched(shapes: list[Any], number: int) -> Any:
    shape = shapes[number]
    inside = [each for each in shapes if each is not shape and shape.contains(each)]
    return shape.difference(shapely.union_all([filled(each) for each in inside]))


def candidates(
    sampler: str, shape: Any, edge: float, downsample: int, case: dict[str, Any]
) -> Iterator[tuple[float, float]]:
    if sampler == "Custom":
        yield from ((x / downsample, y / downsample) for x, y in POINTS)
        return
    x0, y0, x1, y1 = (round(value, 10) for value in shape.bounds)
    step = case.get("patch_stride", 1) * edge
    for y in line(y0, y1, step):
        for x in line(x0, x1, step):
            yield x, y


def line(start: float, end: float, step: float) -> Iterator[float]:
    k = 0
    while True:
        yield start + k * step
        if start + k * step >= end:
            return
        k += 1


def is_patch(
    mask: BoolArray,
    shape: Any,
    corner: tuple[float, float],
    edge: float,
    case: dict[str, Any],
    *,
    loose: bool,
) -> bool:
    x, y = corner
    columns, rows = (range(round(value), round(value + edge)) for value in corner)
    window = mask[
        max(columns.start, 0) : max(columns.stop, 0), max(rows.start, 0) : max(rows.stop, 0)
    ]
    share = round(int(window.sum()) / (len(columns) * len(rows)), 10)
    if share < case.get("foreground_ratio", 0.95):
        return False
    x0, y0, x1, y1 = shape.bounds
    if loose and x >= x0 and y >= y0 and x + edge <= x1 and y + edge <= y1:
        return True
    shared = shapely.box(x, y, x + edge, y + edge).intersection(shape).area
    least = round(edge * edge * case.get("overlap_ratio", 0.95), 8)
    return bool(round(shared, 8) >= least)


# ------------------------------------------------------------------ the classes


def place(slide: Path, region: str, sampler: str, case: dict[str, Any]) -> list[Any]:
    """Return the rows of the class."""
    case = dict(case)
    given: dict[str, Any] = {
        "wsi_file": slide,
        "mask_data": foreground(case.pop("mask", 16)),
        "patch_size": 64,
        **case,
    }
    if sampler == "Custom":
        given["points"] = POINTS
        given.pop("patch_stride", None)
    if region == "PolygonRegion":
        given["polygon_data"] = POLYGONS
    else:
        given["weak_label"] = "weak"
        given.pop("check_polygons", None)
    if region == "WholeImageInverted":
        given["polygon_data"] = POLYGONS
    if region == "WholeImage":
        given = {key: value for key, value in given.items() if "labels" not in key}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DplabWarning)
        kind: Any = getattr(classes, f"{region}{sampler}Patches")
        rows: list[Any] = kind(**given).patch_data
    return rows


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("sampler", ["Grid", "Custom"])
@pytest.mark.parametrize("region", REGIONS)
def test_rows_are_those_of_the_rules(
    slide: Path, region: str, sampler: str, case: str
) -> None:
    rows = place(slide, region, sampler, CASES[case])
    assert rows == plain_loop(region, sampler, CASES[case])
    assert rows or case == "strict"


@pytest.mark.parametrize("name", sorted(json.loads(TABLES.read_text())))
def test_rows_are_those_of_the_tables(slide: Path, name: str) -> None:
    region, sampler, case = name.split(" / ")
    expected = [
        ((x, y), (size, size), label)
        for x, y, size, label in json.loads(TABLES.read_text())[name]
    ]
    assert place(slide, region, sampler, CASES[case]) == expected
