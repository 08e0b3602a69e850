from __future__ import annotations

import inspect
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dplabtools.errors import (
    DuplicatePatchesWarning,
    InvalidPolygonError,
    LevelOutOfRangeError,
    MaskError,
    MaskTypeError,
    MissingMaskError,
    MissingMppError,
    MissingSlideError,
    NotEnoughPatchesError,
    OutputError,
    OutputFormatError,
    ParameterError,
    ParameterTypeError,
    ResolutionError,
    UnknownColorError,
    UnsupportedSlideError,
)
from dplabtools.geometry.resolution import Level
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import (
    WholeImageCustomPatches,
    WholeImageGridPatches,
    WholeImagePoissonDiskPatches,
    WholeImageRandomPatches,
)
from dplabtools.slides.patches._located import Located
from dplabtools.testing.make_slide import make_slide

MASK = np.zeros((256, 192), dtype=bool)  # level 2 of 1024 x 768
MASK[16:240, 32:160] = True
POINTS = [(100, 200), (64, 128), (5000, 100), (300, 300)]
KINDS: list[tuple[type[Located], dict[str, Any]]] = [
    (WholeImageGridPatches, {}),
    (WholeImageRandomPatches, {"num_patches": 12, "seed": 1}),
    (WholeImagePoissonDiskPatches, {"poisson_spacing": 20, "seed": 1}),
    (WholeImageCustomPatches, {"points": POINTS}),
]
EACH_KIND = pytest.mark.parametrize(("kind", "own"), KINDS, ids=str)


def place(kind: Any, slide: Path, **changes: Any) -> Any:
    given = {"wsi_file": slide, "mask_data": MASK, "patch_size": 64, **changes}
    return kind(**given)


def grid(slide: Path, **changes: Any) -> WholeImageGridPatches:
    patches = place(WholeImageGridPatches, slide, **changes)
    assert isinstance(patches, WholeImageGridPatches)
    return patches


@EACH_KIND
def test_every_class_has_the_documented_properties(
    made_slide: Path, kind: type[Located], own: dict[str, Any]
) -> None:
    patches = place(kind, made_slide, weak_label="tumor", level_or_mpp=1.0, **own)
    rows = patches.patch_data
    assert rows
    assert all(size == (64, 64) and label == "tumor" for _, size, label in rows)
    assert all(type(value) is int for (x, y), _, _ in rows for value in (x, y))
    assert patches.patch_count == len(rows) == len(patches.table)
    assert patches.patch_info == {"tumor": len(rows)}
    assert patches.patch_labels == patches.polygon_labels == ["tumor"]
    assert patches.class_name == kind.__name__
    assert (patches.level_or_mpp, patches.patch_size) == (1.0, 64)
    assert patches.mask_shape == (256, 192)
    assert patches.wsi_file == str(made_slide)
    assert [shape.bounds for shape in patches.shapely_polygons] == [(16, 32, 240, 160)]


@EACH_KIND
def test_mask_level_patches_are_the_same_patches(
    made_slide: Path, kind: type[Located], own: dict[str, Any]
) -> None:
    patches = place(kind, made_slide, level_or_mpp=1, **own)
    for (location, _, label), (corner, size, same) in zip(
        patches.patch_data, patches.patch_data_mask_level, strict=True
    ):
        assert location == (round(corner[0] * 4), round(corner[1] * 4))
        assert size == (32.0, 32.0)
        assert label == same


@EACH_KIND
def test_parameters_are_told_and_the_mask_is_text(
    made_slide: Path, kind: type[Located], own: dict[str, Any]
) -> None:
    info = place(kind, made_slide, **own).param_info
    assert set(info) == set(inspect.signature(kind).parameters)
    assert info["mask_data"] == "NumPy array [shape=(256, 192), size=49152, type=bool]"
    assert info["foreground_ratio"] == 0.95
    told = {**own, "points": "4 points"} if "points" in own else own
    assert {name: info[name] for name in own} == told


@EACH_KIND
def test_location_objects_travel(
    made_slide: Path, kind: type[Located], own: dict[str, Any]
) -> None:
    patches = place(kind, made_slide, **own)
    assert patches.wsi_slide.level_count == 3
    copy = pickle.loads(pickle.dumps(patches))
    assert copy.patch_data == patches.patch_data
    assert isinstance(copy.wsi_slide, GenericSlide)


@EACH_KIND
def test_arguments_are_keywords_and_known(
    made_slide: Path, kind: Any, own: dict[str, Any]
) -> None:
    with pytest.raises(TypeError):
        kind(made_slide, MASK, **own)
    with pytest.raises(TypeError, match="stride"):
        place(kind, made_slide, stride=1, **own)
    with pytest.raises(TypeError, match="mask_data"):
        kind(wsi_file=made_slide, **own)


@pytest.mark.parametrize(("kind", "own"), KINDS[1:3])
def test_a_seed_makes_chance_repeatable(
    made_slide: Path, kind: type[Located], own: dict[str, Any]
) -> None:
    def rows(seed: Any) -> list[Any]:
        result: list[Any] = place(kind, made_slide, **{**own, "seed": seed}).patch_data
        return result

    assert rows(1) == rows(1) == rows(np.random.SeedSequence(1))
    assert rows(1) == rows(np.random.default_rng(1))
    assert rows(1) != rows(2)
    assert rows(None) != rows(None)


@pytest.mark.parametrize(("seed", "error"), [(-1, ParameterError), ("a", TypeError)])
def test_a_seed_that_is_none(made_slide: Path, seed: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="seed"):
        place(WholeImageRandomPatches, made_slide, num_patches=1, seed=seed)


def test_custom_points_keep_their_order_and_lose_what_is_outside(made_slide: Path) -> None:
    patches = place(WholeImageCustomPatches, made_slide, points=POINTS)
    locations = [location for location, _, _ in patches.patch_data]
    assert locations == [(100, 200), (64, 128), (300, 300)]


def test_duplicates_are_counted_in_a_warning(made_slide: Path) -> None:
    with pytest.warns(DuplicatePatchesWarning, match=r"^made\.svs: 2 duplicate"):
        patches = place(WholeImageCustomPatches, made_slide, points=[(64, 128)] * 3)
    assert patches.patch_count == 1


def test_poisson_patches_keep_their_distance(made_slide: Path) -> None:
    patches = place(WholeImagePoissonDiskPatches, made_slide, poisson_spacing=20, seed=2)
    corners = np.array([corner for corner, _, _ in patches.patch_data_mask_level])
    gaps = np.hypot(*(corners[:, None] - corners[None]).transpose(2, 0, 1))
    assert gaps[np.triu_indices(len(corners), 1)].min() >= 20


def test_masks_may_be_files_images_and_of_other_sizes(
    made_slide: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "mask.npz", data=MASK)
    image = Image.fromarray(np.ascontiguousarray(MASK.T))
    image.save(tmp_path / "mask.png")
    expected = grid(made_slide).patch_data
    for mask in (str(tmp_path / "mask.npz"), tmp_path / "mask.png", image, MASK * 7.5):
        assert grid(made_slide, mask_data=mask).patch_data == expected
    assert grid(made_slide, mask_data=MASK[::2, ::2]).patch_data == expected


def test_levels_and_mpps_may_come_from_numpy(made_slide: Path) -> None:
    assert grid(made_slide, level_or_mpp=np.int64(1)).level_or_mpp == 1
    assert grid(made_slide, level_or_mpp=np.float32(1)).level_or_mpp == 1.0


def test_one_pixel_of_a_coarse_mask_is_enough_for_many_small_patches(
    made_slide: Path,
) -> None:
    mask = np.zeros((16, 12), dtype=bool)
    mask[4, 5] = True
    patches = grid(made_slide, mask_data=mask, patch_size=16)
    assert patches.patch_count == 16


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"wsi_file": "nowhere.svs"}, MissingSlideError),
        ({"mask_data": MASK.T}, MaskError),
        ({"mask_data": np.ones((256, 192, 1))}, MaskError),
        ({"mask_data": 5}, MaskTypeError),
        ({"mask_data": "nowhere.npz"}, MissingMaskError),
        ({"patch_size": 0}, ParameterError),
        ({"patch_size": 64.0}, ParameterError),
        ({"level_or_mpp": 3}, LevelOutOfRangeError),
        ({"level_or_mpp": 3}, IndexError),
        ({"level_or_mpp": -1}, ValueError),
        ({"level_or_mpp": 0.0}, ValueError),
        ({"level_or_mpp": 99.0}, ResolutionError),
        ({"level_or_mpp": "0"}, ValueError),
        ({"level_or_mpp": True}, TypeError),
        ({"foreground_ratio": 2}, ParameterError),
        ({"overlap_ratio": (0.5,)}, ParameterError),
        ({"overlap_ratio": [0.5, 0.5]}, ParameterError),
        ({"polygon_buffer": -200}, InvalidPolygonError),
        ({"polygon_buffer": "1"}, ParameterError),
        ({"weak_label": 3}, TypeError),
        ({"patch_stride": 6}, ParameterError),
        ({"patch_stride": 0}, ParameterError),
        ({"patch_stride": 0.01}, ParameterError),
    ],
)
def test_nonsense_is_refused(
    made_slide: Path, changes: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        grid(made_slide, **changes)
    if not isinstance(caught.value, ParameterError | ParameterTypeError):
        assert str(caught.value).startswith(("made.svs: ", "nowhere.svs: "))


def test_errors_of_parameters_name_the_slide(made_slide: Path) -> None:
    with pytest.raises(ParameterError, match=r"^made\.svs: patch_stride"):
        grid(made_slide, patch_stride=7)


def test_too_many_random_patches(made_slide: Path) -> None:
    mask = np.zeros((256, 192), dtype=bool)
    mask[0, 0] = mask[255, 191] = True
    with pytest.raises(NotEnoughPatchesError, match=r"^made\.svs"):
        place(WholeImageRandomPatches, made_slide, mask_data=mask, num_patches=3)


def test_points_that_are_none(made_slide: Path) -> None:
    with pytest.raises(ParameterTypeError, match="points"):
        place(WholeImageCustomPatches, made_slide, points=[1, 2])


def test_mpp_without_mpp(tmp_path: Path) -> None:
    slide = make_slide(tmp_path / "bare.svs", size=(512, 384), mpp=None, levels=1)
    mask = np.ones((512, 384), dtype=bool)
    assert grid(slide, mask_data=mask).patch_count == 48
    with pytest.raises(MissingMppError, match=r"^bare\.svs"):
        grid(slide, mask_data=mask, level_or_mpp=1.0)
    GenericSlide.set_external_mpp(0.5)
    assert grid(slide, mask_data=mask, level_or_mpp=1.0).patch_count == 12


def preview(patches: Located, file: Path, **options: Any) -> Any:
    patches.save_preview_image(file, **options)
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def is_color(pixels: Any, color: tuple[int, int, int]) -> Any:
    return (pixels == color).all(axis=2)


def test_a_preview_shows_patches_and_box_at_their_places(
    made_slide: Path, tmp_path: Path
) -> None:
    pixels = preview(grid(made_slide), tmp_path / "p.png", polygon_color=None, thickness=1)
    assert pixels.shape == (192, 256, 3)
    red, lime = is_color(pixels, (255, 0, 0)), is_color(pixels, (0, 255, 0))
    assert red[48, 33:240].all()  # the top of the second row of patches
    assert not red[40, 17:31].any()  # inside a patch
    assert lime[32, 16:241].all()
    assert lime[32:161, 16].all()
    assert not red[:32].any()


def test_a_preview_without_lines_is_the_slide(made_slide: Path, tmp_path: Path) -> None:
    colors = ("patch_color", "bbox_color", "polygon_color", "holes_color", "buffer_color")
    nothing: dict[str, Any] = dict.fromkeys(colors)
    for level, size in ((None, (256, 192)), (1, (512, 384)), (300, (512, 384))):
        pixels = preview(
            grid(made_slide), tmp_path / "p.png", level_or_minsize=level, **nothing
        )
        assert pixels.shape[:2] == size[::-1]
        with GenericSlide(wsi_file=made_slide) as slide:
            index = slide.level_dimensions.index(size)
            expected = np.asarray(
                slide.get_region(location=(0, 0), level_or_mpp=index, size=size)
            )
        np.testing.assert_array_equal(pixels, expected)


def test_a_preview_may_have_the_size_of_an_odd_mask(
    made_slide: Path, tmp_path: Path
) -> None:
    patches = grid(made_slide, mask_data=np.ones((100, 75)))
    pixels = preview(patches, tmp_path / "p.png", patch_color=None)
    assert pixels.shape == (75, 100, 3)
    with GenericSlide(wsi_file=made_slide) as slide:
        level = slide.get_region(location=(0, 0), level_or_mpp=2, size=(256, 192)).resize(
            (100, 75)
        )
    middle = (slice(5, -5), slice(5, -5))
    difference = np.abs(pixels[middle].astype(int) - np.asarray(level)[middle])
    assert difference.mean() < 6


def test_a_preview_shows_buffers_markers_and_chosen_labels(
    made_slide: Path, tmp_path: Path
) -> None:
    grown = grid(made_slide, polygon_buffer=8, weak_label="a")
    file = tmp_path / "p.png"
    black = is_color(preview(grown, file, patch_color="yellow"), (0, 0, 0))
    assert black[24, 30:220].all()
    plain = preview(grid(made_slide), file, patch_color="yellow")
    assert not is_color(plain, (0, 0, 0))[24].any()
    marked = preview(grown, file, patch_color="yellow", patch_markers=True)
    unmarked = preview(grown, file, patch_color="yellow")
    assert is_color(marked, (255, 255, 0)).sum() > is_color(unmarked, (255, 255, 0)).sum()
    others = preview(grown, file, drawn_labels=["b"])
    assert not is_color(others, (255, 0, 0)).any()
    assert not is_color(others, (0, 255, 0)).any()
    only_regions = preview(grown, file, drawn_patches_labels=["b"])
    assert not is_color(only_regions, (255, 0, 0)).any()
    assert is_color(only_regions, (0, 255, 0)).any()


def test_a_preview_that_cannot_be(made_slide: Path, tmp_path: Path) -> None:
    patches = grid(made_slide)
    with pytest.raises(UnknownColorError):
        patches.save_preview_image(tmp_path / "p.png", "grellow")
    with pytest.raises(ParameterError, match="thickness"):
        patches.save_preview_image(tmp_path / "p.png", thickness=0)
    with pytest.raises(OutputFormatError):
        patches.save_preview_image(tmp_path / "p.what")
    with pytest.raises(OutputError):
        patches.save_preview_image(tmp_path / "nowhere" / "p.png")
    with pytest.raises(LevelOutOfRangeError):
        patches.save_preview_image(tmp_path / "p.png", level_or_minsize=7)


def test_real_slides(slides_dir: Path) -> None:
    file = slides_dir / "tcga-cr-7395-01a-01-ts1.svs"
    with GenericSlide(wsi_file=file) as slide:
        mask = np.ones(slide.level_dimensions[-1], dtype=bool)
        width, height = slide.level_dimensions[0]
    patches = grid(file, mask_data=mask, patch_size=512, overlap_ratio=1.0)
    assert patches.patch_count == (width // 512) * (height // 512)
    assert patches.table.resolution == Level(0)
    with pytest.raises(MissingMppError, match=r"^tcga-cr-7395"):
        grid(file, mask_data=mask, level_or_mpp=0.5)
    broken = slides_dir / "histolab-broken.svs"
    with pytest.raises(UnsupportedSlideError, match=r"^histolab-broken\.svs"):
        grid(broken, mask_data=mask)
