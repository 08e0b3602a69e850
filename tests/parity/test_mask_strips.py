"""Masks made strip by strip are those that are made of all pixels at once."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from dplabtools import config
from dplabtools._typing import BoolArray, Pixels
from dplabtools.masks.cleaning import Cleaning
from dplabtools.masks.strips import Strips
from dplabtools.masks.tissue import MODES, find_tissue
from dplabtools.slides import GenericSlide
from dplabtools.slides.processing import WSITissueMask

STRIPS = "dplabtools.masks.strips._STRIP_PIXELS"


# -- at once -----------------------------------------------------------------------------


def tissue_at_once(image: Pixels, mode: str, threshold: float) -> BoolArray:
    if mode == "otsu":
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if grey.min() == grey.max():
            return np.zeros(grey.shape, dtype=bool)
        _, dark = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)
        return np.asarray(dark != 0)
    if mode == "hsv":
        values: Any = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1]
    else:
        scaled = image.astype(np.float32) / 255
        values = cv2.cvtColor(scaled, cv2.COLOR_RGB2LAB)[..., 1]
    mean = float(values.mean(dtype=np.float64))
    return np.asarray(values.astype(np.float32) > mean + threshold * abs(mean))


def without_small(mask: BoolArray, smallest: int) -> BoolArray:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.view(np.uint8), connectivity=4
    )
    keep = stats[:, cv2.CC_STAT_AREA] >= smallest
    keep[0] = False
    return np.asarray(keep[labels])


def cleaned_at_once(mask: BoolArray, cleaning: Cleaning, downsample: float) -> BoolArray:
    unit = 65536 / downsample**2
    if cleaning.all_holes:
        outside = np.pad(~mask, 1, constant_values=True).view(np.uint8)
        _, components = cv2.connectedComponents(outside, connectivity=4)
        mask = np.asarray(components[1:-1, 1:-1] != components[0, 0])
    mask = ~without_small(~mask, math.ceil(cleaning.holes_ratio * unit) + 1)
    if cleaning.close_kernel:
        kernel = np.ones((cleaning.close_kernel,) * 2, dtype=np.uint8)
        mask = cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_CLOSE, kernel) != 0
    return without_small(mask, math.ceil(cleaning.objects_ratio * unit))


# -- the same ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("strip", [1, 7 * 90, 1 << 23])
def test_tissue_is_found_as_at_once(
    mode: str, strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(STRIPS, strip)
    rng = np.random.default_rng(4)
    image = rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)
    image[:, :40] = 250, 240, 250
    found = find_tissue(Strips.of(image), mode=mode, color_threshold=0.1)
    np.testing.assert_array_equal(found, tissue_at_once(image, mode, 0.1))


@given(
    seed=st.integers(0, 1000),
    size=st.tuples(st.integers(1, 40), st.integers(1, 60)),
    density=st.floats(0.2, 0.8),
    rows=st.integers(1, 9),
    cleaning=st.builds(
        Cleaning,
        holes_ratio=st.floats(0, 0.3),
        objects_ratio=st.floats(0, 0.3),
        all_holes=st.booleans(),
        close_kernel=st.integers(0, 6),
    ),
)
def test_a_mask_is_cleaned_as_at_once(
    seed: int, size: tuple[int, int], density: float, rows: int, cleaning: Cleaning
) -> None:
    mask: BoolArray = np.random.default_rng(seed).random(size[::-1]) < density
    expected = cleaned_at_once(mask, cleaning, 16.0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(STRIPS, rows * size[0])
        cleaning.clean(mask, 16.0)
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("library", ["native", "openslide", "tiffslide"])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_slide_is_read_as_at_once(
    made_slide: Path, library: str, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library == "tiffslide":
        pytest.importorskip("tiffslide")
    config.slide_library = library
    options: dict[str, Any] = {"wsi_file": made_slide, "level_or_minsize": level}
    with GenericSlide(wsi_file=made_slide) as slide:
        size = slide.level_dimensions[level]
        image = np.asarray(slide.get_region(location=(0, 0), level_or_mpp=level, size=size))
        downsample = slide.level_downsamples[level]
    cleaning = Cleaning(holes_ratio=0.1, objects_ratio=0.1, all_holes=False, close_kernel=0)
    expected = cleaned_at_once(tissue_at_once(image, "hsv", 0.1), cleaning, downsample)
    monkeypatch.setattr(STRIPS, 37 * size[0])
    mask = WSITissueMask(**options)
    np.testing.assert_array_equal(mask.array, expected.T)


def test_where_openslide_would_interpolate_a_level_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (301, 203, 3), dtype=np.uint8)
    file = tmp_path / "odd.tif"
    options: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(file) as tiff:
        tiff.write(pixels, **options)
        tiff.write(pixels[:100, :67], subfiletype=1, **options)
    config.slide_library = "openslide"
    whole = WSITissueMask(wsi_file=file, level_or_minsize=1).array
    monkeypatch.setattr(STRIPS, 670)
    np.testing.assert_array_equal(
        WSITissueMask(wsi_file=file, level_or_minsize=1).array, whole
    )


# -- memory ------------------------------------------------------------------------------

SQUARE = np.ones((32, 32, 1), dtype=np.uint8)
SIDE, TILE = 8192, 512
BESIDE = 300 << 20  # bytes that a mask may take beside itself

MEASURED = """
import resource, sys
from dplabtools.errors import DplabError
from dplabtools.slides.processing import WSITissueMask

file, mode, room = sys.argv[1], sys.argv[2], int(sys.argv[3])
if room:
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + room,) * 2)
try:
    mask = WSITissueMask(
        wsi_file=file,
        level_or_minsize=0,
        mode=mode,
        remove_all_holes=True,
        close_fill_kernel_size=5,
    )
except DplabError as error:
    print(type(error).__name__, error)
else:
    # getrusage would count what the process was forked from, too.
    status = dict(line.split(":") for line in open("/proc/self/status"))
    print(mask.array.nbytes, int(status["VmHWM"].split()[0]) << 10)
"""


@pytest.fixture(scope="module")
def one_level(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of one level, 8192 x 8192, made of a few tiles again and again."""
    rng = np.random.default_rng(2)
    tiles = []
    for _ in range(5):
        coarse = rng.integers(120, 256, (16, 16, 3), dtype=np.uint8)
        tiles.append(cv2.imencode(".jpg", np.kron(coarse, SQUARE))[1])
    order = rng.integers(0, len(tiles), (SIDE // TILE) ** 2).tolist()
    file = tmp_path_factory.mktemp("large") / "one.tif"
    tifffile.imwrite(
        file,
        iter([tiles[number].tobytes() for number in order]),
        shape=(SIDE, SIDE, 3),
        dtype=np.uint8,
        tile=(TILE, TILE),
        photometric="ycbcr",
        compression="jpeg",
        metadata=None,
    )
    return file


def made_elsewhere(file: Path, mode: str, *, room: int = 0) -> str:
    """Make a mask in a process, with so much memory or all there is."""
    arguments = [sys.executable, "-c", MEASURED, str(file), mode, str(room)]
    run = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=120)
    return run.stdout


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="measures as Linux does")
@pytest.mark.parametrize("mode", MODES)
def test_a_large_level_takes_little_more_memory_than_its_mask(
    one_level: Path, mode: str
) -> None:
    mask, peak = map(int, made_elsewhere(one_level, mode).split())
    assert mask == SIDE**2
    assert peak < mask + BESIDE


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="limits memory as Linux does")
def test_a_mask_that_memory_does_not_hold_is_an_error_with_a_remedy(
    one_level: Path,
) -> None:
    told = made_elsewhere(one_level, "hsv", room=50 << 20)
    assert told.startswith("NotEnoughMemoryError one.tif: there is not enough memory")
    assert "level_or_minsize" in told
