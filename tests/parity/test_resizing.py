"""The compiled resizing gives Pillow's pixels."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from dplabtools._typing import Pixels
from dplabtools.errors import UnknownFilterError
from dplabtools.readers.compiled import COMPILER, RESIZING
from dplabtools.readers.resampling import check_filter, resize

pytest.importorskip(COMPILER)  # which also means that it is used

FILTERS = [filter_.name for filter_ in Image.Resampling]
lengths = st.integers(1, 150)


def resized(pixels: Pixels, size: tuple[int, int], name: str) -> Pixels:
    out = np.empty((size[1], size[0], 3), np.uint8)
    resize(pixels, out, name)
    return out


def noise(width: int, height: int) -> Pixels:
    """Pixels at the extremes: what filters overshoot at."""
    rng = np.random.default_rng((width, height))
    return rng.choice(np.array([0, 3, 128, 252, 255], np.uint8), (height, width, 3))


@pytest.mark.parametrize("name", FILTERS)
@settings(max_examples=60)
@given(before=st.tuples(lengths, lengths), after=st.tuples(lengths, lengths))
@example(before=(145, 145), after=(85, 85))
@example(before=(64, 90), after=(64, 30))
@example(before=(90, 64), after=(30, 64))
@example(before=(20, 150), after=(19, 10))
def test_it_is_pillow(name: str, before: tuple[int, int], after: tuple[int, int]) -> None:
    pixels = noise(*before)
    expected = np.asarray(Image.fromarray(pixels).resize(after, Image.Resampling[name]))
    np.testing.assert_array_equal(resized(pixels, after, name), expected)


@pytest.mark.parametrize("factor", [1.7, 2.0, 3.3, 7.9])
def test_it_is_pillow_at_the_size_of_patches(factor: float) -> None:
    side = round(256 * factor)
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    expected = Image.fromarray(pixels).resize((256, 256), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(resized(pixels, (256, 256), "LANCZOS"), expected)


def test_pixels_in_use_elsewhere_are_not_touched() -> None:
    pixels = noise(80, 60)
    before = pixels.copy()
    smaller = resized(pixels, (40, 30), "LANCZOS")
    expected = smaller.copy()
    resized(255 - pixels, (40, 30), "LANCZOS")  # in the same working memory
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(smaller, expected)


def test_parts_of_larger_pictures_are_resized() -> None:
    pixels = noise(90, 70)
    part = pixels[5:65, 10:80]
    expected = Image.fromarray(part).resize((33, 20), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(resized(part, (33, 20), "LANCZOS"), expected)


def test_area_is_the_mean_of_what_a_pixel_covers() -> None:
    pixels = noise(60, 40)
    means = pixels.reshape(10, 4, 15, 4, 3).mean(axis=(1, 3))
    found = resized(pixels, (15, 10), "AREA").astype(float)
    assert np.abs(found - means).max() <= 0.5


def test_area_is_for_patches_and_not_for_whole_levels() -> None:
    check_filter("AREA", mode="tile")
    with pytest.raises(UnknownFilterError, match="AREA"):
        check_filter("AREA", mode="wsi")
    with pytest.raises(UnknownFilterError, match="AREA"):
        check_filter("SINC", mode="tile")


def test_small_work_is_done_without_the_compiler() -> None:
    """Importing it takes longer than that."""
    code = (
        "import sys, numpy as np; from dplabtools.readers.resampling import resize;"
        "before, after = (np.zeros((side, side, 3), np.uint8) for side in (20, 12));"
        "[resize(before, after, 'LANCZOS') for _ in range(%d)];"
        "print('llvmlite' in sys.modules)"
    )
    for count, answer in ((RESIZING.after, "False"), (RESIZING.after + 1, "True")):
        run = [sys.executable, "-c", code % count]
        told = subprocess.run(run, capture_output=True, text=True, check=True).stdout
        assert told.strip() == answer
