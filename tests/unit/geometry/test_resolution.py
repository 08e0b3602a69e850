from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dplabtools.errors import ParameterError, ResolutionTypeError
from dplabtools.geometry.resolution import Level, Mpp, parse_level_or_mpp


@pytest.mark.parametrize("kind", [int, np.int64, np.uint8])
def test_an_integer_is_a_level(kind: Callable[[int], int]) -> None:
    assert parse_level_or_mpp(kind(1)) == Level(1)
    assert type(parse_level_or_mpp(kind(1)).number) is int


@pytest.mark.parametrize("kind", [float, np.float64, np.float32, np.float16])
def test_a_float_is_an_mpp(kind: Callable[[int], float]) -> None:
    assert parse_level_or_mpp(kind(1)) == Mpp(1.0)
    assert type(parse_level_or_mpp(kind(1)).number) is float


@pytest.mark.parametrize("value", [True, np.False_, None, "1", [1], 1j])
def test_anything_else_is_neither(value: object) -> None:
    with pytest.raises(ResolutionTypeError) as caught:
        parse_level_or_mpp(value)  # type: ignore[arg-type]
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("value", [-1, 0.0, -0.1, float("nan"), float("inf")])
def test_resolutions_are_positive(value: float) -> None:
    with pytest.raises(ParameterError):
        parse_level_or_mpp(value)
