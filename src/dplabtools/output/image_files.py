"""Patches as image files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dplabtools._typing import BoolArray, IntArray
from dplabtools.atomic import longest_name
from dplabtools.engine.slabs import Segment
from dplabtools.errors import OutputError
from dplabtools.output.codecs.encoder import ImageEncoder
from dplabtools.output.comparison import Comparison
from dplabtools.output.containers.files import FileImages, ImagePlace
from dplabtools.output.distinct import check_distinct, check_labels_apart
from dplabtools.output.naming import Naming
from dplabtools.output.run_folder.folder import ResumeOptions, RunFolder, remove
from dplabtools.output.run_folder.history import Checkpoint, boot
from dplabtools.output.run_folder.manifests import ManifestHead, manifest_csv, manifest_text
from dplabtools.output.stored_slide import names_array
from dplabtools.output.texts import check_texts
from dplabtools.records.run_record import SlideResult
from dplabtools.records.slide_plan import SlidePlan

__all__ = ["ImageFileSink"]

_UNCERTAIN_S = 120  # until what is written is on the disk, if nobody waits for it


@dataclass(slots=True, eq=False)
class _SlideFiles:
    """What belongs to one slide.

    Attributes
    ----------
    plan : SlidePlan
        Its patches.
    first_set : int
        Number of its first set.
    paths : list of tuple of str
        Files of each row, relative to the folder.
    whole : ndarray of bool, shape (n,)
        Rows whose files an earlier run has written.
    begun : bool
        Whether this run writes to it.
    complete : bool
        Whether its manifests are there.
    """

    plan: SlidePlan
    first_set: int
    paths: list[tuple[str, ...]]
    whole: BoolArray
    begun: bool = False
    complete: bool = False

    def files(self, rows: Iterable[int]) -> Iterator[str]:
        """Yield the files of these rows."""
        for row in rows:
            yield from self.paths[row]


class ImageFileSink:
    """Image files in folders, and a manifest for each slide.

    Files appear under their names only when they are whole, and a manifest only when all
    files of its slide have. What is not complete when a run fails is removed, unless the
    run is one that resumes: then what is whole stays, for the next one.

    Parameters
    ----------
    folder : str
        Where; has to exist.
    naming : Naming
        How files are called.
    encoder : ImageEncoder
        How they are made.
    heads : sequence of ManifestHead
        One for each slide as given.
    options : ResumeOptions
        Whether to go on with what is there.
    empty_labels : bool
        Make folders also for labels that no patch has.
    """

    def __init__(
        self,
        folder: str,
        *,
        naming: Naming,
        encoder: ImageEncoder,
        heads: Sequence[ManifestHead],
        options: ResumeOptions,
        empty_labels: bool = False,
    ) -> None:
        self.last_set = (naming.first_set or 1) - 1
        self._run = RunFolder(Path(folder), heads=heads, options=options)
        self._folder = Path(folder)
        self._naming = naming
        self._encoder = encoder
        self._heads = heads
        self._empty_labels = empty_labels
        self._slides: dict[int, _SlideFiles] = {}

    @property
    def manifest_ids(self) -> Sequence[str]:
        """Of each slide as given; with `ResumeOptions.resume` known after `prepare`."""
        return self._run.manifest_ids

    @property
    def segments(self) -> Sequence[Segment]:
        """None: files need no shared memory."""
        return ()

    def prepare(self, plans: Sequence[SlidePlan]) -> None:
        """Lock the folder, name all files, and see that nothing is in their way.

        Raises
        ------
        DuplicatePatchesError
            If two patches have the same location and label, or a resolution is named
            twice.
        FolderInUseError
            If another run is writing there.
        ResumeError
            If the run cannot go on with what is there.
        OutputError
            If the folder of a set exists already, or the folder cannot be written to.
        """
        for plan in plans:
            check_texts(plan)
        self._run.open(plans)
        if self._naming.subdirs or not self._naming.sets:
            check_labels_apart(
                plans, folder=self._run.staging, as_folders=self._naming.subdirs
            )
        numbers: dict[int, int] = {}
        if self._naming.sets:
            numbers = self._run.number_sets(plans, first=self._naming.first_set)
        for plan in plans:
            first = numbers.get(plan.slide, 1)
            manifest_id = self.manifest_ids[plan.slide]
            paths = self._naming.paths(plan, manifest_id, first_set=first)
            check_distinct(plan)
            self._check_lengths(plan, paths)
            whole = np.zeros(len(plan), dtype=np.bool_)
            slide = _SlideFiles(plan, first, paths, whole)
            self._slides[plan.slide] = slide
            if len(plan):
                self.last_set = max(self.last_set, first + len(plan) - 1)
        self._check_folders()
        self._make_folders()
        for number, record in self._run.found.items():
            self._look(self._slides[number], record)

    def _check_lengths(self, plan: SlidePlan, paths: Sequence[tuple[str, ...]]) -> None:
        """Raise if a name is longer than the file system allows."""
        most = longest_name(self._folder)
        for path in (path for row in paths for path in row):
            for name in path.split("/") if len(path) * 4 > most else ():
                if len(os.fsencode(name)) > most:
                    msg = (
                        f"the file name {path!r} is too long for {self._folder} (more than "
                        f"{most} bytes); shorten the label, filename_comment or the name "
                        f"of the slide"
                    )
                    raise OutputError(msg, slide=plan.table.slide_name)

    def _look(self, slide: _SlideFiles, record: Checkpoint) -> None:
        """Find the files that an earlier run has written, and that are as it left them."""
        count, views = len(slide.plan), len(slide.plan.views)
        every = slide.files(range(count))
        status = np.array([_status(self._folder / file) for file in every], dtype=np.int64)
        found, times = status.reshape(count, views, 2).transpose(2, 0, 1)
        if not record.complete:  # whatever has its name is whole
            slide.whole[:] = (found > 0).all(axis=1)
            if not record.boot or record.boot != boot():
                # But the last ones may have been lost with the memory of the machine.
                late = times > times.max(initial=0) - _UNCERTAIN_S
                slide.whole &= ~late.any(axis=1)
            return
        written = np.ones(len(slide.plan), dtype=np.bool_)
        written[list(record.missing)] = False
        if len(record.sizes) == written.sum() * views:
            sizes = record.sizes.reshape(-1, views)
            slide.whole[written] = (found[written] == sizes).all(axis=1)

    def _check_folders(self) -> None:
        """Find the folders that will be new; those of sets have to be."""
        owners: dict[str, int] = {}
        for slide in self._slides.values():
            for folder in {row[0].rpartition("/")[0] for row in slide.paths}:
                owner = owners.setdefault(folder, slide.plan.slide)
                if self._naming.sets:
                    self._check_set(folder, slide.plan, owner)
        new = {
            each
            for folder in owners
            for each in (self._folder / folder, *(self._folder / folder).parents)
            if each.is_relative_to(self._folder) and not each.exists()
        }
        for each in sorted(new, key=lambda each: len(each.parts)):
            self._run.expect(each)

    def _check_set(self, folder: str, plan: SlidePlan, owner: int) -> None:
        if plan.slide not in self._run.found and (self._folder / folder).exists():
            msg = (
                f"the folder {self._folder / folder} exists already; extract to another "
                f"folder, begin with another global_counter, or go on with the run that "
                f"made it, with resume=True"
            )
            raise OutputError(msg, slide=plan.table.slide_name)
        if owner != plan.slide:
            msg = (
                f"another slide has a folder {folder} too; number the sets of all slides "
                f"together, with global_counter=1"
            )
            raise OutputError(msg, slide=plan.table.slide_name)

    def _make_folders(self) -> None:
        """Make the folders that do not depend on what is read."""
        if self._naming.subdirs and self._empty_labels:
            for slide in self._slides.values():
                for label in filter(None, slide.plan.table.labels):
                    self._run.make(self._folder / self._naming.label_folder(label))

    def sample(self, plan: SlidePlan) -> IntArray:
        """Return rows whose files are to be compared with the slide."""
        return self._run.sample(plan.slide, np.flatnonzero(self._slides[plan.slide].whole))

    def comparison(self, plan: SlidePlan, rows: IntArray) -> Comparison:
        """Return where rows are compared with their files."""
        slide = self._slides[plan.slide]
        return Comparison(
            images=FileImages(
                folder=self._folder, names=names_array(list(slide.files(rows.tolist())))
            ),
            indices=tuple(range(0, len(rows) * len(plan.views), len(plan.views))),
            encoders=self._encoder.for_views(plan),
            name=self._run.manifest_path(plan.slide).name,
        )

    def distrust(self, plan: SlidePlan) -> None:
        """Write all files of a slide again."""
        self._slides[plan.slide].whole[:] = False

    def wanted(self, plan: SlidePlan) -> IntArray:
        """Return the rows whose files are not there yet."""
        return np.flatnonzero(~self._slides[plan.slide].whole)

    def chunk_rows(self, plan: SlidePlan) -> None:
        """Return None: any number of patches will do."""

    def place(self, plan: SlidePlan, rows: IntArray) -> ImagePlace:
        """Return where a chunk of rows of a slide goes."""
        slide = self._slides[plan.slide]
        if not slide.begun:
            self._begin(slide)
        return ImagePlace(
            slide=plan.table.slide_name,
            root=str(self._folder),
            staging=str(self._run.staging),
            paths=tuple(slide.paths[row] for row in rows.tolist()),
            encoders=self._encoder.for_views(plan),
        )

    def _begin(self, slide: _SlideFiles) -> None:
        """Begin to write to a slide; a file that has its name is whole from now on."""
        if slide.plan.slide in self._run.found:
            self._remove_files(slide, np.flatnonzero(~slide.whole).tolist())
        self._run.begin([slide.plan.slide])
        slide.begun = True

    def finish(self, plan: SlidePlan, delivered: BoolArray) -> None:
        """Write the manifests of a slide, of which these rows were delivered.

        Raises
        ------
        OutputError
            If they cannot be written, or a file has vanished.
        """
        slide = self._slides[plan.slide]
        rows, lost = np.flatnonzero(delivered).tolist(), np.flatnonzero(~delivered).tolist()
        slide.complete = not slide.begun and self._run.is_complete(plan.slide)
        if slide.complete:
            return
        self._remove_files(slide, lost)
        if self._naming.sets:  # nobody else has files in their folders
            for row in lost:
                _remove_if_empty((self._folder / slide.paths[row][0]).parent)
        files = [self._folder / file for file in slide.files(rows)]
        text = manifest_text(
            self._heads[plan.slide],
            manifest_id=self.manifest_ids[plan.slide],
            path=self._run.manifest_path(plan.slide),
            files=files,
            complete=not lost,
        )
        numbers = range(slide.first_set, slide.first_set + len(plan))
        sets = numbers if self._naming.sets else None
        table = manifest_csv(plan, slide.paths, rows=rows, sets=sets)
        sizes = [_size_of(file) for file in files]
        self._run.complete(plan.slide, text=text, table=table, missing=lost, sizes=sizes)
        slide.complete = True

    def record(self, slide: int, result: SlideResult) -> None:
        """Write down what became of a slide."""
        self._run.record(slide, result)

    def close(self) -> None:
        """Remove the folder for what was not whole yet, and unlock."""
        self._run.close()

    def abort(self) -> None:
        """Remove the files of all slides that are not complete, and new empty folders."""
        if not self._run.is_open:  # refused, or done: nothing here is ours
            return
        if not self._run.resumes:
            for slide in self._slides.values():
                if not slide.complete:
                    self._remove_files(slide, range(len(slide.paths)))
                    self._run.discard(slide.plan.slide)
        self._run.abort()

    def _remove_files(self, slide: _SlideFiles, rows: Iterable[int]) -> None:
        """Remove what there is of these rows."""
        for file in slide.files(rows):
            remove(self._folder / file)


def _status(file: Path) -> tuple[int, int]:
    """Return the bytes of a file, and when it was written; zeros if there is none."""
    try:
        status = file.stat()
    except OSError:
        return 0, 0
    return status.st_size, int(status.st_mtime)


def _size_of(file: Path) -> int:
    """Return the bytes of a file that was written."""
    try:
        return file.stat().st_size
    except OSError as error:
        msg = f"{file} has been written, and is gone: {error}"
        raise OutputError(msg) from error


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
