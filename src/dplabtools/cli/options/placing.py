"""Groups of options that several commands take together."""

from __future__ import annotations

from dataclasses import dataclass

from dplabtools.cli.options.locating import LocatingOptions, TissueOptions
from dplabtools.cli.options.reading import ReadingOptions
from dplabtools.cli.options.running import EngineOptions, WorkOptions
from dplabtools.cli.options.sharing import ShardOptions
from dplabtools.cli.options.slides import (
    AnnotationOptions,
    ForeignOptions,
    SlideOptions,
    SourceOptions,
)

__all__ = ["PlacingOptions", "RunningOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacingOptions:
    """Which slides, and where patches lie on them."""

    slides: SlideOptions
    locating: LocatingOptions
    outlines: AnnotationOptions
    sources: SourceOptions
    tissue: TissueOptions
    foreign: ForeignOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningOptions:
    """How slides are read, and who does the work."""

    reading: ReadingOptions
    work: WorkOptions
    engine: EngineOptions
    sharing: ShardOptions
