"""What differs between a run and the one before it, as people type it."""

from __future__ import annotations

from dplabtools.output.run_folder.fingerprint import Difference

__all__ = ["typed"]


def typed(difference: Difference) -> str:
    """Return an option with what it was and is; resolutions by the name that is plain."""
    name, old, new = difference.name, difference.old, difference.new
    kinds = {type(each) for each in (old, new) if each is not None}
    if name == "level-or-mpp" and len(kinds) == 1:
        name = "level" if int in kinds else "mpp"
    return f"--{name} {_value(old)} (now {_value(new)})"


def _value(value: object) -> str:
    return "not given" if value is None else f"{value}"
