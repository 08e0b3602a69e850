"""Which slides, and what is known about each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import typer

__all__ = [
    "AnnotationOptions",
    "ForeignOptions",
    "SlideOptions",
    "SourceOptions",
]

_KNOWN = "Masks, annotations, points"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideOptions:
    """The slides."""

    panel: ClassVar[str] = "Slides"

    slides: Annotated[
        list[Path],
        typer.Argument(
            metavar="SLIDE",
            help="Slide files, folders of slides (searched with all folders in them), "
            "quoted patterns such as 'slides/**/*.svs', or addresses (s3, gs, az, https) "
            "of slides or, in a store, of all slides below.",
            show_default=False,
        ),
    ] = field(default_factory=list)
    slides_csv: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Table of slides with the columns slide and, if wanted, mask, annotation, "
            "points, label and mpp; further ones go with the patches. Relative paths start "
            "at the folder of the table.",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationOptions:
    """What people have drawn on slides."""

    panel: ClassVar[str] = _KNOWN

    annotations: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            exists=True,
            help="Folder of annotations named after the slides (XML of ASAP or Sedeen, "
            "GeoJSON of QuPath, JSON), or the file of the one slide.",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """What else is known about each slide."""

    panel: ClassVar[str] = _KNOWN

    masks: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            exists=True,
            help="Folder of masks named after the slides (png, tif, npy, npz, geojson), or "
            "the mask of the one slide. Otherwise tissue is looked for.",
        ),
    ] = None
    points: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            exists=True,
            help="Folder of CSV files named after the slides with the columns x and y "
            "(level 0 pixels, top-left corners), or the file of the one slide.",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignOptions:
    """Patches that were placed by another tool."""

    panel: ClassVar[str] = "Patches placed elsewhere"

    locations: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            exists=True,
            help="Folder of files of patches named after the slides, or the file of the "
            "one slide; no patches are placed then.",
        ),
    ] = None
    locations_format: Annotated[
        Literal["trident", "clam", "atlaspatch", "geojson", "csv", "parquet"] | None,
        typer.Option(
            "--locations-format",
            "--file-format",
            metavar="NAME",
            help="trident, clam, atlaspatch, geojson, csv or parquet: what they are.",
        ),
    ] = None
    frame: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL|MPP",
            help="Resolution whose pixels x and y of a table count: 0 for level 0 pixels.",
        ),
    ] = None
    check_location: Annotated[
        bool,
        typer.Option(
            help="Refuse two patches at the same place.",
        ),
    ] = True

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Ends of the names of the files.

        Raises
        ------
        typer.BadParameter
            If nobody says what they are.
        """
        from dplabtools.interchange.formats import FORMATS

        if self.locations is None:
            return ()
        if self.locations_format is None:
            msg = "--locations needs --locations-format"
            raise typer.BadParameter(msg)
        return (FORMATS[self.locations_format].suffix,)
