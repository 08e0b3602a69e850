"""The documented extractor pools that write patches to disk."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dplabtools._typing import StrPath
from dplabtools.errors import ParameterError
from dplabtools.extraction.progress import ProgressArgument
from dplabtools.extraction.transform import TransformLike
from dplabtools.geometry.resolution import Number, Resolution
from dplabtools.output.run_folder.folder import Verify
from dplabtools.slides.patches._disk import ContainerKind, DiskOptions
from dplabtools.slides.patches._pool_run import ExtractorPool, OnError, PoolOptions, PoolRun
from dplabtools.slides.patches._request import LocationLike, parse_count, parse_views

__all__ = ["DiskPatchExtractorPool", "MultiResDiskPatchExtractorPool"]


class _DiskPool(ExtractorPool):
    """A pool whose patches become files."""

    def __init__(
        self,
        options: PoolOptions,
        disk: DiskOptions,
        *,
        views: tuple[Resolution, ...] | None = None,
        first_set: int | None = None,
        extra_params: Mapping[str, object] | None = None,
    ) -> None:
        run = PoolRun(options, views)
        if run.transform is not None and disk.save_options.get("passthrough"):
            msg = (
                "passthrough keeps stored tiles, and transform changes them; leave one out"
            )
            raise ParameterError(msg)
        name = "DiskPatchExtractor" if views is None else "MultiResDiskPatchExtractor"
        sink = disk.sink(
            run.selections,
            extractor_class=name,
            extractor_params={**run.manifest_params(), **(extra_params or {})},
            settings=run.reading.settings,
            sets=views is not None,
            first_set=first_set,
        )
        super().__init__(run.into(sink), views=run.views)
        self._folder = Path(disk.output_dir)
        self._manifest_ids = sink.manifest_ids

    @property
    def manifest_ids(self) -> list[str]:
        """For each slide as given, the eight characters in the names of its files."""
        return list(self._manifest_ids)

    def _facts(self) -> dict[str, object]:
        return {"folder": self._folder, "slides": len(self._manifest_ids)}


class DiskPatchExtractorPool(_DiskPool):
    """Patches of many slides, as image files with a manifest for each slide.

    Files are called ``<slide>_<manifest id>[_<comment>][_<label>]_x<X>_y<Y>.<type>``, with
    the location in level 0 pixels. A file is there under its name only when it is whole,
    and ``manifests/manifest__<manifest id>__<slide>.txt`` (and ``.csv``) only when all
    files of the slide are. If the run fails, files of slides that are not complete are
    removed, unless it was given `resume`. While it is at work, the folder is locked.

    Parameters
    ----------
    output_dir : str or path-like
        Folder to write to; has to exist.
    image_type : str, default None
        Extension without the dot, which also says the format: ``png``, ``jpg``, ... To be
        left out where the container holds pixels: for ``"hdf5"`` and ``"zarr"``.
    patches_pool : iterable of location objects
        A pool of locations, or any list of location objects and `PatchesMock`.
    proc_num_workers : int
        Worker processes.
    thread_num_workers : int
        Threads in each.
    filename_comment : str, default ""
        Put into each name.
    filename_separator : str, default "_"
        Put between the parts of a name.
    create_subdirs : bool, default False
        One folder for each label.
    container : {None, "webdataset", "hdf5", "zarr", "parquet"}, default None
        What holds the patches; None: an image file for each.
    save_options : mapping, default None
        Given to the encoder of the format: ``quality``, ``subsampling``,
        ``compress_level``, ... Besides ``icc``: whether the slide's colour profile is
        written into each file (by default if it has at most 4,096 bytes); and, for JPEG,
        ``passthrough``: whether a patch that is exactly one stored JPEG tile is written as
        it is stored.
    proc_mp_chunksize, thread_mp_chunksize : int, default 1
        Kept for the documented interface, and checked.
    resampling_mode : {None, "tile", "wsi"}, default None
        How to get pixels at an mpp that no level has.
    included_labels, excluded_labels : collection of str, default ()
        Extract only these labels, or all but these.
    on_error : {"raise", "skip"}, default "raise"
        Whether the first error ends everything, or is recorded in `errors`. Errors of the
        output folder are always raised.
    progress : bool or callable, default False
        Who is told how far it has come.
    chunk_timeout_s : float, default 900
        A worker that takes longer over a chunk of patches is replaced.
    transform : callable or str, default None
        A function of a module (or ``"package.module:function"``), or an object that
        pickles, which each patch goes through in the workers, before it is delivered: it
        takes an array of uint8, shape (height, width, 3), and returns one of the same shape
        and type.
    resume : bool, default False
        Go on with what an earlier run, with the same parameters and slides, has left in
        `output_dir`: what is there and whole is kept, with its manifest id, and the rest is
        extracted, also patches that were skipped. If there is nothing yet, begin. When
        such a run fails, what is whole stays for the next one.
    verify : {"count", "pixels"}, default "count"
        How a run that resumes finds out whether slides are as they were left: by number and
        size of their files; or by reading 16 patches of each again, too. Where one of them
        differs, the slide is extracted anew.

    Raises
    ------
    FolderInUseError
        If another run is writing to `output_dir` (also an `OSError`).
    ResumeError
        If a slide file, its patches or parameters differ from those of the earlier run,
        saying which (also a `ValueError`).
    OutputError
        If the folder is missing or cannot be written to (also an `OSError`).
    OutputFormatError
        If no encoder knows `image_type`, or likes `save_options` (also a `ValueError`).
    DuplicatePatchesError
        If two patches of a slide have the same location and label.
    ParameterError, ParameterTypeError, SlideError, WorkerError
        As `MemPatchExtractorPool`.
    """

    def __init__(
        self,
        *,
        output_dir: StrPath,
        image_type: str | None = None,
        patches_pool: Iterable[LocationLike],
        proc_num_workers: int,
        thread_num_workers: int,
        filename_comment: str = "",
        filename_separator: str = "_",
        create_subdirs: bool = False,
        container: ContainerKind | None = None,
        save_options: Mapping[str, Any] | None = None,
        proc_mp_chunksize: int = 1,
        thread_mp_chunksize: int = 1,
        resampling_mode: str | None = None,
        included_labels: Collection[str] = (),
        excluded_labels: Collection[str] = (),
        on_error: OnError = "raise",
        progress: ProgressArgument = False,
        chunk_timeout_s: float = 900.0,
        transform: TransformLike | None = None,
        resume: bool = False,
        verify: Verify = "count",
    ) -> None:
        options = PoolOptions(
            patches_pool=patches_pool,
            proc_num_workers=proc_num_workers,
            thread_num_workers=thread_num_workers,
            proc_mp_chunksize=proc_mp_chunksize,
            thread_mp_chunksize=thread_mp_chunksize,
            resampling_mode=resampling_mode,
            included_labels=included_labels,
            excluded_labels=excluded_labels,
            on_error=on_error,
            progress=progress,
            chunk_timeout_s=chunk_timeout_s,
            transform=transform,
        )
        disk = DiskOptions(
            output_dir=output_dir,
            image_type=image_type,
            filename_comment=filename_comment,
            filename_separator=filename_separator,
            create_subdirs=create_subdirs,
            save_options=save_options or {},
            resume=resume,
            container=container,
            verify=verify,
        )
        super().__init__(options, disk)


class MultiResDiskPatchExtractorPool(_DiskPool):
    """Patches of many slides at several resolutions around one centre, as image files.

    Each set has a folder of its own, with a file for each resolution:
    ``[<label>/]set<N>/<slide>_<id>[_<comment>]_level<L>[_<label>]_x<X>_y<Y>.<type>``
    (``mpp<value>`` instead of ``level<L>`` for a float), X and Y being where that image
    begins, in level 0 pixels.

    Parameters
    ----------
    levels_or_mpps : sequence of int or float
        Resolutions of each set: an int is a level, a float microns per pixel.
    output_dir : str or path-like
        Folder to write to; has to exist.
    image_type : str, default None
        Extension without the dot, which also says the format. To be left out where the
        container holds pixels: for ``"hdf5"`` and ``"zarr"``.
    patches_pool : iterable of location objects
        A pool of locations, or any list of location objects and `PatchesMock`.
    proc_num_workers : int
        Worker processes.
    thread_num_workers : int
        Threads in each.
    global_counter : int or None, default 1
        Number of the first set; slides as given follow each other without gaps. None:
        sets are called ``<slide>__set<N>``, from 1 for each slide.
    filename_comment : str, default ""
        Put into each name.
    filename_separator : str, default "_"
        Put between the parts of a name.
    create_subdirs : bool, default False
        One folder for each label.
    container : {None, "webdataset", "hdf5", "zarr", "parquet"}, default None
        What holds the patches; None: an image file for each.
    save_options : mapping, default None
        Given to the encoder.
    proc_mp_chunksize, thread_mp_chunksize : int, default 1
        Kept for the documented interface, and checked.
    resampling_mode : {None, "tile", "wsi"}, default None
        How to get pixels at an mpp that no level has.
    included_labels, excluded_labels : collection of str, default ()
        Extract only these labels, or all but these.
    on_error : {"raise", "skip"}, default "raise"
        Whether the first error ends everything, or is recorded in `errors`. Errors of the
        output folder are always raised.
    progress : bool or callable, default False
        Who is told how far it has come.
    chunk_timeout_s : float, default 900
        A worker that takes longer over a chunk of patches is replaced.
    transform : callable or str, default None
        A function of a module (or ``"package.module:function"``), or an object that
        pickles, which each patch goes through in the workers, before it is delivered: it
        takes an array of uint8, shape (height, width, 3), and returns one of the same shape
        and type.
    resume : bool, default False
        Go on with what an earlier run, with the same parameters and slides, has left in
        `output_dir`: what is there and whole is kept, with its manifest id, and the rest is
        extracted, also patches that were skipped. If there is nothing yet, begin. When
        such a run fails, what is whole stays for the next one.
    verify : {"count", "pixels"}, default "count"
        How a run that resumes finds out whether slides are as they were left: by number and
        size of their files; or by reading 16 patches of each again, too. Where one of them
        differs, the slide is extracted anew.

    Raises
    ------
    FolderInUseError
        If another run is writing to `output_dir` (also an `OSError`).
    ResumeError
        If a slide file, its patches or parameters differ from those of the earlier run,
        saying which (also a `ValueError`).
    OutputError
        Also if the folder of a set exists already.
    ParameterError, ParameterTypeError, SlideError, OutputFormatError, WorkerError
        As `DiskPatchExtractorPool`.
    """

    def __init__(
        self,
        *,
        levels_or_mpps: Sequence[Number],
        output_dir: StrPath,
        image_type: str | None = None,
        patches_pool: Iterable[LocationLike],
        proc_num_workers: int,
        thread_num_workers: int,
        global_counter: int | None = 1,
        filename_comment: str = "",
        filename_separator: str = "_",
        create_subdirs: bool = False,
        container: ContainerKind | None = None,
        save_options: Mapping[str, Any] | None = None,
        proc_mp_chunksize: int = 1,
        thread_mp_chunksize: int = 1,
        resampling_mode: str | None = None,
        included_labels: Collection[str] = (),
        excluded_labels: Collection[str] = (),
        on_error: OnError = "raise",
        progress: ProgressArgument = False,
        chunk_timeout_s: float = 900.0,
        transform: TransformLike | None = None,
        resume: bool = False,
        verify: Verify = "count",
    ) -> None:
        options = PoolOptions(
            patches_pool=patches_pool,
            proc_num_workers=proc_num_workers,
            thread_num_workers=thread_num_workers,
            proc_mp_chunksize=proc_mp_chunksize,
            thread_mp_chunksize=thread_mp_chunksize,
            resampling_mode=resampling_mode,
            included_labels=included_labels,
            excluded_labels=excluded_labels,
            on_error=on_error,
            progress=progress,
            chunk_timeout_s=chunk_timeout_s,
            transform=transform,
        )
        disk = DiskOptions(
            output_dir=output_dir,
            image_type=image_type,
            filename_comment=filename_comment,
            filename_separator=filename_separator,
            create_subdirs=create_subdirs,
            save_options=save_options or {},
            resume=resume,
            container=container,
            verify=verify,
        )
        if global_counter is not None:
            parse_count(global_counter, name="global_counter", least=0)
        super().__init__(
            options,
            disk,
            views=parse_views(levels_or_mpps),
            first_set=global_counter,
            extra_params={
                "global_counter": global_counter,
                "levels_or_mpps": list(levels_or_mpps),
            },
        )

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
