"""A resolution is a pyramid level or a number of microns per pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from dplabtools.errors import ParameterError, ParameterTypeError, ResolutionTypeError

__all__ = ["Level", "Mpp", "Number", "Resolution", "parse_level_or_mpp", "parse_views"]


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


def parse_views(levels_or_mpps: Sequence[Number]) -> tuple[Resolution, ...]:
    """Return the resolutions of multi-resolution patches.

    Raises
    ------
    ParameterTypeError
        If they are no list.
    ParameterError
        If there are none, or one is neither a level nor an mpp.
    """
    given: object = levels_or_mpps
    if isinstance(given, str) or not isinstance(given, Sequence):
        msg = f"levels_or_mpps must be a list of levels and mpps, not {levels_or_mpps!r}"
        raise ParameterTypeError(msg)
    if not levels_or_mpps:
        msg = "levels_or_mpps is empty; name at least one level or mpp"
        raise ParameterError(msg)
    return tuple(map(parse_level_or_mpp, levels_or_mpps))
