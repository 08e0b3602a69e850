from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dplabtools import config
from dplabtools._typing import BoolArray, Pixels
from dplabtools.errors import ParameterError
from dplabtools.geometry.resolution import Level
from dplabtools.masks.automatic import find_any_tissue
from dplabtools.readers.slide import Slide
from dplabtools.testing.scenes import SCENES, Content, Scene, paint_scene

REAL = {
    "CMU-1-Small-Region.svs": ((880, 900, 330, 1200), 0.499),
    "OS-1-detail.ome.tif": ((0, 0, 1101, 1101), 0.2271),
    "tcga-cr-7395-01a-01-ts1.svs": ((700, 900, 1400, 1800), 0.5),
}
"""Parts of real slides that are all tissue, and their microns per pixel."""


def shares(scene: Scene, tissue: BoolArray) -> dict[Content, float]:
    """Return how much of each content counts as tissue."""
    return {
        content: float(tissue[scene.truth == content].mean())
        for content in Content
        if (scene.truth == content).any()
    }


def check_floors(scene: Scene) -> None:
    found = find_any_tissue(scene.image, mpp=scene.mpp)
    taken = shares(scene, found.tissue)
    assert taken.get(Content.TISSUE, 1) >= 0.85, taken
    assert taken.get(Content.GLASS, 0) <= 0.02, taken
    assert taken.get(Content.PEN, 0) <= 0.2, taken
    assert taken.get(Content.PADDING, 0) <= 0.2, taken


def real_texture(folder: Path, name: str, mpp: float) -> Pixels:
    (x, y, width, height), slide_mpp = REAL[name]
    with Slide(folder / name, settings=config.snapshot()) as slide:
        part = slide.read((x, y), Level(0), (width, height))
    scale = slide_mpp / mpp
    size = (int(width * scale), int(height * scale))
    shrunk = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk, dtype=np.uint8)


@pytest.mark.parametrize("name", SCENES)
def test_tissue_is_found_and_nothing_else(name: str) -> None:
    check_floors(paint_scene(name, size=(800, 600), seed=3))


@pytest.mark.slow
@pytest.mark.parametrize("texture", REAL)
@pytest.mark.parametrize("name", SCENES)
def test_real_tissue_is_found_and_nothing_else(
    slides_dir: Path, name: str, texture: str
) -> None:
    pixels = real_texture(slides_dir, texture, 8.0)
    check_floors(paint_scene(name, texture=pixels, seed=5))


@pytest.mark.parametrize("name", ["biopsy", "pale, blue pen", "white padding", "fat"])
def test_what_is_found_does_not_hang_on_the_resolution(name: str) -> None:
    check_floors(paint_scene(name, size=(1200, 900), mpp=5.0, seed=3))


def test_a_slide_without_colours_has_tissue_where_it_is_dark() -> None:
    scene = paint_scene("dark glass", size=(800, 600), seed=3)
    grey = np.repeat(scene.image.mean(axis=2).astype(np.uint8)[..., None], 3, axis=2)
    taken = shares(scene, find_any_tissue(grey, mpp=8.0).tissue)
    assert taken[Content.GLASS] <= 0.02
    left = scene.truth == Content.TISSUE
    left[:, 400:] = False  # where it is not pale
    assert find_any_tissue(grey, mpp=8.0).tissue[left].mean() >= 0.85


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((60, 80, 3), np.uint8), "stands out"),
        (np.full((60, 80, 3), 255, np.uint8), "one colour"),
        (np.full((60, 80, 3), (240, 238, 241), np.uint8), "stands out"),
    ],
)
def test_an_empty_slide_says_why(image: Pixels, reason: str) -> None:
    found = find_any_tissue(image, mpp=8.0)
    assert not found.tissue.any()
    assert reason in found.reason


def test_specks_and_pens_alone_say_so() -> None:
    image = np.full((300, 400, 3), (240, 238, 241), np.uint8)
    image[100:104, 100:104] = (200, 90, 160)
    assert "smaller" in find_any_tissue(image, mpp=8.0).reason
    image[100:104, 100:104] = (240, 238, 241)
    image[150:200, 50:350] = (40, 70, 170)
    assert "pens" in find_any_tissue(image, mpp=8.0).reason


def test_a_scene_is_the_same_for_the_same_seed_and_must_exist() -> None:
    first, second = (paint_scene("biopsy", size=(400, 300), seed=2) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.truth, second.truth)
    with pytest.raises(ParameterError, match="'moon'"):
        paint_scene("moon")


def test_the_biopsy_is_half_a_percent_of_its_scene() -> None:
    scene = paint_scene("biopsy")
    assert 0.004 < (scene.truth == Content.TISSUE).mean() < 0.006
