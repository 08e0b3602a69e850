"""What arguments of the documented slide may be."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence

import numpy as np

from dplabtools._typing import Size
from dplabtools.errors import (
    ConfigError,
    MissingMppError,
    ParameterError,
    ParameterTypeError,
)

__all__ = [
    "check_mpp_pair",
    "checked_flag",
    "checked_mpp",
    "checked_number",
    "checked_pair",
    "checked_size",
    "checked_text",
    "checked_whole",
]


def checked_number(value: float, *, name: str, zero: bool = False) -> float:
    """Return a setting as a float, if it is a finite number above (or at) zero.

    Raises
    ------
    ConfigError
        If it is not.
    """
    if _is_number(value) and math.isfinite(value) and (value > 0 or (zero and value == 0)):
        return float(value)
    least = "not negative" if zero else "above zero"
    msg = f"{name} must be a finite number, {least}, not {value!r}"
    raise ConfigError(msg)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(
        value, bool
    )


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def checked_whole(value: int, *, name: str, least: int) -> int:
    """Return a setting as an int, if it is one and not below the least.

    Raises
    ------
    ConfigError
        If it is not.
    """
    if not _is_whole(value) or value < least:
        msg = f"{name} must be an int from {least} up, not {value!r}"
        raise ConfigError(msg)
    return int(value)


def checked_flag(value: bool, *, name: str) -> bool:
    """Return a setting, if it is True or False.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    if not isinstance(value, bool | np.bool_):
        msg = f"{name} must be True or False, not {value!r}"
        raise ConfigError(msg)
    return bool(value)


def checked_text(value: str, *, name: str) -> str:
    """Return a setting, if it is a str.

    Raises
    ------
    ConfigError
        If it is not.
    """
    if not isinstance(value, str):
        msg = f"{name} must be a str, not {value!r}"
        raise ConfigError(msg)
    return value


def checked_pair(value: Sequence[int], *, name: str, slide: str) -> tuple[int, int]:
    """Return two ints, if it is a pair of such.

    Raises
    ------
    ParameterTypeError
        If it is not.
    """
    try:
        first, second = (operator.index(number) for number in value)
    except (TypeError, ValueError) as error:
        msg = f"{name} must be a pair of ints, not {value!r}"
        raise ParameterTypeError(msg, slide=slide) from error
    return first, second


def checked_mpp(mpp: float, *, slide: str) -> float:
    """Return an mpp as a float, if it is a number.

    Raises
    ------
    ParameterTypeError
        If it is none.
    """
    if not _is_number(mpp):
        msg = f"mpp must be a number, not {mpp!r}"
        raise ParameterTypeError(msg, slide=slide)
    return float(mpp)


def check_mpp_pair(mpp: Iterable[float | None], *, slide: str) -> None:
    """Raise if one of a pair of mpps is missing.

    Raises
    ------
    MissingMppError
        If one is None.
    ParameterTypeError
        If it is no pair, or one is neither a number nor None.
    """
    try:
        across, along = mpp
    except (TypeError, ValueError) as error:
        msg = f"mpp must be a pair (horizontal, vertical), not {mpp!r}"
        raise ParameterTypeError(msg, slide=slide) from error
    if across is None or along is None:
        msg = "the microns per pixel are not known"
        raise MissingMppError(
            msg, slide=slide, remedy="supply them with GenericSlide.set_external_mpp"
        )
    checked_mpp(across, slide=slide)
    checked_mpp(along, slide=slide)


def checked_size(size: Sequence[int], *, slide: str) -> Size:
    """Return (width, height), if both are ints of at least 1.

    Raises
    ------
    ParameterTypeError
        If it is no pair of ints.
    ParameterError
        If one is below 1.
    """
    width, height = checked_pair(size, name="size", slide=slide)
    if width < 1 or height < 1:
        msg = f"size must be at least 1 x 1 pixels, not {width} x {height}"
        raise ParameterError(msg, slide=slide)
    return width, height
