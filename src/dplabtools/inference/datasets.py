"""Patches as map-style datasets of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, get_worker_info
from torch.utils.data._utils.collate import collate, default_collate_fn_map

from dplabtools._typing import IntArray, Pixels
from dplabtools.errors import OutputError, ParameterError
from dplabtools.extraction.patch_reader import PatchReader
from dplabtools.inference.shared_batches import batch_tensor, sent, whole
from dplabtools.readers.native.cache import TILES

__all__ = ["PatchDataset", "PatchSource", "ReadPatches", "ReadStored", "Sample"]

_TILE_BYTES: Final = TILES.max_bytes  # of decoded tiles, in all workers
_LEAST_TILE_BYTES: Final = 32 << 20  # in each


class Sample(NamedTuple):
    """A patch.

    Attributes
    ----------
    image : object
        What became of the images.
    x, y : int
        Location in level 0 pixels.
    """

    image: Any
    x: int
    y: int


class _TensorSample(Sample):
    """A patch of which the image is part of a batch of tensors that was made here."""

    __slots__ = ()


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
    """Patches that are read from their slides.

    Parameters
    ----------
    reader : PatchReader
        Reads them.
    """

    def __init__(self, reader: PatchReader) -> None:
        self.reader = reader
        self.locations: IntArray = reader.locations

    def name_of(self, row: int, /) -> str:
        """Return the name of the slide of a patch."""
        return Path(self.reader.slide_of(row)).stem

    def open(self) -> None:
        """Look at the slides."""
        self.reader.open()

    def read(self, rows: Sequence[int], /) -> list[list[Pixels]]:
        """Return the pixels of patches at each resolution."""
        worker = get_worker_info()
        if worker is not None:
            # Of several workers each reads every n-th batch: it meets fewer neighbours.
            TILES.max_bytes = max(_TILE_BYTES // worker.num_workers, _LEAST_TILE_BYTES)
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
    dtype : torch.dtype
        Of these: float32, from 0 to 1, or uint8, from 0 to 255.
    multires : bool
        Whether a sample has a list of images, or one image.
    save_dir : path, optional
        Folder to which each patch is saved that is read, for a look at it.

    Raises
    ------
    ParameterError
        If there are no such tensors.
    OutputError
        If there is no such folder.
    """

    def __init__(
        self,
        source: PatchSource,
        *,
        transform: Callable[[Any], Any] | None,
        dtype: torch.dtype,
        multires: bool,
        save_dir: str | None,
    ) -> None:
        if dtype not in {torch.float32, torch.uint8}:
            msg = f"dtype must be torch.float32 or torch.uint8, not {dtype}"
            raise ParameterError(msg)
        if save_dir is not None and not Path(save_dir).is_dir():
            msg = f"save_patches_dir {save_dir} is no folder"
            raise OutputError(msg, remedy="make it first")
        self._source = source
        self._transform = transform
        self._dtype = dtype
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
        places = self._source.locations[rows].tolist()
        ours = self._transform is None
        made = self._tensors(pictures) if ours else self._made(pictures)
        sample = _TensorSample if ours else Sample
        return [sample(images, x, y) for images, (x, y) in zip(made, places, strict=True)]

    def as_bytes(self) -> PatchDataset | None:
        """Return the same dataset with bytes in place of floats; None if it has none."""
        if self._transform is not None or self._dtype != torch.float32:
            return None
        return PatchDataset(
            self._source,
            transform=None,
            dtype=torch.uint8,
            multires=self._multires,
            save_dir=self._save_dir,
        )

    def worker_init(self, worker_id: int = 0) -> None:
        """Look at the slides in this worker: the ``worker_init_fn`` of a `DataLoader`.

        Without it a slide is looked at when its first patch is read.
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
        images = [[_image(pixels) for pixels in views] for views in pictures]
        if self._multires:
            return [self._transform(views) for views in images]
        return [self._transform(views[0]) for views in images]

    def _tensors(self, pictures: list[list[Pixels]]) -> list[Any]:
        """Return tensors, all of a resolution in one piece where sizes allow it."""
        views = [
            _as_tensors([each[view] for each in pictures], self._dtype)
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


def _image(pixels: Pixels) -> Image.Image:
    """Return pixels as an image."""
    height, width, _ = pixels.shape
    image = Image.new("RGB", (width, height), None)  # not painted black before, as others
    image.frombytes(pixels)
    return image


def _as_tensors(pictures: list[Pixels], dtype: torch.dtype) -> list[torch.Tensor]:
    """Return pictures as tensors of shape (3, height, width)."""
    if len({picture.shape for picture in pictures}) > 1:
        return [_as_tensors([picture], dtype)[0] for picture in pictures]
    (height, width, _), count = pictures[0].shape, len(pictures)
    if dtype == torch.uint8:
        pixels = batch_tensor((count, height, width, 3), dtype)
        np.stack(pictures, out=pixels.numpy())
        return list(pixels.movedim(-1, 1).unbind())
    pixels = torch.from_numpy(np.stack(pictures))
    floats = batch_tensor((count, 3, height, width), dtype)
    return list(torch.div(pixels.movedim(-1, 1), 255, out=floats).unbind())


def _collated(
    batch: Sequence[Sample], *, collate_fn_map: dict[Any, Any] | None = None
) -> list[object]:
    """Return samples as a batch, as PyTorch's own function does; copy less."""
    images, x, y = zip(*batch, strict=True)
    ours = isinstance(batch[0], _TensorSample)
    together = _together(images, collate_fn_map, ours=ours)
    return [together, sent(torch.tensor(x)), sent(torch.tensor(y))]


def _together(
    images: Sequence[Any], collate_fn_map: dict[Any, Any] | None, *, ours: bool
) -> object:
    """Return the images of a batch as one."""
    first = images[0]
    if ours and isinstance(first, list):
        views = zip(*images, strict=True)
        return [_together(view, collate_fn_map, ours=True) for view in views]
    if not all(_alike(each, first) for each in images):
        return collate(images, collate_fn_map=collate_fn_map)
    batch = whole(images) if ours else None
    if batch is None:
        batch = batch_tensor((len(images), *first.shape), first.dtype)
        torch.stack(list(images), out=batch)
    return sent(batch)


def _alike(one: object, other: object) -> bool:
    """Tell whether two are plain tensors of one kind."""
    return (
        isinstance(one, torch.Tensor)
        and isinstance(other, torch.Tensor)
        and type(one) is type(other) is torch.Tensor
        and (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)
        and one.device.type == "cpu"
        and one.layout == torch.strided
        and not one.requires_grad
    )


# `DataLoader`'s function looks here for what to do with each type.
default_collate_fn_map.update({Sample: _collated, _TensorSample: _collated})
