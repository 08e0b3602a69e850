"""Deflate streams, which every other decoder has to understand."""

from __future__ import annotations

import zlib

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dplabtools._typing import Pixels
from dplabtools.output.codecs import deflate
from dplabtools.output.codecs.deflate import deflated, filtered_rows


def check(data: Pixels) -> int:
    """See that two decoders give the data back; return the length of the stream."""
    stream = deflated(data).tobytes()
    assert zlib.decompress(stream, -15) == data.tobytes()
    assert imagecodecs.deflate_decode(stream, raw=True, out=data.size) == data.tobytes()
    return len(stream)


@given(st.binary(min_size=1, max_size=200))
def test_few_bytes(data: bytes) -> None:
    check(np.frombuffer(data, np.uint8))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 700)), min_size=1, max_size=12),
    st.integers(0, 1 << 30),
)
def test_runs_of_zeros_between_noise(parts: list[tuple[int, int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    pieces = [
        rng.integers(0, 256, count).astype(np.uint8) if kind == 1 else np.zeros(count, "u1")
        for kind, count in parts
    ]
    check(np.concatenate(pieces))


@pytest.mark.parametrize("around", [257, 258, 259, 260, 261, 516, 517, 519, 520, 1 << 17])
def test_runs_about_as_long_as_a_match_or_a_block(around: int) -> None:
    for count in range(around - 9, around + 10):
        check(np.zeros(count, np.uint8))
        check(
            np.concatenate([np.full(3, 7, "u1"), np.zeros(count, "u1"), np.ones(5, "u1")])
        )


@pytest.mark.parametrize("steepness", [1.05, 1.3, 1.62, 1.9, 3.0])
def test_counts_that_make_long_codes(steepness: float) -> None:
    """Fibonacci numbers, for one, would take a code of as many bits as there are."""
    counts = np.minimum(steepness ** np.arange(40), 60_000).astype(int) + 1
    data = np.repeat(np.arange(1, 41, dtype=np.uint8), counts)
    np.random.default_rng(0).shuffle(data)
    check(data)


def test_many_blocks() -> None:
    rng = np.random.default_rng(0)
    data = np.concatenate([rng.geometric(p, 200_003) for p in (0.9, 0.02, 0.3)])
    check(np.minimum(data, 255).astype(np.uint8))


def test_blank_images_become_tiny() -> None:
    assert check(np.zeros(512 * 512 * 3, np.uint8)) < 2000


def test_lengths_of_matches_are_those_of_the_standard() -> None:
    """RFC 1951, section 3.2.5: symbols 257 to 285."""
    symbols, bits = deflate._LENGTH_SYMBOL, deflate._LENGTH_BITS
    found = {n: (int(symbols[n]), int(bits[n])) for n in (3, 10, 11, 12, 18, 19, 114, 115)}
    assert found == {
        3: (257, 0),
        10: (264, 0),
        11: (265, 1),
        12: (265, 1),
        18: (268, 1),
        19: (269, 2),
        114: (279, 4),
        115: (280, 4),
    }
    assert [symbols[n] for n in (257, 258)] == [284, 285]


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
