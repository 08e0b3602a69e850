"""Patches on a disk, as files or in containers, with a manifest for each slide."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from dplabtools._typing import BoolArray, IntArray
from dplabtools.atomic import remove
from dplabtools.engine.slabs import Segment
from dplabtools.errors import OutputError
from dplabtools.output.codecs.encoder import ImageEncoder
from dplabtools.output.comparison import Comparison
from dplabtools.output.containers.base import Contained, Items, SlideFiles
from dplabtools.output.containers.shard import shard_rows
from dplabtools.output.distinct import check_distinct
from dplabtools.output.run_folder.folder import RunFolder
from dplabtools.output.run_folder.manifests import ManifestHead, manifest_csv, manifest_text
from dplabtools.output.run_folder.output_folder import shown_path
from dplabtools.output.run_folder.resume import ResumeOptions
from dplabtools.output.sink import ChunkWriter
from dplabtools.output.texts import check_texts
from dplabtools.records.run_record import SlideResult
from dplabtools.records.slide_plan import SlidePlan

__all__ = ["DiskSink", "Kind"]


class Kind(Protocol):
    """What slides become: image files, or containers of some kind."""

    @property
    def encoder(self) -> ImageEncoder | None:
        """What makes the images; None where pixels are stored as they are."""
        ...

    @property
    def chunk_rows(self) -> int | None:
        """Patches of a shard; None if as many as suit the slide."""
        ...

    @property
    def has_items(self) -> bool:
        """Whether files hold many images, which are found in them by key or row."""
        ...

    def label_mask(self, file: str, item: str, /) -> str:
        """Return where the label mask of an image is, of its file and place in it."""
        ...

    def check(self, plans: Sequence[SlidePlan], folder: Path, /) -> None:
        """Raise if slides cannot be written to the disk that a folder is on."""
        ...

    def files_of(self, slide: Contained, /) -> SlideFiles:
        """Make the files of a slide."""
        ...


@dataclass(slots=True, eq=False, kw_only=True)
class _Slide:
    """What belongs to one slide.

    Attributes
    ----------
    files : SlideFiles
        What it becomes.
    listed : bool
        Whether an earlier run has completed it, and its manifests are there.
    whole : ndarray of bool, shape (n,)
        Rows that an earlier run has written, and that stay.
    begun : bool
        Whether this run writes to it.
    complete : bool
        Whether all is there that can be.
    """

    files: SlideFiles
    listed: bool
    whole: BoolArray
    begun: bool = False
    complete: bool = False


class DiskSink:
    """Files or containers in a folder, and a manifest for each slide.

    They appear under their names only when they are whole, and a manifest only when all
    files of its slide have. What is not complete when a run fails is removed, unless the
    run is one that resumes: then what is whole stays, for the next one.

    Parameters
    ----------
    folder : str
        Where; has to exist.
    kind : Kind
        What slides become.
    heads : sequence of ManifestHead
        One for each slide as given.
    options : ResumeOptions
        Whether to go on with what is there.
    sets : bool
        Whether patches are sets of several resolutions, which are numbered.
    first_set : int or None
        Number of the first, counted over all slides; None: from 1 for each slide.

    Attributes
    ----------
    last_set : int
        Number of the last set; known after `prepare`.
    """

    def __init__(
        self,
        folder: str,
        *,
        kind: Kind,
        heads: Sequence[ManifestHead],
        options: ResumeOptions,
        sets: bool = False,
        first_set: int | None = None,
    ) -> None:
        self.last_set = (first_set or 1) - 1
        self._run = RunFolder(Path(folder), heads=heads, options=options)
        self._kind = kind
        self._heads = heads
        self._sets = sets
        self._first_set = first_set
        self._slides: dict[int, _Slide] = {}
        self._first: dict[int, int] = {}

    @property
    def manifest_ids(self) -> Sequence[str]:
        """Of each slide as given; with `ResumeOptions.resume` known after `prepare`."""
        return self._run.manifest_ids

    @property
    def segments(self) -> Sequence[Segment]:
        """None: files need no shared memory."""
        return ()

    def prepare(self, plans: Sequence[SlidePlan]) -> None:
        """Lock the folder, find out what is called how, and what there is already.

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
            If something is in the way, or the folder cannot be written to.
        ParameterError
            If the patches of a slide do not go into such a container.
        """
        for plan in plans:
            check_texts(plan)
            check_distinct(plan)
        self._run.open(plans)
        self._kind.check(plans, self._run.staging)
        if self._sets:
            self._first = self._run.number_sets(plans, first=self._first_set)
            for plan in (each for each in plans if len(each)):
                last = self._first[plan.slide_index] + len(plan) - 1
                self.last_set = max(self.last_set, last)
        self._run.name_containers(plans)
        self._slides = {plan.slide_index: self._look(plan) for plan in plans}
        self._check_new(plans)
        self._begin(
            number
            for number, slide in self._slides.items()
            if not slide.listed and not slide.whole.any()
        )

    def _look(self, plan: SlidePlan) -> _Slide:
        """Find out what there is of a slide."""
        found = self._run.found.get(plan.slide_index)
        rows = self._kind.chunk_rows if found is None else found.shard_rows
        files = self._kind.files_of(
            Contained(
                plan=plan,
                name=self._run.checkpoint(plan.slide_index).name,
                manifest_id=self.manifest_ids[plan.slide_index],
                first_set=self._first.get(plan.slide_index, 1),
                folder=self._run.path,
                staging=self._run.staging,
                chunk_rows=rows or shard_rows(plan),
                areas=self._heads[plan.slide_index].areas,
            )
        )
        self._run.settle_shards(plan.slide_index, files.chunk_rows)
        if found is None:
            return _Slide(files=files, listed=False, whole=np.zeros(len(plan), np.bool_))
        listed = self._run.is_complete(plan.slide_index)
        if self._run.remote is not None:  # whole slides are there, and nothing else
            whole = np.full(len(plan), listed and not found.missing)
            return _Slide(files=files, listed=listed, whole=whole)
        return _Slide(files=files, listed=listed, whole=files.whole(found, listed=listed))

    def _check_new(self, plans: Sequence[SlidePlan]) -> None:
        """Raise if what is to be new is there, or two slides would have it."""
        owners: dict[Path, int] = {}
        for plan in plans:
            for path in self._slides[plan.slide_index].files.must_be_new():
                if plan.slide_index not in self._run.found and path.exists():
                    msg = f"{path} exists already"
                    raise OutputError(
                        msg,
                        slide=plan.table.slide_name,
                        remedy=(
                            "extract to another folder, begin with another global_counter "
                            "if it is that of a set, or go on with the run that made it, "
                            "with resume=True"
                        ),
                    )
                if owners.setdefault(path, plan.slide_index) != plan.slide_index:
                    msg = f"another slide has {path} too"
                    raise OutputError(
                        msg,
                        slide=plan.table.slide_name,
                        remedy=(
                            "number the sets of all slides together, with global_counter=1"
                        ),
                    )

    def _begin(self, numbers: Iterable[int]) -> None:
        """Begin to write to slides."""
        begun = list(numbers)
        for number in begun:
            found, slide = self._run.found.get(number), self._slides[number]
            if found is not None and found.missing and not slide.whole.any():
                slide.files.discard()  # what closed ranks must not pass for what did not
            slide.begun = True
        self._run.begin(begun)  # before there is anything of them
        for number in begun:
            self._slides[number].files.prepare(self._run.found.get(number))

    def sample(self, plan: SlidePlan) -> IntArray:
        """Return rows that are to be compared with the slide."""
        whole = np.flatnonzero(self._slides[plan.slide_index].whole)
        rows = np.setdiff1d(whole, plan.left_out, assume_unique=True)
        return self._run.sample(plan.slide_index, rows)

    def comparison(self, plan: SlidePlan, rows: IntArray) -> Comparison:
        """Return where rows are compared with what is stored."""
        encoder = self._kind.encoder
        table = self._run.manifest_path(plan.slide_index).with_suffix(".csv")
        images = self._slides[plan.slide_index].files.images(rows)
        numbers: IntArray = np.arange(len(rows))
        if images is None:  # complete, without gaps
            from dplabtools.output.stored_manifests import Manifest

            images = Manifest(table=table).stored_slide().images
            numbers = rows - np.searchsorted(plan.left_out, rows)
        return Comparison(
            images=images,
            indices=tuple((numbers * len(plan.views)).tolist()),
            encoders=() if encoder is None else encoder.for_views(plan),
            name=table.name,
        )

    def invalidate(self, plan: SlidePlan) -> None:
        """Write all of a slide again."""
        slide = self._slides[plan.slide_index]
        slide.whole[:] = False
        if plan.quality is not None:
            plan.quality.forget()
        if slide.listed:
            table = self._run.manifest_path(plan.slide_index).with_suffix(".csv")
            with table.open(encoding="utf-8", newline="") as rows:
                names = {row["file"] for row in csv.DictReader(rows)}
            for file in (self._run.path / name for name in names):
                shutil.rmtree(file) if file.is_dir() else remove(file)
        self._begin([plan.slide_index])

    def wanted(self, plan: SlidePlan) -> IntArray:
        """Return the rows of a slide that are not there."""
        rows = np.flatnonzero(~self._slides[plan.slide_index].whole)
        if self.chunk_rows(plan) is not None:  # shards are cut as if all were good enough
            return rows
        return np.setdiff1d(rows, plan.left_out, assume_unique=True)

    def chunk_rows(self, plan: SlidePlan) -> int | None:
        """Return how many patches of a slide make a chunk; None if any number will do."""
        return self._slides[plan.slide_index].files.chunk_rows

    def writer(self, plan: SlidePlan, rows: IntArray) -> ChunkWriter | None:
        """Return where a chunk of rows of a slide goes; None if its shard is there."""
        slide = self._slides[plan.slide_index]
        if not slide.begun:
            self._begin([plan.slide_index])
        return slide.files.writer(rows)

    def finish(self, plan: SlidePlan, delivered: BoolArray) -> None:
        """Complete the files of a slide, and write its manifests.

        Raises
        ------
        OutputError
            If they cannot be written, or a file has vanished.
        """
        slide = self._slides[plan.slide_index]
        slide.complete = slide.listed and not slide.begun
        if slide.complete:
            slide.files.tidy()
            return
        if not slide.begun:
            self._begin([plan.slide_index])
        found = dict(sorted(slide.files.finish(delivered).items()))
        shown = shown_path(self._run.path)
        path = self._run.manifest_path(plan.slide_index)
        text = manifest_text(
            self._heads[plan.slide_index],
            manifest_id=self.manifest_ids[plan.slide_index],
            path=shown_path(path.resolve()),
            files=[
                f"{shown}/{file}#{item}" if item else f"{shown}/{file}"
                for files, items in found.values()
                for file, item in zip(files, items or [""] * len(files), strict=True)
            ],
            complete=bool(delivered.all()),
        )
        first = self._first.get(plan.slide_index)
        table = manifest_csv(
            plan,
            found,
            has_items=self._kind.has_items,
            sets=None if first is None else range(first, first + len(plan)),
            label_mask=self._kind.label_mask
            if self._heads[plan.slide_index].areas
            else None,
        )
        # Where others have some of the rows, those that the table lacks are all told.
        left_out = () if self._run.shares(plan) else plan.left_out
        missing = np.flatnonzero(~delivered)
        self._run.complete(
            plan.slide_index,
            text=text,
            table=table,
            missing=np.setdiff1d(missing, left_out, assume_unique=True).tolist(),
            sizes=slide.files.sizes(),
        )
        slide.complete = True
        slide.files.tidy()
        self._take_away(plan, found)

    def _take_away(self, plan: SlidePlan, found: Items) -> None:
        """Let the files of a complete slide be taken to the address of the folder, if any.

        Raises
        ------
        OutputError
            If those of an earlier slide could not be stored.
        """
        remote, path = self._run.remote, self._run.manifest_path(plan.slide_index)
        if remote is None:
            return
        files = {file for of_row, _ in found.values() for file in of_row}
        masks: Iterable[str] = ()
        if self._heads[plan.slide_index].areas and not self._kind.has_items:
            masks = (self._kind.label_mask(file, "") for file in files)
        remote.take(
            [self._run.path / file for file in (*masks, *files)],
            last=[path.with_suffix(".csv"), path],
            slide=plan.table.slide_name,
        )

    def measured(self, plan: SlidePlan, rows: IntArray) -> None:
        """Write down how good patches are."""
        self._run.measured(plan, rows)

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
        keep = self._run.resumes and self._run.remote is None
        for number, slide in self._slides.items():
            if slide.begun and not slide.complete and not keep:
                slide.files.discard()
                if not self._run.resumes:
                    self._run.discard(number)
        self._run.abort()
