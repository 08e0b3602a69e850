"""The folder that a run writes to: locked, with a record of each slide."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from secrets import token_hex
from zlib import crc32

from dplabtools import __version__
from dplabtools._typing import IntArray
from dplabtools.atomic import (
    output_error,
    remove,
    sync_file_system,
    sync_folder,
    write_whole,
)
from dplabtools.engine.base import boot
from dplabtools.errors import (
    OutputError,
    ResumeError,
)
from dplabtools.optional import loaded_versions
from dplabtools.output.comparison import sample
from dplabtools.output.distinct import folded
from dplabtools.output.naming import derived_manifest_id, key_name, new_manifest_id
from dplabtools.output.run_folder.fingerprint import (
    Fingerprint,
    deciding,
)
from dplabtools.output.run_folder.history import (
    Checkpoint,
    end_run,
    pack,
    read_history,
    run_event,
)
from dplabtools.output.run_folder.journal import Journal, now
from dplabtools.output.run_folder.lock import FolderLock
from dplabtools.output.run_folder.manifests import ManifestHead
from dplabtools.output.run_folder.output_folder import remote_folder
from dplabtools.output.run_folder.resume import (
    ResumeOptions,
    match_checkpoints,
    read_resumable,
    set_numbers,
    warn_of_earlier,
)
from dplabtools.records.run_record import RunRecord, SlideResult
from dplabtools.records.slide_plan import SlidePlan
from dplabtools.settings import SLIDE_MPP
from dplabtools.sources.threads import AskingThreads

__all__ = ["RunFolder"]

_STAGING = ".dplabtools-"
_LOOKING = 32  # threads that look at slide files: those elsewhere make them wait


class RunFolder:
    """The folder of a run, as its sink uses it.

    It is locked from `open` to `close`. What is done there is written to the journal of the
    run first, which begins with the first slide that something is done to.

    Parameters
    ----------
    path : Path
        Has to exist.
    heads : sequence of ManifestHead
        One for each slide as given.
    options : ResumeOptions
        Whether to go on with what is there.

    Attributes
    ----------
    path : Path
        The folder.
    staging : Path
        A folder in it for what is not whole yet; new with each run, and gone after it.
    manifest_ids : list of str
        Of each slide as given; those of slides that are continued are known after `open`.
    found : dict of int to Checkpoint
        Slides that an earlier run has begun, by their place; known after `open`.
    remote : RemoteFolder or None
        What takes its files to an address, if it has one.
    """

    def __init__(
        self, path: Path, *, heads: Sequence[ManifestHead], options: ResumeOptions
    ) -> None:
        self.path = path
        self.manifest_ids = [new_manifest_id() for _ in heads]
        self.staging = path / f"{_STAGING}{token_hex(4)}"
        self.found: dict[int, Checkpoint] = {}
        self.remote = remote_folder(path)
        self._heads = heads
        self._options = options
        self._begun, self._clock = now(), time.perf_counter()
        self._checkpoints: dict[int, Checkpoint] = {}
        self._there: tuple[Checkpoint, ...] = ()
        self._record = RunRecord(
            version=__version__,
            command=(),
            started=f"{self._begun[:19]}+00:00",
            seconds=0.0,
            interrupted=True,
            parameters=options.parameters,
            versions=loaded_versions(),
            slides=(),
            transform=str(options.parameters.get("transform", "")),
        )
        self._journal = Journal(path / "manifests", run_event(self._record))
        self._lock = FolderLock(path, shared=options.shared)
        self._new_folders: list[Path] = []
        self._begun_here: set[int] = set()

    @property
    def resumes(self) -> bool:
        """Whether what is whole stays for a later run, when this one fails."""
        return self._options.resume

    def sample(self, slide: int, rows: IntArray) -> IntArray:
        """Return those of the rows that are there to be compared with their slide."""
        if self._options.verify == "count":
            return rows[:0]
        return sample(rows, seed=f"{self.manifest_ids[slide]} {self._begun}")

    @property
    def is_open(self) -> bool:
        """Whether the folder is this run's to write to."""
        return self._lock.held

    def open(self, plans: Sequence[SlidePlan]) -> None:
        """Lock the folder, and find out what there is of these slides.

        Raises
        ------
        FolderInUseError
            If another run is at work there.
        ResumeError
            If the run is to go on with an earlier one that was another.
        OutputError
            If the folder cannot be written to.
        """
        self._lock.acquire()
        with AskingThreads(_LOOKING, name="dplabtools-look") as threads:
            self._checkpoints = {
                each.index: each for each in threads.map(self._new_checkpoint, plans)
            }
        if self._options.resume or self._lock.exclusive:
            self._look_back()
        for plan in plans:
            if plan.quality is not None and plan.slide_index in self.found:
                self.found[plan.slide_index].fill(plan.quality)
        if self._lock.exclusive:
            self._clear_up()
        for folder in (self.staging, self.path / "manifests"):
            self._make(folder)

    def _look_back(self) -> None:
        """Find out what earlier runs have left, or warn of it."""
        if not self._options.resume:
            history = read_history(self.path)
            if self._options.share is not None and history.checkpoints:
                msg = f"{self.path} holds what this job has written before"
                raise ResumeError(msg, remedy="resume=True goes on with it")
            warn_of_earlier(self.path, history, wanted=self._checkpoints.values())
            return
        self._there = read_resumable(self.path)
        given = [head.wsi_file for head in self._heads]
        found = match_checkpoints(
            list(self._checkpoints.values()), self._there, given=given, folder=self.path
        )
        for slide, earlier in found.items():
            path = self._checkpoints[slide].wsi_file
            self.found[slide] = replace(earlier, index=slide, wsi_file=path)
            self.manifest_ids[slide] = earlier.manifest_id
        self._checkpoints |= self.found

    def _clear_up(self) -> None:
        """Remove what a killed run had not finished to write.

        A worker of it may be alive for another moment. When its folder has another name it
        can neither add to it, nor give a file its name any more.
        """
        for folder in self.path.glob(f"{_STAGING}*"):
            gone = folder.with_name(f"{_STAGING}gone-{token_hex(4)}")
            with suppress(OSError):
                folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)

    def _new_checkpoint(self, plan: SlidePlan) -> Checkpoint:
        head = self._heads[plan.slide_index]
        fingerprint = Fingerprint.of(
            plan.table,
            deciding(self._options.parameters),
            slide_mpp=plan.pyramid.mpp if plan.pyramid.mpp_source == SLIDE_MPP else None,
            label_masks=None if head.areas is None else head.areas.sha256,
        )
        if self._options.share is not None:  # jobs that share a slide agree on it
            place = self._options.share.parts[plan.slide_index].place
            name = derived_manifest_id(f"{fingerprint.sha256} {place}")
            self.manifest_ids[plan.slide_index] = name
        return Checkpoint(
            manifest_id=self.manifest_ids[plan.slide_index],
            begun=self._begun,
            boot=boot(),
            wsi_file=plan.table.slide,
            index=plan.slide_index,
            fingerprint=fingerprint,
            labels=plan.table.counts(),
            patch_class=head.patch_class,
            patch_params=head.patch_params,
        )

    def number_sets(
        self, plans: Sequence[SlidePlan], *, first: int | None
    ) -> dict[int, int]:
        """Return the number of the first set of each slide, by its place.

        Parameters
        ----------
        plans : sequence of SlidePlan
            All slides of the run.
        first : int or None
            Number of the first set of all; None to begin with 1 in each slide.
        """
        if first is None:
            numbers = {plan.slide_index: 1 for plan in plans}
        else:
            numbers = set_numbers(plans, self.found, there=self._there, first=first)
        for slide, number in numbers.items():
            self._checkpoints[slide] = replace(self._checkpoints[slide], first_set=number)
        return numbers

    def name_containers(self, plans: Sequence[SlidePlan]) -> None:
        """Settle what containers of slides are called: as they were, or after the slide.

        Who comes first of several slides of one name has it; others are told apart by their
        manifest id. It is written down before there is anything of that name.
        """
        others = (*self._checkpoints.values(), *self._there)
        taken = {folded(key_name(each.name)) for each in others}
        for plan in plans:
            begun = self._checkpoints[plan.slide_index]
            if not begun.name:
                stem = Path(begun.wsi_file).stem
                twin = folded(key_name(stem)) in taken or self._has_twin(plan)
                name = f"{stem}_{begun.manifest_id}" if twin else stem
                self._checkpoints[plan.slide_index] = replace(begun, name=name)
                taken.add(folded(key_name(name)))

    def _has_twin(self, plan: SlidePlan) -> bool:
        """Tell whether another job has a slide of the same name, which comes first."""
        share = self._options.share
        return share is not None and share.parts[plan.slide_index].has_twin

    def checkpoint(self, slide: int) -> Checkpoint:
        """Return what is known of a slide; after `open`."""
        return self._checkpoints[slide]

    def settle_shards(self, slide: int, rows: int | None) -> None:
        """Note how many patches make a shard of a slide."""
        self._checkpoints[slide] = replace(self._checkpoints[slide], shard_rows=rows)

    def _make(self, folder: Path) -> None:
        """Make a folder, if it is not there, to be removed again if it stays empty.

        Raises
        ------
        OutputError
            If it cannot be made.
        """
        try:
            folder.mkdir()
        except FileExistsError as error:
            if folder.is_dir():
                return
            msg = f"{folder} has to be a folder, and is none"
            raise OutputError(msg) from error
        except OSError as error:
            raise output_error(error, self.path) from error
        self._new_folders.append(folder)

    def manifest_path(self, slide: int) -> Path:
        """Return the path of the text manifest of a slide."""
        return self.path / "manifests" / f"{self._checkpoints[slide].file_stem}.txt"

    def is_complete(self, slide: int) -> bool:
        """Tell whether an earlier run completed a slide, and its manifests are there."""
        path, record = self.manifest_path(slide), self._checkpoints[slide]
        if self.remote is not None:  # what is there is as it was stored
            files = (path, path.with_suffix(".csv"))
            return record.complete and all(map(self.remote.holds, files))
        if not record.complete or not path.exists():
            return False
        try:
            checksum = crc32(path.with_suffix(".csv").read_bytes())
        except OSError:
            return False
        return record.table_crc32 == checksum

    def begin(self, slides: Iterable[int]) -> None:
        """Write down that slides are being written; they have no manifests from now on.

        Raises
        ------
        OutputError
            If that cannot be written.
        """
        begun = list(slides)
        for slide in begun:
            checkpoint = replace(
                self._checkpoints[slide],
                boot=boot(),
                complete=False,
                table_crc32=None,
                missing=(),
                packed_sizes="",
            )
            self._checkpoints[slide] = checkpoint
            self._journal.append("begin", checkpoint.begin_event())
            self._begun_here.add(slide)
        self._journal.sync()
        if self.remote is not None:
            self.remote.store_journals()
        for slide in begun:
            self._remove_manifests(slide)

    def complete(
        self,
        slide: int,
        *,
        text: str,
        table: str,
        missing: Sequence[int],
        sizes: Sequence[int],
    ) -> None:
        """Write the manifests of a slide, and that it is complete.

        Parameters
        ----------
        slide : int
            Its place.
        text, table : str
            Its manifest, for people and for programs.
        missing : sequence of int
            Rows that could not be written.
        sizes : sequence of int
            Bytes of each file, in the order of the table.

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        path = self.manifest_path(slide)
        sync_file_system(self.path)  # a manifest vouches for the files that it names
        for suffix, content in ((".csv", table), (".txt", text)):
            write_whole(
                path.with_suffix(suffix), content.encode(), aside=self.staging / "manifest"
            )
        sync_folder(path.parent)
        completed = replace(
            self._checkpoints[slide],
            complete=True,
            table_crc32=crc32(table.encode()),
            missing=tuple(missing),
            packed_sizes=pack(sizes),
        )
        self._journal.append("complete", completed.complete_event())
        self._journal.sync()
        self._checkpoints[slide] = completed

    def shares(self, plan: SlidePlan) -> bool:
        """Tell whether other jobs do a part of a slide."""
        share = self._options.share
        return share is not None and not share.parts[plan.slide_index].is_whole

    def measured(self, plan: SlidePlan, rows: IntArray) -> None:
        """Write down how good patches are; what is lost of it is measured again.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        assert plan.quality is not None  # noqa: S101 - for the type checkers
        event = {
            "manifest_id": self.manifest_ids[plan.slide_index],
            "rows": pack(rows),
            "values": pack(plan.quality.values[rows]),
        }
        self._journal.append("quality", event)

    def record(self, slide: int, result: SlideResult) -> None:
        """Write down what became of a slide.

        A run that finds everything as it should be has nothing to write down.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        if result.status == "failed" or self._journal.is_open:
            planned = slide in self._checkpoints  # so it has a manifest
            number = self.manifest_ids[slide] if planned else None
            told = asdict(replace(result, manifest_id=number))
            self._journal.append("slide", {"index": slide, **told})

    def discard(self, slide: int) -> None:
        """Remove the manifests of a slide, of which there is nothing any more."""
        self._remove_manifests(slide)
        if slide in self._begun_here:
            with suppress(OutputError):  # it is as after a kill, then
                self._journal.append("discard", {"manifest_id": self.manifest_ids[slide]})
            self._begun_here.discard(slide)

    def _remove_manifests(self, slide: int) -> None:
        for suffix in (".txt", ".csv"):
            file = self.manifest_path(slide).with_suffix(suffix)
            remove(file)
            if self.remote is not None:
                self.remote.forget(file)

    def close(self) -> None:
        """Remove what is not whole, and unlock the folder; a second call does nothing.

        Raises
        ------
        OutputError
            If the end of the run cannot be written down.
        """
        if not self.is_open:
            return
        shutil.rmtree(self.staging, ignore_errors=True)
        if self._journal.is_open:
            seconds = round(time.perf_counter() - self._clock, 3)
            end_run(
                self._journal, replace(self._record, seconds=seconds, interrupted=False)
            )
        self._lock.release()

    def abort(self) -> None:
        """Do as `close`, and remove the new folders that are empty."""
        if not self.is_open:
            return
        shutil.rmtree(self.staging, ignore_errors=True)
        if self._begun_here:
            self._journal.close()
        else:
            self._journal.remove()
        for folder in reversed(self._new_folders):
            with suppress(OSError):
                folder.rmdir()
        self._lock.release()
