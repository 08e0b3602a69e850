"""A run that makes features: what is there is kept, the rest is encoded and written."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import torch

from dplabtools.errors import (
    InvalidLocationError,
    LocationError,
    OutputError,
    ParameterError,
    ResolutionError,
    SlideError,
)
from dplabtools.extraction.progress import ProgressArgument, ProgressClock, reporter
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.geometry.resolution import Mpp
from dplabtools.inference.device_processes import run_shares, shared_out
from dplabtools.inference.encoder import Encoder
from dplabtools.inference.feature_files import LAYOUTS, FeatureLayout, SlideBag
from dplabtools.inference.features import (
    Encoded,
    FeatureShare,
    PatchBatches,
    Wrote,
    stored_bag,
)
from dplabtools.output.run_folder.fingerprint import Fingerprint
from dplabtools.output.run_folder.lock import FolderLock
from dplabtools.output.run_folder.output_folder import remote_folder, shown_path
from dplabtools.readers.slide import Slide
from dplabtools.records.failure import Failure
from dplabtools.records.patch_table import PatchTable
from dplabtools.settings import Settings
from dplabtools.sources.threads import AskingThreads
from dplabtools.sources.urls import is_url

if TYPE_CHECKING:
    from dplabtools.output.run_folder.remote import RemoteFolder

__all__ = ["FeatureRun", "PatchSources", "SlideFeatures", "check_names", "shard_results"]

_LOOKING: Final = 32  # threads that look at slides: those elsewhere make them wait
_NEARLY: Final = 0.1  # difference of two mpps, as a share, that encoders do not mind


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
    file : Path, str or None
        The file of features, or its address; None if there is none.
    patches : int
        Rows of the file.
    missing : int
        Patches that could not be read, and are not in the file.
    errors : tuple of Failure
        What went wrong, in this run.
    """

    wsi_file: str
    status: Literal["written", "kept", "empty", "failed"]
    file: Path | str | None
    patches: int = 0
    missing: int = 0
    errors: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PatchSources:
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
    source: Callable[[Sequence[int]], PatchBatches]


@dataclass(slots=True, eq=False, kw_only=True)
class FeatureRun:
    """A run over all slides: what is there is kept, and the rest is written.

    Attributes
    ----------
    patches : PatchSources
        Patches, and how they are read.
    encoder : Encoder
        What makes the features.
    folder : Path
        Where to; has to exist.
    layout : str
        Name of the layout.
    devices : tuple of torch.device
        Where the encoder computes; slides are shared out.
    settings : Settings
        How slides are opened.
    skip_errors : bool
        Go on with the other slides where one fails.
    progress : bool or callable
        Who is told how far it has come.
    """

    patches: PatchSources
    encoder: Encoder
    folder: Path
    layout: str
    devices: tuple[torch.device, ...]
    settings: Settings
    skip_errors: bool
    progress: ProgressArgument
    _results: dict[str, SlideFeatures] = field(default_factory=dict)

    def result(self) -> list[SlideFeatures]:
        """Carry it out.

        Raises
        ------
        Exception
            As `extract_features`.
        """
        reporter(self.progress)
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
            msg = f"output_dir {self.folder} is no folder"
            raise OutputError(msg, remedy="make it first")
        slides = [table.slide for table in self.patches.tables]
        check_names(slides)
        return {slide: self._form.path(self.folder, Path(slide).stem) for slide in slides}

    def _look(self, files: Mapping[str, Path]) -> dict[int, SlideBag]:
        """Look at all slides and at what is there of them; return what is to be written.

        Raises
        ------
        OtherFeaturesError
            If a file is of something else.
        SlideError, LocationError
            The first, unless errors are to be skipped.
        """

        def look(table: PatchTable) -> SlideBag | SlideError | LocationError:
            try:
                return self._bag(table)
            except (SlideError, LocationError) as error:
                return error

        bags: dict[int, SlideBag] = {}
        filled = [number for number, each in enumerate(self.patches.tables) if len(each)]
        for table in self.patches.tables:
            empty = SlideFeatures(wsi_file=table.slide, status="empty", file=None)
            self._results[table.slide] = empty
        with AskingThreads(_LOOKING, name="dplabtools-look") as threads:
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

    def _bag(self, table: PatchTable) -> SlideBag:
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
        with Slide(table.slide, settings=self.settings) as slide:
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
                f"{self.encoder.name} is made for {wanted:g}"
            )
            remedy = (
                f"place them at {wanted:g}, or give encoder_mpp={found:g} if it takes "
                f"these, too"
            )
            asked = isinstance(table.resolution, Mpp)
            kind = ParameterError if asked else ResolutionError
            raise kind(msg, slide=table.slide_name, remedy=remedy)

    @property
    def _remote(self) -> RemoteFolder | None:
        return remote_folder(self.folder)

    def _keep(self, slide: str, file: Path, wanted: SlideBag) -> bool:
        """Tell whether the file of a slide is there already."""
        there = self._form.open(file, self._remote)
        if there is None:
            return False
        found = stored_bag(
            there,
            layout=self._form,
            wanted=wanted.fingerprint,
            shown=shown_path(file),
        )
        self._results[slide] = SlideFeatures(
            wsi_file=slide,
            status="kept",
            file=_named(file),
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
            self._share([numbers[place] for place in share], device, bags=bags, files=files)
            for share, device in zip(shares, self.devices, strict=False)
        ]
        clock = ProgressClock(reporter(self.progress), total=sum(counts), slides=len(bags))
        busy_s = 0.0
        for event in run_shares(jobs):
            match event:
                case Encoded():
                    busy_s += event.busy_s
                    clock.model_s = busy_s / len(jobs)
                    clock.advance(patches=event.patches)
                case Wrote():
                    clock.advance(slides=1)
                    self._take_away(files[event.wsi_file])
                    self._results[event.wsi_file] = replace(
                        self._results[event.wsi_file],
                        status="written",
                        file=_named(files[event.wsi_file]),
                        patches=event.patches,
                        missing=event.missing,
                    )
                case Failure():
                    self._fail(event)
        for number in numbers:  # all of whose patches failed
            slide = self.patches.tables[number].slide
            if self._results[slide].status == "empty":
                self._results[slide] = replace(self._results[slide], status="failed")

    def _take_away(self, file: Path) -> None:
        """Let the file of a slide be taken to the address of the folder, if it has one.

        Raises
        ------
        OutputError
            If that of an earlier slide could not be stored.
        """
        if self._remote is not None:
            files = self._form.files(self.folder, file)
            self._remote.take(files, last=self._form.last(file), slide=file.stem)

    def _share(
        self,
        numbers: Sequence[int],
        device: torch.device,
        *,
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


def check_names(slides: Sequence[str]) -> None:
    """Raise if slides would have the same file.

    Raises
    ------
    OutputError
        It names them.
    """
    names = Counter(Path(slide).stem.casefold() for slide in slides)
    twice = [slide for slide in slides if names[Path(slide).stem.casefold()] > 1]
    if twice:
        msg = f"{' and '.join(twice[:2])} would have the same file of features"
        raise OutputError(msg, remedy="write them to different folders")


def shard_results(
    found: Iterable[SlideFeatures], folder: Path, *, layout: str
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return the files of each slide, and why there is none, as `ShardRecord` has them.

    Parameters
    ----------
    found : iterable of SlideFeatures
        What became of each slide.
    folder : Path
        Where files are.
    layout : str
        Name of the layout.
    """
    files: dict[str, list[str]] = {}
    failed: dict[str, str] = {}
    for each in found:
        if each.status == "failed":
            failed[each.wsi_file] = each.errors[0].message
        else:
            file = each.file
            paths = () if file is None else LAYOUTS[layout].files(folder, Path(file))
            files[each.wsi_file] = [str(path.relative_to(folder)) for path in paths]
    return files, failed


def _named(file: Path) -> Path | str:
    """Return a file, or its address if its folder stands for one."""
    shown = shown_path(file)
    return shown if is_url(shown) else file


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
