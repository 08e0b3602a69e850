"""What HDF5 and Zarr have in common: one array of the pixels of a slide's patches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dplabtools._typing import IntArray, Pixels
from dplabtools.atomic import writing
from dplabtools.errors import ParameterError
from dplabtools.output.containers.base import Contained, Items, SlideFiles
from dplabtools.output.stored_slide import (
    ImageAddresses,
    Images,
    StoredSlide,
    Views,
    text_column,
)
from dplabtools.records.quality import QUALITY_COLUMNS
from dplabtools.records.slide_plan import SlidePlan

__all__ = [
    "LABEL_MASKS",
    "ArrayFiles",
    "ArrayMasks",
    "drawn_masks",
    "patch_shape",
    "read_at",
    "stored_array",
]

LABEL_MASKS = "label_masks"
"""Name of the array of label masks."""


@dataclass(slots=True, eq=False, kw_only=True)
class ArrayFiles(SlideFiles):
    """A file, or folder, with an array of the patches of a slide.

    Attributes
    ----------
    slide : Contained
        What goes into it.
    suffix : str
        End of its name, with the dot.
    """

    slide: Contained
    suffix: ClassVar[str]

    @property
    def reserved(self) -> Path:
        """The file, or folder."""
        return self.slide.folder / f"{self.slide.name}{self.suffix}"

    def must_be_new(self) -> tuple[Path, ...]:
        """Return it."""
        return (self.reserved,)

    def writing(self) -> AbstractContextManager[None]:
        """Say of what cannot be written meanwhile that it is this."""
        return writing(self.reserved, slide=self.slide.plan.table.slide_name)

    def items(self, rows: IntArray) -> Items:
        """Tell where patches are, if the array holds these rows."""
        name, views = self.reserved.name, len(self.slide.plan.views)
        return {
            row: ((name,) * views, (str(index),) * views)
            for index, row in enumerate(rows.tolist())
        }


def patch_shape(plan: SlidePlan, *, container: str) -> tuple[int, ...]:
    """Return the shape of a patch, with an axis for its resolutions if there are several.

    Raises
    ------
    ParameterError
        If patches differ in size.
    """
    sizes = plan.table.sizes
    if len(plan) and (sizes != sizes[0]).any():
        msg = f'container="{container}" is an array, and these patches differ in size'
        raise ParameterError(
            msg,
            slide=plan.table.slide_name,
            remedy='use "webdataset", "parquet" or image files',
        )
    width, height = sizes[0].tolist() if len(plan) else (1, 1)
    views = len(plan.views)
    return (height, width, 3) if views == 1 else (views, height, width, 3)


def drawn_masks(slide: Contained, rows: IntArray) -> Iterator[Pixels]:
    """Yield the label masks of rows: (height, width), or (views, height, width) of sets."""
    labels = slide.labels_of(rows)
    for item in range(len(rows) if labels is not None else 0):
        masks = labels.masks(item) if labels is not None else []
        yield masks[0] if len(masks) == 1 else np.stack(masks)


@dataclass(frozen=True, slots=True, eq=False)
class ArrayMasks:
    """Rows of the array of label masks of a file or folder, which is opened for each.

    Attributes
    ----------
    addresses : ImageAddresses
        Which rows.
    open : callable
        Opens a container to read it.
    """

    addresses: ImageAddresses
    open: Callable[[Path], AbstractContextManager[Any]]

    def read(self, index: int, /) -> Pixels:
        """Return the label mask of an image."""
        with self.open(self.addresses.path(index)) as group:
            found = np.asarray(group[LABEL_MASKS][self.addresses.row(index)])
        views = self.addresses.views
        return found if views == 1 else np.asarray(found[index % views])


def read_at(path: Path, offset: int, length: int) -> bytes:
    """Read a part of a file, which is opened for this alone.

    Libraries that keep it open cannot be forked or pickled.

    Raises
    ------
    OSError, ValueError
        If it cannot be read, or ends before that.
    """
    with path.open("rb") as file:
        data = os.pread(file.fileno(), length, offset)
    if len(data) < length:
        msg = f"{path} ends too early"
        raise ValueError(msg)
    return data


def stored_array(
    path: Path,
    group: Any,  # noqa: ANN401 - of h5py or zarr
    *,
    facts: Mapping[str, Any],
    codes: IntArray,
    images_of: Callable[[ImageAddresses], Images],
    masks_of: Callable[[ImageAddresses], Images],
) -> StoredSlide:
    """Return the patches of a group with ``imgs``, ``coords`` and maybe ``coverage``.

    Parameters
    ----------
    path : Path
        The file, or folder.
    group : h5py.File or zarr.Group
        The same, opened.
    facts : mapping of str to object
        What it says of all patches: slide, labels, level_or_mpp and mpp (of each view), and
        columns.
    codes : ndarray of int, shape (n,)
        Index into the labels of each patch.
    images_of, masks_of : callable
        Returns what reads the images, and the label masks.
    """
    shape = group["imgs"].shape
    count, views = shape[0], len(facts["mpp"])
    addresses = ImageAddresses.of_rows(path, count, views=views)
    if "coverage" in group:
        coverage = group["coverage"][:]
    else:
        coverage = np.full(count, np.nan, dtype=np.float32)
    return StoredSlide(
        wsi_file=facts["slide"],
        views=Views(levels_or_mpps=tuple(facts["level_or_mpp"]), mpps=tuple(facts["mpp"])),
        labels=tuple(facts["labels"]),
        codes=codes,
        origins=group["coords"][:].astype(np.int64).reshape(count, views, 2),
        sizes=np.full((count, 2), (shape[-2], shape[-3])),
        coverage=coverage,
        sets=None,
        images=images_of(addresses),
        label_masks=masks_of(addresses) if LABEL_MASKS in group else None,
        extra={
            **{name: group[name][:] for name in QUALITY_COLUMNS if name in group},
            **{
                name: text_column([text] * count)
                for name, text in facts.get("columns", {}).items()
            },
        },
    )
