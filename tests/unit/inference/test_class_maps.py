from __future__ import annotations

import numpy as np
import pytest

from dplabtools.inference import class_maps
from dplabtools.inference.class_maps import ClassMaps, window_weights


@pytest.mark.parametrize("limit", [0, 1 << 28])
def test_sums_may_lie_in_a_file(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(class_maps, "_IN_MEMORY", limit)
    maps = ClassMaps(2, (30, 20))
    values = np.array([[0.25, 0.75], [0.75, 0.25]], dtype=np.float32)
    maps.add(values, np.array([[-2, -2], [0, 0]]), side=(4, 4))
    mean = maps.mean()
    assert mean[:, 0, 0].tolist() == [0.5, 0.5]
    assert mean[:, 3, 3].tolist() == [0.75, 0.25]
    assert np.isnan(mean[:, 4:]).all()
    assert np.isnan(mean[:, :, 4:]).all()


def test_patches_beside_the_maps_are_left_out() -> None:
    maps = ClassMaps(1, (10, 10))
    maps.add(
        np.ones((3, 1), dtype=np.float32),
        np.array([[10, 0], [-4, 0], [0, 99]]),
        side=(4, 4),
    )
    assert np.isnan(maps.mean()).all()


@pytest.mark.parametrize("window", ["uniform", "hann"])
@pytest.mark.parametrize("side", [(1, 1), (7, 4)])
def test_weights_are_positive_and_symmetric(window: str, side: tuple[int, int]) -> None:
    weights = window_weights(window, side)  # type: ignore[arg-type]
    assert weights.shape == side[::-1]
    assert ((weights > 0) & (weights <= 1)).all()
    np.testing.assert_allclose(weights, weights[::-1, ::-1])
