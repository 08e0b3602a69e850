from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dplabtools.errors import MaskError, MaskTypeError, MissingMaskError
from dplabtools.masks.files import describe_mask, foreground_of, load_mask

MASK = np.zeros((5, 3), dtype=np.uint8)  # 5 wide, 3 high
MASK[4, 1] = 255


def test_every_kind_of_file_gives_the_same_mask(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", MASK)
    np.savez(tmp_path / "m.npz", data=MASK)
    Image.fromarray(MASK.T.copy()).save(tmp_path / "m.png")
    Image.fromarray(MASK.T.copy()).convert("1").save(tmp_path / "bits.png")
    Image.fromarray(MASK.T.copy()).save(tmp_path / "m.tif")
    for name in ("m.npy", "m.npz", "m.png", "bits.png", "m.tif"):
        loaded = load_mask(str(tmp_path / name))
        np.testing.assert_array_equal(loaded != 0, MASK != 0, err_msg=name)


def test_an_image_is_transposed() -> None:
    assert load_mask(Image.fromarray(MASK.T.copy())).shape == (5, 3)


def test_the_foreground_is_what_is_not_zero() -> None:
    values = np.array([[0.0, -1.0], [np.nan, 0.5]])
    np.testing.assert_array_equal(
        foreground_of(values).pixels, [[False, False], [True, True]]
    )


def test_a_missing_file_is_a_file_not_found_error_with_the_slides_name() -> None:
    with pytest.raises(MissingMaskError, match=r"^a\.svs: there is no mask file"):
        load_mask("nowhere.npz", slide="a.svs")


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    for name in ("m.npy", "m.npz"):
        (tmp_path / name).write_bytes(pickle.dumps(MASK))
        with pytest.raises(MaskTypeError, match="cannot be read"):
            load_mask(tmp_path / name)


def test_an_archive_without_the_key_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", mask=MASK)
    with pytest.raises(MaskTypeError, match="key 'data'"):
        load_mask(tmp_path / "m.npz")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.png").write_text("no image")
    with pytest.raises(MaskTypeError, match="cannot be read"):
        load_mask(tmp_path / "m.png")


@pytest.mark.parametrize("given", [3, None, [[1, 0]], np.array([["a"]]), np.array([[{}]])])
def test_what_is_no_mask_is_a_type_error(given: Any) -> None:
    with pytest.raises(MaskTypeError):
        load_mask(given)


def test_colour_images_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "m.png")
    with pytest.raises(MaskError, match="one channel"):
        load_mask(tmp_path / "m.png")


def test_a_mask_without_pixels_is_refused() -> None:
    with pytest.raises(MaskError, match="shape"):
        load_mask(np.zeros((0, 4)))


def test_masks_are_described_in_a_line() -> None:
    assert describe_mask(MASK) == "NumPy array [shape=(5, 3), size=15, type=uint8]"
    assert describe_mask(Path("a") / "b.npz") == str(Path("a") / "b.npz")
    assert describe_mask(Image.new("1", (2, 3))) == (
        "NumPy array [shape=(2, 3), size=6, type=bool]"
    )
