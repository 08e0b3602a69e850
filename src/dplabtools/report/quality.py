"""How good the patches of a slide are, as the page has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np

from dplabtools._typing import FloatArray, IntArray
from dplabtools.output.stored_slide import StoredSlide
from dplabtools.records.quality import QUALITY_COLUMNS

__all__ = ["QualityBins", "quality_bins", "quality_columns", "whole_numbers", "worst_rows"]

Quality: TypeAlias = Mapping[str, FloatArray]
"""A value for each patch, by column; nothing if it was not measured."""
QualityBins: TypeAlias = dict[str, dict[str, Any]]
"""Of each column the borders of bins, and how many patches there are in each."""

_BINS: Final = {
    "sharpness": np.concatenate([[0], np.logspace(0, 4, 17)]),
    "brightness": np.linspace(0, 255, 18),
    "saturation": np.linspace(0, 255, 18),
    "background_share": np.linspace(0, 1, 21),
    "pen_share": np.linspace(0, 1, 21),
}
_HIGH_IS_BAD: Final = ("background_share", "pen_share")
_PER_MILLE: Final = 1000


def quality_columns(patches: StoredSlide) -> dict[str, FloatArray]:
    """Return what was measured of each patch; NaN where it was not."""
    return {
        name: patches.extra[name].astype(np.float64)
        for name in QUALITY_COLUMNS
        if name in patches.extra
    }


def quality_bins(quality: Quality) -> QualityBins:
    """Count the patches by how good they are; what is beyond the last border is in it."""
    bins: QualityBins = {}
    for name, values in quality.items():
        borders = _BINS[name]
        known = np.clip(values[~np.isnan(values)], borders[0], borders[-1])
        counts = np.histogram(known, bins=borders)[0]
        bins[name] = {"borders": borders.tolist(), "counts": counts.tolist()}
    return bins


def worst_rows(quality: Quality, count: int) -> list[int]:
    """Return the rows of the least sharp patches, and of those with most background or pen.

    Parameters
    ----------
    quality : mapping of str to ndarray of float64, shape (n,)
        As `quality_columns` returns it.
    count : int
        Patches for each of these at most.
    """
    rows: set[int] = set()
    for name, values in quality.items():
        if name == "sharpness":
            rows.update(_first(values, count))
        elif name in _HIGH_IS_BAD:
            bad = _first(-values, count)
            rows.update(row for row in bad if values[row] > 0)
    return sorted(rows)


def _first(values: FloatArray, count: int) -> list[int]:
    known = int((~np.isnan(values)).sum())
    rows: list[int] = np.argsort(values, kind="stable")[: min(count, known)].tolist()
    return rows


def whole_numbers(name: str, values: FloatArray) -> IntArray:
    """Return a column as whole numbers, shares in thousandths; -1 where it is not known."""
    scale = _PER_MILLE if name.endswith("_share") else 1
    return np.where(np.isnan(values), -1, np.rint(np.nan_to_num(values) * scale)).astype(
        np.int64
    )
