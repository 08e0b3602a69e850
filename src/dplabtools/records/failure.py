"""What could not be delivered, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dplabtools.errors import DplabError

__all__ = ["Failure", "failed_slides"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A patch or a slide that was skipped.

    Attributes
    ----------
    wsi_file : str
        Path of the slide.
    row : int or None
        Row of the patch among those asked for of this slide; None: the whole slide.
    error : Exception
        What was raised.
    attempts : int
        How often it was tried.
    """

    wsi_file: str
    row: int | None
    error: Exception
    attempts: int = 1

    @property
    def reason(self) -> str:
        """What went wrong: the same for all that fails in the same way."""
        return self.error.reason if isinstance(self.error, DplabError) else str(self.error)

    @property
    def message(self) -> str:
        """All that the error says, but for the name of the slide."""
        return self.error.message if isinstance(self.error, DplabError) else str(self.error)

    @property
    def remedy(self) -> str:
        """What to do about it; may be empty."""
        return self.error.remedy if isinstance(self.error, DplabError) else ""

    def __str__(self) -> str:
        where = "" if self.row is None else f" (patch {self.row})"
        text = str(self.error)
        name = Path(self.wsi_file).name
        return text + where if text.startswith(name) else f"{name}: {text}{where}"


def failed_slides(failures: Iterable[Failure]) -> dict[str, str]:
    """Return why there is nothing of a slide, by its path, for those that failed."""
    return {each.wsi_file: each.message for each in failures if each.row is None}
