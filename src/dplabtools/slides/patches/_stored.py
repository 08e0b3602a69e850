"""The documented way back: patches that were written, as a sequence."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, NamedTuple, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from dplabtools._typing import FloatArray, IntArray, Pixels, Point, Size, StrPath
from dplabtools.errors import ParameterTypeError
from dplabtools.notebook import facts_card, never_raises
from dplabtools.output.stored_manifests import open_slides
from dplabtools.output.stored_slide import StoredSlide, reading, text_column
from dplabtools.records.patch_table import Shares
from dplabtools.slides.patches._html import STRIP_EDGE, counts_text, strip

__all__ = ["StoredPatch", "StoredPatches", "StoredRow", "StoredTable", "open_patches"]

_AT_ONCE: Final = 4096  # rows that are made at once when a table is iterated over


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class StoredPatch:
    """A patch on disk, whose pixels are read when they are asked for.

    Attributes
    ----------
    label : str
        Its label.
    location : (int, int)
        (x, y) of the top-left corner, in level 0 pixels.
    size : (int, int)
        (width, height) of the image.
    level_or_mpp : int or float
        Resolution: an int is a level, a float microns per pixel.
    mpp : float or None
        Microns per pixel, if they are known.
    wsi_file : str
        Path of the slide, as the run was given it; in a container without manifests, and in
        folders of earlier versions, its name.
    coverage : float or None
        Share of foreground, if it is known.
    set_number : int or None
        Number of the set, for patches at several resolutions.
    columns : mapping of str to object
        What else is known of it, by name: the columns of its slide, such as a cohort's own.
    array : ndarray of uint8, shape (height, width, 3)
        RGB; read on first use, and kept as long as this object.
    image : PIL.Image.Image
        The same.
    label_mask : ndarray of uint8, shape (height, width), or None
        The class of each pixel, if the run drew label masks; 0 for none.
    views : tuple of StoredPatch
        The patch at each of its resolutions, in the order in which they were asked for;
        this is the first. A patch at one resolution is its only view.
    """

    label: str
    location: Point
    size: Size
    level_or_mpp: int | float
    mpp: float | None
    wsi_file: str
    coverage: float | None
    set_number: int | None
    columns: Mapping[str, Any]
    _part: StoredSlide
    _row: int
    _view: int = 0

    @classmethod
    def of(cls, part: StoredSlide, row: int, *, view: int = 0) -> StoredPatch:
        """Make one of a row."""
        x, y = part.origins[row, view].tolist()
        width, height = part.sizes[row].tolist()
        share = float(part.coverage[row])
        return cls(
            label=part.labels[int(part.codes[row])],
            location=(x, y),
            size=(width, height),
            level_or_mpp=part.views.levels_or_mpps[view],
            mpp=part.views.mpps[view],
            wsi_file=part.wsi_file,
            coverage=None if np.isnan(share) else share,
            set_number=None if part.sets is None else int(part.sets[row]),
            columns={name: column[row] for name, column in part.extra.items()},
            _part=part,
            _row=row,
            _view=view,
        )

    def __repr__(self) -> str:
        (x, y), (width, height) = self.location, self.size
        label = f" {self.label!r}" if self.label else ""
        return (
            f"<StoredPatch:{label} {width} x {height} at ({x}, {y}) of "
            f"{Path(self.wsi_file).name}>"
        )

    @cached_property
    def array(self) -> Pixels:
        """The pixels."""
        index = self._row * len(self._part.views) + self._view
        with reading(Path(self.wsi_file)):
            return self._part.images.read(index)

    @cached_property
    def label_mask(self) -> Pixels | None:
        """The class of each pixel, if the run drew label masks."""
        masks = self._part.label_masks
        if masks is None:
            return None
        with reading(Path(self.wsi_file)):
            return masks.read(self._row * len(self._part.views) + self._view)

    @property
    def image(self) -> Image.Image:
        """The pixels, as an image."""
        return Image.fromarray(self.array)

    @property
    def views(self) -> tuple[StoredPatch, ...]:
        """The patch at each of its resolutions."""
        count = len(self._part.views)
        if count == 1:
            return (self,)
        return tuple(self.of(self._part, self._row, view=view) for view in range(count))


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


class StoredPatches(Sequence[StoredPatch]):
    """The patches of an output folder or a container; `open_patches` makes it.

    It holds no file open, and pickles: workers of a data loader may share it, however they
    are started.

    Parameters
    ----------
    parts : sequence of StoredSlide
        What there is, slide by slide.
    """

    def __init__(self, parts: Sequence[StoredSlide]) -> None:
        self._parts = tuple(parts)
        self._ends = np.array(list(accumulate(map(len, parts))), dtype=np.int64)

    @cached_property
    def table(self) -> StoredTable:
        """All that is known of the patches, in columns; of sets, of their first image."""
        return StoredTable.of(self._parts)

    @overload
    def __getitem__(self, index: int) -> StoredPatch: ...
    @overload
    def __getitem__(self, index: slice) -> list[StoredPatch]: ...
    def __getitem__(self, index: int | slice) -> StoredPatch | list[StoredPatch]:
        numbers = range(len(self))[index]
        if isinstance(numbers, range):
            return [self._patch(number) for number in numbers]
        return self._patch(numbers)

    def _patch(self, number: int) -> StoredPatch:
        place = int(np.searchsorted(self._ends, number, side="right"))
        part = self._parts[place]
        return StoredPatch.of(part, number - int(self._ends[place]) + len(part))

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @never_raises
    def _repr_html_(self) -> str:
        counts: Counter[str] = Counter()
        for part in self._parts:
            numbers = np.bincount(part.codes, minlength=len(part.labels)).tolist()
            counts.update(dict(zip(part.labels, numbers, strict=True)))
        pictures = [self[row].image for row in strip(len(self))]
        for picture in pictures:
            picture.thumbnail((STRIP_EDGE, STRIP_EDGE))
        facts = {
            "patches": len(self),
            "slides": len({part.wsi_file for part in self._parts}),
            "labels": counts_text(dict(sorted(counts.items()))),
        }
        return facts_card(type(self).__name__, facts, pictures=pictures)

    def __repr__(self) -> str:
        return f"<StoredPatches: {len(self)} patches>"


def open_patches(path: StrPath) -> StoredPatches:
    """Open patches that were written by a disk pool, or extractor.

    Parameters
    ----------
    path : str or path-like
        The output folder, whatever it holds: image files, ``webdataset``, ``hdf5``,
        ``zarr`` or ``parquet``. Or one container of it, or a folder of containers, without
        manifests.

    Returns
    -------
    StoredPatches
        A sequence of `StoredPatch`, without pixels: these are read when they are asked for.
        Slides are in the order in which they were given, and patches as they were placed;
        those of containers without manifests as they stand there.

    Raises
    ------
    StoredPatchesError
        If there are none, or they cannot be read (also an `OSError`).
    """
    given: object = path
    if not isinstance(given, str | os.PathLike):
        msg = f"path must be a path, not {path!r}"
        raise ParameterTypeError(msg)
    return StoredPatches(open_slides(Path(path)))
