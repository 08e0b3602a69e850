from __future__ import annotations

from typing import Any

from dplabtools.extraction.selection import Selection
from dplabtools.records.labels import LabelFilter
from dplabtools.slides.patches import PatchesMock

ROWS = [((0, 5), (32, 16), "b"), ((7, 3), (8, 8), "a")]


class Counting(PatchesMock):
    """Counts how often it was asked for its parameters."""

    asked = 0

    @property
    def param_info(self) -> dict[str, Any]:
        self.asked += 1
        return super().param_info


def test_parameters_are_made_when_somebody_wants_them() -> None:
    patches = Counting(patch_data=ROWS, wsi_file="s.svs", level_or_mpp=0)
    (found,) = Selection.all_of([patches], LabelFilter((), ("b",)))
    assert (found.selected.rows(), patches.asked) == (ROWS[1:], 0)
    assert (found.params()["patch_data"], patches.asked) == (ROWS, 1)
