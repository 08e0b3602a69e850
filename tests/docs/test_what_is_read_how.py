"""The page about readers states what the command does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dplabtools.readers.opening import open_explained
from dplabtools.settings import Settings
from dplabtools.testing.make_bif import make_bif_slide
from dplabtools.testing.make_philips import make_philips_slide
from dplabtools.testing.make_scn import make_scn_slide

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "what-is-read-how.md"


@pytest.mark.parametrize(
    ("family", "make", "name"),
    [
        ("TIFF of Philips", make_philips_slide, "a.tiff"),
        ("SCN of Leica", make_scn_slide, "a.scn"),
        ("BIF of Ventana", make_bif_slide, "a.bif"),
    ],
)
def test_the_page_says_how_much_faster_the_native_reader_is(
    tmp_path: Path, family: str, make: Callable[[Path], Path], name: str
) -> None:
    reader, refusals = open_explained(make(tmp_path / name), settings=Settings())
    reader.close()
    (row,) = (line for line in PAGE.read_text("utf-8").splitlines() if family in line)
    times = row.split("|")[4].split()[0]
    assert f"reads made ones {times} times as fast" in refusals[0].reason
