"""From slides to patches in one call: tissue masks, locations, files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dplabtools._typing import StrPath
from dplabtools.engine.base import EngineLike
from dplabtools.engine.choose import RunOptions
from dplabtools.engine.limits import usable_cores
from dplabtools.output.run_folder.output_folder import output_folder, shown_path
from dplabtools.output.run_folder.shards import begin_shard, end_shard
from dplabtools.pipeline.merging import MergedShards, merge_shards
from dplabtools.pipeline.sharing import check_locations, divide_inputs, own_inputs
from dplabtools.pipeline.states import SlideStates
from dplabtools.pipeline.steps import OnProgress, Pipeline, apply_mpps, silent
from dplabtools.pipeline.uploading import upload_run
from dplabtools.readers.finding import find_slides
from dplabtools.records.failure import Failure, failed_slides
from dplabtools.records.share import parse_shard
from dplabtools.records.slide_input import SlideInput
from dplabtools.slides.patches import PatchesMock, WholeImageGridPatchesPool
from dplabtools.slides.patches._sharing import check_sharing, may_cut

__all__ = [
    "ExtractedSlides",
    "MergedShards",
    "SlideInput",
    "extract_slides",
    "find_slides",
    "merge_shards",
    "upload_run",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractedSlides:
    """What `extract_slides` has made.

    Attributes
    ----------
    masks : dict of str to str
        File of the tissue mask of each slide, by path of the slide.
    locations : dict of str to PatchesMock
        Where patches were placed on each slide.
    manifest_ids : dict of str to str
        The eight characters in the names of the files of each slide.
    patch_count : int
        Number of patches written; of patches at several resolutions, of sets.
    errors : list of Failure
        What was skipped, slides as given.
    """

    masks: dict[str, str]
    locations: dict[str, PatchesMock]
    manifest_ids: dict[str, str]
    patch_count: int
    errors: list[Failure]


def extract_slides(  # noqa: PLR0913 - as the documented classes
    *,
    slides: StrPath | Iterable[StrPath | SlideInput],
    output_dir: StrPath,
    location_pool: type[Sequence[PatchesMock]] | None = None,
    tissue_args: Mapping[str, Any] | None = None,
    annotation_args: Mapping[str, Any] | None = None,
    patches_args: Mapping[str, Any] | None = None,
    extractor_args: Mapping[str, Any] | None = None,
    proc_num_workers: int | None = None,
    thread_num_workers: int = 1,
    chunk_timeout_s: float = 900.0,
    on_error: Literal["raise", "skip"] = "raise",
    on_progress: OnProgress | None = None,
    shard: tuple[int, int] | None = None,
    engine: EngineLike | None = None,
) -> ExtractedSlides:
    """Find the tissue of slides, place patches on it, and write them to files.

    Parameters
    ----------
    slides : path, or iterable of path or SlideInput
        Slides, folders of slides, patterns; a `SlideInput` brings a mask, annotations,
        points, a label or columns of its own.
    output_dir : path
        Folder to write to; made if missing. Masks go to its folder ``masks``. Or an
        address, as ``s3://bucket/run``.
    location_pool : type, default None
        Any class of location pools; None for ``WholeImageGridPatchesPool``.
    tissue_args : mapping of str to object, default None
        Arguments of `WSITissueMask`, but for the slide; by default
        ``{"level_or_minsize": None, "mode": "auto"}``.
    annotation_args : mapping of str to object, default None
        For pools that take polygons, and label masks: `classes` and `all_objects`, as
        `GeoJsonReader` takes them.
    patches_args : mapping of str to object, default None
        As the location pool takes them.
    extractor_args : mapping of str to object, default None
        Further arguments of `DiskPatchExtractorPool`, or of
        `MultiResDiskPatchExtractorPool` if ``levels_or_mpps`` is among them; by default
        ``{"image_type": "png"}``. With ``"resume": True`` masks that are there are used,
        too; with ``"label_masks": True`` label masks are drawn of the annotations.
    proc_num_workers : int, default None
        Worker processes; None for one for each core.
    thread_num_workers : int, default 1
        Threads in each.
    chunk_timeout_s : float, default 900.0
        A worker that takes longer over a chunk of patches is replaced.
    on_error : {"raise", "skip"}, default "raise"
        Whether the first error ends everything, or is recorded in `errors`.
    on_progress : callable, default None
        Called with the name of a step (``"masks"``, ``"locations"``, ``"patches"``), and a
        `dplabtools.extraction.progress.Progress`; the first two steps count slides.
    shard : (int, int), default None
        Which of how many independent jobs this is, counted from 1: it does its part of the
        slides, the same each time, and writes to a folder ``shard-<i>-of-<n>`` in
        `output_dir`; `merge_shards` joins them. Slides count by the pixels that their
        headers tell of, and large ones are shared where the container allows it.
    engine : Engine or str, default None
        Where patches are placed and written, by a name that `config.engine` takes; or an
        engine of your own, which stays open, and serves both. None for what `config.engine`
        says. Masks are made by threads of this process.

    Returns
    -------
    ExtractedSlides
        What was made of each slide; of those of the job, if there are several.

    Raises
    ------
    ParameterError, ParameterTypeError
        If an argument makes no sense, or there are no slides.
    DplabError
        The first error of a slide, unless errors are skipped.
    OutputError, ResumeError, FolderInUseError
        As `DiskPatchExtractorPool`.
    """
    extractor_args = {"image_type": "png"} if extractor_args is None else extractor_args
    inputs = _inputs(slides)
    apply_mpps(inputs)
    location_pool = location_pool or WholeImageGridPatchesPool
    patches_args = patches_args or {}
    keep = bool(extractor_args.get("resume"))
    share = None
    if shard is not None:
        check_sharing(extractor_args)
        check_locations(location_pool, patches_args)
        share = divide_inputs(
            inputs,
            shard=parse_shard(shard),
            patches_args=patches_args,
            cut=may_cut(extractor_args.get("container")),
        )
        inputs = own_inputs(inputs, share)
    way = Pipeline(
        options=RunOptions(
            workers=proc_num_workers or usable_cores(),
            threads=thread_num_workers,
            timeout_s=chunk_timeout_s,
            skip_errors=on_error == "skip",
        ),
        tissue_args=tissue_args or {"level_or_minsize": None, "mode": "auto"},
        location_pool=location_pool,
        annotation_args=annotation_args or {},
        patches_args=patches_args,
        extractor_args=extractor_args,
        share=share,
        engine=engine,
        on_progress=on_progress or silent,
    )
    states = SlideStates(inputs=inputs, skip_errors=way.options.skip_errors)
    with output_folder(output_dir, resume=keep) as out, way.with_engine() as pipeline:
        folder = Path(out)
        if share is not None:
            folder = begin_shard(folder, share, kind="patches")
        folder.mkdir(parents=True, exist_ok=True)
        pipeline.locate(states, masks=folder / "masks", keep_masks=keep)
        written = pipeline.write(states, folder)
        masks = {slide: shown_path(mask) for slide, mask in states.masks.items()}
        if share is not None:
            end_shard(folder, failed=failed_slides(states.failures))
    return ExtractedSlides(
        masks=masks,
        locations=states.patches,
        manifest_ids=written.manifest_ids,
        patch_count=written.patches,
        errors=states.failures,
    )


def _inputs(
    slides: StrPath | Iterable[StrPath | SlideInput],
) -> tuple[SlideInput, ...]:
    """Return each slide once, those of folders and patterns, too."""
    given = [slides] if isinstance(slides, str | os.PathLike) else slides
    found: dict[str, SlideInput] = {}
    for each in given:
        if isinstance(each, SlideInput):
            found[each.wsi_file] = each
        else:
            found |= {name: SlideInput(wsi_file=name) for name in find_slides([each])}
    return tuple(found.values())
