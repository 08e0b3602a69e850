"""Previews, pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dplabtools.slides.patches import (
    PolygonRegionGridPatches,
    WholeImageInvertedRandomPatches,
)
from dplabtools.slides.utils import AnnotationPolygon
from dplabtools.testing.make_slide import make_slide

POLYGONS = [
    AnnotationPolygon(
        [(60, 40), (420, 60), (400, 330), (90, 300)],
        "tumor",
        [[(150, 120), (220, 110), (200, 190)]],
    ),
    AnnotationPolygon([(300, 150), (370, 150), (370, 240), (300, 240)], "necrosis"),
    AnnotationPolygon([(450, 60), (620, 320), (620, 60), (450, 320)], "stroma"),
]


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pixels stored exactly: no decoder decides how the images look."""
    file = tmp_path_factory.mktemp("golden") / "preview.svs"
    return make_slide(file, size=(640, 384), levels=3, compression="deflate", seed=4)


def test_polygons_with_holes_buffers_and_markers(slide: Path, tmp_path: Path) -> None:
    patches = PolygonRegionGridPatches(
        wsi_file=slide,
        mask_data=np.ones((320, 192)),
        polygon_data=POLYGONS,
        patch_size=24,
        polygon_buffer=[-5, 0, 4],
    )
    patches.save_preview_image(tmp_path / "p.png", patch_markers=True)
    check(tmp_path / "p.png", "preview_polygons.png")


def test_chosen_labels_at_another_level_in_other_colours(
    slide: Path, tmp_path: Path
) -> None:
    patches = PolygonRegionGridPatches(
        wsi_file=slide,
        mask_data=np.ones((320, 192)),
        polygon_data=POLYGONS,
        patch_size=24,
    )
    patches.save_preview_image(
        tmp_path / "p.png",
        "tab:orange",
        None,
        "#8000ff",
        thickness=2,
        level_or_minsize=2,
        drawn_labels=["tumor"],
    )
    check(tmp_path / "p.png", "preview_labels.png")


def test_what_is_beside_polygons(slide: Path, tmp_path: Path) -> None:
    patches = WholeImageInvertedRandomPatches(
        wsi_file=slide,
        mask_data=np.ones((320, 192)),
        polygon_data=POLYGONS,
        patch_size=32,
        num_patches=20,
        seed=1,
    )
    patches.save_preview_image(tmp_path / "p.png", thickness=1)
    check(tmp_path / "p.png", "preview_inverted.png")


def check(made: Path, golden: str) -> None:
    """Compare an image with the one that was looked at by eye."""
    with Image.open(made) as image, Image.open(Path(__file__).with_name(golden)) as right:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(right))
