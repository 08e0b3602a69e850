"""HDF5 files with the pixels of a slide's patches, as CLAM's bags have them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dplabtools._typing import BoolArray, IntArray
from dplabtools.atomic import output_error
from dplabtools.errors import OutputError
from dplabtools.geometry.resolution import Level
from dplabtools.output.containers.base import Contained, Items, one_size, sizes_of
from dplabtools.output.containers.hdf5_rows import (
    Hdf5Rows,
    changed,
    close_ranks,
    h5py_library,
    lay_out,
)
from dplabtools.output.patch_columns import PatchColumns
from dplabtools.output.run_folder.folder import remove
from dplabtools.output.run_folder.slide_record import SlideRecord
from dplabtools.output.texts import check_texts
from dplabtools.records.foreign_attributes import (
    OWN_RESOLUTION,
    clam_attributes,
    trident_attributes,
)

__all__ = ["Hdf5File"]


@dataclass(slots=True, eq=False, kw_only=True)
class Hdf5File:
    """A file ``<slide>.h5`` with ``imgs``, ``coords``, ``labels`` and ``coverage``.

    Workers write pixels where they belong, all at once, so it is whole or not there as a
    whole. Rows are in the order of the table.

    Attributes
    ----------
    slide : Contained
        What goes into it.
    """

    slide: Contained
    _offsets: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    _length: int = 0  # bytes of a patch

    @property
    def reserved(self) -> Path:
        """The file."""
        return self.slide.folder / f"{self.slide.name}.h5"

    @property
    def chunk_rows(self) -> None:
        """Any number will do."""

    @property
    def _aside(self) -> Path:
        return self.slide.staging / f"{self.slide.name}.h5"

    def sizes(self) -> list[int]:
        """Return the bytes of the file, if it is there."""
        return sizes_of(filter(Path.exists, [self.reserved]))

    def prepare(self, found: SlideRecord | None) -> None:
        """Settle where in the file each patch goes; it is replaced as a whole."""
        check_texts(self.slide.plan, holds_nul=False)
        width, height = one_size(self.slide.plan, container="hdf5")
        views = len(self.slide.plan.views)
        shape = (height, width, 3) if views == 1 else (views, height, width, 3)
        self._offsets = lay_out(self._aside, (len(self.slide.plan), *shape))
        self._length = math.prod(shape)

    def place(self, rows: IntArray) -> Hdf5Rows:
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
        slide = self.slide.plan.table.slide_name
        if not len(rows):
            remove(self._aside)
            return {}
        try:
            close_ranks(self._aside, self._offsets, rows, length=self._length)
            with changed(self._aside) as file:
                self._complete(file, rows)
            self._aside.replace(self.reserved)
        except OutputError as error:
            if error.slide is not None:
                raise
            raise OutputError(str(error), slide=slide) from error
        except OSError as error:
            raise output_error(error, self.reserved, slide=slide) from error
        views = len(self.slide.plan.views)
        return {
            row: (self.reserved.name, (str(index),) * views)
            for index, row in enumerate(rows.tolist())
        }

    def _complete(self, file: Any, rows: IntArray) -> None:  # noqa: ANN401 - of h5py
        columns = PatchColumns.of(self.slide.plan, rows)
        images = file["imgs"]
        images.resize(len(rows), axis=0)
        origins = columns.origins if len(columns.resolutions) > 1 else columns.origins[:, 0]
        corners = file.create_dataset("coords", data=origins.astype(np.int32))
        labels = [columns.labels[code] for code in columns.codes.tolist()]
        file.create_dataset("labels", data=labels, dtype=h5py_library().string_dtype())
        if None not in columns.shares:
            file.create_dataset("coverage", data=np.array(columns.shares, np.float32))
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

    def tidy(self) -> None:
        """Do nothing: there is one file."""

    def discard(self) -> None:
        """Remove the file."""
        remove(self._aside)
        remove(self.reserved)


_SAME = 1e-3  # two downsamples that are nearer are one
