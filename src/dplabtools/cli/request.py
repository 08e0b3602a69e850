"""What is to be extracted, and how: the options of ``dplabtools extract``, parsed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dplabtools import config
from dplabtools.cli.enlarging import refuse_enlarging
from dplabtools.cli.locating import annotation_args, location_pool, patches_args
from dplabtools.cli.options.locating import LocatingOptions, TissueOptions
from dplabtools.cli.options.running import WorkOptions
from dplabtools.cli.options.writing import FileOptions
from dplabtools.cli.resolution import parse_resolutions
from dplabtools.pipeline.steps import OnProgress, Pipeline
from dplabtools.records.share import Share
from dplabtools.records.slide_input import SlideInput

__all__ = ["Request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to extract, and how.

    Attributes
    ----------
    inputs : tuple of SlideInput
        The slides.
    out : Path
        Folder to write to.
    share : Share or None
        What of the slides is for this job, if there are others.
    level_or_mpp : int or float or None
        Level (int) or microns per pixel (float); None if nobody says.
    locations_args : mapping of str to object, or None
        How to read patches that another tool has placed.
    locating, tissue, files, work : option groups
        The rest.
    parameters : mapping of str to object
        All options in effect, for the record.
    command : tuple of str
        The command line.
    """

    inputs: tuple[SlideInput, ...]
    out: Path
    share: Share | None
    level_or_mpp: int | float | None
    locating: LocatingOptions
    tissue: TissueOptions
    locations_args: Mapping[str, Any] | None
    files: FileOptions
    work: WorkOptions
    parameters: Mapping[str, Any]
    command: tuple[str, ...]

    @property
    def filters_patches(self) -> bool:
        """Whether label options choose among patches, not among polygons."""
        return self.locations_args is not None or self.locating.region == "whole-image"

    @property
    def views(self) -> tuple[int | float, ...]:
        """Resolutions of each set; empty for single patches."""
        return parse_resolutions(self.files.levels_or_mpps)

    @property
    def extractor_args(self) -> dict[str, Any]:
        """What the disk pool takes."""
        files, locating = self.files, self.locating
        chosen = self.filters_patches
        of_sets = {"levels_or_mpps": self.views, "global_counter": files.first_set}
        return {
            **(of_sets if self.views else {}),
            "container": files.container,
            "image_type": files.encoding,
            "filename_comment": files.filename_comment,
            "filename_separator": files.filename_separator,
            "create_subdirs": files.create_subdirs,
            "save_options": files.encoder_options,
            "resume": True,  # the folder is this run's own: what is whole of it is kept
            "verify": files.verify,
            "resampling_mode": self._resampling_mode,
            "included_labels": locating.included_labels if chosen else (),
            "excluded_labels": locating.excluded_labels if chosen else (),
            "transform": files.transform,
            "quality": files.quality_limits,
            "label_masks": files.label_masks or None,
            "label_values": files.label_values,
        }

    @property
    def _resampling_mode(self) -> str | None:
        """How to resample; as is said, else only where there may be something to."""
        if self.files.resampling_mode is not None:
            return self.files.resampling_mode
        mpps = any(isinstance(each, float) for each in (*self.views, self.level_or_mpp))
        return "tile" if mpps or self.locations_args is not None else None

    def pipeline(self, on_progress: OnProgress) -> Pipeline:
        """Return the way from slides to patches."""
        self.tissue.check()
        config.set_slide_setting(
            polygons_overlap_threshold=self.locating.polygons_overlap_threshold
        )
        return Pipeline(
            options=self.work.run_options,
            tissue_args=self.tissue.arguments,
            location_pool=location_pool(self.locating),
            patches_args=patches_args(self.locating, self.level_or_mpp),
            annotation_args=annotation_args(self.locating),
            locations_args=self.locations_args,
            extractor_args=self.extractor_args,
            share=self.share,
            on_progress=on_progress,
            accept=None if self.locating.allow_enlarging else refuse_enlarging,
        )
