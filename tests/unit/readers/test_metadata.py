from __future__ import annotations

import logging
from typing import Any

import pytest

from dplabtools.errors import ResolutionError
from dplabtools.readers.base import ScanInfo
from dplabtools.readers.metadata import resolved_mpp, scan_info
from dplabtools.settings import Settings

STATED = {"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.26"}
TAGS = {
    "tiff.ResolutionUnit": "centimeter",
    "tiff.XResolution": "20000",
    "tiff.YResolution": "40000",
}


def resolve(x: float | None, y: float | None, **changes: Any) -> tuple[float, float] | None:
    scan = ScanInfo(mpp_x=x, mpp_y=y)
    return resolved_mpp(scan, settings=Settings(**changes), slide="s.svs")


def test_what_the_library_states_comes_first() -> None:
    scan = scan_info({**STATED, **TAGS}, library="openslide")
    assert (scan.mpp_x, scan.mpp_y, scan.source) == (0.25, 0.26, "openslide.mpp-x")


def test_resolution_tags_count_if_they_are_per_centimetre() -> None:
    scan = scan_info(TAGS, library="openslide")
    assert (scan.mpp_x, scan.mpp_y, scan.source) == (0.5, 0.25, "tiff.XResolution")
    per_inch = {**TAGS, "tiff.ResolutionUnit": "inch"}
    assert scan_info(per_inch, library="openslide").mpp_x is None


@pytest.mark.parametrize("value", ["0", "-0.5", "nan", "inf", "about a half", ""])
def test_absurd_values_count_as_not_stated(value: str) -> None:
    properties = {
        "openslide.mpp-x": value,
        "openslide.mpp-y": "0.5",
        "openslide.objective-power": value,
        "tiff.ResolutionUnit": "centimeter",
        "tiff.XResolution": value,
        "tiff.YResolution": "20000",
    }
    assert scan_info(properties, library="openslide") == ScanInfo()


def test_absurd_values_give_way_to_the_tags() -> None:
    scan = scan_info(
        {**TAGS, "openslide.mpp-x": "0", "openslide.mpp-y": "0"}, library="openslide"
    )
    assert scan.mpp_x == 0.5


def test_values_that_agree_when_rounded_are_rounded() -> None:
    assert resolve(0.2500012, 0.2500009) == (0.25, 0.25)
    assert resolve(0.2500012, 0.2500012) == (0.2500012, 0.2500012)


def test_values_that_differ_are_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ResolutionError, match=r"s\.svs: .*set_mpp_round_decimal_places"):
        resolve(0.251, 0.252)
    assert resolve(0.251, 0.252, mpp_round_decimal_places=2) == (0.25, 0.25)


def test_values_that_differ_by_how_a_scanner_rounds_are_one() -> None:
    assert resolve(28.969, 28.968) == (28.9685, 28.9685)


def test_the_external_value_stands_in_only_for_a_missing_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "dplabtools")
    assert resolve(0.5, 0.5, external_mpp=0.25) == (0.5, 0.5)
    assert not caplog.messages
    assert resolve(None, None, external_mpp=0.25) == (0.25, 0.25)
    assert caplog.messages == ["s.svs: Using externally provided MPP value of 0.25"]
    assert resolve(None, None) is None
    assert "external MPP value can be set" in caplog.messages[1]
