"""The documented way from slides to files of features."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from dplabtools import config
from dplabtools._typing import IntArray, StrPath
from dplabtools.arguments import check_choice, parse_count
from dplabtools.engine.base import EngineLike
from dplabtools.errors import ParameterError
from dplabtools.extraction.pool_run import OnError
from dplabtools.extraction.progress import ProgressArgument
from dplabtools.extraction.selection import LocationLike, Selection
from dplabtools.extraction.transform import Transform, TransformLike
from dplabtools.geometry.resolution import parse_level_or_mpp
from dplabtools.inference.encoder import Encoder, EncoderLike, Pooling, Precision
from dplabtools.inference.encoding import parse_devices
from dplabtools.inference.feature_files import LAYOUTS
from dplabtools.inference.feature_run import (
    FeatureRun,
    PatchSources,
    SlideFeatures,
    check_names,
    shard_results,
)
from dplabtools.inference.features import PatchBatches
from dplabtools.inference.stored_batches import StoredBatches
from dplabtools.output.run_folder.output_folder import output_folder
from dplabtools.output.run_folder.shards import begin_shard, end_shard, share_of
from dplabtools.records.labels import LabelFilter
from dplabtools.records.patch_table import PatchTable, coded
from dplabtools.records.share import Share, parse_shard
from dplabtools.slides.patches import PatchesMock, StoredPatches, StreamPatchExtractorPool
from dplabtools.slides.patches._sharing import check_repeatable

__all__ = ["Layout", "SlideFeatures", "extract_features"]

Layout = Literal["trident", "clam", "stamp", "zarr"]
_DECIDING: Final = (  # settings that pixels depend on; the mpp is with the patches
    *("background", "color", "level_zero_resampling", "mpp_level_margin"),
    *("resampling_filter", "slide_library"),
)


def extract_features(
    *,
    patches_pool: Iterable[LocationLike] | StoredPatches,
    encoder: EncoderLike,
    output_dir: StrPath,
    layout: Layout = "trident",
    encoder_args: Mapping[str, Any] | None = None,
    encoder_name: str | None = None,
    encoder_mpp: float | None = None,
    input_size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    precision: Precision | None = None,
    pooling: Pooling | None = None,
    device: str | Sequence[str] | None = None,
    batch_size: int = 64,
    proc_num_workers: int = 2,
    thread_num_workers: int = 1,
    resampling_mode: str | None = None,
    included_labels: Collection[str] = (),
    excluded_labels: Collection[str] = (),
    transform: TransformLike | None = None,
    on_error: OnError = "raise",
    progress: ProgressArgument = False,
    chunk_timeout_s: float = 900.0,
    shard: tuple[int, int] | None = None,
    engine: EngineLike | None = None,
) -> list[SlideFeatures]:
    """Let an encoder make features of the patches of slides, and write a file for each.

    Patches are read as `StreamPatchExtractorPool` does, and no image is written: while the
    encoder is at work, the next patches are read, also those of the next slide. Files are
    there under their names when they are whole. A run that was interrupted is begun again
    by the same call: slides whose files are there are not read again, and files of another
    encoder, of other patches or of other slides are refused by name.

    Parameters
    ----------
    patches_pool : iterable of location objects, or StoredPatches
        A pool of locations, or any list of location objects and `PatchesMock`; all patches
        must be squares of one size. Or what `open_patches` returns: then the images on
        disk are encoded.
    encoder : callable or str
        A function, or ``torch.nn.Module``, from float32 tensors of shape (n, 3, height,
        width) to features of shape (n, d). Or ``"package.module:factory"``, the name of a
        function that returns one. A module stays on the device, and in evaluation mode.
    output_dir : str or path-like
        Folder to write to; has to exist. Or an address, as ``s3://bucket/run``.
    layout : {"trident", "clam", "stamp", "zarr"}, default "trident"
        Whose readers the files are for: ``<slide>.h5`` of TRIDENT (Patho-Bench, TITAN);
        ``h5_files/<slide>.h5`` and ``pt_files/<slide>.pt`` of CLAM; ``<slide>.h5`` of
        STAMP, with float16 and coordinates in microns; or ``<slide>.zarr``, Zarr v3.
    encoder_args : mapping, default None
        Given to the factory, by keyword.
    encoder_name : str, default None
        What the encoder is called in the files. This, and all of the following down to
        `pooling`, is taken from the encoder's attributes of the same name without
        ``encoder_``, if it is not given; or from the ``pretrained_cfg`` that models of timm
        have.
    encoder_mpp : float, default None
        Microns per pixel that the encoder was made for: patches that are a tenth off are
        refused. None if nobody says it: they are not checked.
    input_size : int, default None
        Edge of the images that the encoder takes, to which patches are resized (bicubic,
        with antialiasing). None: as they are.
    mean, std : sequence of float, default None
        Of red, green and blue, from 0 to 1: subtracted from pixels, and what they are
        divided by then. None if nobody says it: pixels from 0 to 1.
    precision : {"float32", "float16", "bfloat16"}, default None
        What the encoder computes in (by autocast); features are float32 all the same. None
        if nobody says it: float16 on a GPU, float32 on a CPU; and as its weights, if these
        have 16 bits.
    pooling : {"cls", "mean", "cls+mean"}, default None
        How tokens, shape (n, tokens, d), become features: the first; the mean of those
        after the ``num_prefix_tokens`` of the encoder (one, if it does not say it); or one
        behind the other. ``"mean"`` is that of maps, too, shape (n, d, height, width).
    device : str or sequence of str, default None
        ``"cpu"``, ``"cuda"``, ``"cuda:0,1"``: with several, each has a process, with a
        copy of the encoder, and slides are shared out. None: a GPU if there is one.
    batch_size : int, default 64
        Patches that are encoded at once.
    proc_num_workers : int, default 2
        Processes that read; for each device.
    thread_num_workers : int, default 1
        Threads in each of them.
    resampling_mode : {None, "tile", "fast", "wsi"}, default None
        How to get pixels at an mpp that no level has.
    included_labels, excluded_labels : collection of str, default ()
        Only patches of these labels, or all but these.
    transform : callable or str, default None
        What patches go through before, in the processes that read: as for
        `StreamPatchExtractorPool`.
    on_error : {"raise", "skip"}, default "raise"
        Whether the first error of a slide, or of a patch, ends the run, or is entered in
        what is returned. Errors of the folder, and an encoder that fails, always do.
    progress : bool or callable, default False
        Who is told how far it has come, and which share of the time the model waited.
    chunk_timeout_s : float, default 900.0
        A worker that takes longer over a chunk of patches is replaced.
    shard : (int, int), default None
        Which of how many independent jobs this is, counted from 1: it does some of the
        slides, the same each time, and writes to a folder ``shard-<i>-of-<n>`` in
        `output_dir`; `dplabtools.pipeline.merge_shards` joins them. Jobs have about as many
        patches each.
    engine : Engine or str, default None
        Where patches of slides are read, by a name that `config.engine` takes; or an engine
        of your own, which stays open, for one device. None for what `config.engine` says.
        The encoder computes here, and images on disk are read by threads of this process.

    Returns
    -------
    list of SlideFeatures
        One for each slide, in the order given.

    Raises
    ------
    OtherFeaturesError
        If `output_dir` has a file of another encoder, layout, slide or of other patches.
    FolderInUseError
        If another run is writing there.
    OutputError
        If a file cannot be written, or two slides would have the same.
    ModelOutputError
        If the encoder fails, or returns another number of rows, another rank, or NaN.
    ParameterError, ParameterTypeError
        If an argument makes no sense, or patches asked for at an mpp are not what the
        encoder is made for; or if several devices are to share an engine of your own.
    ResolutionError, MissingMppError
        If patches at a level are not; or the slide states no mpp, and it takes one.
    MissingLibraryError
        If h5py or zarr is not installed.
    SlideError, StoredPatchesError, InvalidLocationError
        If a slide or patch cannot be read, or patches are no squares of one size.
    WorkerError
        If a process dies.
    """
    check_choice(layout, tuple(LAYOUTS), name="layout")
    check_choice(on_error, ("raise", "skip"), name="on_error")
    LAYOUTS[layout].library()
    made = Encoder.of(
        encoder,
        encoder_args or {},
        given={
            "name": encoder_name,
            "mpp": encoder_mpp,
            "input_size": input_size,
            "mean": mean,
            "std": std,
            "precision": precision,
            "pooling": pooling,
        },
    )
    labels = LabelFilter(included_labels, excluded_labels)
    reading = {
        "batch_size": parse_count(batch_size, name="batch_size"),
        "proc_num_workers": parse_count(proc_num_workers, name="proc_num_workers"),
        "thread_num_workers": parse_count(thread_num_workers, name="thread_num_workers"),
        "resampling_mode": resampling_mode,
        "transform": transform,
        "on_error": on_error,
        "chunk_timeout_s": chunk_timeout_s,
        "engine": _engine_of(engine, devices := parse_devices(device)),
    }
    if shard is not None and not isinstance(patches_pool, StoredPatches):
        patches_pool = list(patches_pool)
        for each in patches_pool:
            check_repeatable(each.param_info, slide=Path(each.wsi_file).name)
    patches = _patches_of(patches_pool, labels, reading)
    with output_folder(output_dir, resume=True) as out:
        folder = Path(out)
        if shard is not None:
            patches, share = _own_patches(patches, parse_shard(shard))
            folder = begin_shard(folder, share, kind="features")
        found = FeatureRun(
            patches=patches,
            encoder=made,
            folder=folder,
            layout=layout,
            devices=devices,
            skip_errors=on_error == "skip",
            settings=config.snapshot(),
            progress=progress,
        ).result()
        if shard is not None:
            files, failed = shard_results(found, folder, layout=layout)
            end_shard(folder, failed=failed, files=files)
    return found


def _engine_of(given: EngineLike | None, devices: Sequence[object]) -> EngineLike:
    """Return where patches are read, for all devices.

    Raises
    ------
    ParameterError
        If it is of the caller's process, and devices have processes of their own.
    """
    engine = config.chosen_engine(given)
    if len(devices) > 1 and not isinstance(engine, str):
        msg = f"an engine of your own serves one device, not {len(devices)}"
        raise ParameterError(msg, remedy="give its name, for each process to make one")
    return engine


def _own_patches(
    patches: PatchSources, shard: tuple[int, int]
) -> tuple[PatchSources, Share]:
    """Return the patches that are for a job, and its share of the slides.

    Raises
    ------
    OutputError
        If slides of all jobs have the same name.
    """
    check_names([table.slide for table in patches.tables])
    share = share_of(
        [table.slide for table in patches.tables],
        list(map(len, patches.tables)),
        shard=shard,
        cut=False,
    )
    own = share.places

    def source(numbers: Sequence[int]) -> PatchBatches:
        return patches.source([own[number] for number in numbers])

    tables = [patches.tables[place] for place in own]
    return replace(patches, tables=tables, source=source), share


def _patches_of(
    given: Iterable[LocationLike] | StoredPatches,
    labels: LabelFilter,
    reading: Mapping[str, Any],
) -> PatchSources:
    if isinstance(given, StoredPatches):
        return _patches_on_disk(given, labels, reading)
    return _patches_on_slides(given, labels, reading)


def _patches_on_slides(
    given: Iterable[LocationLike], labels: LabelFilter, reading: Mapping[str, Any]
) -> PatchSources:
    """Return patches that a stream reads."""
    tables = [each.selected for each in Selection.all_of(given, labels)]

    def source(numbers: Sequence[int]) -> PatchBatches:
        mocks = [
            PatchesMock.from_table(
                tables[number], class_name="PatchesMock", class_params={}
            )
            for number in numbers
        ]
        return StreamPatchExtractorPool(patches_pool=mocks, **reading)

    settings, transform = config.snapshot(), reading["transform"]
    deciding = {
        **{name: getattr(settings, name) for name in _DECIDING},
        "resampling_mode": reading["resampling_mode"],
        "transform": None if transform is None else str(Transform.of(transform)),
    }
    source(())  # checks what is given
    return PatchSources(tables=tables, deciding=deciding, source=source)


def _patches_on_disk(
    stored: StoredPatches, labels: LabelFilter, reading: Mapping[str, Any]
) -> PatchSources:
    """Return patches that are read from files.

    Raises
    ------
    ParameterError
        If they are to be read in another way than they were written, or are at several
        resolutions.
    """
    if reading["resampling_mode"] is not None or reading["transform"] is not None:
        msg = "resampling_mode and transform are for slides; stored patches are as they are"
        raise ParameterError(msg)
    if len(stored) and len(stored[0].views) > 1:
        msg = "the stored patches are at several resolutions"
        raise ParameterError(msg, remedy="extract them at one")
    columns = stored.table
    owners, codes = coded(columns.wsi_file.tolist())
    tables: list[PatchTable] = []
    numbers: list[IntArray] = []
    for code in dict.fromkeys(codes.tolist()):
        rows = np.flatnonzero(codes == code)
        names, label_codes = coded(columns.label[rows].tolist())
        table = PatchTable(
            slide=owners[code],
            resolution=parse_level_or_mpp(columns.level_or_mpp[rows].tolist()[0]),
            origins=np.stack([columns.x[rows], columns.y[rows]], axis=1),
            sizes=np.stack([columns.width[rows], columns.height[rows]], axis=1),
            codes=label_codes,
            labels=names,
        )
        wanted = np.isin(
            label_codes, [names.index(each) for each in labels.apply(table).labels]
        )
        tables.append(table.take(np.flatnonzero(wanted)))
        numbers.append(rows[wanted])

    def source(slides: Sequence[int]) -> PatchBatches:
        return StoredBatches(
            patches=stored,
            tables=[tables[slide] for slide in slides],
            numbers=[numbers[slide] for slide in slides],
            batch_size=reading["batch_size"],
            threads=reading["proc_num_workers"] * reading["thread_num_workers"],
            skip_errors=reading["on_error"] == "skip",
        )

    return PatchSources(tables=tables, deciding={"patches": "stored images"}, source=source)
