"""Image files: written aside, and under their names once they are whole; read back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dplabtools._typing import BoolArray, IntArray, Picture, Pixels
from dplabtools.atomic import longest_name, remove, writing
from dplabtools.errors import OutputError
from dplabtools.masks.labelled import PatchLabels
from dplabtools.output.codecs.decoding import decode_image
from dplabtools.output.codecs.encoder import ImageEncoder, encode_views
from dplabtools.output.containers.base import (
    Contained,
    Items,
    SlideFiles,
    lost_with_memory,
)
from dplabtools.output.distinct import check_labels_apart
from dplabtools.output.naming import Naming, PatchNames
from dplabtools.output.sink import ChunkWriter
from dplabtools.output.stored_slide import names_array
from dplabtools.records.slide_plan import SlidePlan
from dplabtools.timing import stage

if TYPE_CHECKING:
    from dplabtools.output.run_folder.history import Checkpoint

__all__ = ["FileImages", "ImageFileKind"]

_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
LABEL_MASKS = "label_masks"
"""Folder of label masks, in that of the run; in it they are called as their images are."""
_MOST_OF_CORNER = 64  # bytes of a resolution and a location


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFileKind:
    """Image files as a kind of container: what a slide becomes.

    Attributes
    ----------
    naming : Naming
        How files are called.
    encoder : ImageEncoder
        How they are made.
    empty_labels : bool
        Make folders also for labels that no patch has.
    """

    naming: Naming
    encoder: ImageEncoder
    empty_labels: bool = False

    @property
    def chunk_rows(self) -> None:
        """None: there are no shards."""

    @property
    def has_items(self) -> bool:
        """False: each image is a file."""
        return False

    def label_mask(self, file: str, item: str) -> str:
        """Return the file of the label mask of an image."""
        return mask_file(file)

    def check(self, plans: Sequence[SlidePlan], folder: Path) -> None:
        """Raise if the disk takes labels for one that are not."""
        if self.naming.subdirs or not self.naming.sets:
            check_labels_apart(plans, folder=folder, as_folders=self.naming.subdirs)

    def files_of(self, slide: Contained) -> SlideFiles:
        """Make the files of a slide.

        Raises
        ------
        OutputError
            If a name is longer than the file system allows.
        """
        names = self.naming.names(slide.plan, slide.manifest_id, first_set=slide.first_set)
        _check_lengths(slide, names)
        used = set(names.codes.tolist())
        folders = [
            slide.folder / folder
            for code, folder in enumerate(names.folders)
            if folder and (self.empty_labels or code in used)
        ]
        return _ImageFiles(
            slide=slide,
            names=names,
            encoder=self.encoder,
            made=folders if self.empty_labels else (),
            new_folders=[folder for folder in folders if not folder.exists()],
        )


@dataclass(slots=True, eq=False, kw_only=True)
class _ImageFiles(SlideFiles):
    """The files of a slide.

    Attributes
    ----------
    slide : Contained
        The slide.
    names : PatchNames
        Of all its files.
    encoder : ImageEncoder
        How they are made.
    made : sequence of Path
        Folders of labels to be made at once; others appear with their first file.
    new_folders : sequence of Path
        Folders of labels that are not there yet.
    """

    slide: Contained
    names: PatchNames
    encoder: ImageEncoder
    made: Iterable[Path]
    new_folders: Iterable[Path]
    _whole: BoolArray = field(init=False)
    _saved: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._whole = np.zeros(len(self.names), dtype=np.bool_)

    def must_be_new(self) -> Iterator[Path]:
        """Yield the folders of sets."""
        if self.names.sets is not None:
            for row in range(len(self.names)):
                yield self.slide.folder / self.names.folder(row)

    def whole(self, found: Checkpoint, *, listed: bool) -> BoolArray:
        """Find the files that an earlier run has written, and that are as it left them."""
        count, views = len(self.names), len(self.names.views)
        files = self._files(range(count))
        status = np.array([_status(file) for file in files], dtype=np.int64)
        lengths, times = status.reshape(count, views, 2).transpose(2, 0, 1)
        if self.slide.areas is not None:
            drawn = [
                (self.slide.folder / mask_file(name)).exists() for name in self._names()
            ]
            lengths[~np.array(drawn, dtype=np.bool_).reshape(count, views)] = 0
        if not found.complete:  # whatever has its name is whole
            self._whole[:] = (lengths > 0).all(axis=1)
            if self.slide.plan.quality is not None:
                self._whole &= self.slide.plan.quality.known
            self._whole &= ~lost_with_memory(times, found).any(axis=1)
            return self._whole
        written = np.ones(count, dtype=np.bool_)
        written[list(found.missing)] = False
        written[self.slide.plan.left_out] = False
        sizes = found.sizes
        if len(sizes) == written.sum() * views:
            same = lengths[written] == sizes.reshape(-1, views)
            self._whole[written] = same.all(axis=1)
        return self._whole

    def sizes(self) -> list[int]:
        """Return the bytes of each file that was written, row by row."""
        root = self.slide.folder  # paths of `pathlib` take as long as the call itself
        return [_size_of(f"{root}/{name}") for name in self._saved]

    def prepare(self, found: Checkpoint | None) -> None:
        """Remove what is not whole; a file that has its name is, from now on."""
        if found is not None:
            self._remove(np.flatnonzero(~self._whole).tolist())
        for folder in self.made:
            with writing(folder, slide=self.slide.plan.table.slide_name):
                folder.mkdir(exist_ok=True)

    def writer(self, rows: IntArray) -> ImageWriter:
        """Return where a chunk of rows goes."""
        return ImageWriter(
            slide=self.slide.plan.table.slide_name,
            root=str(self.slide.folder),
            staging=str(self.slide.staging),
            names=self.names.of(rows),
            encoders=self.encoder.for_views(self.slide.plan),
            labels=self.slide.labels_of(rows),
        )

    def images(self, rows: IntArray) -> FileImages:
        """Return what reads the files of these rows."""
        names = [name for row in rows.tolist() for name in self.names[row]]
        return FileImages(folder=self.slide.folder, names=names_array(names))

    def finish(self, delivered: BoolArray) -> Items:
        """Remove what is there of other rows; tell which files the patches have."""
        self._remove(np.flatnonzero(~delivered).tolist())
        items: Items = {
            row: (self.names[row], ()) for row in np.flatnonzero(delivered).tolist()
        }
        self._saved = [name for names, _ in items.values() for name in names]
        return items

    def discard(self) -> None:
        """Remove all files, and the folders that were not there before."""
        self._remove(range(len(self.names)))
        for folder in self.new_folders:
            _remove_if_empty(folder)

    def _names(self) -> Iterator[str]:
        return (name for row in range(len(self.names)) for name in self.names[row])

    def _files(self, rows: Iterable[int]) -> Iterator[Path]:
        return (self.slide.folder / name for row in rows for name in self.names[row])

    def _remove(self, rows: Iterable[int]) -> None:
        """Remove what there is of these rows, with the folders of their sets."""
        for row in rows:
            for name in self.names[row]:
                remove(self.slide.folder / name)
                if self.slide.areas is not None:
                    remove(self.slide.folder / mask_file(name))
            if self.names.sets is not None:  # nobody else has files there
                _remove_if_empty(self.slide.folder / self.names.folder(row))


def mask_file(file: str) -> str:
    """Return where the label mask of an image file is, relative to the same folder."""
    return f"{LABEL_MASKS}/{file.rpartition('.')[0]}.png"


def _check_lengths(slide: Contained, names: PatchNames) -> None:
    """Raise if a name is longer than the file system allows."""
    most = longest_name(slide.folder)
    parts = [len(os.fsencode(part)) for part in (*names.labels, *names.folders)]
    ends = len(os.fsencode(names.begin + 4 * names.separator + names.end))
    if ends + max(parts, default=0) + _MOST_OF_CORNER <= most:
        return
    for path in (path for row in range(len(names)) for path in names[row]):
        if any(len(os.fsencode(name)) > most for name in path.split("/")):
            msg = (
                f"the file name {path!r} is too long for {slide.folder} (more than "
                f"{most} bytes)"
            )
            raise OutputError(
                msg,
                slide=slide.plan.table.slide_name,
                remedy="shorten the label, filename_comment or the name of the slide",
            )


def _status(file: Path) -> tuple[int, int]:
    """Return the bytes of a file, and when it was written; zeros if there is none."""
    try:
        status = file.stat()
    except OSError:
        return 0, 0
    return status.st_size, int(status.st_mtime)


def _size_of(file: str) -> int:
    """Return the bytes of a file that was written."""
    try:
        return os.stat(file).st_size  # noqa: PTH116
    except OSError as error:
        msg = f"{file} has been written, and is gone: {error}"
        raise OutputError(msg) from error


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageWriter(ChunkWriter):
    """Places of a chunk's patches in a folder.

    Attributes
    ----------
    slide : str
        Name of the slide, for messages.
    root : str
        The folder.
    staging : str
        A folder in it for what is not whole yet; each process makes its own there, so that
        they do not wait for each other.
    names : PatchNames
        Of the files of each patch, relative to `root`.
    encoders : tuple of ImageEncoder
        One for each resolution.
    labels : PatchLabels or None
        Draws the label masks that go with them.
    """

    slide: str
    root: str
    staging: str
    names: PatchNames
    encoders: tuple[ImageEncoder, ...]
    labels: PatchLabels | None = None

    @property
    def takes_jpeg(self) -> bool:
        """Whether stored JPEG streams become files as they are."""
        return self.encoders[0].takes_jpeg

    def put(self, item: int, pictures: Sequence[Picture], /) -> None:
        """Write the files of a patch aside; they get their names when all are whole.

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        with stage("encode"):
            files = encode_views(self.encoders, pictures)
            masks = [] if self.labels is None else self.labels.encoded(item)
        images = self.names[item]
        names = (*map(mask_file, images[: len(masks)]), *images)  # images say it is whole
        files = [*masks, *files]
        with stage("write"), writing(f"{self.root}/{names[0]}", slide=self.slide):
            written = [self._aside(number, data) for number, data in enumerate(files)]
            for aside, name in zip(written, names, strict=True):
                self._rename(aside, name)

    def _aside(self, number: int, data: bytes) -> str:
        """Write a file in a folder of this process alone, under a name of this thread."""
        folder = f"{self.staging}/{os.getpid()}"
        path = f"{folder}/{threading.get_ident()}-{number}"
        try:
            descriptor = os.open(path, _NEW, 0o666)
        except FileNotFoundError:
            # Only its own folder: when the run was killed and is resumed, the staging
            # folder is gone, and this worker must not write any more.
            Path(folder).mkdir(exist_ok=True)
            descriptor = os.open(path, _NEW, 0o666)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
        finally:
            os.close(descriptor)
        return path

    def _rename(self, aside: str, name: str) -> None:
        """Give a whole file its name; folders of labels and sets appear with the first."""
        # Paths of `pathlib` would take as long as the call itself.
        path = f"{self.root}/{name}"
        try:
            os.replace(aside, path)  # noqa: PTH105
        except FileNotFoundError:
            folder = Path(self.root)
            for part in name.split("/")[:-1]:  # the root itself has to be there
                folder /= part
                folder.mkdir(exist_ok=True)
            os.replace(aside, path)  # noqa: PTH105


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FileImages:
    """Images in files of their own.

    Attributes
    ----------
    folder : Path
        Where they are.
    names : ndarray of bytes, shape (n,)
        Path of each, from there.
    decode : callable
        Makes pixels of the bytes of a file.
    """

    folder: Path
    names: npt.NDArray[np.bytes_]
    decode: Callable[[bytes], Pixels] = decode_image

    def read(self, index: int, /) -> Pixels:
        """Return the pixels of an image."""
        return self.decode((self.folder / self.names[index].decode()).read_bytes())
