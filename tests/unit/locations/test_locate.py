from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import shapely

from dplabtools._typing import BoolArray
from dplabtools.errors import (
    DuplicatePatchesWarning,
    InvalidPolygonError,
    LevelOutOfRangeError,
    MissingMppError,
    NotEnoughPatchesError,
    ParameterError,
)
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.geometry.resolution import Level, Mpp
from dplabtools.locations.locate import LocationRequest, Placed, Samplers, locate
from dplabtools.locations.regions import Frame, Region, WholeImage
from dplabtools.locations.samplers import CustomPoints, Grid, Random
from dplabtools.masks.foreground import ForegroundMask

PYRAMID = Pyramid(
    slide="s.svs", sizes=((640, 480), (40, 30)), downsamples=(1.0, 16.0), mpp=0.5
)
FULL = np.ones((30, 40), dtype=bool)
REQUEST = LocationRequest(
    slide="folder/s.svs",
    samplers=Grid(1),
    source=WholeImage(label="t"),
    patch_size=64,
    resolution=Level(0),
    foreground=0.95,
    overlap=0.95,
    buffer=0,
)


@dataclass(frozen=True)
class Two:
    """Two regions side by side, the second one listed first by its label."""

    same: bool = False

    def regions(
        self, mask: ForegroundMask, frame: Frame, *, slide: str
    ) -> tuple[Region, ...]:
        right = (0, 0, 16, 16) if self.same else (20, 0, 36, 16)
        return (
            Region(shapely.box(0, 0, 16, 16), "z"),
            Region(shapely.box(*right), "z" if self.same else "a"),
        )


def place(
    mask: BoolArray = FULL, *, seed: int = 0, pyramid: Pyramid = PYRAMID, **changes: Any
) -> Placed:
    return locate(
        replace(REQUEST, **changes),
        pyramid=pyramid,
        mask=ForegroundMask(mask),
        rng=np.random.default_rng(seed),
    )


def test_a_grid_tiles_the_slide() -> None:
    placed = place()
    assert placed.table.counts() == {"t": 70}
    assert placed.table.rows()[:2] == [((0, 0), (64, 64), "t"), ((64, 0), (64, 64), "t")]
    assert placed.edge == 4.0
    np.testing.assert_array_equal(placed.corners * 16, placed.table.origins)


def test_patches_are_ordered_by_region_then_by_proposal() -> None:
    rows = place(source=Two()).table.rows()
    assert [label for _, _, label in rows] == ["z"] * 16 + ["a"] * 16
    assert [origin for origin, _, _ in rows[:5]] == [
        (0, 0), (64, 0), (128, 0), (192, 0), (0, 64),
    ]  # fmt: skip
    assert place(source=Two()).table.labels == ("a", "z")


def test_each_region_has_its_own_values() -> None:
    grids = Samplers(make=Grid, values=[1, 2], name="patch_stride")
    assert place(source=Two(), samplers=grids).table.counts() == {"a": 4, "z": 16}


def test_a_list_of_another_length_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"^s\.svs: foreground_ratio: 3 values for 2"):
        place(source=Two(), foreground=[0.1, 0.2, 0.3])


@pytest.mark.parametrize("value", [(0.5, 0.5), "0.5", None, True, float("nan"), ["a", "b"]])
def test_what_is_neither_number_nor_list_is_refused(value: Any) -> None:
    with pytest.raises(ParameterError, match="overlap_ratio"):
        place(source=Two(), overlap=value)


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_ratios_are_from_0_to_1(value: float) -> None:
    with pytest.raises(ParameterError, match="foreground_ratio must be from 0 to 1"):
        place(foreground=value)
    with pytest.raises(ParameterError, match="overlap_ratio must be from 0 to 1"):
        place(overlap=value)


@pytest.mark.parametrize("size", [0, -1, 64.0, True, "64"])
def test_a_patch_size_is_a_positive_int(size: Any) -> None:
    with pytest.raises(ParameterError, match="patch_size"):
        place(patch_size=size)


def test_the_smallest_patch_is_a_pixel() -> None:
    place(patch_size=1, samplers=CustomPoints([(3, 5)]))
    for size in (0, -1):
        with pytest.raises(ParameterError, match="patch_size must be an int >= 1"):
            replace(REQUEST, patch_size=size)


def test_a_patch_takes_a_broken_number_of_mask_pixels_at_an_mpp_between_levels() -> None:
    placed = place(resolution=Mpp(0.74), patch_size=50)
    assert placed.edge == pytest.approx(50 * 0.74 / 0.5 / 16)
    assert placed.table.rows()[1][0] == (74, 0)


def test_an_empty_placement_covers_nothing() -> None:
    placed = place(np.zeros((30, 40), dtype=bool))
    assert len(placed.coverage) == len(placed.table) == 0


def test_duplicates_are_left_out_with_a_warning() -> None:
    with pytest.warns(DuplicatePatchesWarning, match=r"^s\.svs: 16 duplicate patches"):
        placed = place(source=Two(same=True))
    assert placed.table.counts() == {"z": 16}
    assert len(placed.corners) == 16


def test_the_first_of_duplicates_stays_in_its_place() -> None:
    points = CustomPoints([(64, 64), (0, 0), (64, 64), (128, 0)])
    with pytest.warns(DuplicatePatchesWarning):
        placed = place(samplers=points)
    assert placed.table.origins.tolist() == [[64, 64], [0, 0], [128, 0]]


def test_too_many_patches() -> None:
    mask = np.zeros((30, 40), dtype=bool)
    mask[0, 0] = True
    with pytest.raises(
        NotEnoughPatchesError, match=r"^s\.svs: .*0 of 5 patches fit"
    ) as caught:
        place(mask, samplers=Random(5))
    assert pickle.loads(pickle.dumps(caught.value)).wanted == 5


def test_a_mask_without_foreground_has_no_grid_patches() -> None:
    placed = place(np.zeros((30, 40), dtype=bool))
    assert placed.table.counts() == {"t": 0}


def test_no_random_patches_may_be_wanted() -> None:
    assert place(samplers=Random(0)).table.counts() == {"t": 0}


def test_the_same_seed_places_the_same_patches() -> None:
    first, again = (place(samplers=Random(9), seed=7) for _ in range(2))
    assert first.table.rows() == again.table.rows()
    assert place(samplers=Random(9), seed=8).table.rows() != first.table.rows()


def test_a_buffer_grows_and_shrinks_the_region() -> None:
    mask = np.zeros((30, 40), dtype=bool)
    mask[8:20, 8:24] = True
    grown = place(mask, buffer=2, foreground=0, overlap=0.9)
    assert grown.regions[0].bounds == (6, 6, 26, 22)
    assert grown.outlines[0].bounds == (8, 8, 24, 20)
    assert grown.table.origins.min(axis=0).tolist() == [96, 96]
    assert place(mask, buffer=-2).table.counts() == {"t": 6}


def test_negative_locations_are_kept() -> None:
    placed = place(buffer=3, foreground=0.0, overlap=0.5)
    assert placed.table.origins.min() == -48


def test_a_region_that_vanishes_is_refused() -> None:
    with pytest.raises(InvalidPolygonError, match=r"^s\.svs: .*polygon_buffer=-15"):
        place(buffer=-15)


def test_a_level_that_is_not_there() -> None:
    with pytest.raises(LevelOutOfRangeError, match=r"^s\.svs"):
        place(resolution=Level(2))


def test_mpp_without_mpp() -> None:
    with pytest.raises(MissingMppError, match=r"^s\.svs"):
        place(resolution=Mpp(0.5), pyramid=replace(PYRAMID, mpp=None))


def test_a_placement_travels() -> None:
    placed = place(buffer=1)
    copy = pickle.loads(pickle.dumps(placed))
    assert copy.table.rows() == placed.table.rows()
    assert copy.regions[0].shape.equals(placed.regions[0].shape)
