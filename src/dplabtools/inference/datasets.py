"""Patches as map-style datasets of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from dplabtools._typing import IntArray, Pixels
from dplabtools.errors import OutputError
from dplabtools.extraction.patch_reader import PatchReader

__all__ = ["PatchDataset", "PatchSource", "ReadPatches", "ReadStored", "Sample"]

Sample: TypeAlias = tuple[Any, int, int]
"""(what became of the images, x, y): x and y in level 0 pixels."""


class PatchSource(Protocol):
    """Where a dataset has its patches from; it pickles."""

    @property
    def locations(self) -> IntArray:
        """(x, y) of the top-left corners, in level 0 pixels, shape (n, 2)."""
        ...

    def name_of(self, row: int, /) -> str:
        """Return the name of the slide of a patch, without its extension."""
        ...

    def open(self) -> None:
        """Prepare for reading, in this process."""
        ...

    def read(self, rows: Sequence[int], /) -> list[list[Pixels]]:
        """Return the pixels of patches at each resolution."""
        ...


class ReadPatches:
    """Patches that are read from their slide.

    Parameters
    ----------
    reader : PatchReader
        Reads them.
    """

    def __init__(self, reader: PatchReader) -> None:
        self.reader = reader

    @property
    def locations(self) -> IntArray:
        """Corners in level 0 pixels, shape (n, 2)."""
        return self.reader.table.origins

    def name_of(self, row: int, /) -> str:
        """Return the name of the slide, whatever the patch."""
        return Path(self.reader.table.slide).stem

    def open(self) -> None:
        """Open the slide."""
        self.reader.open()

    def read(self, rows: Sequence[int], /) -> list[list[Pixels]]:
        """Return the pixels of patches at each resolution."""
        return self.reader.read(rows)


class _Stored(Protocol):
    """A patch that was written to disk, of which the pixels are read when asked for."""

    @property
    def location(self) -> tuple[int, int]: ...
    @property
    def wsi_file(self) -> str: ...
    @property
    def views(self) -> Sequence[Any]: ...


class ReadStored:
    """Patches that are on disk.

    Parameters
    ----------
    patches : sequence of StoredPatch
        What `open_patches` returns.
    """

    def __init__(self, patches: Sequence[_Stored]) -> None:
        self.patches = patches
        places = [patch.location for patch in patches]
        self.locations: IntArray = np.array(places, dtype=np.int64).reshape(-1, 2)

    def name_of(self, row: int, /) -> str:
        """Return the name of the slide of a patch."""
        return Path(self.patches[row].wsi_file).stem

    def open(self) -> None:
        """Do nothing: files are opened when they are read."""

    def read(self, rows: Sequence[int], /) -> list[list[Pixels]]:
        """Return the pixels of patches at each resolution."""
        return [[view.array for view in self.patches[row].views] for row in rows]


class PatchDataset(Dataset[Sample]):
    """Patches by their number: (images, x, y).

    Parameters
    ----------
    source : PatchSource
        Where they come from.
    transform : callable, optional
        Called with the PIL images of a patch; None for tensors.
    multires : bool
        Whether a sample has a list of images, or one image.
    save_dir : path, optional
        Folder to which each patch is saved that is read, for a look at it.

    Raises
    ------
    OutputError
        If there is no such folder.
    """

    def __init__(
        self,
        source: PatchSource,
        *,
        transform: Callable[[Any], Any] | None,
        multires: bool,
        save_dir: str | None,
    ) -> None:
        if save_dir is not None and not Path(save_dir).is_dir():
            msg = f"save_patches_dir {save_dir} is no folder; make it first"
            raise OutputError(msg)
        self._source = source
        self._transform = transform
        self._multires = multires
        self._save_dir = save_dir

    def __len__(self) -> int:
        return len(self._source.locations)

    def __getitem__(self, index: int) -> Sample:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """Return several samples, read in one go; a `DataLoader` calls it."""
        rows = [self._row(index) for index in indices]
        pictures = self._source.read(rows)
        if self._save_dir is not None:
            self._save(rows, pictures, Path(self._save_dir))
        made = self._tensors(pictures) if self._transform is None else self._made(pictures)
        places = self._source.locations[rows].tolist()
        return [(images, x, y) for images, (x, y) in zip(made, places, strict=True)]

    def worker_init(self, worker_id: int = 0) -> None:
        """Open the slide in this worker: the ``worker_init_fn`` of a `DataLoader`.

        Without it the slide is opened when the first patch is read.
        """
        del worker_id
        self._source.open()

    def _row(self, index: int) -> int:
        count = len(self)
        if not -count <= index < count:
            msg = f"there are {count} patches; none has the number {index}"
            raise IndexError(msg)
        return index % count

    def _made(self, pictures: list[list[Pixels]]) -> list[Any]:
        """Return what the caller's function makes of the images."""
        if self._transform is None:
            return []
        images = [[Image.fromarray(pixels) for pixels in views] for views in pictures]
        if self._multires:
            return [self._transform(views) for views in images]
        return [self._transform(views[0]) for views in images]

    def _tensors(self, pictures: list[list[Pixels]]) -> list[Any]:
        """Return float tensors, a view of each batch at once where sizes allow it."""
        views = [
            _as_floats([each[view] for each in pictures])
            for view in range(len(pictures[0]))
        ]
        if self._multires:
            return [list(each) for each in zip(*views, strict=True)]
        return list(views[0])

    def _save(self, rows: list[int], pictures: list[list[Pixels]], folder: Path) -> None:
        """Save patches as PNG files."""
        for row, views in zip(rows, pictures, strict=True):
            x, y = self._source.locations[row].tolist()
            for number, pixels in enumerate(views):
                view = f"_view{number}" if self._multires else ""
                name = f"{self._source.name_of(row)}_x{x}_y{y}{view}.png"
                try:
                    Image.fromarray(pixels).save(folder / name)
                except OSError as error:
                    msg = f"{folder / name} cannot be written: {error}"
                    raise OutputError(msg) from error


def _as_floats(pictures: list[Pixels]) -> list[torch.Tensor]:
    """Return pictures as float32 tensors of shape (3, height, width), from 0 to 1."""
    if len({picture.shape for picture in pictures}) > 1:
        return [_as_floats([picture])[0] for picture in pictures]
    pixels = torch.from_numpy(np.stack(pictures))
    floats = pixels.permute(0, 3, 1, 2).to(
        torch.float32, memory_format=torch.contiguous_format
    )
    return list(floats.div_(255).unbind())
