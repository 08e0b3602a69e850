"""What arguments of many classes may be."""

from __future__ import annotations

import operator
from collections.abc import Collection
from typing import SupportsFloat, SupportsIndex

from dplabtools.errors import ParameterError, ParameterTypeError

__all__ = ["check_choice", "parse_count", "parse_timeout"]


def parse_count(value: SupportsIndex, *, name: str, least: int = 1) -> int:
    """Return a whole number that is large enough.

    Raises
    ------
    ParameterTypeError
        If it is no whole number.
    ParameterError
        If it is too small.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        msg = f"{name} must be an int, not {value!r}"
        raise ParameterTypeError(msg)
    if number < least:
        msg = f"{name} must be at least {least}, not {number}"
        raise ParameterError(msg)
    return number


def check_choice(value: str, choices: Collection[str], *, name: str) -> None:
    """Raise if a value is none of the choices.

    Raises
    ------
    ParameterError
        If it is not.
    """
    if value not in choices:
        allowed = " or ".join(f'"{choice}"' for choice in choices)
        msg = f"{name} must be {allowed}, not {value!r}"
        raise ParameterError(msg)


def parse_timeout(seconds: float) -> float:
    """Return a positive number of seconds.

    Raises
    ------
    ParameterTypeError
        If it is no number.
    ParameterError
        If it is not positive.
    """
    msg = f"chunk_timeout_s must be a number of seconds, more than 0, not {seconds!r}"
    if isinstance(seconds, bool) or not isinstance(seconds, SupportsFloat):
        raise ParameterTypeError(msg)
    value = float(seconds)
    if not value > 0:
        raise ParameterError(msg)
    return value
