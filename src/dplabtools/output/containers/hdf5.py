"""HDF5 files with the pixels of a slide's patches, as CLAM's bags have them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dplabtools._typing import BoolArray, IntArray, Picture, Pixels
from dplabtools.atomic import remove, writing
from dplabtools.geometry.resolution import Level
from dplabtools.optional import optional
from dplabtools.output.containers.arrays import (
    LABEL_MASKS,
    ArrayFiles,
    ArrayMasks,
    drawn_masks,
    patch_shape,
    read_at,
    stored_array,
)
from dplabtools.output.containers.base import (
    ContainerFormat,
    Items,
    sizes_of,
)
from dplabtools.output.containers.write_back_file import WriteBackFile
from dplabtools.output.patch_columns import PatchColumns
from dplabtools.output.sink import ChunkWriter
from dplabtools.output.stored_slide import ImageAddresses, StoredSlide
from dplabtools.output.texts import check_texts
from dplabtools.records.foreign_attributes import (
    OWN_RESOLUTION,
    clam_attributes,
    trident_attributes,
)
from dplabtools.records.patch_table import coded
from dplabtools.timing import stage

if TYPE_CHECKING:
    from dplabtools.output.run_folder.history import Checkpoint

__all__ = ["HDF5"]

_h5py = partial(optional, "h5py", what="HDF5 files", extra="hdf5")
_SAME: Final = 1e-3  # two downsamples that are nearer are one


@dataclass(slots=True, eq=False, kw_only=True)
class Hdf5File(ArrayFiles):
    """A file ``<slide>.h5`` with ``imgs``, ``coords``, ``labels`` and ``coverage``.

    Workers write pixels where they belong, all at once, so it is whole or not there as a
    whole. Rows are in the order of the table.
    """

    suffix = ".h5"
    _offsets: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    _length: int = 0  # bytes of a patch

    @property
    def _aside(self) -> Path:
        return self.slide.staging / self.reserved.name

    def sizes(self) -> list[int]:
        """Return the bytes of the file, if it is there."""
        return sizes_of(filter(Path.exists, [self.reserved]))

    def prepare(self, found: Checkpoint | None) -> None:
        """Settle where in the file each patch goes; it is replaced as a whole."""
        check_texts(self.slide.plan, holds_nul=False)
        shape = patch_shape(self.slide.plan, container="hdf5")
        with self.writing():
            self._offsets = _lay_out(self._aside, (len(self.slide.plan), *shape))
        self._length = math.prod(shape)

    def writer(self, rows: IntArray) -> Hdf5Rows:
        """Return where rows go."""
        return Hdf5Rows(
            slide=self.slide.plan.table.slide_name,
            path=str(self._aside),
            offsets=self._offsets[rows],
        )

    def finish(self, delivered: BoolArray) -> Items:
        """Write all but the pixels, and give the file its name.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        rows = np.flatnonzero(delivered)
        if not len(rows):
            remove(self._aside)
            return {}
        with self.writing():
            _close_ranks(self._aside, self._offsets, rows, length=self._length)
            with _changed(self._aside) as file:
                self._complete(file, rows)
            self._aside.replace(self.reserved)
        return self.items(rows)

    def _complete(self, file: Any, rows: IntArray) -> None:  # noqa: ANN401 - of h5py
        columns = PatchColumns.of(self.slide.plan, rows)
        images = file["imgs"]
        images.resize(len(rows), axis=0)
        origins = columns.origins if len(columns.resolutions) > 1 else columns.origins[:, 0]
        corners = file.create_dataset("coords", data=origins.astype(np.int32))
        labels = [columns.labels[code] for code in columns.codes.tolist()]
        file.create_dataset("labels", data=labels, dtype=_h5py().string_dtype())
        if None not in columns.shares:
            file.create_dataset("coverage", data=np.array(columns.shares, np.float32))
        for name, values in columns.measured().items():
            file.create_dataset(name, data=values)
        if self.slide.areas is not None:
            shape = images.shape[:-1]
            drawn = file.create_dataset(
                LABEL_MASKS, shape, np.uint8, chunks=(1, *shape[1:]), compression="gzip"
            )
            for row, mask in enumerate(drawn_masks(self.slide, rows)):
                drawn[row] = mask
        own = {
            "dplabtools_slide": columns.slide,
            "dplabtools_levels_or_mpps": json.dumps(columns.resolutions),
            "dplabtools_mpps": json.dumps(columns.mpps),
            "dplabtools_columns": json.dumps(columns.own),
        }
        file.attrs.update(own)
        foreign = self._foreign_attributes()
        images.attrs.update({"wsi_name": Path(columns.slide).stem, **foreign})
        corners.attrs.update({"name": Path(columns.slide).stem, **foreign})

    def _foreign_attributes(self) -> dict[str, object]:
        """Return what CLAM and TRIDENT know of squares at one resolution."""
        plan = self.slide.plan
        width, height = plan.table.sizes[0].tolist()
        if width != height or len(plan.views) > 1:
            return {}
        (view,) = tuple(plan.views)
        downsample = plan.pyramid.downsample(view)
        found = trident_attributes(
            plan.pyramid, edge=width, downsample=downsample, origins=plan.table.origins
        )
        if isinstance(view, Level):
            level = view.index
        else:
            level = next(
                (
                    number
                    for number, each in enumerate(plan.pyramid.downsamples)
                    if math.isclose(each, downsample, rel_tol=_SAME)
                ),
                -1,
            )
        if level >= 0:
            found |= clam_attributes(plan.pyramid, edge=width, level=level)
        # Both name the folder of the file, which may be moved.
        folder = {"savetodir": ".", "save_path": "."}
        return {**found, **folder, OWN_RESOLUTION: view.number}

    def discard(self) -> None:
        """Remove the file."""
        remove(self._aside)
        remove(self.reserved)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Hdf5Rows(ChunkWriter):
    """Where the patches of a chunk go in a file, whose layout is settled.

    It has no `buffer`: writing to mapped memory ends in a signal when the disk is full
    (https://man7.org/linux/man-pages/man2/mmap.2.html).

    Attributes
    ----------
    slide : str
        Name of the slide, for messages.
    path : str
        The file.
    offsets : ndarray of int64, shape (m,)
        Where each patch begins, in bytes; its resolutions lie one behind the other.
    """

    slide: str
    path: str
    offsets: IntArray

    def put(self, item: int, pictures: Sequence[Picture], /) -> None:
        """Write a patch."""
        with stage("write"), writing(self.path, slide=self.slide):
            offset = int(self.offsets[item])
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                for picture in pictures:
                    data = np.asarray(picture).reshape(-1)
                    _write_at(descriptor, data.data, offset)
                    offset += len(data)
            finally:
                os.close(descriptor)


def _lay_out(path: Path, shape: tuple[int, ...]) -> IntArray:
    """Create a file with a dataset ``imgs`` whose chunks, one for each row, have a place.

    Parameters
    ----------
    path : Path
        The file.
    shape : tuple of int
        Shape of the dataset; rows may be taken away and added later.

    Returns
    -------
    ndarray of int64, shape (rows,)
        Where each row begins in the file, in bytes.
    """
    h5py = _h5py()
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((1, *shape[1:]))
    # Each chunk has its place before there is anything in it:
    # https://support.hdfgroup.org/documentation/hdf5/latest/_h5_d__u_g.html
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)  # a file does not tell when it was made
    space = h5py.h5s.create_simple(shape, (h5py.h5s.UNLIMITED, *shape[1:]))
    with _changed(path) as file:
        dataset = h5py.h5d.create(file.id, b"imgs", h5py.h5t.STD_U8LE, space, properties)
        return _chunk_offsets(dataset, shape[0])


@contextmanager
def _changed(path: Path) -> Generator[Any]:
    """Open an HDF5 file, or make one, and change it at the end, or fail.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    h5py.File
        Whose changes stay in memory until then: of a full disk HDF5 would die.

    """
    mode = "r+" if path.exists() else "w"
    with closing(WriteBackFile(path)) as held:
        with _h5py().File(held, mode) as file:
            yield file
        held.apply()


def _close_ranks(path: Path, offsets: IntArray, rows: IntArray, *, length: int) -> None:
    """Move rows to the front, in the place of others that are not kept.

    Parameters
    ----------
    path : Path
        The file.
    offsets : ndarray of int64, shape (n,)
        Where each row begins, in bytes.
    rows : ndarray of int64, shape (m,)
        Rows that are kept, in order.
    length : int
        Bytes of each.
    """
    with path.open("r+b", buffering=0) as file:
        for index, row in enumerate(rows.tolist()):
            if index != row:
                data = os.pread(file.fileno(), length, int(offsets[row]))
                _write_at(file.fileno(), data, int(offsets[index]))


def _write_at(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written


@dataclass(slots=True, eq=False)
class Hdf5Images:
    """Rows of the dataset ``imgs`` of a file.

    Attributes
    ----------
    addresses : ImageAddresses
        Which rows.
    """

    addresses: ImageAddresses
    _offsets: IntArray | None = None
    _shape: tuple[int, ...] = ()

    def read(self, index: int, /) -> Pixels:
        """Return the pixels of an image."""
        path = self.addresses.path(index)
        if self._offsets is None:
            self._offsets = self._find(path)
        height, width = self._shape
        length = height * width * 3
        row, view = self.addresses.row(index), index % self.addresses.views
        data = bytearray(read_at(path, int(self._offsets[row]) + view * length, length))
        return np.frombuffer(data, dtype=np.uint8).reshape(height, width, 3)

    def _find(self, path: Path) -> IntArray:
        """Return where in the file each row is, as its chunks are not compressed."""
        with _h5py().File(path, "r") as file:
            images = file["imgs"]
            filters = images.id.get_create_plist().get_nfilters()
            if images.chunks != (1, *images.shape[1:]) or filters:
                msg = f"{path} was not written by dplabtools: its chunks are others"
                raise ValueError(msg)
            self._shape = images.shape[-3:-1]
            return _chunk_offsets(images.id, len(images))


def _chunk_offsets(dataset: Any, count: int) -> IntArray:  # noqa: ANN401 - of h5py
    """Return where in a file the chunk of each row begins."""
    offsets = np.zeros(count, dtype=np.int64)

    def note(info: Any) -> None:  # noqa: ANN401 - a class of h5py
        offsets[info.chunk_offset[0]] = info.byte_offset

    if count:
        dataset.chunk_iter(note)
    return offsets


def _open(path: Path) -> StoredSlide:
    """Open a file, as it is written here."""
    with _h5py().File(path, "r") as file:
        labels, codes = coded(file["labels"].asstr()[:].tolist())
        facts = {
            "slide": str(file.attrs["dplabtools_slide"]),
            "labels": labels,
            "level_or_mpp": json.loads(file.attrs["dplabtools_levels_or_mpps"]),
            "mpp": json.loads(file.attrs["dplabtools_mpps"]),
            "columns": json.loads(file.attrs.get("dplabtools_columns", "{}")),
        }
        return stored_array(
            path,
            file,
            facts=facts,
            codes=codes,
            images_of=Hdf5Images,
            masks_of=_hdf5_masks,
        )


def _opened(path: Path) -> AbstractContextManager[Any]:
    """Open a file to read it."""
    opened: AbstractContextManager[Any] = _h5py().File(path, "r")
    return opened


_hdf5_masks = partial(ArrayMasks, open=_opened)


HDF5: Final = ContainerFormat(
    name="hdf5",
    module="h5py",
    package="h5py",
    extra="hdf5",
    what="coordinates of TRIDENT, CLAM and AtlasPatch, HDF5 files",
    suffix=".h5",
    files_of=lambda slide, _: Hdf5File(slide=slide),
    images_of=Hdf5Images,
    masks_of=_hdf5_masks,
    open=_open,
    holds_images=False,
)
