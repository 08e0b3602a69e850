"""PNG files, which every other decoder has to understand."""

from __future__ import annotations

import io
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from dplabtools._typing import Pixels
from dplabtools.output.codecs.png import Png, filtered_rows
from dplabtools.output.codecs.tags import Tags


def noise(*shape: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize("level", range(10))
@pytest.mark.parametrize("shape", [(1, 1), (5, 700), (700, 5), (256, 256)])
def test_other_decoders_give_the_pixels_back(level: int, shape: tuple[int, int]) -> None:
    blank = np.full((*shape, 3), 255, np.uint8)
    half = np.concatenate([noise(*shape), blank])
    for pixels in (noise(*shape), blank, half):
        file = Png(compress_level=level).encode(pixels, Tags())
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file))), pixels)
        np.testing.assert_array_equal(imagecodecs.png_decode(file), pixels)


def test_higher_levels_are_not_larger() -> None:
    smooth = np.cumsum(noise(256, 256) // 64, axis=1, dtype=np.uint8)
    sizes = [len(Png(compress_level=n).encode(smooth, Tags())) for n in (0, 1, 6, 9)]
    assert sizes == sorted(sizes, reverse=True)


def test_blank_images_become_tiny() -> None:
    blank = np.full((512, 512, 3), 255, np.uint8)
    assert len(Png().encode(blank, Tags())) < 512 * 512 * 3 / 100


def test_streams_begin_as_those_of_zlib() -> None:
    rows = filtered_rows(noise(9, 9))
    assert zlib.decompress(Png()._packed(noise(9, 9))) == rows.tobytes()


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2), (5, 3), (64, 33)])
def test_paeth_is_that_of_the_standard(shape: tuple[int, int]) -> None:
    """PNG, section 9.4, sample by sample."""
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    rows = np.pad(pixels.reshape(shape[0], -1).astype(int), ((1, 0), (3, 0)))
    expected = np.full((shape[0], 1 + 3 * shape[1]), 4)
    for i in range(shape[0]):
        for j in range(3 * shape[1]):
            left, above, corner = rows[i + 1, j], rows[i, j + 3], rows[i, j]
            guesses = (left, above, corner)
            distances = [abs(left + above - corner - guess) for guess in guesses]
            guess = guesses[distances.index(min(distances))]
            expected[i, 1 + j] = (rows[i + 1, j + 3] - guess) % 256
    np.testing.assert_array_equal(filtered_rows(pixels), expected)
