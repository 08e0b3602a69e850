"""A slide of a run, and what goes with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from dplabtools.errors import ParameterError
from dplabtools.records.slide_columns import SlideColumns
from dplabtools.sources.urls import checked_url, is_url

__all__ = ["SlideInput"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideInput:
    """A slide, and the files and facts that go with it.

    Parameters
    ----------
    wsi_file : str
        Path of the slide.
    mask : Path, default None
        File of its tissue mask; None to look for tissue.
    annotation : Path, default None
        File of its annotations.
    points : Path, default None
        CSV file with the columns ``x`` and ``y``: top-left corners in level 0 pixels.
    locations : Path, default None
        File of patches that another tool has placed.
    label : str, default None
        Label of all its patches.
    mpp : float, default None
        Microns per pixel of level 0, whatever the file states.
    columns : tuple of (str, str), default ()
        Name and value of what else is known about it, which goes with its patches.

    Raises
    ------
    ParameterError
        If the mpp is no number above 0, or the address names credentials.
    """

    wsi_file: str
    mask: Path | None = None
    annotation: Path | None = None
    points: Path | None = None
    locations: Path | None = None
    label: str | None = None
    mpp: float | None = None
    columns: SlideColumns = ()

    def __post_init__(self) -> None:
        if is_url(self.wsi_file):
            object.__setattr__(self, "wsi_file", checked_url(self.wsi_file))
        if self.mpp is not None and not 0 < self.mpp < math.inf:
            msg = f"mpp must be a number above 0, not {self.mpp}"
            raise ParameterError(msg, slide=Path(self.wsi_file).name)
