"""The way of many slides to patches, step by step."""

from __future__ import annotations

import csv
import inspect
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeAlias

from dplabtools import config
from dplabtools._typing import StrPath
from dplabtools.annotations.opening import read_annotations
from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.engine.base import EngineLike
from dplabtools.engine.choose import RunOptions, find_engine, open_engine
from dplabtools.errors import (
    DplabError,
    InvalidLocationError,
    MissingAnnotationError,
)
from dplabtools.extraction.progress import Progress
from dplabtools.geometry.resolution import Number
from dplabtools.locations.seeds import spawned_seeds
from dplabtools.pipeline.masking import (
    files_named_after,
    for_each_slide,
    mask_file,
    measure_tissue,
)
from dplabtools.pipeline.states import SlideStates
from dplabtools.readers.info import SlideInfo, slide_info
from dplabtools.records.labels import LabelFilter
from dplabtools.records.share import Share
from dplabtools.records.slide_input import SlideInput
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    PatchesMock,
    WholeImageGridPatchesPool,
    read_locations,
)

__all__ = ["OnProgress", "Pipeline", "Written", "apply_mpps", "silent"]

OnProgress: TypeAlias = Callable[[str, Progress], object]
"""Told the name of a step, and how far it has come."""


def silent(step: str, progress: Progress, /) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What an extractor pool has written.

    Attributes
    ----------
    manifest_ids : dict of str to str
        By path of the slide.
    placed : dict of str to int
        Patches (or sets) that were asked for of each slide, but for those of other jobs.
    seconds : dict of str to float
        How long workers were at it, by path of the slide.
    patches : int
        How many there are; of sets, how many sets.
    """

    manifest_ids: dict[str, str]
    placed: dict[str, int]
    seconds: dict[str, float]
    patches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """How slides become patches.

    Attributes
    ----------
    options : RunOptions
        Workers, threads, timeout, and whether to leave out what fails.
    tissue_args : mapping of str to object
        Arguments of `WSITissueMask`.
    location_pool : type
        Class of the location pool.
    patches_args : mapping of str to object
        As the location pool takes them.
    annotation_args : mapping of str to object
        Arguments of `read_annotations`: which annotations are wanted.
    preview_args : mapping of str to object
        Arguments of `save_preview_image`; empty for no previews.
    locations_args : mapping of str to object, or None
        Arguments of `read_locations`, for patches that another tool has placed.
    extractor_args : mapping of str to object
        Arguments of `DiskPatchExtractorPool`; of `MultiResDiskPatchExtractorPool`, if
        ``levels_or_mpps`` is among them. With ``"label_masks": True`` these are drawn of
        the annotations of each slide.
    share : Share or None
        What of the slides is this job's, if there are others.
    engine : Engine, str or None
        Where pools work; None for what `config.engine` says.
    accept : callable or None
        Given what a slide says of itself, and resolutions wanted of it; raises a
        `DplabError` for a slide that is to be left out.
    on_progress : callable
        Told how far each step has come.
    """

    options: RunOptions
    tissue_args: Mapping[str, Any] = field(default_factory=dict)
    location_pool: type[Any] = WholeImageGridPatchesPool
    patches_args: Mapping[str, Any] = field(default_factory=dict)
    annotation_args: Mapping[str, Any] = field(default_factory=dict)
    preview_args: Mapping[str, Any] = field(default_factory=dict)
    locations_args: Mapping[str, Any] | None = None
    extractor_args: Mapping[str, Any] = field(default_factory=dict)
    share: Share | None = None
    engine: EngineLike | None = None
    accept: Callable[[SlideInfo, Sequence[Number]], None] | None = None
    on_progress: OnProgress = silent

    @contextmanager
    def with_engine(self) -> Generator[Self]:
        """Lend it with one engine for all its pools, if that takes long to start.

        Raises
        ------
        ConfigError, ParameterTypeError, PluginError, MissingLibraryError
            As `config.chosen_engine`.
        """
        chosen = config.chosen_engine(self.engine)
        if isinstance(chosen, str) and find_engine(chosen).starts_slowly:
            with open_engine(chosen, self.options) as engine:
                yield replace(self, engine=engine)
        else:
            yield self

    def locate(self, states: SlideStates, *, masks: Path, keep_masks: bool = False) -> None:
        """Find tissue and place patches on it, or read where they are; enter both.

        Parameters
        ----------
        states : SlideStates
            The slides. What fails is entered, or raised.
        masks : Path
            Folder of the masks that are made.
        keep_masks : bool
            Use those that are there.
        """
        self.place(states, masks=masks, keep_masks=keep_masks, measured=True)
        measure_tissue(states, workers=self.options.workers)
        given = self.extractor_args
        labels = LabelFilter(
            given.get("included_labels", ()), given.get("excluded_labels", ())
        )
        for slide, patches in states.patches.items():
            counts = patches.patch_info.items()
            states.labels[slide] = {name: n for name, n in counts if labels.wants(name)}

    def place(
        self,
        states: SlideStates,
        *,
        masks: Path,
        keep_masks: bool = False,
        measured: bool = False,
    ) -> None:
        """Place patches on all slides that are left, or read where they are; enter them.

        Parameters
        ----------
        states : SlideStates
            The slides. What fails is entered, or raised.
        masks : Path
            Folder of the masks that are made.
        keep_masks : bool
            Use those that are there.
        measured : bool
            Make masks also where patches are placed already, to measure tissue by.
        """
        if measured or self.locations_args is None:
            self._make_masks(states, masks, keep=keep_masks)
        self._set_locations(states)

    def _make_masks(self, states: SlideStates, folder: Path, *, keep: bool) -> None:
        """Find the tissue of each slide, and enter what the slide says about itself."""
        folder.mkdir(parents=True, exist_ok=True)
        names = [each.wsi_file for each in states.inputs]
        files = dict(zip(names, files_named_after(names, folder, ".png"), strict=True))
        settings = config.snapshot()
        wanted = self.extractor_args.get("levels_or_mpps", ())
        if self.locations_args is None:
            wanted = (*wanted, self.patches_args.get("level_or_mpp", 0))

        def examine(each: SlideInput) -> tuple[Path, str]:
            info = slide_info(each.wsi_file, settings=settings)
            states.info[each.wsi_file] = info
            if self.accept is not None:
                self.accept(info, wanted)
            return mask_file(
                each, files[each.wsi_file], tissue_args=self.tissue_args, keep=keep
            )

        found = for_each_slide(
            states,
            examine,
            workers=self.options.workers,
            on_progress=self._slides_done("masks"),
        )
        states.masks.update({slide: str(mask) for slide, (mask, _) in found.items()})
        states.reasons.update({slide: why for slide, (_, why) in found.items() if why})

    def _set_locations(self, states: SlideStates) -> None:
        """Place patches on all slides that are left, or read where they are; enter them."""
        if self.locations_args is None:
            self._place(states)
        else:
            self._read(states, self.locations_args)
        for each in states.inputs:
            patches = states.patches.get(each.wsi_file)
            if each.columns and patches is not None:
                states.patches[each.wsi_file] = patches.with_table(
                    replace(patches.table, slide_columns=each.columns)
                )

    def write(
        self,
        states: SlideStates,
        folder: Path,
        *,
        patches: Sequence[PatchesMock] | None = None,
        step: str = "patches",
    ) -> Written:
        """Write patches; what fails is entered.

        Parameters
        ----------
        states : SlideStates
            The slides.
        folder : Path
            Where to; has to exist.
        patches : sequence of PatchesMock, optional
            By default all that are placed.
        step : str
            Name of the step, for who is told of it.
        """
        chosen = list(states.patches.values() if patches is None else patches)
        views = self.extractor_args.get("levels_or_mpps", ())
        pool_class: type[Any] = (
            MultiResDiskPatchExtractorPool if views else DiskPatchExtractorPool
        )

        arguments = {"engine": self.engine, **self.extractor_args}
        if arguments.get("label_masks") is True:
            polygons = _columns(states, {"polygons": self._drawn})["polygons"]
            chosen = [each for each in chosen if each.wsi_file in polygons]
            arguments["label_masks"] = [polygons[each.wsi_file] for each in chosen]
        if self.share is not None and patches is None:
            arguments["shard"] = self.share.of([each.wsi_file for each in chosen])
        pool = pool_class(
            output_dir=folder,
            patches_pool=chosen,
            proc_num_workers=self.options.workers,
            thread_num_workers=self.options.threads,
            chunk_timeout_s=self.options.timeout_s,
            on_error=self._on_error,
            progress=partial(self.on_progress, step),
            **arguments,
        )
        states.enter(pool.errors)
        names = [each.wsi_file for each in chosen]
        return Written(
            manifest_ids=dict(zip(names, pool.manifest_ids, strict=True)),
            placed=dict(zip(names, pool.slide_patch_counts, strict=True)),
            seconds=dict(zip(names, pool.slide_seconds, strict=True)),
            patches=pool.patch_count // max(1, len(views)),
        )

    def _slides_done(self, step: str) -> Callable[[int, int], object]:
        """Return what is told how many slides are done, and how many there are."""
        begun = time.monotonic()

        def on_progress(done: int, total: int) -> None:
            progress = Progress(
                done=0,
                total=0,
                slides_done=done,
                slides_total=total,
                seconds=time.monotonic() - begun,
            )
            self.on_progress(step, progress)

        return on_progress

    @property
    def _on_error(self) -> str:
        return "skip" if self.options.skip_errors else "raise"

    def _place(self, states: SlideStates) -> None:
        parameters = inspect.signature(self.location_pool).parameters
        lists: dict[str, Callable[[SlideInput], Any]] = {}
        if "polygon_data_list" in parameters:
            lists["polygon_data_list"] = self._polygons
        if "points_list" in parameters:
            lists["points_list"] = _points
        columns = _columns(states, lists)
        slides = states.left()
        names = [each.wsi_file for each in slides]

        pool = self.location_pool(
            wsi_file_list=names,
            mask_data_list=[states.masks[name] for name in names],
            **{key: [column[name] for name in names] for key, column in columns.items()},
            patches_args=self._arguments_of(slides),
            proc_num_workers=self.options.workers,
            save_preview_image_args=self.preview_args,
            on_error=self._on_error,
            progress=partial(self.on_progress, "locations"),
            chunk_timeout_s=self.options.timeout_s,
            engine=self.engine,
        )
        states.enter(pool.errors)
        states.patches.update({each.wsi_file: each for each in pool})

    def _arguments_of(self, slides: Sequence[SlideInput]) -> dict[str, Any]:
        """Return the arguments of patches, with what each slide has of its own."""
        arguments = dict(self.patches_args)
        if any(each.label for each in slides):
            weak = arguments.get("weak_label", "")
            arguments["weak_label"] = [each.label or weak for each in slides]
        if self.share is not None and "seed" in arguments:
            seeds = spawned_seeds(arguments["seed"], self.share.slide_count)
            own = {part.slide: seeds[part.place] for part in self.share.parts}
            arguments["seed"] = [own[each.wsi_file] for each in slides]
        return arguments

    def _read(self, states: SlideStates, arguments: Mapping[str, Any]) -> None:
        """Read the patches that another tool has placed, and enter them."""
        on_progress = self._slides_done("locations")
        for done, each in enumerate(states.left(), 1):
            own: dict[str, Any] = {**arguments}
            if each.label:
                own["label"] = each.label
            try:
                patches = read_locations(
                    file=each.locations or Path(), wsi_file=each.wsi_file, **own
                )
                if self.accept is not None and each.wsi_file in states.info:
                    self.accept(states.info[each.wsi_file], [patches.level_or_mpp])
                states.patches[each.wsi_file] = patches
            except DplabError as error:
                states.fail(each.wsi_file, error)
            on_progress(done, len(states.inputs))

    def _drawn(self, each: SlideInput) -> list[AnnotationPolygon] | None:
        """Return what is annotated of a slide; nothing, if there is no file."""
        return None if each.annotation is None else self._polygons(each)

    def _polygons(self, each: SlideInput) -> list[AnnotationPolygon]:
        name = Path(each.wsi_file).name
        if each.annotation is None:
            msg = "there is no annotation file for it"
            raise MissingAnnotationError(msg, slide=name)
        try:
            return list(read_annotations(each.annotation, **self.annotation_args))
        except DplabError as error:
            raise error.of_slide(name) from error


def _columns(
    states: SlideStates, lists: Mapping[str, Callable[[SlideInput], Any]]
) -> dict[str, dict[str, Any]]:
    """Return what files say of each slide; slides of which they cannot be read fail."""
    columns: dict[str, dict[str, Any]] = {key: {} for key in lists}
    for each in states.left():
        try:
            for key, read in lists.items():
                columns[key][each.wsi_file] = read(each)
        except DplabError as error:
            states.fail(each.wsi_file, error)
    return columns


def apply_mpps(inputs: Sequence[SlideInput]) -> None:
    """Let the mpp that is given for a slide win over what the file states."""
    mpps: dict[StrPath, float] = {
        each.wsi_file: each.mpp for each in inputs if each.mpp is not None
    }
    if mpps:
        GenericSlide.set_slide_mpps(mpps)


def _points(each: SlideInput) -> list[tuple[float, float]]:
    """Return the points of a slide, from a table with the columns x and y."""
    name = Path(each.wsi_file).name
    try:
        if each.points is None:
            msg = "there is no file"
            raise FileNotFoundError(msg)
        with each.points.open(newline="", encoding="utf-8-sig") as text:
            return [(float(row["x"]), float(row["y"])) for row in csv.DictReader(text)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        msg = f"its points {each.points} cannot be read: {error!r}"
        raise InvalidLocationError(msg, slide=name) from error
