from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dplabtools._typing import Point, Size
from dplabtools.errors import LevelOutOfRangeError, MissingMppError
from dplabtools.geometry.multires import concentric_origins
from dplabtools.geometry.pyramid import Pyramid, mean_downsamples
from dplabtools.geometry.resolution import Level, Mpp, Resolution

LEVEL_SIZES = ((1999, 1501), (999, 750), (499, 375))
DOWNSAMPLES = mean_downsamples(LEVEL_SIZES)
coordinates = st.integers(-5000, 200_000)
resolutions = st.integers(0, 2).map(Level) | st.floats(0.05, 8).map(Mpp)


def pyramid(mpp: float | None = 0.5) -> Pyramid:
    return Pyramid(slide="a.svs", sizes=LEVEL_SIZES, downsamples=DOWNSAMPLES, mpp=mpp)


def mpp_of(resolution: Resolution) -> float:
    if isinstance(resolution, Mpp):
        return resolution.value
    return 0.5 * DOWNSAMPLES[resolution.index]


def by_the_formula(corner: int, side: int, base: Resolution, target: Resolution) -> int:
    """Where one axis begins, evaluated in the documented order."""
    centre = corner + side * (mpp_of(base) / 0.5) / 2
    factor = mpp_of(target) / 0.5
    return round((centre / factor - side / 2) * factor)


@given(
    st.tuples(coordinates, coordinates),
    st.tuples(st.integers(1, 1200), st.integers(1, 1200)),
    resolutions,
    resolutions,
)
def test_origins_follow_the_formula(
    origin: Point, size: Size, base: Resolution, target: Resolution
) -> None:
    found = concentric_origins(
        np.array([origin]), np.array([size]), base=base, target=target, pyramid=pyramid()
    )
    wanted = [
        by_the_formula(corner, side, base, target)
        for corner, side in zip(origin, size, strict=True)
    ]
    assert found.tolist() == [wanted]
    if base == target:
        assert found.tolist() == [list(origin)]


def test_downsamples_are_means_of_both_axes() -> None:
    assert list(DOWNSAMPLES) == pytest.approx([1, 2.0011674, 4.0043394], abs=1e-6)
    assert pyramid().level_mpps() == pytest.approx((0.5, 1.0005837, 2.0021697), abs=1e-6)


def test_levels_do_without_mpp() -> None:
    origins, sizes = np.array([[100, 60]]), np.array([[20, 10]])
    found = concentric_origins(
        origins, sizes, base=Level(0), target=Level(1), pyramid=pyramid(None)
    )
    assert found.tolist() == [[90, 55]]
    with pytest.raises(MissingMppError, match=r"^a\.svs: "):
        concentric_origins(
            origins, sizes, base=Level(0), target=Mpp(1.0), pyramid=pyramid(None)
        )


def test_a_level_that_is_not_there_is_found_out_without_patches() -> None:
    nothing = np.zeros((0, 2), dtype=np.int64)
    with pytest.raises(LevelOutOfRangeError, match=r"^a\.svs: .*levels 0 to 2"):
        concentric_origins(
            nothing, nothing, base=Level(0), target=Level(3), pyramid=pyramid()
        )
