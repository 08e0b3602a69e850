from __future__ import annotations

from typing import Any

import pytest

from dplabtools.errors import (
    LevelOutOfRangeError,
    MissingMppError,
    ParameterError,
    ResolutionError,
)
from dplabtools.geometry.pyramid import Pyramid, Source, check_resampling
from dplabtools.geometry.resolution import Level, Mpp, Resolution
from dplabtools.settings import Settings


def pyramid(**changes: Any) -> Pyramid:
    given: dict[str, Any] = {
        "slide": "a.svs",
        "sizes": ((2560, 2048), (640, 512), (160, 128)),
        "downsamples": (1.0, 4.0, 16.0),
        "mpp": 0.25,
        "power": 40,
    }
    return Pyramid(**{**given, **changes})


def source(resolution: Resolution, *, mode: str | None = None, **settings: Any) -> Source:
    return pyramid().source(resolution, mode=mode, settings=Settings(**settings))


@pytest.mark.parametrize(
    ("asked", "level"), [(0, 0), (2, 2), (100, 2), (128, 2), (129, 1), (512, 1), (9000, 0)]
)
def test_a_level_by_its_number_or_its_least_size(asked: int, level: int) -> None:
    assert pyramid().level_for(asked) == level


@pytest.mark.parametrize("asked", [-1, 3, 99])
def test_a_level_that_is_not_there(asked: int) -> None:
    with pytest.raises(LevelOutOfRangeError, match=r"^a\.svs: .*levels 0 to 2") as caught:
        pyramid().level_for(asked)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, IndexError)


@pytest.mark.parametrize(
    ("mpp", "level"), [(0.25, 0), (0.252, 0), (0.2529, 0), (1.0, 1), (0.9971, 1), (4.0, 2)]
)
def test_an_mpp_within_the_margin_is_a_level(mpp: float, level: int) -> None:
    for mode in (None, "tile", "fast", "wsi"):
        found = source(Mpp(mpp), mode=mode)
        assert (found.level, found.factor, found.whole) == (level, 1.0, None)


def test_the_margin_itself_is_out_of_it() -> None:
    with pytest.raises(ResolutionError, match="resampling_mode"):
        source(Mpp(0.253))
    assert source(Mpp(0.253), mpp_level_margin=0.0031).factor == 1.0


def test_resampling_begins_at_level_0_or_at_the_closest_finer_one() -> None:
    found = source(Mpp(3.08), mode="tile")
    assert (found.level, found.factor, found.downsample) == (0, 12.32, 12.32)
    near = source(Mpp(3.08), mode="tile", level_zero_resampling=False)
    assert (near.level, near.factor, near.downsample) == (1, 3.08, 12.32)
    finest = source(Mpp(0.2), mode="tile", level_zero_resampling=False)
    assert finest.level == 0


def test_the_whole_level_has_a_rounded_size() -> None:
    assert source(Mpp(0.77), mode="wsi").whole == (831, 665)


@pytest.mark.parametrize("mpp", [0.0009, 10.01])
def test_an_mpp_out_of_range(mpp: float) -> None:
    with pytest.raises(ResolutionError, match=r"^a\.svs: .*range 0\.001 to 10"):
        source(Mpp(mpp), mode="tile")


def test_the_range_of_a_slide_without_power_is_a_setting() -> None:
    slide = pyramid(power=None)
    settings = Settings(range_max_magnification=20)
    slide.check_mpp(5.0, settings)
    with pytest.raises(ResolutionError):
        slide.check_mpp(5.1, settings)


def test_levels_need_no_mpp() -> None:
    slide = pyramid(mpp=None)
    assert slide.source(Level(1), mode=None, settings=Settings()).downsample == 4.0
    assert slide.relative_mpp(Level(2)) == 16.0
    for ask in (slide.level_mpps, lambda: slide.downsample(Mpp(1.0))):
        with pytest.raises(MissingMppError, match=r"^a\.svs: .*set_external_mpp"):
            ask()


def test_resampling_modes() -> None:
    for mode in (None, "tile", "fast", "wsi"):
        check_resampling(mode)
    with pytest.raises(ParameterError, match='None, "tile", "fast" or "wsi"'):
        check_resampling("nearest")
