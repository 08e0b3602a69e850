"""Patches of slides as a dataset of Ray Data.

Nothing else of this package imports it, and it takes ``dplabtools-next[ray]``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from dplabtools import config
from dplabtools._typing import FloatArray
from dplabtools.engine.choose import find_engine
from dplabtools.engine.limits import usable_cores
from dplabtools.extraction.plan import runs
from dplabtools.extraction.pool_run import OnError
from dplabtools.extraction.selection import LocationLike, Selection
from dplabtools.extraction.transform import TransformLike
from dplabtools.geometry.resolution import Mpp, Number, parse_level_or_mpp
from dplabtools.readers.slide import Slide
from dplabtools.records.labels import LabelFilter
from dplabtools.records.patch_table import PatchTable
from dplabtools.settings import Settings
from dplabtools.slides.patches import PatchesMock, StreamPatchExtractorPool

find_engine("ray").check()  # says what to install

import pyarrow as pa  # noqa: E402 - comes with Ray Data
from ray.data import Dataset, Datasource, ReadTask, read_datasource  # noqa: E402
from ray.data.block import BlockMetadata  # noqa: E402
from ray.data.extensions import ArrowTensorArray  # noqa: E402

from dplabtools.engine.cluster import check_nodes, join  # noqa: E402

__all__ = ["read_patches"]

_BLOCK: Final = 256  # patches that Ray Data gets at once: 48 MB, if of 256 x 256 pixels
_MOST: Final = 4096  # patches of a task: if its node is lost, all of them are read again


def read_patches(  # noqa: PLR0913 - as the documented classes
    locations: Iterable[LocationLike],
    *,
    levels_or_mpps: Sequence[Number] | None = None,
    resampling_mode: str | None = None,
    included_labels: Collection[str] = (),
    excluded_labels: Collection[str] = (),
    transform: TransformLike | None = None,
    on_error: OnError = "raise",
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
) -> Dataset:
    """Read patches on the machines of a Ray cluster, as a dataset.

    Nothing is read before rows are asked for, and then no more than Ray Data finds room
    for. Pixels go from the machine that reads them to whatever the dataset does next, not
    through the caller.

    Parameters
    ----------
    locations : iterable of location objects
        A pool of locations, or any list of location objects and ``PatchesMock``. All
        patches must have the same size.
    levels_or_mpps : sequence of int or float, default None
        Resolutions of multi-resolution patches.
    resampling_mode : {None, "tile", "fast", "wsi"}, default None
        How to get pixels at an mpp that no level has.
    included_labels, excluded_labels : collection of str, default ()
        Read only these labels, or all but these.
    transform : callable or str, default None
        As for ``StreamPatchExtractorPool``.
    on_error : {"raise", "skip"}, default "raise"
        Whether the first error ends it all, or rows that fail are missing.
    concurrency : int, default None
        Most tasks that read at the same time. None leaves it to Ray Data.
    override_num_blocks : int, default None
        Number of tasks, as far as each has 256 to 4,096 patches, which lie together. None
        leaves it to Ray Data.

    Returns
    -------
    ray.data.Dataset
        A row for each patch, in no particular order: ``pixels``, uint8 of shape (height,
        width, 3), or (levels, height, width, 3) with `levels_or_mpps`; ``label``;
        ``slide``, its path; ``x`` and ``y`` of the top-left corner, in level 0 pixels; and
        ``mpp``, NaN if the slide states none, of shape (levels,) with `levels_or_mpps`.

    Raises
    ------
    ParameterError, ParameterTypeError
        If an argument makes no sense.
    ClusterError
        If the cluster does not answer, or one of its nodes does not see a slide.
    """
    arguments: dict[str, Any] = {
        "levels_or_mpps": levels_or_mpps,
        "resampling_mode": resampling_mode,
        "transform": transform,
        "on_error": on_error,
    }
    labels = LabelFilter(included_labels, excluded_labels)
    tables = [each.selected for each in Selection.all_of(locations, labels)]
    whole = _Part(tables=tuple(tables), arguments=arguments, settings=config.snapshot())
    whole.stream()  # refuses arguments that make no sense
    join(cores=usable_cores())
    check_nodes(
        {"num_cpus": 1},
        files=list(dict.fromkeys(each.slide for each in tables)),
        folders=(),
    )
    return read_datasource(
        PatchDatasource(whole),
        concurrency=concurrency,
        override_num_blocks=override_num_blocks,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Patches, and how to read them.

    Attributes
    ----------
    tables : tuple of PatchTable
        One for each slide.
    arguments : mapping of str to object
        For `StreamPatchExtractorPool`.
    settings : Settings
        The configuration of whoever asks for them.
    """

    tables: tuple[PatchTable, ...]
    arguments: Mapping[str, Any]
    settings: Settings

    def __len__(self) -> int:
        return sum(map(len, self.tables))

    @property
    def nbytes(self) -> int:
        """Bytes of their pixels."""
        views = len(self.arguments["levels_or_mpps"] or (0,))
        pixels = sum(int(table.sizes.prod(axis=1).sum()) for table in self.tables)
        return 3 * views * pixels

    def cut(self, count: int) -> Iterator[_Part]:
        """Yield parts of one slide each, of neighbours."""
        views = len(self.arguments["levels_or_mpps"] or (0,))
        for table in self.tables:
            for rows in runs(table, np.arange(len(table)), views=views, count=count):
                yield _Part(
                    tables=(table.take(rows),),
                    arguments=self.arguments,
                    settings=self.settings,
                )

    def stream(self) -> StreamPatchExtractorPool:
        """Return batches that are read by whoever asks for them."""
        return StreamPatchExtractorPool(
            patches_pool=[
                PatchesMock.from_table(table, class_name="PatchesMock", class_params={})
                for table in self.tables
            ],
            proc_num_workers=1,
            thread_num_workers=1,
            batch_size=_BLOCK,
            engine="serial",
            **self.arguments,
        )

    def __call__(self) -> Iterator[Any]:
        """Read the patches, on whichever node this is; yield blocks of them."""
        config.adopt(self.settings)
        mpps = [self._mpps(table) for table in self.tables]
        for batch in self.stream():
            mpp = np.stack([mpps[slide] for slide in batch.slides])
            slides = [self.tables[slide].slide for slide in batch.slides]
            yield pa.table(
                {
                    "pixels": ArrowTensorArray.from_numpy(batch.pixels),
                    "label": pa.array(batch.labels.tolist(), pa.string()),
                    "slide": pa.array(slides, pa.string()),
                    "x": batch.locations[:, 0].copy(),
                    "y": batch.locations[:, 1].copy(),
                    "mpp": ArrowTensorArray.from_numpy(mpp) if mpp.ndim > 1 else mpp,
                }
            )

    def _mpps(self, table: PatchTable) -> FloatArray:
        """Return the microns per pixel of the patches of a slide, shape () or (levels,)."""
        levels = self.arguments["levels_or_mpps"]
        views = [table.resolution] if levels is None else map(parse_level_or_mpp, levels)
        with Slide(table.slide, settings=self.settings) as slide:
            stated = slide.pyramid.mpp is not None
            found = [
                view.value
                if isinstance(view, Mpp)
                else slide.pyramid.mpp_of(view)
                if stated
                else np.nan
                for view in views
            ]
        return np.array(found if levels is not None else found[0])


class PatchDatasource(Datasource):
    """Cuts patches into the tasks of Ray Data.

    Parameters
    ----------
    whole : _Part
        All patches.
    """

    def __init__(self, whole: _Part) -> None:
        super().__init__()
        self._whole = whole

    def estimate_inmemory_data_size(self) -> int:
        """Return the bytes of all pixels."""
        return self._whole.nbytes

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: object = None,
    ) -> list[ReadTask]:
        """Return about as many tasks as are asked for."""
        count = -(-len(self._whole) // max(1, parallelism))
        sure = self._whole.arguments["on_error"] == "raise"
        return [
            ReadTask(
                part,
                BlockMetadata(
                    num_rows=len(part) if sure else None,
                    size_bytes=part.nbytes,
                    input_files=(part.tables[0].slide,),
                    exec_stats=None,
                ),
                per_task_row_limit=per_task_row_limit,
            )
            for part in self._whole.cut(min(max(count, _BLOCK), _MOST))
        ]
