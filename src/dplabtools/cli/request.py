"""What is to be extracted, and how: the options of ``dplabtools extract``, parsed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dplabtools.cli.options.writing import FileOptions
from dplabtools.cli.placing import Placing
from dplabtools.cli.resolution import parse_resolutions
from dplabtools.pipeline.steps import OnProgress, Pipeline

__all__ = ["Request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to extract, and how.

    Attributes
    ----------
    placing : Placing
        On which slides, and where.
    files : FileOptions
        What the patches become.
    parameters : mapping of str to object
        All options in effect, for the record.
    command : tuple of str
        The command line.
    """

    placing: Placing
    files: FileOptions
    parameters: Mapping[str, Any]
    command: tuple[str, ...]

    @property
    def views(self) -> tuple[int | float, ...]:
        """Resolutions of each set; empty for single patches."""
        return parse_resolutions(self.files.levels_or_mpps)

    @property
    def extractor_args(self) -> dict[str, Any]:
        """What the disk pool takes."""
        files, locating = self.files, self.placing.locating
        chosen = self.placing.filters_patches
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
        mpps = any(isinstance(each, float) for each in self.views)
        return "tile" if mpps or self.placing.may_resample else None

    def pipeline(self, on_progress: OnProgress) -> Pipeline:
        """Return the way from slides to patches."""
        pipeline = self.placing.pipeline(on_progress)
        return replace(pipeline, extractor_args=self.extractor_args)
