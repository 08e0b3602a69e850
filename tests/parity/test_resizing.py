"""The compiled resizing gives Pillow's pixels."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from dplabtools._typing import Pixels
from dplabtools.errors import UnknownFilterError
from dplabtools.readers import compiled
from dplabtools.readers.compiled import COMPILER, RESIZING
from dplabtools.readers.resampling import check_filter, resize, resize_all
from dplabtools.records.pixel_buffer import PixelBuffer

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


def none_more(_llvm: object) -> str:
    """Return what a processor can do beside what all of its kind can."""
    return ""


@pytest.fixture(params=["that of this processor", "that of any"], scope="module")
def kernel(request: pytest.FixtureRequest) -> Iterator[None]:
    """Resize by machine code of one kind."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "that of any":
            patch.setattr(compiled, "_features", none_more)
        patch.setattr(RESIZING, "_function", RESIZING.compiled())
        yield


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("name", FILTERS)
@settings(max_examples=60)
@given(before=st.tuples(lengths, lengths), after=st.tuples(lengths, lengths))
@example(before=(145, 145), after=(85, 85))
@example(before=(150, 150), after=(3, 150))
@example(before=(22, 1), after=(150, 150))
@example(before=(64, 90), after=(64, 30))
@example(before=(90, 64), after=(30, 64))
@example(before=(20, 150), after=(19, 10))
def test_it_is_pillow(name: str, before: tuple[int, int], after: tuple[int, int]) -> None:
    pixels = noise(*before)
    expected = np.asarray(Image.fromarray(pixels).resize(after, Image.Resampling[name]))
    np.testing.assert_array_equal(resized(pixels, after, name), expected)


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="x86")
@pytest.mark.parametrize("processor", ["x86-64", "haswell"])
def test_it_is_pillow_on_older_processors(
    processor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import llvmlite.binding as llvm

    monkeypatch.setattr(llvm, "get_host_cpu_name", lambda: processor)
    monkeypatch.setattr(compiled, "_features", none_more)
    monkeypatch.setattr(RESIZING, "_function", RESIZING.compiled())
    pixels = noise(145, 131)
    expected = Image.fromarray(pixels).resize((85, 77), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(resized(pixels, (85, 77), "LANCZOS"), expected)


def test_the_hamming_filter_has_the_constants_of_pillow() -> None:
    pixels = noise(140, 126)
    expected = Image.fromarray(pixels).resize((94, 95), Image.Resampling.HAMMING)
    np.testing.assert_array_equal(resized(pixels, (94, 95), "HAMMING"), expected)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("factor", [0.6, 1.7, 2.0, 3.3, 7.9])
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


SIZES = np.array([(145, 145), (60, 90), (145, 145), (3, 8), (70, 200), (40, 40)])
RESULTS = np.array([(85, 85), (40, 30), (85, 85), (2, 9), (60, 50), (40, 40)])


@pytest.mark.parametrize("name", ["LANCZOS", "NEAREST", "AREA"])
@pytest.mark.parametrize("count", [0, 2])
def test_many_images_are_resized_as_each_alone(name: str, count: int) -> None:
    """Of several sizes, some of which are left to Pillow; in threads or without."""
    images = PixelBuffer.allocated(np.tile(SIZES, (8, 1)))
    results = PixelBuffer.allocated(np.tile(RESULTS, (8, 1)))
    images.memories[0][:] = noise(1, len(images.memories[0]))[:, 0, 0]
    with ThreadPoolExecutor(count or 1) as pool:
        resize_all(images, results, name, threads=pool if count else None)
    for number in range(len(images)):
        width, height = results.sizes[number].tolist()
        expected = resized(images.picture(number), (width, height), name)
        np.testing.assert_array_equal(results.picture(number), expected)


BETWEEN_FORBIDDEN_PAGES = """
import ctypes, mmap, sys
import numpy as np
import llvmlite.binding
from PIL import Image
from dplabtools.readers.resampling import resize

width, height, front = map(int, sys.argv[1:])
page, count = mmap.PAGESIZE, width * height * 3
pages = -(-count // page)
whole = np.frombuffer(mmap.mmap(-1, (pages + 2) * page), np.uint8)
start = page if front else (pages + 1) * page - count
image = whole[start : start + count].reshape(height, width, 3)
image[:] = np.arange(count).reshape(image.shape) % 251
after = ((width + 1) // 2, (height + 1) // 2)
expected = np.asarray(Image.fromarray(image).resize(after, Image.Resampling.LANCZOS))
out = np.empty_like(expected)
libc = ctypes.CDLL(None)
for edge in (0, pages + 1):
    address = ctypes.c_void_p(whole.ctypes.data + edge * page)
    assert libc.mprotect(address, ctypes.c_size_t(page), 0) == 0
resize(image, out, "LANCZOS")
print((out == expected).all(), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="pages are forbidden by mprotect")
@pytest.mark.parametrize("size", [(22, 5), (23, 40), (64, 33), (87, 64)])
@pytest.mark.parametrize("front", [0, 1])
def test_nothing_is_read_beyond_an_image(size: tuple[int, int], front: int) -> None:
    words = map(str, (*size, front))
    run = [sys.executable, "-c", BETWEEN_FORBIDDEN_PAGES, *words]
    told = subprocess.run(run, capture_output=True, text=True, check=False)
    assert told.stdout.strip() == "True", told.stderr


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
        "before, after = (np.zeros((side, side, 3), np.uint8) for side in (40, 24));"
        "[resize(before, after, 'LANCZOS') for _ in range(%d)];"
        "print('llvmlite' in sys.modules)"
    )
    for count, answer in ((RESIZING.after, "False"), (RESIZING.after + 1, "True")):
        run = [sys.executable, "-c", code % count]
        told = subprocess.run(run, capture_output=True, text=True, check=True).stdout
        assert told.strip() == answer
