"""The documented way from slides to files of features."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from dplabtools import config
from dplabtools._typing import IntArray, StrPath
from dplabtools.errors import (
    InvalidLocationError,
    LocationError,
    OutputError,
    ParameterError,
    ResolutionError,
    SlideError,
)
from dplabtools.extraction.progress import ProgressArgument, ProgressClock, reporter
from dplabtools.extraction.transform import Transform, TransformLike
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.geometry.resolution import Mpp, parse_level_or_mpp
from dplabtools.inference.device_processes import run_shares, shared_out
from dplabtools.inference.encoder import Encoder, EncoderLike, Pooling, Precision
from dplabtools.inference.encoding import parse_devices
from dplabtools.inference.feature_files import LAYOUTS, FeatureLayout, SlideBag
from dplabtools.inference.features import (
    BatchSource,
    Encoded,
    FeatureShare,
    Wrote,
    stored_bag,
)
from dplabtools.inference.stored_batches import StoredBatches
from dplabtools.output.run_folder.fingerprint import Fingerprint
from dplabtools.output.run_folder.lock import FolderLock
from dplabtools.output.stored_slide import coded
from dplabtools.readers.slide import Slide
from dplabtools.records.failure import Failure
from dplabtools.records.labels import LabelFilter
from dplabtools.records.patch_table import PatchTable
from dplabtools.settings import Settings
from dplabtools.slides.patches import PatchesMock, StoredPatches, StreamPatchExtractorPool
from dplabtools.slides.patches._pool_run import OnError
from dplabtools.slides.patches._request import (
    LocationLike,
    Selection,
    check_choice,
    parse_count,
)

__all__ = ["Layout", "SlideFeatures", "extract_features"]

Layout = Literal["trident", "clam", "stamp", "zarr"]
_LOOKING: Final = 8  # threads that look at slides: network drives make them wait
_NEARLY: Final = 0.1  # difference of two mpps, as a share, that encoders do not mind
_DECIDING: Final = (  # settings that pixels depend on; the mpp is with the patches
    *("background", "color", "level_zero_resampling", "mpp_level_margin"),
    *("resampling_filter", "slide_library"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideFeatures:
    """What became of a slide.

    Attributes
    ----------
    wsi_file : str
        Path of the slide.
    status : {"written", "kept", "empty", "failed"}
        ``"kept"``: an earlier run has written the file. ``"empty"``: the slide has no
        patches, and no file.
    file : Path or None
        The file of features; None if there is none.
    patches : int
        Rows of the file.
    missing : int
        Patches that could not be read, and are not in the file.
    errors : tuple of Failure
        What went wrong, in this run.
    """

    wsi_file: str
    status: Literal["written", "kept", "empty", "failed"]
    file: Path | None
    patches: int = 0
    missing: int = 0
    errors: tuple[Failure, ...] = ()


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
        Folder to write to; has to exist.
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
    resampling_mode : {None, "tile", "wsi"}, default None
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

    Returns
    -------
    list of SlideFeatures
        One for each slide, in the order given.

    Raises
    ------
    ResumeError
        If `output_dir` has a file of another encoder, layout, slide or of other patches.
    FolderInUseError
        If another run is writing there.
    OutputError
        If a file cannot be written, or two slides would have the same.
    ModelOutputError
        If the encoder fails, or returns another number of rows, another rank, or NaN.
    ParameterError, ParameterTypeError
        If an argument makes no sense, or patches asked for at an mpp are not what the
        encoder is made for.
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
    }
    return _Run(
        patches=_patches_of(patches_pool, labels, reading),
        encoder=made,
        folder=Path(output_dir),
        layout=layout,
        devices=parse_devices(device),
        skip_errors=on_error == "skip",
        tell=progress,
    ).result()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Patches:
    """Patches, and how they are read.

    Attributes
    ----------
    tables : list of PatchTable
        Those of each slide.
    deciding : mapping of str to object
        What their pixels depend on.
    source : callable
        Returns the patches of some of the slides, by number, batch by batch.
    """

    tables: list[PatchTable]
    deciding: Mapping[str, object]
    source: Callable[[Sequence[int]], BatchSource]


def _patches_of(
    given: Iterable[LocationLike] | StoredPatches,
    labels: LabelFilter,
    reading: Mapping[str, Any],
) -> _Patches:
    if isinstance(given, StoredPatches):
        return _patches_on_disk(given, labels, reading)
    return _patches_on_slides(given, labels, reading)


def _patches_on_slides(
    given: Iterable[LocationLike], labels: LabelFilter, reading: Mapping[str, Any]
) -> _Patches:
    """Return patches that a stream reads."""
    tables = [each.selected for each in Selection.all_of(given, labels)]

    def source(numbers: Sequence[int]) -> BatchSource:
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
    return _Patches(tables=tables, deciding=deciding, source=source)


def _patches_on_disk(
    stored: StoredPatches, labels: LabelFilter, reading: Mapping[str, Any]
) -> _Patches:
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
        msg = "the stored patches are at several resolutions; extract them at one"
        raise ParameterError(msg)
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

    def source(slides: Sequence[int]) -> BatchSource:
        return StoredBatches(
            patches=stored,
            tables=[tables[slide] for slide in slides],
            numbers=[numbers[slide] for slide in slides],
            batch_size=reading["batch_size"],
            threads=reading["proc_num_workers"] * reading["thread_num_workers"],
            skip_errors=reading["on_error"] == "skip",
        )

    return _Patches(tables=tables, deciding={"patches": "stored images"}, source=source)


@dataclass(slots=True, eq=False, kw_only=True)
class _Run:
    """A run over all slides."""

    patches: _Patches
    encoder: Encoder
    folder: Path
    layout: Layout
    devices: tuple[Any, ...]
    skip_errors: bool
    tell: ProgressArgument
    _results: dict[str, SlideFeatures] = field(default_factory=dict)

    def result(self) -> list[SlideFeatures]:
        """Carry it out.

        Raises
        ------
        Exception
            As `extract_features`.
        """
        reporter(self.tell)
        files = self._files()
        with ExitStack() as stack:
            lock = FolderLock(self.folder)
            lock.acquire()
            stack.callback(lock.release)
            stack.callback(_remove_parts, files.values())
            _remove_parts(files.values())
            bags = self._look(files)
            if bags:
                for each in files.values():
                    each.parent.mkdir(exist_ok=True)
                self._encode(bags, files)
        return [self._results[table.slide] for table in self.patches.tables]

    @property
    def _form(self) -> FeatureLayout:
        return LAYOUTS[self.layout]

    def _files(self) -> dict[str, Path]:
        """Return the file of each slide.

        Raises
        ------
        OutputError
            If there is no folder, or two slides have the same name.
        """
        if not self.folder.is_dir():
            msg = f"output_dir {self.folder} is no folder; make it first"
            raise OutputError(msg)
        slides = [table.slide for table in self.patches.tables]
        names = Counter(Path(slide).stem.casefold() for slide in slides)
        twice = [slide for slide in slides if names[Path(slide).stem.casefold()] > 1]
        if twice:
            msg = (
                f"{' and '.join(twice[:2])} would have the same file of features; write "
                f"them to different folders"
            )
            raise OutputError(msg)
        return {slide: self._form.path(self.folder, Path(slide).stem) for slide in slides}

    def _look(self, files: Mapping[str, Path]) -> dict[int, SlideBag]:
        """Look at all slides and at what is there of them; return what is to be written.

        Raises
        ------
        ResumeError
            If a file is of something else.
        SlideError, LocationError
            The first, unless errors are to be skipped.
        """
        settings = config.snapshot()

        def look(table: PatchTable) -> SlideBag | SlideError | LocationError:
            try:
                return self._bag(table, settings)
            except (SlideError, LocationError) as error:
                return error

        bags: dict[int, SlideBag] = {}
        filled = [number for number, each in enumerate(self.patches.tables) if len(each)]
        for table in self.patches.tables:
            empty = SlideFeatures(wsi_file=table.slide, status="empty", file=None)
            self._results[table.slide] = empty
        with ThreadPoolExecutor(_LOOKING) as threads:
            tables = [self.patches.tables[number] for number in filled]
            for number, found in zip(filled, threads.map(look, tables), strict=True):
                slide = self.patches.tables[number].slide
                if isinstance(found, Exception):
                    if not self.skip_errors:
                        raise found
                    self._fail(Failure(wsi_file=slide, row=None, error=found))
                elif not self._keep(slide, files[slide], found):
                    bags[number] = found
        return bags

    def _bag(self, table: PatchTable, settings: Settings) -> SlideBag:
        """Look at a slide.

        Raises
        ------
        InvalidLocationError
            If its patches are no squares of one size.
        SlideError
            If it cannot be opened, or is not what the encoder is made for.
        """
        sizes = np.unique(table.sizes)
        if len(sizes) != 1:
            msg = f"patches must be squares of one size, not of {sizes[:5].tolist()} pixels"
            raise InvalidLocationError(msg, slide=table.slide_name)
        with Slide(table.slide, settings=settings) as slide:
            pyramid = slide.pyramid
        if self._form.needs_mpp:
            pyramid.required_mpp()
        self._check_mpp(table, pyramid)
        parameters = {
            "layout": self.layout,
            **self.encoder.parameters(self.devices[0]),
            **self.patches.deciding,
        }
        return SlideBag(
            name=Path(table.slide).stem,
            features=np.empty((0, 0), dtype=np.float32),
            origins=table.origins,
            edge=int(sizes[0]),
            resolution=table.resolution,
            pyramid=pyramid,
            fingerprint=Fingerprint.of(table, parameters, slide_mpp=pyramid.mpp),
            missing=0,
        )

    def _check_mpp(self, table: PatchTable, pyramid: Pyramid) -> None:
        """Raise if patches are not at the mpp that the encoder is made for."""
        wanted = self.encoder.mpp
        if wanted is None:
            return
        found = pyramid.mpp_of(table.resolution)
        if abs(found - wanted) > _NEARLY * wanted:
            msg = (
                f"its patches have {found:g} microns per pixel, and the encoder "
                f"{self.encoder.name} is made for {wanted:g}; place them at {wanted:g}, or "
                f"give encoder_mpp={found:g} if it takes these, too"
            )
            asked = isinstance(table.resolution, Mpp)
            kind = ParameterError if asked else ResolutionError
            raise kind(msg, slide=table.slide_name)

    def _keep(self, slide: str, file: Path, wanted: SlideBag) -> bool:
        """Tell whether the file of a slide is there already."""
        found = stored_bag(file, self._form, wanted.fingerprint, slide=wanted.pyramid.slide)
        if found is None:
            return False
        self._results[slide] = SlideFeatures(
            wsi_file=slide,
            status="kept",
            file=file,
            patches=found.patches,
            missing=found.missing,
        )
        return True

    def _encode(self, bags: Mapping[int, SlideBag], files: Mapping[str, Path]) -> None:
        """Write the files of slides."""
        numbers = list(bags)
        counts = [len(self.patches.tables[number]) for number in numbers]
        shares = shared_out(counts, len(self.devices))
        jobs = [
            self._share([numbers[place] for place in share], device, bags, files)
            for share, device in zip(shares, self.devices, strict=False)
        ]
        clock = ProgressClock(reporter(self.tell), total=sum(counts), slides=len(bags))
        busy_s = 0.0
        for event in run_shares(jobs):
            match event:
                case Encoded():
                    busy_s += event.busy_s
                    clock.model_s = busy_s / len(jobs)
                    clock.advance(patches=event.patches)
                case Wrote():
                    clock.advance(slides=1)
                    self._results[event.wsi_file] = replace(
                        self._results[event.wsi_file],
                        status="written",
                        file=files[event.wsi_file],
                        patches=event.patches,
                        missing=event.missing,
                    )
                case Failure():
                    self._fail(event)
        for number in numbers:  # all of whose patches failed
            slide = self.patches.tables[number].slide
            if self._results[slide].status == "empty":
                self._results[slide] = replace(self._results[slide], status="failed")

    def _share(
        self,
        numbers: Sequence[int],
        device: Any,  # noqa: ANN401 - of torch, which only `inference` knows
        bags: Mapping[int, SlideBag],
        files: Mapping[str, Path],
    ) -> FeatureShare:
        paths = [self.patches.tables[number].slide for number in numbers]
        return FeatureShare(
            source=self.patches.source(numbers),
            bags=[bags[number] for number in numbers],
            paths=paths,
            files=[files[path] for path in paths],
            layout=self._form,
            encoder=self.encoder,
            device=device,
            skip_errors=self.skip_errors,
        )

    def _fail(self, failure: Failure) -> None:
        """Enter what was skipped; without a row, it is the whole slide."""
        before = self._results[failure.wsi_file]
        whole = failure.row is None and before.status == "empty"
        self._results[failure.wsi_file] = replace(
            before,
            status="failed" if whole else before.status,
            errors=(*before.errors, failure),
        )


def _remove_parts(files: Iterable[Path]) -> None:
    """Remove what a killed run has left half-written; nobody else is at work here."""
    for each in _parts(files):
        if each.is_dir():
            shutil.rmtree(each, ignore_errors=True)
        else:
            each.unlink(missing_ok=True)


def _parts(files: Iterable[Path]) -> Iterator[Path]:
    """Yield files and folders that were to become these, or lie beside them."""
    folders = {each.parent for each in files}
    folders |= {each.with_name("pt_files") for each in folders if each.name == "h5_files"}
    for folder in folders:
        yield from folder.glob(".*.part")
