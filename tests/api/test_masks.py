from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from dplabtools._typing import Pixels
from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.errors import (
    InvalidPolygonError,
    LevelOutOfRangeError,
    MaskError,
    MaskTypeError,
    MissingSlideError,
    OutputError,
    OutputFormatError,
    ParameterError,
    ParameterTypeError,
    UnknownColorError,
)
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import WholeImageGridPatches, WholeImageGridPatchesPool
from dplabtools.slides.processing import WSIPolygonMask, WSITissueMask
from dplabtools.slides.utils import MaskData, PolygonData
from dplabtools.testing.scenes import Content, Scene, paint_scene

SQUARE = AnnotationPolygon([(10, 20), (49, 20), (49, 59), (10, 59)], "a")


@pytest.fixture(scope="module")
def tissue(made_slide: Path) -> WSITissueMask:
    return WSITissueMask(wsi_file=made_slide, level_or_minsize=1)


def test_a_tissue_mask_is_indexed_x_y(tissue: WSITissueMask) -> None:
    assert tissue.array.shape == (512, 384)
    assert tissue.array.dtype == bool
    assert tissue.level == 1
    assert 0.05 < tissue.array.mean() < 0.95


def test_tissue_is_coloured_and_glass_is_not(
    tissue: WSITissueMask, made_slide: Path
) -> None:
    with GenericSlide(wsi_file=made_slide) as slide:
        image = slide.get_region(location=(0, 0), level_or_mpp=1, size=(512, 384))
    saturation = np.asarray(image.convert("HSV"))[..., 1].T
    assert saturation[tissue.array].mean() > 2 * saturation[~tissue.array].mean()


@pytest.fixture(scope="module")
def scene_slide(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scene]:
    """A slide of pale tissue beside a pen, 4 microns per pixel, and what it shows."""
    scene = paint_scene("pale, blue pen", size=(1200, 900), mpp=4.0, seed=3)
    file = tmp_path_factory.mktemp("scene") / "pen.tif"
    per_centimetre = 10_000 / scene.mpp
    tifffile.imwrite(
        file,
        scene.image,
        tile=(256, 256),
        photometric="rgb",
        compression="jpeg",
        resolution=(per_centimetre, per_centimetre),
        resolutionunit="CENTIMETER",
    )
    return file, scene


def test_auto_finds_pale_tissue_beside_a_pen_at_any_size(
    scene_slide: tuple[Path, Scene],
) -> None:
    file, scene = scene_slide
    whole = WSITissueMask(wsi_file=file, level_or_minsize=0, mode="auto")
    assert whole.array.shape == (1200, 900)
    assert not whole.reason
    found = whole.array.T
    assert found[scene.truth == Content.TISSUE].mean() >= 0.85
    assert found[scene.truth == Content.GLASS].mean() <= 0.02
    assert found[scene.truth == Content.PEN].mean() <= 0.2
    small = WSITissueMask(wsi_file=file, level_or_minsize=None, mode="auto")
    assert small.level is None
    assert small.array.shape == (600, 450)
    assert (whole.array[::2, ::2] == small.array).mean() > 0.999


def test_a_mask_mended_elsewhere_comes_back_by_its_outlines(
    scene_slide: tuple[Path, Scene], tmp_path: Path
) -> None:
    file, _ = scene_slide
    mask = WSITissueMask(wsi_file=file, level_or_minsize=None, mode="auto")
    outlines = tmp_path / "pen.geojson"
    mask.save_geojson(outlines)
    features = json.loads(outlines.read_text())["features"]
    assert {each["properties"]["classification"]["name"] for each in features} == {"Tissue"}
    options: dict[str, Any] = {"wsi_file": file, "patch_size": 64, "level_or_mpp": 0}
    before = WholeImageGridPatches(mask_data=mask.array, **options)
    after = WholeImageGridPatches(mask_data=outlines, **options)
    assert before.patch_data
    assert before.patch_data == after.patch_data
    for each in features:
        del each["properties"]["classification"]
    outlines.write_text(json.dumps(features))
    assert WholeImageGridPatches(mask_data=outlines, **options).patch_count
    outlines.write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    assert not WholeImageGridPatches(mask_data=outlines, **options).patch_count
    with pytest.raises(OutputError, match="nowhere"):
        mask.save_geojson(tmp_path / "nowhere" / "pen.geojson")


def test_a_segmenter_makes_the_mask(scene_slide: tuple[Path, Scene]) -> None:
    file, _ = scene_slide
    seen: list[float] = []

    def left(image: Pixels, mpp: float) -> Any:
        seen.append(mpp)
        return np.indices(image.shape[:2])[1] < image.shape[1] // 2

    mask = WSITissueMask(wsi_file=file, level_or_minsize=0, mode=left)
    assert seen == [8.0]
    assert mask.array[:600].all()
    assert not mask.array[600:].any()
    with pytest.raises(MaskError, match=r"pen\.tif: .*failed"):
        WSITissueMask(wsi_file=file, level_or_minsize=0, mode="json:loads")


def test_an_overlay_of_a_mask_of_its_own_size(
    scene_slide: tuple[Path, Scene], tmp_path: Path
) -> None:
    mask = WSITissueMask(wsi_file=scene_slide[0], level_or_minsize=None, mode="auto")
    mask.save_overlay_png(tmp_path / "o.png")
    with Image.open(tmp_path / "o.png") as overlay:
        assert overlay.size == (600, 450)


def test_the_original_modes_need_a_level(made_slide: Path) -> None:
    with pytest.raises(ParameterError, match="level_or_minsize"):
        WSITissueMask(wsi_file=made_slide, level_or_minsize=None, mode="hsv")


def test_a_mask_with_nothing_says_why(made_slide: Path) -> None:
    mask = WSITissueMask(
        wsi_file=made_slide, level_or_minsize=1, remove_small_objects_ratio=1000.0
    )
    assert "smallest" in mask.reason


@pytest.mark.parametrize(("minimum", "level"), [(0, 0), (2, 2), (300, 1), (5000, 0)])
def test_a_level_may_be_given_by_its_size(
    made_slide: Path, minimum: int, level: int
) -> None:
    mask = WSITissueMask(wsi_file=made_slide, level_or_minsize=minimum, mode="otsu")
    assert mask.level == level


def test_a_tissue_mask_can_be_cleaned_of_everything(made_slide: Path) -> None:
    mask = WSITissueMask(
        wsi_file=made_slide, level_or_minsize=2, remove_small_objects_ratio=100
    )
    assert not mask.array.any()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"wsi_file": "nowhere.svs"}, MissingSlideError),
        ({"level_or_minsize": 3}, LevelOutOfRangeError),
        ({"mode": "rgb"}, ParameterError),
        ({"close_fill_kernel_size": -1}, ParameterError),
        ({"colour_threshold": 1}, TypeError),
    ],
)
def test_tissue_masks_refuse_nonsense(
    made_slide: Path, changes: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        WSITissueMask(**{"wsi_file": made_slide, "level_or_minsize": 1, **changes})


def test_constructors_take_keywords_only(made_slide: Path) -> None:
    constructor: Any = WSITissueMask
    with pytest.raises(TypeError):
        constructor(made_slide, 1)


def test_a_saved_mask_comes_back(tissue: WSITissueMask, tmp_path: Path) -> None:
    tissue.save_array(tmp_path / "mask.npz")
    tissue.save_png(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as image:
        assert (image.mode, image.size) == ("1", (512, 384))
    for name in ("mask.npz", "mask.png"):
        data = MaskData(mask_data=str(tmp_path / name))
        np.testing.assert_array_equal(data.mask_array, tissue.array)


@pytest.fixture
def other_key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(MaskData, "npz_data_key", "foreground")
    return "foreground"


def test_the_key_of_npz_files_may_be_changed(
    tissue: WSITissueMask, tmp_path: Path, other_key: str, made_slide: Path
) -> None:
    tissue.save_array(tmp_path / "mask.npz")
    with np.load(tmp_path / "mask.npz") as arrays:
        assert arrays.files == [other_key]
    data = MaskData(mask_data=tmp_path / "mask.npz")
    np.testing.assert_array_equal(data.mask_array, tissue.array)
    place: dict[str, Any] = {"wsi_file": made_slide, "patch_size": 64}
    from_array = WholeImageGridPatches(mask_data=tissue.array, **place)
    from_file = WholeImageGridPatches(mask_data=tmp_path / "mask.npz", **place)
    assert from_file.patch_data == from_array.patch_data
    np.savez(tmp_path / "old.npz", data=tissue.array)
    with pytest.raises(MaskTypeError, match="no array under the key 'foreground'"):
        MaskData(mask_data=tmp_path / "old.npz")


@pytest.mark.usefixtures("other_key")
def test_the_key_of_npz_files_holds_in_workers(
    tissue: WSITissueMask, tmp_path: Path, made_slide: Path
) -> None:
    files = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for file in files:
        tissue.save_array(file)
    pool = WholeImageGridPatchesPool(
        wsi_file_list=[made_slide] * 2,
        mask_data_list=files,
        patches_args={"patch_size": 64},
        proc_num_workers=2,
    )
    assert pool[0].patch_count == pool[1].patch_count > 0
    assert os.getpid() not in pool.pids


def test_masks_and_polygons_say_what_they_were_made_of(tmp_path: Path) -> None:
    array = np.ones((3, 2), np.uint8)
    np.save(tmp_path / "mask.npy", array)
    text = "NumPy array [shape=(3, 2), size=6, type=uint8]"
    for data, said in (
        (MaskData(mask_data=array), text),
        (MaskData(mask_data=Image.fromarray(array.T)), text),
        (MaskData(mask_data=tmp_path / "mask.npy"), str(tmp_path / "mask.npy")),
    ):
        assert str(data) == repr(data) == said
    polygons = [SQUARE, SQUARE]
    as_text = json.dumps([SQUARE.data_dict])
    (tmp_path / "square.json").write_text(as_text)
    for given, said in (
        (polygons, str([[SQUARE.points, "a", []]] * 2)),
        (as_text, as_text),
        (tmp_path / "square.json", str(tmp_path / "square.json")),
    ):
        shown = PolygonData(polygon_data=given)
        assert str(shown) == repr(shown) == said


def test_an_overlay_takes_its_colours_by_position(
    tissue: WSITissueMask, tmp_path: Path
) -> None:
    tissue.save_overlay_png(
        tmp_path / "a.png",
        mask_color="red",
        mask_alpha=0.25,
        outline_color=None,
        outline_thickness=3,
    )
    tissue.save_overlay_png(tmp_path / "b.png", "red", 0.25, None, 3)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_an_overlay_shows_the_mask_on_the_slide(
    tissue: WSITissueMask, made_slide: Path, tmp_path: Path
) -> None:
    tissue.save_overlay_png(tmp_path / "plain.png", mask_color=None, outline_color=None)
    tissue.save_overlay_png(
        tmp_path / "mask.png", mask_color="#ff0000", mask_alpha=1, outline_color=None
    )
    with GenericSlide(wsi_file=made_slide) as slide:
        pixels = np.asarray(
            slide.get_region(location=(0, 0), level_or_mpp=1, size=(512, 384))
        )
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "plain.png")), pixels)
    drawn = np.asarray(Image.open(tmp_path / "mask.png"))
    covered = tissue.array.T
    assert (drawn[covered] == (255, 0, 0)).all()
    np.testing.assert_array_equal(drawn[~covered], pixels[~covered])


def test_saving_where_or_what_cannot_be(tissue: WSITissueMask, tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        tissue.save_png(tmp_path / "nowhere" / "mask.png")
    with pytest.raises(OutputError):
        tissue.save_array(tmp_path / "nowhere" / "mask.npz")
    with pytest.raises(OutputFormatError):
        tissue.save_png(tmp_path / "mask.what")
    with pytest.raises(UnknownColorError):
        tissue.save_overlay_png(tmp_path / "mask.png", mask_color="grellow")


def test_a_polygon_mask_takes_coordinates_of_its_level(made_slide: Path) -> None:
    mask = WSIPolygonMask(wsi_file=made_slide, level_or_minsize=2, polygon_data=[SQUARE])
    assert mask.array.shape == (256, 192)
    assert mask.array[10:50, 20:60].all()
    assert mask.array.sum() == 1600


def test_a_polygon_mask_fills_holes_and_reads_json(made_slide: Path) -> None:
    text = (
        '[{"points": [[0, 0], [9, 0], [9, 9], [0, 9]], "label": "a",'
        ' "holes": [[[2, 2], [5, 2], [5, 5]]]}]'
    )
    mask = WSIPolygonMask(wsi_file=made_slide, level_or_minsize=2, polygon_data=text)
    assert mask.array[:10, :10].all()


def test_a_polygon_beyond_the_level_is_refused(made_slide: Path) -> None:
    large = AnnotationPolygon([(0, 0), (300, 0), (300, 100)], "a")
    with pytest.raises(InvalidPolygonError, match=r"^made\.svs: polygon 1 reaches"):
        WSIPolygonMask(
            wsi_file=made_slide, level_or_minsize=2, polygon_data=[SQUARE, large]
        )
    given: Any = 3
    with pytest.raises(ParameterTypeError):
        WSIPolygonMask(wsi_file=made_slide, level_or_minsize=2, polygon_data=given)


def test_polygon_data_gives_the_polygons() -> None:
    assert PolygonData(polygon_data=[SQUARE]).polygons == [SQUARE]


def test_masks_of_a_real_slide(slides_dir: Path) -> None:
    file = slides_dir / "CMU-1-Small-Region.svs"
    shares = [
        WSITissueMask(wsi_file=file, level_or_minsize=0, mode=mode).array.mean()
        for mode in ("hsv", "lab", "otsu")
    ]
    assert max(shares) - min(shares) < 0.05
    assert 0.3 < shares[0] < 0.4
