"""Patches in containers, with a manifest for each slide."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dplabtools._typing import BoolArray, IntArray
from dplabtools.engine.slabs import Segment
from dplabtools.errors import OutputError
from dplabtools.output.comparison import Comparison
from dplabtools.output.containers.base import Contained, Container, SlideFiles
from dplabtools.output.containers.shard import shard_rows
from dplabtools.output.distinct import check_distinct
from dplabtools.output.run_folder.folder import ResumeOptions, RunFolder, remove
from dplabtools.output.run_folder.manifests import ManifestHead, manifest_csv, manifest_text
from dplabtools.output.run_folder.stored_manifests import Manifest
from dplabtools.output.sink import Place
from dplabtools.output.texts import check_texts
from dplabtools.records.run_record import SlideResult
from dplabtools.records.slide_plan import SlidePlan

__all__ = ["ContainerSink"]


@dataclass(slots=True, eq=False)
class _Slide:
    """What belongs to one slide; it is complete when its manifests are there."""

    files: SlideFiles
    complete: bool


class ContainerSink:
    """Containers in a folder, and a manifest for each slide.

    Files appear under their names only when they are whole, and a manifest only when all
    files of its slide have. What is not complete when a run fails is removed, unless the
    run is one that resumes: then shards that are whole stay, for the next one.

    Parameters
    ----------
    folder : str
        Where; has to exist.
    container : Container
        What slides become.
    heads : sequence of ManifestHead
        One for each slide as given.
    options : ResumeOptions
        Whether to go on with what is there.
    sets : bool
        Whether patches are sets of several resolutions, which are numbered.
    first_set : int or None
        Number of the first, counted over all slides; None: from 1 for each slide.
    """

    def __init__(
        self,
        folder: str,
        *,
        container: Container,
        heads: Sequence[ManifestHead],
        options: ResumeOptions,
        sets: bool = False,
        first_set: int | None = None,
    ) -> None:
        self.last_set = (first_set or 1) - 1
        self._run = RunFolder(Path(folder), heads=heads, options=options)
        self._container = container
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
            If a file exists already, or the folder cannot be written to.
        ParameterError
            If the patches of a slide do not go into such a container.
        """
        for plan in plans:
            check_texts(plan)
            check_distinct(plan)
        self._run.open(plans)
        if self._sets:
            self._first = self._run.number_sets(plans, first=self._first_set)
        for plan in plans:
            files = self._container.files_of(
                Contained(
                    plan=plan,
                    name=self._run.name_containers(plan),
                    manifest_id=self.manifest_ids[plan.slide],
                    folder=self._run.path,
                    staging=self._run.staging,
                    chunk_rows=self._chunk_rows(plan),
                )
            )
            self._run.settle_shards(plan.slide, files.chunk_rows)
            self._prepare(plan, files)
            if self._sets and len(plan):
                last = self._first[plan.slide] + len(plan) - 1
                self.last_set = max(self.last_set, last)

    def _prepare(self, plan: SlidePlan, files: SlideFiles) -> None:
        """Find out whether an earlier run has completed a slide; else make ready for it."""
        found = self._run.found.get(plan.slide)
        if found is None and files.reserved is not None and files.reserved.exists():
            msg = (
                f"{files.reserved} exists already; extract to another folder, or go on "
                f"with the run that made it, with resume=True"
            )
            raise OutputError(msg, slide=plan.table.slide_name)
        complete = (
            found is not None
            and self._run.is_complete(plan.slide)
            and not found.missing
            and found.sizes.tolist() == files.sizes()
        )
        self._slides[plan.slide] = _Slide(files, complete=complete)
        if complete:
            files.tidy()
        else:
            if found is not None and found.missing:
                files.discard()  # what closed ranks must not pass for what did not
            self._run.begin([plan.slide])  # before there is anything of it
            files.prepare(found)

    def _chunk_rows(self, plan: SlidePlan) -> int:
        """Return how many patches make a shard: as was written down, if it was."""
        found = self._run.found.get(plan.slide)
        rows = self._container.chunk_rows if found is None else found.shard_rows
        return rows or shard_rows(plan)

    def chunk_rows(self, plan: SlidePlan) -> int | None:
        """Return how many patches of a slide make a chunk; None if any number will do."""
        return self._slides[plan.slide].files.chunk_rows

    def sample(self, plan: SlidePlan) -> IntArray:
        """Return rows that are to be compared with the slide, if it is complete."""
        rows = np.arange(len(plan) if self._slides[plan.slide].complete else 0)
        return self._run.sample(plan.slide, rows)

    def comparison(self, plan: SlidePlan, rows: IntArray) -> Comparison:
        """Return where rows are compared with what is stored."""
        encoder = self._container.encoder
        table = self._run.manifest_path(plan.slide).with_suffix(".csv")
        return Comparison(
            images=Manifest(table=table).stored_slide().images,
            indices=tuple((rows * len(plan.views)).tolist()),
            encoders=() if encoder is None else encoder.for_views(plan),
            name=table.name,
        )

    def distrust(self, plan: SlidePlan) -> None:
        """Write all of a slide again."""
        slide = self._slides[plan.slide]
        with (
            self._run.manifest_path(plan.slide)
            .with_suffix(".csv")
            .open(encoding="utf-8", newline="") as table
        ):
            names = {row["file"] for row in csv.DictReader(table)}
        for file in (self._run.path / name for name in names):
            shutil.rmtree(file) if file.is_dir() else remove(file)
        slide.complete = False
        slide.files.prepare(None)

    def wanted(self, plan: SlidePlan) -> IntArray:
        """Return all rows of a slide, unless it is complete."""
        return np.arange(0 if self._slides[plan.slide].complete else len(plan))

    def place(self, plan: SlidePlan, rows: IntArray) -> Place | None:
        """Return where a chunk of rows of a slide goes; None if its shard is there."""
        return self._slides[plan.slide].files.place(rows)

    def finish(self, plan: SlidePlan, delivered: BoolArray) -> None:
        """Complete the files of a slide, and write its manifests.

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        slide = self._slides[plan.slide]
        if slide.complete:
            return
        found = slide.files.finish(delivered)
        rows = np.flatnonzero(delivered).tolist()
        folder = self._run.path
        files = [
            f"{folder / found[row][0]}#{item}" for row in rows for item in found[row][1]
        ]
        text = manifest_text(
            self._heads[plan.slide],
            manifest_id=self.manifest_ids[plan.slide],
            path=self._run.manifest_path(plan.slide),
            files=files,
            complete=bool(delivered.all()),
        )
        first = self._first.get(plan.slide)
        table = manifest_csv(
            plan,
            {row: (file,) * len(items) for row, (file, items) in found.items()},
            rows=rows,
            sets=None if first is None else range(first, first + len(plan)),
            items={row: items for row, (_, items) in found.items()},
        )
        self._run.complete(
            plan.slide,
            text=text,
            table=table,
            missing=np.flatnonzero(~delivered).tolist(),
            sizes=slide.files.sizes(),
        )
        slide.complete = True
        slide.files.tidy()

    def record(self, slide: int, result: SlideResult) -> None:
        """Write down what became of a slide."""
        self._run.record(slide, result)

    def close(self) -> None:
        """Remove the folder for what was not whole yet, and unlock."""
        self._run.close()

    def abort(self) -> None:
        """Remove the files of all slides that are not complete."""
        if not self._run.is_open:  # refused, or done: nothing here is ours
            return
        if not self._run.resumes:
            for number, slide in self._slides.items():
                if not slide.complete:
                    slide.files.discard()
                    self._run.discard(number)
        self._run.abort()
