"""The patches of a slide, as its manifest lists them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from dplabtools._typing import FloatArray, IntArray
from dplabtools.geometry.resolution import Level, Mpp, Resolution

__all__ = ["WrittenPatches"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WrittenPatches:
    """Columns of the patches that were written of one slide; sets are one row each.

    Attributes
    ----------
    files : list of tuple of str
        For each row a file for each view, relative to the run folder.
    views : tuple of Resolution
        Resolutions of a set; of plain patches there is one.
    mpps : tuple of float or None
        Microns per pixel of each view.
    origins : ndarray of int, shape (n, views, 2)
        (x, y) of the top-left corners, level 0 pixels.
    sizes : ndarray of int, shape (n, 2)
        (width, height) in pixels of the image.
    codes : ndarray of int, shape (n,)
        Which of the labels each has.
    labels : tuple of str
        Sorted.
    coverage : ndarray of float64, shape (n,)
        Share of foreground; NaN where it is not known.
    """

    files: list[tuple[str, ...]]
    views: tuple[Resolution, ...]
    mpps: tuple[float | None, ...]
    origins: IntArray
    sizes: IntArray
    codes: IntArray
    labels: tuple[str, ...]
    coverage: FloatArray

    def __len__(self) -> int:
        return len(self.codes)

    @classmethod
    def none(cls) -> Self:
        """Return columns without a row."""
        return cls(
            files=[],
            views=(),
            mpps=(),
            origins=np.zeros((0, 1, 2), np.int64),
            sizes=np.zeros((0, 2), np.int64),
            codes=np.zeros(0, np.int64),
            labels=(),
            coverage=np.zeros(0),
        )

    @classmethod
    def read(cls, table: Path) -> Self:
        """Read the manifest of a slide.

        Raises
        ------
        OSError, UnicodeDecodeError
            If the file cannot be read.
        KeyError, ValueError
            If it is no manifest.
        """
        with table.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            rows = [row for row in reader if row]
        if not rows:
            return cls.none()
        columns = dict(zip(header, zip(*rows, strict=True), strict=True))
        views = _views(columns)
        first = slice(None, None, len(views))
        labels = tuple(sorted(set(columns["label"])))
        code = {label: number for number, label in enumerate(labels)}
        places = np.array([columns["x"], columns["y"]], dtype=np.int64).T
        sizes = np.array([columns["width"], columns["height"]], dtype=np.int64).T
        shares = columns.get("coverage", ("",) * len(rows))[first]
        files = columns["file"]
        return cls(
            files=[
                files[row : row + len(views)] for row in range(0, len(rows), len(views))
            ],
            views=views,
            mpps=tuple(float(mpp) if mpp else None for mpp in columns["mpp"][: len(views)]),
            origins=places.reshape(-1, len(views), 2),
            sizes=sizes[first],
            codes=np.array([code[label] for label in columns["label"][first]], np.int64),
            labels=labels,
            coverage=np.array([float(share) if share else np.nan for share in shares]),
        )

    def counts(self) -> dict[str, int]:
        """Return the number of patches of each label."""
        counts = np.bincount(self.codes, minlength=len(self.labels)).tolist()
        return dict(zip(self.labels, counts, strict=True))


def _views(columns: dict[str, tuple[str, ...]]) -> tuple[Resolution, ...]:
    """Return the resolutions of a set, or the one of plain patches."""
    sets, resolutions = columns["set"], columns["level_or_mpp"]
    count = 1
    if sets[0]:
        count = next((row for row, each in enumerate(sets) if each != sets[0]), len(sets))
    return tuple(map(_resolution, resolutions[:count]))


def _resolution(text: str) -> Resolution:
    """Return a resolution as a manifest states it."""
    return Level(int(text)) if text.isdecimal() else Mpp(float(text))
