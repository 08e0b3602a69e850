"""Tests of what the page tells of the quality of patches."""

from __future__ import annotations

import numpy as np

from dplabtools.output.stored_slide import StoredSlide, Views
from dplabtools.report.patches import _NoImages
from dplabtools.report.quality import (
    quality_bins,
    quality_columns,
    whole_numbers,
    worst_rows,
)


def slide(**columns: list[float]) -> StoredSlide:
    count = len(next(iter(columns.values())))
    return StoredSlide(
        wsi_file="a.svs",
        views=Views(levels_or_mpps=(0,), mpps=(0.5,)),
        labels=("",),
        codes=np.zeros(count, np.int64),
        origins=np.zeros((count, 1, 2), np.int64),
        sizes=np.full((count, 2), 64),
        coverage=np.zeros(count, np.float32),
        sets=None,
        images=_NoImages(),
        extra={name: np.array(values, np.float32) for name, values in columns.items()},
    )


def test_nothing_of_something_is_not_unknown() -> None:
    columns = quality_columns(slide(pen_share=[0.0, 0.5, np.nan]))
    assert columns["pen_share"].tolist()[:2] == [0.0, 0.5]
    assert sum(quality_bins(columns)["pen_share"]["counts"]) == 2
    assert whole_numbers("pen_share", columns["pen_share"]).tolist() == [0, 500, -1]


def test_the_worst_are_least_sharp_or_have_most_background_or_pen() -> None:
    columns = quality_columns(
        slide(
            sharpness=[9, 1, 8, 2, np.nan],
            background_share=[0, 0, 1, 0, np.nan],
            pen_share=[0, 0, 0, 0, np.nan],
        )
    )
    assert worst_rows(columns, 1) == [1, 2]
    assert worst_rows(columns, 2) == [1, 2, 3]


def test_values_beyond_the_last_border_are_counted() -> None:
    bins = quality_bins(quality_columns(slide(sharpness=[0.0, 50.0, 1e6])))
    assert sum(bins["sharpness"]["counts"]) == 3


def test_slides_that_were_not_measured_have_no_columns() -> None:
    assert quality_columns(slide(site=[1.0])) == {}
