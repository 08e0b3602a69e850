from __future__ import annotations

import pickle

import numpy as np
import pytest

from dplabtools.errors import ParameterError, UnknownColorError
from dplabtools.masks.colors import parse_color
from dplabtools.masks.overlay import draw_outline, tint
from dplabtools.masks.raster import fill_outlines

IMAGE = np.full((20, 30, 3), 200, dtype=np.uint8)
MASK = np.zeros((20, 30), dtype=bool)
MASK[5:15, 5:25] = True


@pytest.mark.parametrize(
    ("name", "color"),
    [
        ("green", (0, 128, 0)),
        ("lime", (0, 255, 0)),
        ("g", (0, 128, 0)),
        ("k", (0, 0, 0)),
        ("tab:orange", (255, 127, 14)),
        ("#0a0b0c", (10, 11, 12)),
    ],
)
def test_colours_have_names(name: str, color: tuple[int, int, int]) -> None:
    assert parse_color(name) == color


def test_an_unknown_colour_is_a_key_error_and_a_value_error() -> None:
    with pytest.raises(UnknownColorError, match="no colour 'grellow'") as caught:
        parse_color("grellow")
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, ValueError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_tint_covers_the_mask_only() -> None:
    tinted = tint(IMAGE, MASK, color=(0, 100, 255), alpha=0.5)
    np.testing.assert_array_equal(tinted[~MASK], IMAGE[~MASK])
    np.testing.assert_array_equal(np.unique(tinted[MASK], axis=0), [[100, 150, 228]])


def test_an_outline_goes_around_the_mask_and_its_holes() -> None:
    mask = MASK.copy()
    mask[9:12, 12:16] = False
    drawn = draw_outline(IMAGE, mask, color=(1, 2, 3), thickness=1)
    line = (drawn == (1, 2, 3)).all(axis=2)
    assert line[5, 5:25].all()
    assert line[8, 12:16].all()
    assert not line[6, 6:24].any()
    assert (IMAGE == 200).all()


def test_drawing_refuses_nonsense() -> None:
    with pytest.raises(ParameterError, match="mask_alpha"):
        tint(IMAGE, MASK, color=(0, 0, 0), alpha=1.5)
    with pytest.raises(ParameterError, match="thickness"):
        draw_outline(IMAGE, MASK, color=(0, 0, 0), thickness=0)


def test_outlines_are_filled() -> None:
    mask = fill_outlines([[(2, 1), (6, 1), (6, 4), (2, 4)]], (10, 8))
    assert mask.shape == (8, 10)
    assert mask[1:5, 2:7].all()
    assert mask.sum() == 20
