from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dplabtools._typing import Point, Size
from dplabtools.errors import RegionOutOfBoundsError
from dplabtools.geometry.boxes import check_region, half_even, regions_outside
from dplabtools.geometry.pyramid import Pyramid

SLIDE = (100, 60)
sides = st.integers(1, 130)
regions = st.tuples(
    st.tuples(st.integers(-140, 120), st.integers(-140, 120)), st.tuples(sides, sides)
)


def is_outside(origin: Point, size: Size, downsample: float) -> bool:
    """Axis by axis, as the documented interface puts it."""
    for corner, length, whole in zip(origin, size, SLIDE, strict=True):
        extent = round(length * downsample)
        if corner > whole:
            return True
        if corner < 0 and (corner + extent <= 0 or extent > whole):
            return True
    return False


@given(st.lists(regions, min_size=1, max_size=20), st.sampled_from([1.0, 2.5, 4.0009]))
@example([((100, 60), (5, 5)), ((101, 0), (5, 5)), ((0, 61), (5, 5))], 1.0)
@example([((-5, 0), (5, 5)), ((-5, 0), (6, 5)), ((-1, 0), (101, 5))], 1.0)
@example([((-1, -1), (100, 60)), ((0, 0), (900, 900))], 1.0)
@example([((-2, 0), (1, 1)), ((-3, 0), (1, 1))], 2.5)
def test_many_regions_are_judged_as_each_alone(
    given_regions: list[tuple[Point, Size]], downsample: float
) -> None:
    origins = np.array([origin for origin, _ in given_regions])
    sizes = np.array([size for _, size in given_regions])
    outside = regions_outside(SLIDE, origins, sizes, downsample=downsample).tolist()
    assert outside == [is_outside(*region, downsample) for region in given_regions]
    pyramid = Pyramid(slide="a.svs", sizes=(SLIDE,), downsamples=(1.0,))
    for (origin, size), judged in zip(given_regions, outside, strict=True):
        if judged:
            with pytest.raises(RegionOutOfBoundsError, match=r"^a\.svs: the region at"):
                check_region(pyramid, origin, size, downsample=downsample)
        else:
            check_region(pyramid, origin, size, downsample=downsample)


@given(st.lists(st.floats(-1e9, 1e9) | st.integers(-99, 99).map(lambda n: n + 0.5)))
def test_halves_are_rounded_as_python_does(values: list[float]) -> None:
    assert half_even(np.array(values)).tolist() == [round(value) for value in values]
