"""Where the patches of one slide are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt

from dplabtools._typing import IntArray
from dplabtools.errors import InvalidLocationError
from dplabtools.geometry.resolution import Resolution
from dplabtools.records.slide_columns import SlideColumns

__all__ = ["PatchRow", "PatchTable", "Shares", "coded"]

PatchRow: TypeAlias = tuple[tuple[int, int], tuple[int, int], str]
"""((x, y), (width, height), label), the documented form of one patch."""
Shares: TypeAlias = npt.NDArray[np.float32]
"""Shares from 0 to 1."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PatchTable:
    """The patches of one slide, one row each.

    Attributes
    ----------
    slide : str
        Path of the slide.
    resolution : Level or Mpp
        Resolution the patches are meant to be read at.
    origins : ndarray of int64, shape (n, 2)
        (x, y) of the top-left corners, in level 0 pixels; read-only.
    sizes : ndarray of int64, shape (n, 2)
        (width, height), in pixels of `resolution`; read-only.
    codes : ndarray of int64, shape (n,)
        Index into `labels` for each patch; read-only.
    labels : tuple of str
        Labels that may occur, also those no patch has; sorted.
    coverage : ndarray of float32, shape (n,), optional
        Share of foreground of each patch, from 0 to 1; read-only. None if not known.
    slide_columns : tuple of (str, str)
        What is written to every row beside all that: name and text of columns of the slide,
        as `dplabtools.records.slide_columns.slide_columns` makes them.
    """

    slide: str
    resolution: Resolution
    origins: IntArray
    sizes: IntArray
    codes: IntArray
    labels: tuple[str, ...]
    coverage: Shares | None = None
    slide_columns: SlideColumns = ()

    def __post_init__(self) -> None:
        count = len(self.codes)
        if self.origins.shape != (count, 2) or self.sizes.shape != (count, 2):
            msg = (
                f"{count} labels, but origins of shape {self.origins.shape} and sizes "
                f"of shape {self.sizes.shape}"
            )
            raise InvalidLocationError(msg, slide=self.slide_name)
        for column in (self.origins, self.sizes, self.codes):
            column.setflags(write=False)
        if self.coverage is not None:
            if self.coverage.shape != (count,):
                msg = f"{count} labels, but coverage of shape {self.coverage.shape}"
                raise InvalidLocationError(msg, slide=self.slide_name)
            self.coverage.setflags(write=False)

    @classmethod
    def from_rows(
        cls,
        rows: Sequence[PatchRow],
        *,
        slide: str,
        resolution: Resolution,
        labels: Collection[str] = (),
    ) -> Self:
        """Make a table of patches in the documented form.

        Parameters
        ----------
        rows : sequence of ((int, int), (int, int), str)
            Location in level 0 pixels, size in pixels of `resolution`, label.
        slide : str
            Path of the slide.
        resolution : Level or Mpp
            Resolution of the patches.
        labels : collection of str
            Labels that may occur beside those of the rows.

        Returns
        -------
        PatchTable
            In the order of `rows`.

        Raises
        ------
        InvalidLocationError
            If a row has another form, or a size is not positive.
        """
        name = Path(slide).name
        try:
            rows = list(rows)
            origins = np.array([_pair(row[0]) for row in rows], dtype=np.int64)
            sizes = np.array([_pair(row[1]) for row in rows], dtype=np.int64)
            names = [row[2] for row in rows]
        except (TypeError, ValueError, IndexError, OverflowError) as error:
            msg = (
                "patch_data must hold ((x, y), (width, height), label) tuples of whole "
                f"numbers and text: {error}"
            )
            raise InvalidLocationError(msg, slide=name) from error
        if any(not isinstance(label, str) for label in names):
            msg = "the label of a patch must be text"
            raise InvalidLocationError(msg, slide=name)
        if rows and sizes.min() < 1:
            msg = f"patch {int(sizes.min(axis=1).argmin())} has no area; sizes must be >= 1"
            raise InvalidLocationError(msg, slide=name)
        known, codes = coded(names, others=labels)
        return cls(
            slide=slide,
            resolution=resolution,
            origins=origins.reshape(-1, 2),
            sizes=sizes.reshape(-1, 2),
            codes=codes,
            labels=known,
        )

    def __len__(self) -> int:
        return len(self.origins)

    @property
    def slide_name(self) -> str:
        """Name of the slide file, without its folder."""
        return Path(self.slide).name

    def counts(self) -> dict[str, int]:
        """Return the number of patches of each label, zeros included."""
        counts = np.bincount(self.codes, minlength=len(self.labels))
        return dict(zip(self.labels, counts.tolist(), strict=True))

    def row_labels(self) -> npt.NDArray[np.object_]:
        """Return the label of each patch, in table order."""
        return self.labels_of(np.arange(len(self)))

    def labels_of(self, rows: IntArray) -> npt.NDArray[np.object_]:
        """Return the labels of some of the patches."""
        names = np.empty(len(self.labels), dtype=np.object_)
        names[:] = self.labels
        return names[self.codes[rows]]

    def share(self, row: int) -> float | None:
        """Return the share of foreground of a patch as it is written to files."""
        return None if self.coverage is None else round(float(self.coverage[row]), 6)

    def select(self, labels: Collection[str]) -> PatchTable:
        """Return a table of the patches that have one of these labels, and their labels."""
        kept = [code for code, label in enumerate(self.labels) if label in labels]
        chosen = self.take(np.flatnonzero(np.isin(self.codes, kept)))
        present = np.flatnonzero(np.bincount(chosen.codes))
        return replace(
            chosen,
            codes=np.searchsorted(present, chosen.codes),
            labels=tuple(self.labels[code] for code in present.tolist()),
        )

    def take(self, rows: IntArray) -> PatchTable:
        """Return a table of some of the patches, in the order of these rows."""
        return replace(
            self,
            origins=self.origins[rows],
            sizes=self.sizes[rows],
            codes=self.codes[rows],
            coverage=None if self.coverage is None else self.coverage[rows],
        )

    def rows(self) -> list[PatchRow]:
        """Return the patches in the documented form, in table order."""
        return [
            ((x, y), (width, height), self.labels[code])
            for (x, y), (width, height), code in zip(
                self.origins.tolist(),
                self.sizes.tolist(),
                self.codes.tolist(),
                strict=True,
            )
        ]


def coded(
    values: Sequence[str], *, others: Collection[str] = ()
) -> tuple[tuple[str, ...], IntArray]:
    """Return the different values, and others, in order; and the index of each value.

    Columns of text take much less memory like this, and none that counts its references:
    forked processes go on sharing it.
    """
    names = tuple(sorted({*values, *others}))
    code = {name: index for index, name in enumerate(names)}
    return names, np.array([code[value] for value in values], dtype=np.int64)


def _pair(value: Sequence[int]) -> tuple[int, int]:
    """Return two whole numbers."""
    first, second = value
    pair = (int(first), int(second))
    if pair != (first, second):
        msg = f"{value!r} is not a pair of whole numbers"
        raise ValueError(msg)
    return pair
