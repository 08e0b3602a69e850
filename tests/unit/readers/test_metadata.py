from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from dplabtools.readers.base import ScanInfo
from dplabtools.readers.metadata import SlideMpp, resolved_mpp, scan_info
from dplabtools.settings import Settings

STATED = {
    "openslide.vendor": "aperio",
    "openslide.mpp-x": "0.25",
    "openslide.mpp-y": "0.26",
}
TAGS = {
    "tiff.ResolutionUnit": "centimeter",
    "tiff.XResolution": "20000",
    "tiff.YResolution": "40000",
}


def stated(properties: dict[str, str]) -> ScanInfo:
    return scan_info(properties, library="openslide", size=(10, 10))


def resolve(x: float | None, y: float | None, **changes: Any) -> SlideMpp:
    scan = ScanInfo(mpp_x=x, mpp_y=y, source="" if x is None else "tiff.XResolution")
    return resolved_mpp(scan, settings=Settings(**changes), slide="folder/s.svs")


def test_what_the_vendor_states_comes_before_the_tags() -> None:
    scan = stated({**STATED, **TAGS})
    assert (scan.mpp_x, scan.mpp_y, scan.source) == (0.25, 0.26, "openslide.mpp-x")


@pytest.mark.parametrize(
    ("unit", "x", "y", "mpps"),
    [
        ("centimeter", "20000", "40000", (0.5, 0.25)),
        ("CENTIMETER", "20000", "40000", (0.5, 0.25)),
        ("inch", "50800", "50800", (0.5, 0.5)),
        ("centimeter", "500", "200000", (20, 0.05)),
        ("none", "20000", "20000", (None, None)),
        ("centimeter", "20000", "", (None, None)),
    ],
)
def test_resolution_tags_count_by_their_unit(
    unit: str, x: str, y: str, mpps: tuple[float | None, float | None]
) -> None:
    tags = {"tiff.ResolutionUnit": unit, "tiff.XResolution": x, "tiff.YResolution": y}
    scan = stated(tags)
    assert (scan.mpp_x, scan.mpp_y) == mpps
    assert scan.source == ("" if mpps[0] is None else "tiff.XResolution")
    assert not scan.ignored


@pytest.mark.parametrize(
    ("unit", "per", "words"),
    [
        ("inch", "72", "tiff.XResolution of 72 per inch, 352.778 µm/px"),
        ("inch", "300", "tiff.XResolution of 300 per inch, 84.6667 µm/px"),
        ("centimeter", "10", "tiff.XResolution of 10 per centimeter, 1000 µm/px"),
        ("centimeter", "499.9", "tiff.XResolution of 499.9 per centimeter, 20.004 µm/px"),
        ("centimeter", "200001", "tiff.XResolution of 200001 per centimeter, 0.04"),
    ],
)
@pytest.mark.parametrize("vendor", ["generic-tiff", None])
def test_print_resolutions_count_as_not_stated(
    unit: str, per: str, words: str, vendor: str | None
) -> None:
    tags = {"tiff.ResolutionUnit": unit, "tiff.XResolution": per, "tiff.YResolution": per}
    own = {"openslide.mpp-x": "352.7", "openslide.mpp-y": "352.7"}  # of the tags
    known = {} if vendor is None else {"openslide.vendor": vendor}
    scan = stated({**tags, **own, **known})
    assert (scan.mpp_x, scan.mpp_y, scan.source) == (None, None, "")
    assert scan.ignored.startswith(words)


def test_what_a_vendor_states_is_believed_at_any_size() -> None:
    overview = {"openslide.mpp-x": "28.97", "openslide.mpp-y": "28.97"}
    assert stated({"openslide.vendor": "dicom", **overview}).mpp_x == 28.97


@pytest.mark.parametrize("value", ["0", "-0.5", "nan", "inf", "about a half", ""])
def test_absurd_values_count_as_not_stated(value: str) -> None:
    properties = {
        "openslide.vendor": "aperio",
        "openslide.mpp-x": value,
        "openslide.mpp-y": "0.5",
        "openslide.objective-power": value,
        "tiff.ResolutionUnit": "centimeter",
        "tiff.XResolution": value,
        "tiff.YResolution": "20000",
    }
    assert stated(properties) == ScanInfo()


def test_absurd_values_give_way_to_the_tags() -> None:
    scan = stated({**STATED, **TAGS, "openslide.mpp-x": "0", "openslide.mpp-y": "0"})
    assert scan.mpp_x == 0.5


def test_values_that_agree_when_rounded_are_rounded() -> None:
    assert resolve(0.2500012, 0.2500009).value == 0.25
    assert resolve(0.2500012, 0.2500012).value == 0.2500012
    assert resolve(0.251, 0.252, mpp_round_decimal_places=2).value == 0.25
    assert resolve(0.251, 0.252, mpp_round_decimal_places=0).value == 0.2515


@pytest.mark.parametrize(
    ("x", "y"), [(0.45641, 0.45506), (28.969, 28.968), (0.5, 0.51), (0.51, 0.5)]
)
def test_up_to_two_per_cent_apart_the_mean_holds(
    x: float, y: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dplabtools")
    found = resolve(x, y)
    assert (found.value, found.unequal) == ((x + y) / 2, None)
    assert f"s.svs: {x} microns per pixel horizontally and {y} vertic" in caplog.messages[0]


def test_further_apart_there_is_no_value() -> None:
    found = resolve(0.5, 0.5103)
    assert (found.value, found.unequal) == (None, (0.5, 0.5103))
    assert found.source == "tiff.XResolution"


def test_the_external_value_stands_in_only_for_a_missing_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "dplabtools")
    assert resolve(0.5, 0.5, external_mpp=0.25).value == 0.5
    assert not caplog.messages
    assert resolve(None, None, external_mpp=0.25) == SlideMpp(
        value=0.25, source="external_mpp"
    )
    assert caplog.messages == ["s.svs: Using externally provided MPP value of 0.25"]
    assert resolve(None, None) == SlideMpp(value=None)
    assert "external MPP value can be set" in caplog.messages[1]


def test_overrides_win_over_the_file_and_that_of_a_slide_over_that_of_all() -> None:
    every = {"external_mpp": 0.3, "external_mpp_overrides": True}
    own = {str(Path("folder/s.svs").absolute()): 0.4}
    assert resolve(0.5, 0.5, **every) == SlideMpp(value=0.3, source="external_mpp override")
    found = resolve(0.5, 0.6, **every, slide_mpps=own)
    assert found == SlideMpp(value=0.4, source="slide_mpps")
    other = {str(Path("other/s.svs").absolute()): 0.4}
    assert resolve(0.5, 0.5, slide_mpps=other).value == 0.5
