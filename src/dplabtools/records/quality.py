"""How good patches are, and have to be."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Final, SupportsFloat, TypeAlias

import numpy as np
import numpy.typing as npt

from dplabtools._typing import BoolArray, IntArray
from dplabtools.errors import ParameterError, ParameterTypeError

__all__ = [
    "PIXEL_COLUMNS",
    "QUALITY_COLUMNS",
    "PatchQuality",
    "QualityLimits",
    "QualityValues",
]

PIXEL_COLUMNS: Final = ("sharpness", "brightness", "saturation", "background_share")
"""What `measure` tells of a patch, in its order."""
QUALITY_COLUMNS: Final = (*PIXEL_COLUMNS, "pen_share")
"""What is told of each patch."""

QualityValues: TypeAlias = npt.NDArray[np.float32]
"""A row for each patch, a column for each of `QUALITY_COLUMNS`; NaN where not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityLimits:
    """How good a patch has to be in order not to be left out; None sets no limit.

    Parameters
    ----------
    min_sharpness : float, default None
        Least ``sharpness``.
    max_background_share, max_pen_share : float, default None
        Most of a patch that may be background or pen, 0 to 1.

    Raises
    ------
    ParameterError
        If a limit is below 0, or a share above 1.
    ParameterTypeError
        If a limit is no number.
    """

    min_sharpness: float | None = None
    max_background_share: float | None = None
    max_pen_share: float | None = None

    def __post_init__(self) -> None:
        for name, value in self.given().items():
            most = math.inf if name == "min_sharpness" else 1.0
            msg = f"{name} must be a number between 0 and {most:g}, not {value!r}"
            if isinstance(value, bool) or not isinstance(value, SupportsFloat):
                raise ParameterTypeError(msg)
            if not 0 <= float(value) <= most:
                raise ParameterError(msg)

    def given(self) -> dict[str, float]:
        """Return the limits that are set, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def fails(self, values: QualityValues) -> BoolArray:
        """Tell which patches are not good enough; what was not read is good."""
        column = dict(zip(QUALITY_COLUMNS, values.T, strict=True))
        bad: BoolArray = np.zeros(len(values), dtype=np.bool_)
        if self.min_sharpness is not None:
            bad |= column["sharpness"] < self.min_sharpness
        if self.max_background_share is not None:
            bad |= column["background_share"] > self.max_background_share
        if self.max_pen_share is not None:
            bad |= column["pen_share"] > self.max_pen_share
        return np.asarray(bad & ~np.isnan(column["sharpness"]))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PatchQuality:
    """How good the patches of a slide are, as far as that is known.

    Attributes
    ----------
    limits : QualityLimits
        How good they have to be.
    values : ndarray of float32, shape (n, columns)
        Whoever measures patches, or knows of them from before, fills it.
    """

    limits: QualityLimits
    values: QualityValues

    @classmethod
    def unknown(cls, limits: QualityLimits, count: int) -> PatchQuality:
        """Return that of so many patches which nobody has measured."""
        shape = (count, len(QUALITY_COLUMNS))
        return cls(limits=limits, values=np.full(shape, np.nan, dtype=np.float32))

    @property
    def known(self) -> BoolArray:
        """Which patches were measured."""
        return ~np.isnan(self.values[:, 0])

    @property
    def left_out(self) -> BoolArray:
        """Which patches were measured, and are not good enough."""
        return self.limits.fails(self.values)

    def forget(self) -> None:
        """Let nothing be known any more."""
        self.values[:] = np.nan

    def texts(self, row: int) -> tuple[str, ...]:
        """Return the values of a patch as text, six digits of each; empty if unknown."""
        values = self.values[row].tolist()
        return tuple("" if math.isnan(each) else f"{each:.6g}" for each in values)

    def of(self, rows: IntArray) -> dict[str, npt.NDArray[np.float32]]:
        """Return the columns of some of the patches."""
        return dict(zip(QUALITY_COLUMNS, self.values[rows].T, strict=True))
