"""The patches that a manifest lists."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

from dplabtools.errors import StoredPatchesError
from dplabtools.output.codecs.decoding import decode_mask
from dplabtools.output.containers.base import ContainerFormat
from dplabtools.output.containers.files import FileImages
from dplabtools.output.containers.formats import format_of_suffix
from dplabtools.output.patch_columns import OF_VIEWS, recorded_slide, view_column
from dplabtools.output.run_folder.history import History, read_history
from dplabtools.output.stored_slide import (
    ImageAddresses,
    Images,
    StoredSlide,
    names_array,
    reading,
)
from dplabtools.records.patch_table import coded

__all__ = ["Manifest", "find_manifests", "open_slides"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The table of the patches of one slide, in an output folder.

    Attributes
    ----------
    table : Path
        The file.
    wsi_file : str
        Path of the slide as far as it is known, else its name.
    order : tuple of (str, int)
        When the run was begun, and the place of the slide in it.
    table_crc32 : int, optional
        Checksum of the file; None where nobody has written it down.
    """

    table: Path
    wsi_file: str = ""
    order: tuple[str, int] = ("", 0)
    table_crc32: int | None = None

    @property
    def folder(self) -> Path:
        """The output folder."""
        return self.table.parents[1]

    def stored_slide(self) -> StoredSlide:
        """Read the table.

        Raises
        ------
        StoredPatchesError
            If it is no such table, or no longer the one that was written.
        """
        with reading(self.table):
            return self._read()

    def _read(self) -> StoredSlide:
        data = self.table.read_bytes()
        if self.table_crc32 not in (None, crc32(data)):
            msg = f"{self.table} cannot be read: it was cut or changed since it was written"
            remedy = "extract again with resume=True, which writes it anew"
            raise StoredPatchesError(msg, remedy=remedy)
        rows = csv.reader(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline=""))
        names = next(rows)
        every = list(zip(*rows, strict=True))
        columns = dict(zip(names, every or [()] * len(names), strict=True))
        sets = columns["set"]
        first = next(iter(sets), "")
        views = sets.count(first) if first else 1
        known = {
            name: values[::views]
            for name, values in columns.items()
            if name not in {"file", "set", "item", "label_mask", *OF_VIEWS}
        }
        for name in OF_VIEWS:
            for view in range(views):
                known[view_column(name, view, views)] = columns[name][view::views]
        return recorded_slide(
            known,
            wsi_file=self.wsi_file,
            views=views,
            images=self._images(columns["file"], columns.get("item"), views=views),
            label_masks=self._label_masks(columns, views=views),
            sets=np.array(sets[::views], dtype=np.int64) if first else None,
        )

    def _label_masks(
        self, columns: Mapping[str, Sequence[str]], *, views: int
    ) -> Images | None:
        """Return what reads the label masks, if there are any."""
        places, files = columns.get("label_mask"), columns["file"]
        if places is None or not files:
            return None
        if "item" not in columns:
            return FileImages(
                folder=self.folder, names=names_array(places), decode=decode_mask
            )
        masks_of = self._format(files).masks_of
        if masks_of is None:
            return None
        return masks_of(self._addresses(files, places, views=views))

    def _images(
        self, files: Sequence[str], items: Sequence[str] | None, *, views: int
    ) -> Images:
        """Return what reads the images of these files, or of these items in them."""
        if items is None or not files:
            return FileImages(folder=self.folder, names=names_array(files))
        return self._format(files).images_of(self._addresses(files, items, views=views))

    def _format(self, files: Sequence[str]) -> ContainerFormat:
        form = format_of_suffix(Path(files[0]).suffix)
        if form is None:
            msg = f"{files[0]} is of no kind of container that is installed"
            raise StoredPatchesError(msg)
        return form

    def _addresses(
        self, files: Sequence[str], items: Sequence[str], *, views: int
    ) -> ImageAddresses:
        containers, codes = coded(files)
        return ImageAddresses(
            folder=self.folder,
            files=containers,
            codes=codes,
            items=names_array(items),
            views=views,
        )


def find_manifests(folder: Path, history: History | None = None) -> list[Manifest]:
    """Find the manifests of an output folder: run by run, slides as they were given.

    Parameters
    ----------
    folder : Path
        The output folder.
    history : History, optional
        What was done there, if it was read already.

    Raises
    ------
    StoredPatchesError
        If the record of the folder is damaged.
    """
    tables = list((folder / "manifests").glob("manifest__*.csv"))
    if history is None:
        history = read_history(folder)
    known = {each.file_stem: each for each in history.checkpoints}
    found: list[Manifest] = []
    for table in tables:
        begun = known.get(table.stem)
        found.append(
            Manifest(
                table=table,
                wsi_file=table.stem.split("__", 2)[-1] if begun is None else begun.wsi_file,
                order=("", 0) if begun is None else (begun.begun, begun.index),
                table_crc32=None if begun is None else begun.table_crc32,
            )
        )
    return sorted(found, key=lambda each: (each.order, each.wsi_file, each.table))


def open_slides(path: Path) -> list[StoredSlide]:
    """Open an output folder, or one container.

    Parameters
    ----------
    path : Path
        A folder with manifests; a container; or a folder of containers.

    Returns
    -------
    list of StoredSlide
        Slides as given where there are manifests, else files by name.

    Raises
    ------
    StoredPatchesError
        If there are no patches, or they cannot be read.
    """
    if not path.exists():
        msg = f"there is no file or folder {path}"
        raise StoredPatchesError(msg)
    manifests = find_manifests(path)
    if manifests:
        return [manifest.stored_slide() for manifest in manifests]
    alone = _open_container(path)
    if alone is not None:
        return [alone]
    files = sorted(path.iterdir()) if path.is_dir() else []
    slides = [slide for slide in map(_open_container, files) if slide is not None]
    if not slides:
        msg = (
            f"{path} holds no patches: it has neither manifests/*.csv, nor is it, or has "
            f"it, a container"
        )
        raise StoredPatchesError(msg)
    return slides


def _open_container(path: Path) -> StoredSlide | None:
    form = format_of_suffix(path.suffix)
    if form is None:
        return None
    with reading(path):
        return form.open(path)
