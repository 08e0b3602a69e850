from __future__ import annotations

import inspect
import json
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image

from dplabtools.errors import (
    ConfigError,
    DegeneratePolygonError,
    DuplicatePatchesWarning,
    InvalidPolygonError,
    MaskError,
    MissingAnnotationError,
    NotEnoughPatchesError,
    OverlappingPolygonsWarning,
    ParameterError,
    ParameterTypeError,
    PolygonOutsideWarning,
)
from dplabtools.slides import patches as classes
from dplabtools.slides.patches import (
    PolygonRegionCustomPatches,
    PolygonRegionGridPatches,
    PolygonRegionPoissonDiskPatches,
    PolygonRegionRandomPatches,
    WholeImageGridPatches,
    WholeImageInvertedCustomPatches,
    WholeImageInvertedGridPatches,
    WholeImageInvertedPoissonDiskPatches,
    WholeImageInvertedRandomPatches,
)
from dplabtools.slides.utils import AnnotationPolygon

FULL = np.ones((256, 192), dtype=bool)  # level 2 of 1024 x 768, downsample 4


def box(x0: float, y0: float, x1: float, y1: float, label: str = "a") -> AnnotationPolygon:
    return AnnotationPolygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], label)


LEFT, RIGHT = box(0, 0, 384, 512, "left"), box(512, 128, 896, 640, "right")
RANDOM = {"num_patches": 12, "seed": 1}
POISSON = {"poisson_spacing": 20, "seed": 1}
CUSTOM = {"points": [(x, y) for y in range(0, 700, 40) for x in range(0, 960, 40)]}
POLYGON_KINDS: list[tuple[Any, dict[str, Any]]] = [
    (PolygonRegionGridPatches, {}),
    (PolygonRegionRandomPatches, RANDOM),
    (PolygonRegionPoissonDiskPatches, POISSON),
    (PolygonRegionCustomPatches, CUSTOM),
]
INVERTED_KINDS: list[tuple[Any, dict[str, Any]]] = [
    (WholeImageInvertedGridPatches, {}),
    (WholeImageInvertedRandomPatches, RANDOM),
    (WholeImageInvertedPoissonDiskPatches, POISSON),
    (WholeImageInvertedCustomPatches, CUSTOM),
]


def place(kind: Any, slide: Path, **changes: Any) -> Any:
    given = {
        "wsi_file": slide,
        "mask_data": FULL,
        "polygon_data": [LEFT, RIGHT],
        "patch_size": 64,
        **changes,
    }
    return kind(**given)


def grid(slide: Path, **changes: Any) -> Any:
    return place(PolygonRegionGridPatches, slide, **changes)


def inside(row: Any, polygon: AnnotationPolygon) -> bool:
    (x, y), (width, height), _ = row
    outline = shapely.Polygon(polygon.points).buffer(2.1)  # rounding to level 0 pixels
    return bool(outline.contains(shapely.box(x, y, x + width, y + height)))


@pytest.mark.parametrize(("kind", "own"), POLYGON_KINDS, ids=str)
def test_patches_lie_in_their_polygons(
    made_slide: Path, kind: Any, own: dict[str, Any]
) -> None:
    patches = place(kind, made_slide, overlap_ratio=1.0, **own)
    counts = patches.patch_info
    assert set(counts) == {"left", "right"}
    assert all(counts.values())
    by_label = {"left": LEFT, "right": RIGHT}
    assert all(inside(row, by_label[row[2]]) for row in patches.patch_data)
    labels = [label for _, _, label in patches.patch_data]
    assert labels == sorted(labels)  # polygon by polygon
    assert patches.polygon_labels == patches.patch_labels == ["left", "right"]
    assert patches.class_name == kind.__name__
    assert pickle.loads(pickle.dumps(patches)).patch_data == patches.patch_data


@pytest.mark.parametrize(("kind", "own"), INVERTED_KINDS, ids=str)
def test_patches_lie_beside_all_polygons(
    made_slide: Path, kind: Any, own: dict[str, Any]
) -> None:
    patches = place(kind, made_slide, weak_label="w", overlap_ratio=1.0, **own)
    assert patches.patch_count > 0
    assert patches.patch_labels == patches.polygon_labels == ["w"]
    for (x, y), (width, height), _ in patches.patch_data:
        patch = shapely.box(x, y, x + width, y + height)
        for polygon in (LEFT, RIGHT):
            assert patch.intersection(shapely.Polygon(polygon.points)).area < 5 * 64
    assert pickle.loads(pickle.dumps(patches)).patch_data == patches.patch_data


@pytest.mark.parametrize(("kind", "own"), [*POLYGON_KINDS, *INVERTED_KINDS], ids=str)
def test_parameters_are_told_in_a_few_words(
    made_slide: Path, kind: Any, own: dict[str, Any]
) -> None:
    info = place(kind, made_slide, included_labels=("left",), **own).param_info
    assert set(info) == set(inspect.signature(kind).parameters)
    assert info["polygon_data"] == "2 polygons [labels: left, right]"
    assert info["included_labels"] == ["left"]


PLACING = [
    name
    for name in classes.__all__
    if re.search("(Grid|Random|Disk|Custom)Patches(Pool)?$", name)
]


@pytest.mark.parametrize("kind", [getattr(classes, name) for name in PLACING])
def test_every_class_documents_every_parameter(kind: Any) -> None:
    text = inspect.getdoc(kind) or ""
    signature = inspect.signature(kind)
    assert len(signature.parameters) >= 8
    for name, parameter in signature.parameters.items():
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert re.search(rf"^{name} : .+\n    \S", text, re.MULTILINE), name
    assert "\nRaises\n------\n" in text
    assert "{kind}" not in text


def test_polygons_come_as_list_text_and_file(made_slide: Path, tmp_path: Path) -> None:
    text = json.dumps([LEFT.data_dict, RIGHT.data_dict])
    file = tmp_path / "p.json"
    file.write_text(text)
    expected = grid(made_slide).patch_data
    assert grid(made_slide, polygon_data=text).patch_data == expected
    patches = grid(made_slide, polygon_data=file)
    assert patches.patch_data == expected
    assert patches.param_info["polygon_data"] == str(file)
    assert grid(made_slide, polygon_data="[]").patch_data == []


def test_labels_choose_polygons(made_slide: Path) -> None:
    everything = grid(made_slide).patch_info
    assert everything == {"left": 48, "right": 48}
    assert grid(made_slide, included_labels=["left"]).patch_info == {"left": 48}
    assert grid(made_slide, excluded_labels=["left"]).patch_info == {"right": 48}
    nothing = grid(made_slide, included_labels=["other"])
    assert (nothing.patch_count, nothing.patch_labels) == (0, [])
    random = place(
        PolygonRegionRandomPatches, made_slide, num_patches=3, included_labels=["other"]
    )
    assert random.patch_data == []
    inverted = place(WholeImageInvertedGridPatches, made_slide, included_labels=["other"])
    assert inverted.patch_count == 16 * 12


def test_each_polygon_has_its_own_values_after_the_filter(made_slide: Path) -> None:
    assert grid(made_slide, patch_stride=[1, 2]).patch_info == {"left": 48, "right": 12}
    chosen = grid(made_slide, patch_stride=[2], included_labels=["right"])
    assert chosen.patch_info == {"right": 12}
    random = place(PolygonRegionRandomPatches, made_slide, num_patches=[3, 0])
    assert random.patch_info == {"left": 3, "right": 0}
    with pytest.raises(ParameterError, match=r"^made\.svs: .*2 values for 1"):
        grid(made_slide, patch_stride=[1, 2], included_labels=["right"])


def test_buffers_grow_and_shrink_each_polygon(made_slide: Path) -> None:
    patches = grid(made_slide, polygon_buffer=[-8, 16], overlap_ratio=0.9)
    left, right = patches.shapely_polygons
    assert left.bounds == (8, 8, 88, 120)
    assert right.bounds == (112, 16, 240, 176)
    assert patches.patch_info["left"] < 48 < patches.patch_info["right"]
    with pytest.raises(InvalidPolygonError, match=r"^made\.svs: region 'left'.*-60"):
        grid(made_slide, polygon_buffer=-60)


def test_contained_polygons_are_punched_out(made_slide: Path) -> None:
    outer, middle, inner = (
        box(0, 0, 520, 520, "o"),
        box(100, 100, 340, 340, "m"),
        box(200, 200, 280, 280, "i"),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        patches = grid(made_slide, polygon_data=[outer, middle, inner], patch_size=16)
    areas = [shape.area * 16 for shape in patches.shapely_polygons]
    assert areas == [520**2 - 240**2, 240**2 - 80**2, 80**2]
    alone = grid(
        made_slide, polygon_data=[outer, middle, inner], patch_size=16, check_polygons=False
    )
    assert [shape.area * 16 for shape in alone.shapely_polygons] == [520**2, 240**2, 80**2]
    assert alone.patch_count > patches.patch_count


def test_overlaps_are_told_from_the_threshold_on(made_slide: Path) -> None:
    pair = [box(0, 0, 256, 256), box(192, 0, 512, 256, "b")]  # share 64 x 256: four patches
    message = r"^made\.svs: Polygon 0 overlaps with polygon 1, overlapping area: 4\.0+ p"
    with pytest.warns(OverlappingPolygonsWarning, match=message):
        grid(made_slide, polygon_data=pair)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grid(made_slide, polygon_data=pair, check_polygons=False)
        PolygonRegionRandomPatches.set_polygons_overlap_threshold(4.1)
        grid(made_slide, polygon_data=pair)
        PolygonRegionGridPatches.set_polygons_overlap_threshold(0)
        grid(made_slide, polygon_data=[box(0, 0, 256, 256), box(256, 0, 512, 256)])
    with pytest.raises(ConfigError, match="polygons_overlap_threshold"):
        PolygonRegionGridPatches.set_polygons_overlap_threshold(-1)


def test_the_same_place_may_have_two_labels_but_not_one_twice(made_slide: Path) -> None:
    two = grid(made_slide, polygon_data=[box(0, 0, 128, 128, n) for n in "ab"],
               check_polygons=False)  # fmt: skip
    assert two.patch_info == {"a": 4, "b": 4}
    with pytest.warns(DuplicatePatchesWarning, match=r"^made\.svs: 4 duplicate"):
        one = grid(made_slide, polygon_data=[box(0, 0, 128, 128)] * 2, check_polygons=False)
    assert one.patch_info == {"a": 4}


def test_what_cut_out_polygons_enclose_is_cut_out_too(made_slide: Path) -> None:
    ring = AnnotationPolygon(
        LEFT.points, "ring", [[(64, 64), (320, 64), (320, 448), (64, 448)]]
    )
    with_hole = place(WholeImageInvertedGridPatches, made_slide, polygon_data=[ring])
    without = place(WholeImageInvertedGridPatches, made_slide, polygon_data=[LEFT])
    assert with_hole.patch_data == without.patch_data


def test_foreground_counts_in_polygons_too(made_slide: Path) -> None:
    mask = FULL.copy()
    mask[:, :64] = False
    assert grid(made_slide, mask_data=mask).patch_info == {"left": 24, "right": 36}


def test_coverage_is_the_share_of_foreground(made_slide: Path) -> None:
    mask = FULL.copy()
    mask[8:16] = False
    patches = grid(made_slide, mask_data=mask, foreground_ratio=0.5)
    coverage = patches.patch_coverage
    assert coverage.dtype == np.float32
    assert coverage.shape == (patches.patch_count,)
    assert coverage[:2].tolist() == [0.5, 1.0]
    assert patches.table.select(["right"]).coverage.tolist() == [1.0] * 48
    assert not coverage.flags.writeable


def test_polygons_may_be_the_mask(made_slide: Path) -> None:
    hole = [(512, 256), (768, 256), (768, 512), (512, 512)]
    mask = AnnotationPolygon(box(0, 0, 1024, 768).points, "tissue", [hole])
    patches = WholeImageGridPatches(wsi_file=made_slide, mask_data=[mask], patch_size=64)
    assert patches.patch_count == 16 * 12 - 16
    assert patches.param_info["mask_data"] == "1 polygons [labels: tissue]"
    with pytest.raises(InvalidPolygonError):
        WholeImageGridPatches(wsi_file=made_slide, mask_data=[], patch_size=64)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"polygon_data": []}, InvalidPolygonError, "empty"),
        ({"polygon_data": ""}, ValueError, "JSON"),
        ({"polygon_data": "{}"}, ValueError, "list"),
        ({"polygon_data": [3]}, ValueError, "AnnotationPolygon"),
        ({"polygon_data": None}, ParameterTypeError, "polygon_data"),
        ({"polygon_data": (LEFT,)}, TypeError, "polygon_data"),
        ({"polygon_data": "nowhere.json"}, MissingAnnotationError, "nowhere"),
        ({"polygon_data": '[{"points": [[0, 0], [1, 1]], "label": "a", "holes": []}]'},
         ValueError, "'a'"),
        ({"polygon_data": '[{"points": [[0, 0], [1, 1], [NaN, 2]], "label": "a", '
          '"holes": []}]'}, ValueError, "'a'"),
        ({"polygon_data": [AnnotationPolygon([(0, 0), (9, 9), (3, 3)], "z")]},
         DegeneratePolygonError, "polygon 0 .'z'."),
        ({"polygon_data": [AnnotationPolygon([(0, 0), (9, 9), (3, 3)], "z")]},
         TypeError, "line"),
        ({"polygon_data": [box(0, 0, 8, 8), box(0, 0, 8, 4), box(0, 4, 8, 8)]},
         InvalidPolygonError, "polygon 0 .* check_polygons=False"),
        ({"included_labels": ["a"], "excluded_labels": ["b"]}, ParameterError, "both"),
        ({"included_labels": "a"}, TypeError, "included_labels"),
        ({"mask_data": FULL.T}, MaskError, "does not fit"),
        ({"polygon_data": [box(0, 0, 1e15, 1e15)]}, ParameterError, "too large"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(
    made_slide: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        grid(made_slide, **changes)


def test_polygons_beside_the_slide_are_told(made_slide: Path) -> None:
    far = [LEFT, box(5000, 5000, 6000, 6000, "far")]
    with pytest.warns(PolygonOutsideWarning, match=r"^made\.svs: polygon 1 \('far'\)"):
        patches = grid(made_slide, polygon_data=far)
    assert patches.patch_info == {"far": 0, "left": 48}
    with (
        pytest.warns(PolygonOutsideWarning),
        pytest.raises(NotEnoughPatchesError, match="'far'"),
    ):
        place(PolygonRegionRandomPatches, made_slide, polygon_data=far, num_patches=2)


def test_nothing_left_beside_the_polygons(made_slide: Path) -> None:
    with pytest.raises(InvalidPolygonError, match=r"^made\.svs: .* nothing is left"):
        place(
            WholeImageInvertedGridPatches, made_slide, polygon_data=[box(-9, -9, 2000, 999)]
        )


@pytest.mark.filterwarnings("ignore::dplabtools.errors.DuplicatePatchesWarning")
def test_random_patches_cover_a_polygon_evenly(made_slide: Path) -> None:
    patches = place(
        PolygonRegionRandomPatches, made_slide, num_patches=[2000, 0], patch_size=4, seed=3
    )
    x, y = np.array([location for location, _, _ in patches.patch_data]).T
    counts, _, _ = np.histogram2d(x, y, bins=4, range=[(0, 380), (0, 508)])
    chi_square = ((counts - 125) ** 2 / 125).sum()
    assert 3 < chi_square < 38  # 15 degrees of freedom: 0.1 % on either side


def test_poisson_patches_of_a_polygon_keep_their_distance(made_slide: Path) -> None:
    patches = place(
        PolygonRegionPoissonDiskPatches, made_slide, poisson_spacing=[6, 30], patch_size=16
    )
    rows = patches.patch_data_mask_level
    for label, spacing in (("left", 6), ("right", 30)):
        corners = np.array([corner for corner, _, each in rows if each == label])
        gaps = np.hypot(*(corners[:, None] - corners[None]).transpose(2, 0, 1))
        assert gaps[np.triu_indices(len(corners), 1)].min() >= spacing
    assert patches.patch_info["left"] > 5 * patches.patch_info["right"]


def test_a_preview_shows_holes_buffers_and_chosen_labels(
    made_slide: Path, tmp_path: Path
) -> None:
    outer, inner = box(100, 100, 700, 600, "outer"), box(300, 200, 500, 400, "inner")
    patches = grid(
        made_slide, polygon_data=[outer, inner], patch_size=32, polygon_buffer=[-3, 0]
    )

    def colors(**options: Any) -> set[tuple[int, ...]]:
        patches.save_preview_image(tmp_path / "p.png", **options)
        pixels = np.asarray(Image.open(tmp_path / "p.png").convert("RGB"))
        return {tuple(color) for color in np.unique(pixels.reshape(-1, 3), axis=0).tolist()}

    red, lime, blue, teal, black = (
        (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 128, 128), (0, 0, 0),
    )  # fmt: skip
    assert {red, blue, teal, black} <= colors(drawn_labels=["outer"])
    assert lime in colors(drawn_labels=["outer"], buffer_color=None)
    seen = colors(drawn_labels=["inner"])
    assert {red, blue} <= seen  # the box is the polygon, which is drawn over it
    assert not {teal, black} & seen
    assert teal not in colors(holes_color=None)
