from __future__ import annotations

import pickle

import pytest

from dplabtools.errors import SlideReadError
from dplabtools.records.failure import Failure


@pytest.mark.parametrize(
    ("row", "error", "text"),
    [
        (None, SlideReadError("damaged", slide="a.svs"), "a.svs: damaged"),
        (3, SlideReadError("damaged", slide="a.svs"), "a.svs: damaged (patch 3)"),
        (0, OSError("no room"), "a.svs: no room (patch 0)"),
    ],
)
def test_a_failure_names_its_slide_once(
    row: int | None, error: Exception, text: str
) -> None:
    failure = Failure(wsi_file="/f/a.svs", row=row, error=error)
    assert str(failure) == text
    assert str(pickle.loads(pickle.dumps(failure))) == text
