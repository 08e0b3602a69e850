"""What the doctor has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Finding", "State"]

State: TypeAlias = Literal["good", "note", "wrong"]
"""As it has to be; worth a word; something needed is not there, or fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    topic : str
        What it belongs to.
    name : str
        What it is.
    found : str
        How it is.
    state : {"good", "note", "wrong"}
        Whether that is as it has to be.
    remedy : str
        What to do about it.
    """

    topic: str
    name: str
    found: str
    state: State = "good"
    remedy: str = ""
