"""What is known of stored patches, in columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from dplabtools._typing import FloatArray, IntArray
from dplabtools.output.stored_slide import StoredSlide, text_column
from dplabtools.records.patch_table import Shares

__all__ = ["StoredRow", "StoredTable"]

_AT_ONCE: Final = 4096  # rows that are made at once when a table is iterated over


class StoredRow(NamedTuple):
    """One patch on disk."""

    wsi_file: str
    set_number: int
    label: str
    x: int
    y: int
    width: int
    height: int
    level_or_mpp: int | float
    mpp: float
    coverage: float
    extra: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StoredTable:
    """Patches on disk, in columns; ``dict(table)`` gives them by name, as for pandas.

    Attributes
    ----------
    wsi_file : ndarray of object, shape (n,)
        Path of the slide.
    set_number : ndarray of int64, shape (n,)
        Number of the set; -1 for patches that are in none.
    label : ndarray of object, shape (n,)
        Label.
    x, y : ndarray of int64, shape (n,)
        Top-left corner, in level 0 pixels.
    width, height : ndarray of int64, shape (n,)
        Size of the image.
    level_or_mpp : ndarray of object, shape (n,)
        Resolution: an int is a level, a float microns per pixel.
    mpp : ndarray of float64, shape (n,)
        Microns per pixel; NaN where they are not known.
    coverage : ndarray of float32, shape (n,)
        Share of foreground; NaN where it is not known.
    extra : mapping of str to ndarray, shape (n,)
        What else is known, by name: columns of slides, such as a cohort's own; empty where
        a slide has no such column. ``table[name]`` and ``dict(table)`` have them, too.
    """

    wsi_file: npt.NDArray[np.object_]
    set_number: IntArray
    label: npt.NDArray[np.object_]
    x: IntArray
    y: IntArray
    width: IntArray
    height: IntArray
    level_or_mpp: npt.NDArray[np.object_]
    mpp: FloatArray
    coverage: Shares
    extra: Mapping[str, npt.NDArray[Any]]

    @classmethod
    def of(cls, parts: Sequence[StoredSlide]) -> StoredTable:
        """Join the columns of all parts, of which there is one at least."""
        every = [_columns(part) for part in parts]
        return cls(
            **{name: np.concatenate([each[name] for each in every]) for name in _NAMES},
            extra=_extra(parts),
        )

    def keys(self) -> tuple[str, ...]:
        """Return the names of the columns."""
        return (*_NAMES, *self.extra)

    @overload
    def __getitem__(self, index: str) -> npt.NDArray[Any]: ...
    @overload
    def __getitem__(self, index: int) -> StoredRow: ...
    def __getitem__(self, index: str | int) -> npt.NDArray[Any] | StoredRow:
        if not isinstance(index, str):
            row = range(len(self))[index]
            return next(self._rows(slice(row, row + 1)))
        if index not in _NAMES:
            return self.extra[index]
        column: npt.NDArray[Any] = getattr(self, index)
        return column

    def __iter__(self) -> Iterator[StoredRow]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self._rows(slice(start, start + _AT_ONCE))

    def _rows(self, part: slice) -> Iterator[StoredRow]:
        known = [getattr(self, name)[part].tolist() for name in _NAMES]
        extra = [column[part].tolist() for column in self.extra.values()]
        values: tuple[Any, ...]
        for number, values in enumerate(zip(*known, strict=True)):
            others = {
                name: column[number] for name, column in zip(self.extra, extra, strict=True)
            }
            yield StoredRow._make((*values, others))

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        return f"<StoredTable: {len(self)} patches>"


def _columns(part: StoredSlide) -> dict[str, npt.NDArray[Any]]:
    count = len(part)
    names = np.empty(len(part.labels), dtype=np.object_)
    names[:] = part.labels
    mpp = part.views.mpps[0] if part.views.mpps else None
    resolutions = np.empty(count, dtype=np.object_)
    resolutions[:] = part.views.levels_or_mpps[0] if count else 0
    files = np.empty(count, dtype=np.object_)
    files[:] = part.wsi_file
    return {
        "wsi_file": files,
        "set_number": np.full(count, -1) if part.sets is None else part.sets,
        "label": names[part.codes],
        "x": part.origins[:, 0, 0],
        "y": part.origins[:, 0, 1],
        "width": part.sizes[:, 0],
        "height": part.sizes[:, 1],
        "level_or_mpp": resolutions,
        "mpp": np.full(count, np.nan if mpp is None else mpp),
        "coverage": part.coverage,
    }


def _extra(parts: Sequence[StoredSlide]) -> dict[str, npt.NDArray[Any]]:
    """Join the further columns of all parts, those of a name to one."""
    names = dict.fromkeys(name for part in parts for name in part.extra)
    return {
        name: np.concatenate(
            [part.extra.get(name, text_column([""] * len(part))) for part in parts]
        )
        for name in names
    }


_NAMES = tuple(column.name for column in fields(StoredTable) if column.name != "extra")
