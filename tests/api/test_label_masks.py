"""Masks of classes beside patches, for segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image

from dplabtools._typing import Pixels
from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.errors import (
    InvalidPolygonError,
    ParameterError,
    ParameterTypeError,
    ResumeError,
)
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    PatchesMock,
    StoredPatch,
    open_patches,
)

KINDS = [None, "webdataset", "hdf5", "zarr", "parquet"]
TUMOUR = AnnotationPolygon(
    [(100, 100), (700, 120), (650, 600), (90, 500)],
    "tumour",
    [[(300, 300), (400, 300), (350, 400)]],
)
STROMA = AnnotationPolygon([(400, 50), (1000, 50), (1000, 700)], "stroma")
OTHER = AnnotationPolygon([(0, 0), (1024, 0), (1024, 768), (0, 768)], "whole")
POLYGONS = [OTHER, TUMOUR, STROMA]
VALUES = {"tumour": 1, "stroma": 7}


@pytest.fixture
def locations(made_slide: Path) -> PatchesMock:
    rows = [((x, y), (128, 96), "a") for y in range(0, 672, 96) for x in range(0, 896, 128)]
    return PatchesMock(wsi_file=made_slide, level_or_mpp=0, patch_data=rows)


def expected(patch: StoredPatch, downsample: float) -> Pixels:
    """Return a mask drawn pixel by pixel by another library."""
    x, y = (
        start + (np.arange(length) + 0.5) * downsample
        for start, length in zip(patch.location, patch.size, strict=True)
    )
    middles = np.meshgrid(x, y)
    mask = np.zeros(middles[0].shape, dtype=np.uint8)
    for polygon in (each for each in POLYGONS if each.label in VALUES):
        area = shapely.Polygon(polygon.points, polygon.holes)
        mask[shapely.contains_xy(area, *middles)] = VALUES[polygon.label]
    return mask


def written(folder: Path, locations: PatchesMock, kind: str | None, **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    sets = "levels_or_mpps" in more
    (MultiResDiskPatchExtractorPool if sets else DiskPatchExtractorPool)(
        output_dir=folder,
        patches_pool=[locations],
        container=kind,  # type: ignore[arg-type]
        image_type=None if kind in {"hdf5", "zarr"} else "png",
        proc_num_workers=1,
        thread_num_workers=1,
        **{"label_masks": [POLYGONS], "label_values": VALUES, **more},
    )
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_read_back_with_their_patches(
    locations: PatchesMock, tmp_path: Path, kind: str | None
) -> None:
    patches = open_patches(written(tmp_path / "out", locations, kind))
    assert len(patches) == 49
    seen = set()
    for patch in patches:
        assert patch.label_mask is not None
        assert (patch.label_mask == expected(patch, 1.0)).all()
        assert patch.array.shape == (96, 128, 3)
        seen |= set(np.unique(patch.label_mask).tolist())
    assert seen == {0, 1, 7}


@pytest.mark.parametrize("kind", KINDS)
def test_masks_of_sets_are_aligned_at_each_resolution(
    locations: PatchesMock, tmp_path: Path, kind: str | None
) -> None:
    patches = open_patches(
        written(
            tmp_path / "out",
            locations,
            kind,
            levels_or_mpps=[0, 1.3],
            resampling_mode="tile",
        )
    )
    for patch in patches:
        for view, downsample in zip(patch.views, (1.0, 1.3 / 0.5), strict=True):
            assert view.label_mask is not None
            assert (view.label_mask == expected(view, downsample)).all()


@pytest.mark.parametrize("kind", ["webdataset", "hdf5", "zarr", "parquet"])
def test_containers_have_them_without_a_manifest(
    locations: PatchesMock, tmp_path: Path, kind: str
) -> None:
    folder = written(tmp_path / "out", locations, kind)
    patches = open_patches(folder)
    (container,) = folder.glob("made*")
    alone = open_patches(container)
    for one, other in zip(patches, alone, strict=True):
        assert one.label_mask is not None
        assert other.label_mask is not None
        assert np.array_equal(one.label_mask, other.label_mask)


def test_a_file_has_a_mask_of_its_name(locations: PatchesMock, tmp_path: Path) -> None:
    folder = written(tmp_path / "out", locations, None, create_subdirs=True)
    images = sorted(file.relative_to(folder) for file in (folder / "a").glob("*.png"))
    masks = sorted(
        file.relative_to(folder / "label_masks")
        for file in (folder / "label_masks").rglob("*.png")
    )
    assert images == masks
    with Image.open(folder / "label_masks" / masks[10]) as mask:
        assert mask.mode == "L"
        assert mask.size == (128, 96)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_with_masks_is_resumed(
    locations: PatchesMock, tmp_path: Path, kind: str | None
) -> None:
    folder = written(tmp_path / "out", locations, kind)
    before = files_of(folder)
    written(folder, locations, kind, resume=True)
    assert files_of(folder) == before
    with pytest.raises(ResumeError, match="label_masks"):
        written(folder, locations, kind, resume=True, label_masks=[POLYGONS[:2]])
    with pytest.raises(ResumeError, match="label_values"):
        written(folder, locations, kind, resume=True, label_values={"tumour": 2})
    assert files_of(folder) == before


def files_of(folder: Path) -> dict[Path, bytes]:
    return {
        file: file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.suffix != ".jsonl"
    }


def test_a_mask_that_is_missing_is_drawn_again(
    locations: PatchesMock, tmp_path: Path
) -> None:
    folder = written(tmp_path / "out", locations, None)
    before = files_of(folder)
    for mask in list((folder / "label_masks").glob("*.png"))[::7]:
        mask.unlink()
    written(folder, locations, None, resume=True)
    after = files_of(folder)
    assert after.keys() == before.keys()
    assert all(after[file] == before[file] for file in after if file.suffix == ".png")


def test_labels_get_values_as_they_sort(locations: PatchesMock, tmp_path: Path) -> None:
    folder = written(tmp_path / "out", locations, None, label_values=None)
    values = {1: "stroma", 2: "tumour", 3: "whole"}
    masks = [each.label_mask for each in open_patches(folder)]
    assert {int(v) for mask in masks if mask is not None for v in np.unique(mask)} == set(
        values
    )
    assert "{'stroma': 1, 'tumour': 2, 'whole': 3}" in next(
        (folder / "manifests").glob("*.txt")
    ).read_text(encoding="utf-8")


def test_a_slide_may_have_no_polygons(locations: PatchesMock, tmp_path: Path) -> None:
    folder = written(tmp_path / "out", locations, None, label_masks=[None])
    assert all(
        each.label_mask is not None and not each.label_mask.any()
        for each in open_patches(folder)
    )


def test_without_masks_there_are_none(locations: PatchesMock, tmp_path: Path) -> None:
    folder = written(tmp_path / "out", locations, None, label_masks=None)
    assert open_patches(folder)[0].label_mask is None
    assert not (folder / "label_masks").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"label_masks": [POLYGONS, POLYGONS]}, ParameterError, "2 slides"),
        ({"label_masks": "a.json"}, ParameterTypeError, "label_masks must be"),
        ({"label_masks": [[1]]}, InvalidPolygonError, "made.svs"),
        ({"label_values": {"tumour": 0}}, ParameterError, "'tumour' must be 1 to 255"),
        ({"label_values": {"tumour": 256}}, ParameterError, "'tumour' must be 1 to 255"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_anything_is_written(
    locations: PatchesMock,
    tmp_path: Path,
    arguments: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        written(tmp_path / "out", locations, None, **arguments)
    assert not list((tmp_path / "out").iterdir())
