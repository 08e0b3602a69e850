"""The documented extractor pools that write patches to disk."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import InitVar
from pathlib import Path
from typing import Any

from dplabtools._typing import StrPath
from dplabtools.annotations.json import PolygonsGiven
from dplabtools.arguments import parse_count
from dplabtools.errors import ParameterError, ParameterTypeError
from dplabtools.geometry.resolution import Number
from dplabtools.output.run_folder.output_folder import output_folder, shown_path
from dplabtools.output.run_folder.resume import Verify
from dplabtools.output.run_folder.shards import end_shard
from dplabtools.records.failure import failed_slides
from dplabtools.records.share import Share
from dplabtools.slides._declared import declared
from dplabtools.slides.patches._disk import ContainerKind, DiskOptions, params_of_sets
from dplabtools.slides.patches._documentation import documented
from dplabtools.slides.patches._extractor_pool import ExtractorPool, pool_run
from dplabtools.slides.patches._sharing import own_arguments

__all__ = ["DiskPatchExtractorPool", "MultiResDiskPatchExtractorPool"]


@declared
class _DiskPool(ExtractorPool):
    """A pool whose patches become files.

    Parameters
    ----------
    output_dir : str or path-like
        Folder to write to; has to exist. Or an address, as ``s3://bucket/run``, under
        which there is nothing yet: each slide is taken there once it is complete.
    image_type : str
        Extension without the dot, which also says the format: ``png``, ``jpg``, ... To be
        left out where the container holds pixels: for ``"hdf5"`` and ``"zarr"``.
    global_counter : int or None
        Number of the first set; slides as given follow each other without gaps. None:
        sets are called ``<slide>__set<N>``, from 1 for each slide.
    filename_comment : str
        Put into each name.
    filename_separator : str
        Put between the parts of a name.
    create_subdirs : bool
        One folder for each label.
    container : {None, "webdataset", "hdf5", "zarr", "parquet"}
        What holds the patches; None: an image file for each.
    save_options : mapping
        Given to the encoder of the format: ``quality``, ``subsampling``,
        ``compress_level``, ... Besides ``icc``: whether the slide's colour profile is
        written into each file (by default if it has at most 4,096 bytes); and, for JPEG,
        ``passthrough``: whether a patch that is exactly one stored JPEG tile is written as
        it is stored, and ``stored_chroma``: whether chroma that JPEG tiles have at half the
        size is taken as it is, instead of being enlarged smoothly and halved again.
    on_error : {"raise", "skip"}
        ``"raise"``: the first error ends everything. ``"skip"``: a patch or slide that
        fails is recorded in `errors`, and everything else is delivered. Errors of the
        output folder are always raised.
    quality : bool or QualityLimits
        Measure how sharp each patch is, how bright and saturated, and how much of it is
        background or pen (of sets, at the first resolution): columns of the manifest and
        of containers. `QualityLimits` leave out what is not good enough.
    label_masks : sequence of (list of AnnotationPolygon, str, path or None)
        Polygons of each slide, in the order of the slides, to draw the class of each pixel
        beside each patch: PNG files of one channel in ``label_masks``, called as the images
        are, or in containers another image, or array. A pixel has the value of the last
        polygon that its middle lies in, or 0.
    label_values : mapping of str to int
        Value of each label, 1 to 255; polygons with others are not drawn. By default all
        labels, as they sort, get 1, 2, ...
    resume : bool
        Go on with what an earlier run, with the same parameters and slides, has left in
        `output_dir`: what is there and whole is kept, with its manifest id, and the rest is
        extracted, also patches that were skipped. If there is nothing yet, begin. When
        such a run fails, what is whole stays for the next one.
    verify : {"count", "pixels"}
        How a run that resumes finds out whether slides are as they were left: by number and
        size of their files; or by reading 16 patches of each again, too. Where one of them
        differs, the slide is extracted anew.

    shard : (int, int)
        Which of how many independent jobs this is, counted from 1: it writes its part of
        the patches, the same each time, to a folder ``shard-<i>-of-<n>`` in `output_dir`.
        Jobs have about as many pixels each, and share large slides, but for ``"hdf5"`` and
        ``"zarr"``. `dplabtools.pipeline.merge_shards` joins the folders. All that is told
        of slides is of those of the job.

    Raises
    ------
    FolderInUseError
        If another run is writing to `output_dir` (also an `OSError`).
    ResumeError
        If a slide file, its patches or parameters differ from those of the earlier run,
        saying which (also a `ValueError`).
    OutputError
        If the folder is missing or cannot be written to, or that of a set exists already
        (also an `OSError`).
    OutputFormatError
        If no encoder knows `image_type`, or likes `save_options` (also a `ValueError`).
    DuplicatePatchesError
        If two patches of a slide have the same location and label.
    """

    output_dir: InitVar[StrPath]
    image_type: InitVar[str | None] = None
    filename_comment: InitVar[str] = ""
    filename_separator: InitVar[str] = "_"
    create_subdirs: InitVar[bool] = False
    container: InitVar[ContainerKind | None] = None
    save_options: InitVar[Mapping[str, Any] | None] = None
    label_masks: InitVar[Sequence[PolygonsGiven | None] | None] = None
    label_values: InitVar[Mapping[str, int] | None] = None
    resume: InitVar[bool] = False
    verify: InitVar[Verify] = "count"
    shard: InitVar[tuple[int, int] | Share | None] = None

    def _construct(self, arguments: Mapping[str, Any]) -> None:
        given = arguments["output_dir"]
        if not isinstance(given, str | os.PathLike):
            msg = f"output_dir must be a path, not {given!r}"
            raise ParameterTypeError(msg)
        with output_folder(given, resume=bool(arguments["resume"])) as folder:
            self._folder = shown_path(folder)
            self._write({**arguments, "output_dir": folder})

    def _write(self, arguments: Mapping[str, Any]) -> None:
        own_folder = isinstance(arguments["shard"], list | tuple)
        arguments = own_arguments(arguments)
        disk = DiskOptions.of(arguments)
        first_set = arguments.get("global_counter")
        if first_set is not None:
            parse_count(first_set, name="global_counter", least=0)
        run = pool_run(arguments)
        if run.transform is not None and disk.save_options.get("passthrough"):
            msg = "passthrough keeps stored tiles, and transform changes them"
            raise ParameterError(msg, remedy="leave one out")
        run.reading = disk.reading(run.reading)
        sets = run.reading.views is not None
        name = "MultiResDiskPatchExtractor" if sets else "DiskPatchExtractor"
        sink = disk.sink(
            run.selections,
            extractor_class=name,
            extractor_params={**run.manifest_params(), **params_of_sets(arguments)},
            settings=run.reading.settings,
            sets=sets,
            first_set=first_set,
        )
        state = run.into(sink, folders=[str(disk.output_dir)])
        self._keep(state, views=run.views)
        self._manifest_ids = sink.manifest_ids
        self._placed = state.placed
        if own_folder:
            end_shard(Path(disk.output_dir), failed=failed_slides(self.errors))

    @property
    def manifest_ids(self) -> list[str]:
        """For each slide as given, the eight characters in the names of its files."""
        return list(self._manifest_ids)

    @property
    def slide_patch_counts(self) -> list[int]:
        """For each slide as given, the patches asked for, but for those of other jobs."""
        return list(self._placed)

    def _facts(self) -> dict[str, object]:
        return {"folder": self._folder, "slides": len(self._manifest_ids)}


@documented
class DiskPatchExtractorPool(_DiskPool):
    """Patches of many slides, as image files with a manifest for each slide.

    Files are called ``<slide>_<manifest id>[_<comment>][_<label>]_x<X>_y<Y>.<type>``, with
    the location in level 0 pixels. A file is there under its name only when it is whole,
    and ``manifests/manifest__<manifest id>__<slide>.txt`` (and ``.csv``) only when all
    files of the slide are. If the run fails, files of slides that are not complete are
    removed, unless it was given `resume`. While it is at work, the folder is locked.
    """


@documented
class MultiResDiskPatchExtractorPool(_DiskPool):
    """Patches of many slides at several resolutions around one centre, as image files.

    Each set has a folder of its own, with a file for each resolution:
    ``[<label>/]set<N>/<slide>_<id>[_<comment>]_level<L>[_<label>]_x<X>_y<Y>.<type>``
    (``mpp<value>`` instead of ``level<L>`` for a float), X and Y being where that image
    begins, in level 0 pixels.
    """

    levels_or_mpps: InitVar[Sequence[Number]]
    global_counter: InitVar[int | None] = 1

    @property
    def patchset_count(self) -> int:
        """Number of sets."""
        return self._delivered

    @classmethod
    def reset_global_counter(cls) -> None:
        """Do nothing: each pool counts for itself. Kept for the documented interface."""

    @classmethod
    def remove_global_counter(cls) -> None:
        """Do nothing: each pool counts for itself. Kept for the documented interface."""
