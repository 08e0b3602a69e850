from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dplabtools._typing import BoolArray, Pixels
from dplabtools.errors import MaskError, ParameterError
from dplabtools.masks import segmenters
from dplabtools.masks.segmenters import load_segmenter, segment

IMAGE = np.full((6, 8, 3), 200, np.uint8)


def dark(image: Pixels) -> BoolArray:
    return np.asarray(image[..., 0] < 100)


def test_a_segmenter_gets_the_picture_and_its_mpp_if_it_wants_it() -> None:
    got: list[Any] = []

    def left(image: Pixels, mpp: float) -> Any:
        got.extend((image.shape, image.dtype, mpp))
        return np.arange(8)[None, :] < np.full((6, 1), 4)

    found = segment(left, IMAGE, mpp=8.5)
    assert got == [(6, 8, 3), np.uint8, 8.5]
    assert found.tissue[:, :4].all()
    assert not found.tissue[:, 4:].any()
    assert not found.reason


def test_a_segmenter_that_finds_nothing_is_named() -> None:
    assert segment(dark, IMAGE, mpp=8.0).reason == "the segmenter dark found no tissue"


@pytest.mark.parametrize(
    "returned", [IMAGE, IMAGE[:3, :, 0], None, "mask", np.full((6, 8), "x")]
)
def test_what_is_no_mask_is_refused(returned: Any) -> None:
    with pytest.raises(MaskError, match="6 x 8"):
        segment(lambda _: returned, IMAGE, mpp=8.0)


def test_probabilities_may_be_undefined() -> None:
    found = segment(lambda _: np.where(np.eye(6, 8), np.nan, 1.0), IMAGE, mpp=8.0)
    np.testing.assert_array_equal(found.tissue, ~np.eye(6, 8, dtype=bool))


def test_what_a_segmenter_raises_is_told() -> None:
    def broken(image: Pixels) -> None:
        msg = f"no weights for {image.dtype}"
        raise OSError(msg)

    with pytest.raises(MaskError, match="broken failed: OSError: no weights for") as caught:
        segment(broken, IMAGE, mpp=8.0)
    assert isinstance(caught.value.__cause__, OSError)


def test_a_module_of_the_working_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    Path("my_tissue_finder.py").write_text(
        "def find(image):\n    return image[..., 1] < 9\n"
    )
    assert load_segmenter("my_tissue_finder:find").__name__ == "find"
    assert sys.path == before
    del sys.modules["my_tissue_finder"]


@pytest.mark.parametrize(
    "name", ["nothing", "no_such_module:find", "json:no_such", "json:__doc__", ":x", "x:"]
)
def test_a_segmenter_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ParameterError, match=name):
        load_segmenter(name)


def test_packages_offer_segmenters(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = EntryPoint("parse", "json:loads", segmenters.ENTRY_POINTS)

    def installed(*, group: str) -> EntryPoints:
        return EntryPoints([offered]).select(group=group)

    monkeypatch.setattr(segmenters, "entry_points", installed)
    assert load_segmenter("parse").__name__ == "loads"
    assert segmenters.segmenter_names() == ("parse",)
