"""The stored patches of one slide."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dplabtools._typing import IntArray, Pixels
from dplabtools.errors import DplabError, StoredPatchesError
from dplabtools.records.patch_table import Shares

__all__ = [
    "ImageAddresses",
    "Images",
    "StoredSlide",
    "Views",
    "names_array",
    "parse_number",
    "reading",
    "text_column",
]


class Images(Protocol):
    """The images of a slide; holds nothing open, so it may be pickled, and forked."""

    def read(self, index: int, /) -> Pixels:
        """Return the pixels of an image: patch after patch, view after view."""
        ...


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ImageAddresses:
    """Where the images of a slide are in containers: patch after patch, view after view.

    Attributes
    ----------
    folder : Path
        Where the containers are.
    files : tuple of str
        The containers, from there.
    codes : ndarray of int, shape (n,)
        Index into the files of each image.
    items : ndarray of bytes, shape (n,)
        Where each image is in its container: a key, or the number of a row.
    views : int
        Images of each patch.
    """

    folder: Path
    files: tuple[str, ...]
    codes: IntArray
    items: npt.NDArray[np.bytes_]
    views: int

    @classmethod
    def of_rows(cls, path: Path, count: int, *, views: int) -> ImageAddresses:
        """Return those of one container with so many rows, one for each patch."""
        rows = np.arange(count).repeat(views)
        return cls.of_keys(path, rows.astype(str).tolist(), views=views)

    @classmethod
    def of_keys(cls, path: Path, keys: Sequence[str], *, views: int) -> ImageAddresses:
        """Return those of one container, by the key of each image."""
        return cls(
            folder=path.parent,
            files=(path.name,),
            codes=np.zeros(len(keys), dtype=np.int64),
            items=names_array(keys),
            views=views,
        )

    def path(self, index: int) -> Path:
        """Return the container of an image."""
        return self.folder / self.files[int(self.codes[index])]

    def row(self, index: int) -> int:
        """Return the row of an image, where items are numbers of rows."""
        return int(self.items[index])


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """Resolutions that each patch of a slide is stored at.

    Attributes
    ----------
    levels_or_mpps : tuple of int or float
        An int is a level, a float microns per pixel.
    mpps : tuple of float or None
        Microns per pixel, as far as they are known.
    """

    levels_or_mpps: tuple[int | float, ...]
    mpps: tuple[float | None, ...]

    def __len__(self) -> int:
        return len(self.levels_or_mpps)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StoredSlide:
    """The stored patches of one slide, or of a file of them.

    Attributes
    ----------
    wsi_file : str
        Path or name of the slide.
    views : Views
        Resolutions of each patch.
    labels : tuple of str
        Labels that occur.
    codes : ndarray of int, shape (n,)
        Index into the labels of each patch.
    origins : ndarray of int64, shape (n, views, 2)
        (x, y) in level 0 pixels.
    sizes : ndarray of int64, shape (n, 2)
        (width, height) of the images.
    coverage : ndarray of float32, shape (n,)
        Share of foreground; NaN where it is not known.
    sets : ndarray of int64, shape (n,), or None
        Number of each set, if they have numbers.
    extra : mapping of str to ndarray, shape (n,)
        Further columns by name.
    images : Images
        The pixels.
    label_masks : Images or None
        The masks of classes, uint8 of shape (height, width), if there are any.
    """

    wsi_file: str
    views: Views
    labels: tuple[str, ...]
    codes: IntArray
    origins: IntArray
    sizes: IntArray
    coverage: Shares
    sets: IntArray | None
    images: Images
    extra: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    label_masks: Images | None = None

    def __len__(self) -> int:
        return len(self.codes)


def names_array(values: Sequence[str]) -> npt.NDArray[np.bytes_]:
    """Return many different texts as one piece of memory."""
    return np.array([value.encode() for value in values], dtype=np.bytes_)


def text_column(values: Iterable[str]) -> npt.NDArray[np.object_]:
    """Return texts as a column; those that are equal are one object."""
    return np.array([sys.intern(value) for value in values], dtype=np.object_)


def parse_number(text: str) -> int | float:
    """Return a level or an mpp as it was written: an int, or a float."""
    try:
        return int(text)
    except ValueError:
        return float(text)


@contextmanager
def reading(path: Path) -> Generator[None]:
    """Say what it is that cannot be read.

    Raises
    ------
    StoredPatchesError
        Whatever a library comes up with.
    """
    try:
        yield
    except DplabError:
        raise
    except Exception as error:
        msg = f"{path} cannot be read: {type(error).__name__}: {error}"
        raise StoredPatchesError(msg) from error
