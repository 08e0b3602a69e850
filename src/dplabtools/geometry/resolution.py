"""A resolution is a pyramid level or a number of microns per pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from dplabtools.errors import ParameterError, ResolutionTypeError

__all__ = ["Level", "Mpp", "Number", "Resolution", "parse_level_or_mpp"]


@dataclass(frozen=True, slots=True)
class Level:
    """A native pyramid level.

    Attributes
    ----------
    index : int
        0 is the finest level.
    """

    index: int

    def __post_init__(self) -> None:
        if self.index < 0:
            msg = f"a level must be >= 0, not {self.index}"
            raise ParameterError(msg)

    @property
    def number(self) -> int:
        """The documented form: an int."""
        return self.index


@dataclass(frozen=True, slots=True)
class Mpp:
    """A physical resolution.

    Attributes
    ----------
    value : float
        Microns per pixel.
    """

    value: float

    def __post_init__(self) -> None:
        if not 0 < self.value < math.inf:
            msg = f"microns per pixel must be > 0 and finite, not {self.value}"
            raise ParameterError(msg)

    @property
    def number(self) -> float:
        """The documented form: a float."""
        return self.value


Resolution: TypeAlias = Level | Mpp
Number: TypeAlias = int | float | np.integer[Any] | np.floating[Any]


def parse_level_or_mpp(value: Number) -> Resolution:
    """Tell a level from microns per pixel by the type of the number.

    Parameters
    ----------
    value : int or float
        An integer is a level, a float is microns per pixel.

    Returns
    -------
    Level or Mpp
        What the number means.

    Raises
    ------
    ResolutionTypeError
        If `value` is a bool, or no number at all.
    ParameterError
        If the level is negative or the mpp not positive.

    Examples
    --------
    >>> parse_level_or_mpp(1)
    Level(index=1)
    >>> parse_level_or_mpp(1.0)
    Mpp(value=1.0)
    """
    match value:
        case bool():
            pass
        case int() | np.integer():
            return Level(int(value))
        case float() | np.floating():
            return Mpp(float(value))
        case _:
            pass
    msg = (
        f"level_or_mpp must be an int (a level) or a float (microns per pixel), "
        f"not {value!r}"
    )
    raise ResolutionTypeError(msg)
