"""The documented way back: patches that were written, as a sequence."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image

from dplabtools._typing import Pixels, Point, Size, StrPath
from dplabtools.errors import ParameterTypeError
from dplabtools.notebook import facts_card, never_raises
from dplabtools.output.opening import open_slides
from dplabtools.output.stored_slide import StoredSlide, reading
from dplabtools.slides.patches._html import STRIP_EDGE, counts_text, strip
from dplabtools.slides.patches._stored_table import StoredTable

__all__ = ["StoredPatch", "StoredPatches", "open_patches"]


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
