"""Patches as image files."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dplabtools._typing import BoolArray, IntArray, Picture
from dplabtools.engine.slabs import Segment
from dplabtools.errors import DuplicatePatchesError, OutputError
from dplabtools.records.slide_plan import SlidePlan
from dplabtools.sinks.encoders import ImageEncoder
from dplabtools.sinks.manifest import ManifestHead, manifest_csv, manifest_text
from dplabtools.sinks.naming import Naming, new_manifest_id
from dplabtools.stages import stage

__all__ = ["ImageFileSink"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """Places of a chunk's patches in a folder."""

    root: str
    staging: str
    paths: tuple[tuple[str, ...], ...]
    encoder: ImageEncoder

    @property
    def takes_jpeg(self) -> bool:
        """Whether stored JPEG streams become files as they are."""
        return self.encoder.takes_jpeg

    def canvas(self, item: int, shape: tuple[int, int, int, int], /) -> None:
        """Return None: files are encoded from whole patches."""

    def put(self, item: int, pictures: Sequence[Picture], /) -> None:
        """Write the files of a patch aside; they get their names when all are whole."""
        with stage("write"):
            written = [
                self._write(number, picture) for number, picture in enumerate(pictures)
            ]
            for aside, path in zip(written, self.paths[item], strict=True):
                _rename(aside, Path(self.root, path))

    def flush(self) -> None:
        """Do nothing: each file is written at once."""

    def commit(self) -> None:
        """Do nothing: each file has its name."""

    def _write(self, number: int, picture: Picture) -> Path:
        """Write one file aside, in a folder of this process alone."""
        aside = Path(self.staging, str(os.getpid()), f"{threading.get_ident()}-{number}")
        data = self.encoder.encode(picture)
        try:
            try:
                aside.write_bytes(data)
            except FileNotFoundError:
                aside.parent.mkdir(parents=True, exist_ok=True)
                aside.write_bytes(data)
        except OSError as error:
            msg = f"a patch cannot be written to {self.root}: {error}"
            raise OutputError(msg) from error
        return aside


def _rename(aside: Path, path: Path) -> None:
    """Give a whole file its name; folders appear with their first file."""
    try:
        try:
            aside.replace(path)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            aside.replace(path)
    except OSError as error:
        msg = f"{path} cannot be written: {error}"
        raise OutputError(msg) from error


@dataclass(slots=True, eq=False)
class _SlideFiles:
    """What belongs to one slide."""

    plan: SlidePlan
    manifest_id: str
    first_set: int
    paths: list[tuple[str, ...]]
    complete: bool = False


class ImageFileSink:
    """Image files in folders, and a manifest for each slide.

    Files appear under their names only when they are whole, and a manifest only when all
    files of its slide have. What is not complete when a run fails is removed.

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
        empty_labels: bool = False,
    ) -> None:
        self.manifest_ids = [new_manifest_id() for _ in heads]
        self.last_set = (naming.first_set or 1) - 1
        self._folder = Path(folder)
        self._naming = naming
        self._encoder = encoder
        self._heads = heads
        self._empty_labels = empty_labels
        self._slides: dict[int, _SlideFiles] = {}
        self._staging = self._folder / f".dplabtools-{new_manifest_id()}"
        self._new_folders: list[Path] = []

    @property
    def segments(self) -> Sequence[Segment]:
        """None: files need no shared memory."""
        return ()

    def prepare(self, plans: Sequence[SlidePlan]) -> None:
        """Name all files, and see that nothing is in their way.

        Raises
        ------
        DuplicatePatchesError
            If two patches have the same location and label, or a resolution is named
            twice.
        OutputError
            If the folder of a set exists already, or the folder cannot be written to.
        """
        following = 1 if self._naming.first_set is None else self._naming.first_set
        for plan in plans:
            first = 1 if self._naming.first_set is None else following
            following += len(plan)
            manifest_id = self.manifest_ids[plan.slide]
            paths = self._naming.paths(plan, manifest_id, first_set=first)
            _check_distinct(plan, paths)
            self._slides[plan.slide] = _SlideFiles(plan, manifest_id, first, paths)
            if len(plan):
                self.last_set = first + len(plan) - 1
        self._check_folders()
        self._make_folders()

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
        self._new_folders += sorted(new, key=lambda each: len(each.parts))

    def _check_set(self, folder: str, plan: SlidePlan, owner: int) -> None:
        if (self._folder / folder).exists():
            msg = (
                f"the folder {self._folder / folder} exists already; extract to another "
                f"folder, or begin with another global_counter"
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
        wanted = [self._folder / "manifests"]
        if self._naming.subdirs and self._empty_labels:
            wanted += [
                self._folder / self._naming.label_folder(label)
                for slide in self._slides.values()
                for label in filter(None, slide.plan.table.labels)
            ]
        try:
            self._staging.mkdir()
            for folder in wanted:
                if not folder.exists():
                    folder.mkdir()
                    self._new_folders.append(folder)
        except OSError as error:
            msg = f"{self._folder} cannot be written to: {error}"
            raise OutputError(msg) from error

    def chunk_rows(self, plan: SlidePlan) -> None:
        """Return None: any number of patches will do."""

    def place(self, plan: SlidePlan, rows: IntArray) -> _Files:
        """Return where a chunk of rows of a slide goes."""
        paths = self._slides[plan.slide].paths
        return _Files(
            root=str(self._folder),
            staging=str(self._staging),
            paths=tuple(paths[row] for row in rows.tolist()),
            encoder=self._encoder,
        )

    def finish(self, plan: SlidePlan, delivered: BoolArray) -> None:
        """Write the manifests of a slide, of which these rows were delivered.

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        slide = self._slides[plan.slide]
        rows = np.flatnonzero(delivered).tolist()
        self._remove_files(slide, lost := np.flatnonzero(~delivered).tolist())
        if self._naming.sets:  # their folders are new: `prepare` has seen to that
            for row in lost:
                _remove_if_empty((self._folder / slide.paths[row][0]).parent)
        name = f"manifest__{slide.manifest_id}__{Path(plan.table.slide).stem}"
        path = self._folder / "manifests" / f"{name}.txt"
        files = [self._folder / file for row in rows for file in slide.paths[row]]
        text = manifest_text(
            self._heads[plan.slide],
            manifest_id=slide.manifest_id,
            path=path,
            files=files,
            complete=bool(delivered.all()),
        )
        numbers = range(slide.first_set, slide.first_set + len(plan))
        sets = numbers if self._naming.sets else None
        table = manifest_csv(plan, slide.paths, rows=rows, sets=sets)
        for target, content in ((path.with_suffix(".csv"), table), (path, text)):
            self._write_text(target, content)
        slide.complete = True

    def _write_text(self, path: Path, text: str) -> None:
        aside = self._staging / "manifest"
        try:
            aside.write_text(text, encoding="utf-8")
        except OSError as error:
            msg = f"{path} cannot be written: {error}"
            raise OutputError(msg) from error
        _rename(aside, path)

    def close(self) -> None:
        """Remove the folder for what was not whole yet."""
        shutil.rmtree(self._staging, ignore_errors=True)

    def abort(self) -> None:
        """Remove the files of all slides that are not complete, and new empty folders."""
        for slide in self._slides.values():
            if not slide.complete:
                self._remove_files(slide, range(len(slide.paths)))
                self._remove_manifests(slide)
        self.close()
        for folder in reversed(self._new_folders):
            _remove_if_empty(folder)

    def _remove_files(self, slide: _SlideFiles, rows: Iterable[int]) -> None:
        """Remove what was written of rows that count as failed: their worker died."""
        for row in rows:
            for path in slide.paths[row]:
                _remove(self._folder / path)

    def _remove_manifests(self, slide: _SlideFiles) -> None:
        for suffix in (".csv", ".txt"):
            name = f"manifest__{slide.manifest_id}__{Path(slide.plan.table.slide).stem}"
            _remove(self._folder / "manifests" / f"{name}{suffix}")


def _remove(file: Path) -> None:
    """Remove a file; if that fails, so did making it, and why is known already."""
    with suppress(OSError):
        file.unlink()


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _check_distinct(plan: SlidePlan, paths: Sequence[tuple[str, ...]]) -> None:
    """Raise if a patch is there twice: its files would have the same name, but for sets."""
    if len(set(plan.views)) < len(plan.views):
        views = [view.number for view in plan.views]
        msg = f"levels_or_mpps {views} names a resolution twice"
        raise DuplicatePatchesError(msg, slide=plan.table.slide_name)
    patches = np.column_stack([plan.table.origins, plan.table.codes])
    different, first, counts = np.unique(
        patches, axis=0, return_index=True, return_counts=True
    )
    if len(different) < len(plan):
        row = int(first[counts > 1].min())
        (x, y), _, label = plan.table.rows()[row]
        msg = (
            f"the patch at ({x}, {y}) with label {label!r} is there twice, the first time "
            f"as {paths[row][0]}; drop one"
        )
        raise DuplicatePatchesError(msg, slide=plan.table.slide_name)
