"""The patches that a manifest lists."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from dplabtools.errors import StoredPatchesError
from dplabtools.output.containers.stored_arrays import Hdf5Images, ZarrImages
from dplabtools.output.containers.stored_files import FileImages, ParquetImages
from dplabtools.output.containers.stored_tar import TarImages
from dplabtools.output.run_folder.manifests import CSV_COLUMNS
from dplabtools.output.stored_slide import (
    Images,
    Part,
    Views,
    coded,
    names_array,
    parse_number,
    reading,
    text_column,
)

__all__ = ["Manifest", "find_manifests"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The table of the patches of one slide, in an output folder.

    Attributes
    ----------
    folder : Path
        The output folder.
    table : Path
        The file.
    wsi_file : str
        Path of the slide as far as it is known, else its name.
    order : tuple of (str, int)
        When the run was begun, and the place of the slide in it.
    table_crc32 : int, optional
        Checksum of the file; None where nobody has written it down.
    """

    folder: Path
    table: Path
    wsi_file: str
    order: tuple[str, int]
    table_crc32: int | None = None

    def part(self) -> Part:
        """Read the table.

        Raises
        ------
        StoredPatchesError
            If it is no such table, or no longer the one that was written.
        """
        with reading(self.table):
            return self._part()

    def _part(self) -> Part:
        data = self.table.read_bytes()
        if self.table_crc32 not in (None, crc32(data)):
            msg = (
                f"{self.table} is not as it was written: lines were lost or changed; run "
                f"the extraction again with resume=True, which writes it anew"
            )
            raise StoredPatchesError(msg)
        rows = csv.reader(io.StringIO(data.decode(), newline=""))
        names = next(rows)
        every = list(zip(*rows, strict=True))
        columns = dict(zip(names, every or [()] * len(names), strict=True))
        sets = columns["set"]
        count = len(sets)
        first = next(iter(sets), "")
        views = sets.count(first) if first else 1
        labels, codes = coded(columns["label"][::views])
        shares = columns.get("coverage", ("",) * count)[::views]
        corners = np.array([columns["x"], columns["y"]], dtype=np.int64)
        sizes = np.array([columns["width"], columns["height"]], dtype=np.int64)
        return Part(
            wsi_file=self.wsi_file,
            views=Views(
                levels_or_mpps=tuple(map(parse_number, columns["level_or_mpp"][:views])),
                mpps=tuple(
                    float(each) if each else None for each in columns["mpp"][:views]
                ),
            ),
            labels=labels,
            codes=codes,
            origins=corners.T.reshape(-1, views, 2),
            sizes=sizes.T[::views],
            coverage=np.array([float(each or "nan") for each in shares], dtype=np.float32),
            sets=np.array(sets[::views], dtype=np.int64) if first else None,
            images=self._images(columns["file"], columns.get("item"), views=views),
            extra={
                name: text_column(values[::views])
                for name, values in columns.items()
                if name not in CSV_COLUMNS
            },
        )

    def _images(
        self, files: Sequence[str], items: Sequence[str] | None, *, views: int
    ) -> Images:
        """Return what reads the images of these files, or of these items in them."""
        if items is None:
            return FileImages(folder=self.folder, names=names_array(files))
        kind = Path(files[0]).suffix if files else ""
        if kind == ".tar":
            names, codes = coded(files)
            return TarImages.unseen(
                self.folder, files=names, codes=codes, keys=names_array(items)
            )
        rows = np.array(items[::views], dtype=np.int64)
        if kind == ".parquet":
            names, codes = coded(files[::views])
            return ParquetImages(
                folder=self.folder, files=names, codes=codes, rows=rows, views=views
            )
        make = ZarrImages if kind == ".zarr" else Hdf5Images
        path = self.folder / files[0] if files else self.folder
        return make(path=path, rows=rows, views=views)


def find_manifests(folder: Path) -> list[Manifest]:
    """Find the manifests of an output folder: run by run, slides as they were given.

    Raises
    ------
    StoredPatchesError
        If the record of a slide cannot be read.
    """
    found: list[Manifest] = []
    for table in (folder / "manifests").glob("manifest__*.csv"):
        record = table.with_suffix(".json")
        known: dict[str, Any] = {}
        with reading(record):
            if record.exists():
                known = json.loads(record.read_bytes())
        found.append(
            Manifest(
                folder=folder,
                table=table,
                wsi_file=known.get("wsi_file", table.stem.split("__", 2)[-1]),
                order=(known.get("begun", ""), known.get("place", 0)),
                table_crc32=known.get("table_crc32") if known.get("complete") else None,
            )
        )
    return sorted(found, key=lambda each: (each.order, each.wsi_file, each.table))
