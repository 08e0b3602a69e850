"""The compiled normalising gives the numbers of the plain one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from dplabtools.inference import normalising
from dplabtools.inference.normalising import NORMALISING, Normaliser
from dplabtools.readers.compiled import COMPILER, CompiledFunction

pytest.importorskip(COMPILER)  # which also means that it is used

NEVER = CompiledFunction("no_such", package="dplabtools.readers", takes=(), after=0)
RGB = st.tuples(*[st.floats(0.05, 1)] * 3)


def test_it_can_be_compiled() -> None:
    assert callable(NORMALISING.compiled())


@settings(max_examples=60)
@given(
    shape=st.tuples(st.integers(0, 3), st.integers(1, 40), st.integers(1, 40), st.just(3)),
    mean=st.one_of(st.just((0.0, 0.0, 0.0)), RGB),
    std=RGB,
    seed=st.integers(0, 2**32 - 1),
)
def test_it_gives_the_same_numbers(
    shape: tuple[int, ...],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    seed: int,
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    fast = Normaliser(mean, std)(pixels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(normalising, "NORMALISING", NEVER)
        plain = Normaliser(mean, std)(pixels)
    assert fast.dtype == np.float32
    assert_array_equal(fast, plain)
    expected = (pixels / 255 - mean) / std
    np.testing.assert_allclose(plain, expected, rtol=1e-4, atol=1e-4)


def test_memory_is_used_again() -> None:
    normalise = Normaliser((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    first = normalise(np.zeros((4, 8, 8, 3), np.uint8))
    second = normalise(np.full((2, 8, 8, 3), 255, np.uint8))
    assert np.shares_memory(first, second)
    assert (second == 1).all()
