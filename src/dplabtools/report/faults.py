"""What the page says of failures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dplabtools.records.run_record import ErrorRecord

__all__ = ["Fault", "joined"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that failed, of one slide.

    Attributes
    ----------
    error, remedy : str
        What, and what to do about it; the remedy may be empty.
    rows : tuple of int
        Patches that are concerned, numbered as placed; none: the whole slide.
    """

    error: str
    remedy: str = ""
    rows: tuple[int, ...] = ()


def joined(errors: Iterable[ErrorRecord]) -> list[Fault]:
    """Join what failed for the same reason, in the order of the first of each.

    Where the run has a remedy, the details are left out, and the advice to callers of the
    classes.
    """
    rows: dict[tuple[str, str], list[int]] = {}
    for each in errors:
        error = each.reason if each.remedy and each.reason else each.error
        mine = rows.setdefault((error, each.remedy), [])
        if each.row is not None:
            mine.append(each.row)
    return [
        Fault(error=error, remedy=remedy, rows=tuple(sorted(numbers)))
        for (error, remedy), numbers in rows.items()
    ]
