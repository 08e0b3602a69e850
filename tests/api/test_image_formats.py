"""What the disk pools write: bytes that depend on nothing but the slide and the options."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from dplabtools import config
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    PatchesMock,
)

CORNERS = [(256 * (i % 3), 64 * i) for i in range(7)]


def mock(slide: Path) -> PatchesMock:
    rows = [(corner, (256, 256), "ab"[corner[0] % 2]) for corner in CORNERS]
    return PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=0)


def extract(
    folder: Path, *slides: Path, workers: tuple[int, int] = (1, 1), **options: Any
) -> dict[str, bytes]:
    """Return the files by slide and place."""
    folder.mkdir(exist_ok=True)
    pool: Any = DiskPatchExtractorPool
    if "levels_or_mpps" in options:
        pool = MultiResDiskPatchExtractorPool
    made = pool(
        output_dir=folder,
        patches_pool=[mock(slide) for slide in slides],
        proc_num_workers=workers[0],
        thread_num_workers=workers[1],
        **options,
    )
    found: dict[str, bytes] = {}
    for slide, manifest_id in zip(slides, made.manifest_ids, strict=True):
        (table,) = folder.glob(f"manifests/manifest__{manifest_id}__*.csv")
        for row in csv.DictReader(table.read_text("utf-8").splitlines()):
            place = f"{slide.name} {row['x']} {row['y']} {row['level_or_mpp']}"
            found[place] = (folder / row["file"]).read_bytes()
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("image_type", "options"),
    [("png", {}), ("jpg", {}), ("jpg", {"passthrough": True}), ("jxl", {}), ("tif", {})],
)
def test_files_do_not_depend_on_the_workers(
    made_slide: Path, lossless_slide: Path, tmp_path: Path, image_type: str, options: Any
) -> None:
    one, four, threads = (
        extract(
            tmp_path / f"{workers}",
            *(made_slide, lossless_slide),
            workers=workers,
            image_type=image_type,
            save_options=options,
        )
        for workers in ((1, 1), (4, 1), (1, 3))
    )
    assert len(one) == 2 * len(CORNERS)
    assert one == four == threads


@pytest.mark.parametrize("image_type", ["png", "tif", "bmp", "webp", "jxl", "qoi"])
def test_pixels_come_back(made_slide: Path, tmp_path: Path, image_type: str) -> None:
    options = {"lossless": True} if image_type == "webp" else {}
    found = extract(tmp_path, made_slide, image_type=image_type, save_options=options)
    with GenericSlide(wsi_file=made_slide) as slide:
        for place, data in found.items():
            _, x, y, _ = place.split()
            (file,) = [each for each in tmp_path.glob("*.*") if each.read_bytes() == data]
            pixels = imagecodecs.imread(file) if image_type == "jxl" else Image.open(file)
            expected = slide.get_region_array(
                location=(int(x), int(y)), level=0, size=(256, 256)
            )
            np.testing.assert_array_equal(np.asarray(pixels), expected)


def test_each_resolution_states_its_own_mpp(made_slide: Path, tmp_path: Path) -> None:
    extract(
        tmp_path,
        made_slide,
        image_type="png",
        levels_or_mpps=[0, 1, 1.3],
        global_counter=1,
        resampling_mode="tile",
    )
    stated = set[tuple[str, int]]()
    for file in tmp_path.rglob("*.png"):
        with Image.open(file) as image:
            stated.add((file.name.split("_")[2], round(25400 / image.info["dpi"][0] * 100)))
    assert stated == {("level0", 50), ("level1", 100), ("mpp1.3", 130)}


@pytest.mark.parametrize("library", ["native", "openslide", "tiffslide"])
def test_the_colour_profile_of_a_real_slide(
    slides_dir: Path, tmp_path: Path, library: str
) -> None:
    config.slide_library = library
    slide = slides_dir / "tcga-cr-7395-01a-01-ts1.svs"
    extract(tmp_path, slide, image_type="jpg")
    for file in tmp_path.glob("*.jpg"):
        with Image.open(file) as image:
            profile = image.info["icc_profile"]
        assert len(profile) == 3144
        assert profile[36:40] == b"acsp"
    (tmp_path / "without").mkdir()
    extract(tmp_path / "without", slide, image_type="jpg", save_options={"icc": False})
    with Image.open(next((tmp_path / "without").glob("*.jpg"))) as image:
        assert "icc_profile" not in image.info
