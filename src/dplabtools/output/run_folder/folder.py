"""The folder that a run writes to: locked, with a record of each slide."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Literal, TypeAlias
from zlib import crc32

from dplabtools._typing import IntArray
from dplabtools.atomic import (
    output_error,
    sync_file_system,
    sync_folder,
    write_whole,
)
from dplabtools.errors import EarlierRunWarning, OutputError, UnfinishedRunWarning
from dplabtools.output.comparison import sample
from dplabtools.output.distinct import folded
from dplabtools.output.naming import key_name, new_manifest_id
from dplabtools.output.run_folder.fingerprint import Fingerprint, changes
from dplabtools.output.run_folder.lock import FolderLock
from dplabtools.output.run_folder.manifests import ManifestHead, one_line
from dplabtools.output.run_folder.resume import match_records, set_numbers
from dplabtools.output.run_folder.slide_record import (
    SlideRecord,
    boot,
    read_records,
    unfinished_slides,
)
from dplabtools.records.slide_plan import SlidePlan
from dplabtools.settings import SLIDE_MPP

__all__ = ["RunFolder", "RunTerms", "Verify", "remove"]

Verify: TypeAlias = Literal["count", "pixels"]
_STAGING = ".dplabtools-"
_SHOWN = 5  # slides in a message
_LOOKING = 8  # threads that look at slide files: network drives make them wait


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTerms:
    """How a run stands to those before it, and to those beside it.

    Attributes
    ----------
    parameters : mapping of str to object
        All that the caller chose and that decides what is written, by name.
    resume : bool
        Go on with what an earlier run has left.
    verify : {"count", "pixels"}
        Whether files count that are there and have their size, or a sample of them is
        compared with the slide, too.
    shared : bool
        Others that share the folder may be at work in it: each for one slide.
    """

    parameters: Mapping[str, object]
    resume: bool = False
    verify: Verify = "count"
    shared: bool = False


class RunFolder:
    """The folder of a run, as its sink uses it.

    It is locked from `open` to `close`. Each slide has a record in ``manifests``, written
    by `begin` and again by `complete`, when its manifests are there.

    Parameters
    ----------
    path : Path
        Has to exist.
    heads : sequence of ManifestHead
        One for each slide as given.
    terms : RunTerms
        Whether to go on with what is there.

    Attributes
    ----------
    path : Path
        The folder.
    staging : Path
        A folder in it for what is not whole yet; new with each run, and gone after it.
    manifest_ids : list of str
        Of each slide as given; those of slides that are continued are known after `open`.
    found : dict of int to SlideRecord
        Slides that an earlier run has begun, by their place; known after `open`.
    """

    def __init__(
        self, path: Path, *, heads: Sequence[ManifestHead], terms: RunTerms
    ) -> None:
        self.path = path
        self.manifest_ids = [new_manifest_id() for _ in heads]
        self.staging = path / f"{_STAGING}{token_hex(4)}"
        self.found: dict[int, SlideRecord] = {}
        self._heads = heads
        self._terms = terms
        self._begun = datetime.now(UTC).isoformat(timespec="microseconds")
        self._records: dict[int, SlideRecord] = {}
        self._there: list[SlideRecord] = []
        self._lock = FolderLock(path, shared=terms.shared)
        self._new_folders: list[Path] = []

    @property
    def resumes(self) -> bool:
        """Whether what is whole stays for a later run, when this one fails."""
        return self._terms.resume

    def sample(self, slide: int, rows: IntArray) -> IntArray:
        """Return those of the rows that are there to be compared with their slide."""
        if self._terms.verify == "count":
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
        with ThreadPoolExecutor(_LOOKING) as threads:
            self._records = {
                record.place: record for record in threads.map(self._new_record, plans)
            }
        manifests = self.path / "manifests"
        if self._terms.resume:
            self._there = read_records(manifests)
            given = [head.wsi_file for head in self._heads]
            found = match_records(
                list(self._records.values()), self._there, given=given, folder=self.path
            )
            for slide, record in found.items():
                path = self._records[slide].wsi_file
                self.found[slide] = replace(record, place=slide, wsi_file=path)
                self.manifest_ids[slide] = record.manifest_id
            self._records |= self.found
        elif self._lock.exclusive:
            unfinished = unfinished_slides(manifests)
            self._warn_of(unfinished)
            self._warn_of_earlier(manifests, unfinished=unfinished)
        if self._lock.exclusive:
            self._clear_up()
        for folder in (self.staging, manifests):
            self.make(folder)

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

    def _new_record(self, plan: SlidePlan) -> SlideRecord:
        head = self._heads[plan.slide]
        return SlideRecord(
            manifest_id=self.manifest_ids[plan.slide],
            begun=self._begun,
            boot=boot(),
            wsi_file=plan.table.slide,
            place=plan.slide,
            first_set=None,
            fingerprint=Fingerprint.of(
                plan.table,
                self._terms.parameters,
                slide_mpp=plan.pyramid.mpp
                if plan.pyramid.mpp_source == SLIDE_MPP
                else None,
            ),
            patch_class=head.patch_class,
            patch_params={
                name: one_line(value) for name, value in sorted(head.patch_params.items())
            },
        )

    def _warn_of(self, unfinished: Sequence[str]) -> None:
        if not unfinished:
            return
        more = len(unfinished) - _SHOWN
        names = ", ".join(unfinished[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
        msg = (
            f"{self.path} has slides that an earlier run did not finish: {names}; "
            f"resume=True, with the parameters of that run, goes on with them"
        )
        warnings.warn(msg, UnfinishedRunWarning, stacklevel=2)

    def _warn_of_earlier(self, manifests: Path, *, unfinished: Sequence[str]) -> None:
        """Tell if patches that are there will be doubled, or mixed with others."""
        files = {
            file.stem.split("__", 2)[-1]: file
            for file in manifests.glob("manifest__*.json")
        }
        there = files.keys() - unfinished
        records = list(self._records.values())
        ours = {Path(record.wsi_file).stem for record in records}
        names = sorted(there & ours)
        differ = _differing([files[name] for name in sorted(there)[:1]], records[:1])
        if not names and not differ:
            return
        what = [f"{', '.join(names[:_SHOWN])} will be there twice"] if names else []
        what += [f"they were made with other parameters ({', '.join(differ)})"] * bool(
            differ
        )
        msg = (
            f"{self.path} holds patches of an earlier run: {'; '.join(what)}; name another "
            f"folder, or give resume=True with the parameters of that run"
        )
        warnings.warn(msg, EarlierRunWarning, stacklevel=2)

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
            numbers = {plan.slide: 1 for plan in plans}
        else:
            numbers = set_numbers(plans, self.found, there=self._there, first=first)
        for slide, number in numbers.items():
            self._records[slide] = replace(self._records[slide], first_set=number)
        return numbers

    def name_containers(self, plan: SlidePlan) -> str:
        """Return what containers of a slide are called: as they were, or after the slide.

        Who comes first of several slides of one name has it; others are told apart by their
        manifest id. It stands in the record, before there is anything of that name.
        """
        record = self._records[plan.slide]
        if record.name:
            return record.name
        stem = Path(record.wsi_file).stem
        others = (*self._records.values(), *self._there)
        taken = {folded(key_name(each.name)) for each in others}
        twin = folded(key_name(stem)) in taken
        name = f"{stem}_{record.manifest_id}" if twin else stem
        self._records[plan.slide] = replace(record, name=name)
        return name

    def settle_shards(self, slide: int, rows: int | None) -> None:
        """Note how many patches make a shard of a slide."""
        self._records[slide] = replace(self._records[slide], shard_rows=rows)

    def make(self, folder: Path) -> None:
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

    def expect(self, folder: Path) -> None:
        """Note that a folder will be new, to be removed if it is empty in the end."""
        self._new_folders.append(folder)

    def manifest_path(self, slide: int) -> Path:
        """Return the path of the text manifest of a slide."""
        return self.path / "manifests" / f"{self._records[slide].file_stem}.txt"

    def is_complete(self, slide: int) -> bool:
        """Tell whether an earlier run completed a slide, and its manifests are there."""
        path, record = self.manifest_path(slide), self._records[slide]
        if not record.complete or not path.exists():
            return False
        try:
            checksum = crc32(path.with_suffix(".csv").read_bytes())
        except OSError:
            return False
        return record.table_crc32 in (None, checksum)  # earlier versions wrote down none

    def begin(self, slide: int) -> None:
        """Write down that a slide is being written; it has no manifest from now on.

        Raises
        ------
        OutputError
            If that cannot be written.
        """
        record = replace(
            self._records[slide], boot=boot(), complete=False, missing=(), sizes=()
        )
        self._write_record(slide, record)
        for suffix in (".txt", ".csv"):
            remove(self.manifest_path(slide).with_suffix(suffix))

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
            self._write(path.with_suffix(suffix), content.encode())
        record = replace(
            self._records[slide],
            complete=True,
            table_crc32=crc32(table.encode()),
            missing=tuple(missing),
            sizes=tuple(sizes),
        )
        self._write_record(slide, record)
        sync_folder(path.parent)

    def _write_record(self, slide: int, record: SlideRecord) -> None:
        self._write(self.manifest_path(slide).with_suffix(".json"), record.to_json())
        self._records[slide] = record

    def _write(self, path: Path, data: bytes) -> None:
        write_whole(path, data, aside=self.staging / "manifest")

    def discard(self, slide: int) -> None:
        """Remove the manifests and the record of a slide."""
        for suffix in (".txt", ".csv", ".json"):
            remove(self.manifest_path(slide).with_suffix(suffix))

    def close(self) -> None:
        """Remove what is not whole, and unlock the folder; a second call does nothing."""
        if self.is_open:
            shutil.rmtree(self.staging, ignore_errors=True)
            self._lock.release()

    def abort(self) -> None:
        """Do as `close`, and remove the new folders that are empty."""
        if self.is_open:
            shutil.rmtree(self.staging, ignore_errors=True)
            for folder in reversed(self._new_folders):
                with suppress(OSError):
                    folder.rmdir()
            self._lock.release()


def _differing(files: Sequence[Path], records: Sequence[SlideRecord]) -> list[str]:
    """Return the parameters in which a record differs from that of a file."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        return [
            change
            for file in files
            for record in records
            for change in changes(
                SlideRecord.from_json(file.read_bytes()).fingerprint.parameters,
                record.fingerprint.parameters,
            )
        ][:_SHOWN]
    return []


def remove(file: Path) -> None:
    """Remove a file; if that fails, so did making it, and why is known already."""
    with suppress(OSError):
        file.unlink()
