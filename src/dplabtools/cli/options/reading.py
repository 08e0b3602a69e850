"""How slides are read: what `GenericSlide` and `dplabtools.config` hold for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import typer

from dplabtools.readers.registry import AUTO, check_library, library_names

__all__ = ["ReadingOptions"]


def _known_library(name: str) -> str:
    """Return the name of what reads slides, if there is such a thing."""
    from dplabtools.errors import ConfigError

    try:
        check_library(name)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions:
    """How slides are read."""

    panel: ClassVar[str] = "How slides are read"

    external_mpp: Annotated[
        float | None,
        typer.Option(
            "--external-mpp",
            "--slide-mpp",
            min=0.001,
            help="Microns per pixel of level 0, for slides that state none.",
        ),
    ] = None
    override_mpp: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Microns per pixel of level 0 of all slides, whatever they state.",
        ),
    ] = None
    mpp_round_decimal_places: Annotated[
        int,
        typer.Option(
            "--mpp-round-decimal-places",
            "--mpp-decimals",
            min=0,
            help="Decimals to which horizontal and vertical mpp have to agree.",
        ),
    ] = 5
    mpp_level_margin: Annotated[
        float,
        typer.Option(
            min=0, help="An mpp this close to a level's is read from it as it is."
        ),
    ] = 0.003
    range_min_mpp: Annotated[
        float, typer.Option(min=0, help="Least mpp that may be asked for.")
    ] = 0.001
    range_max_magnification: Annotated[
        int,
        typer.Option(min=1, help="Power assumed for that of slides that state none."),
    ] = 40
    resampling_filter: Annotated[
        str, typer.Option(help="LANCZOS, BICUBIC, AREA and others of Pillow's filters.")
    ] = "LANCZOS"
    level_zero_resampling: Annotated[
        bool,
        typer.Option(
            help="Resample from level 0, rather than from the closest finer level.",
        ),
    ] = True
    slide_library: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            callback=_known_library,
            autocompletion=library_names,
            help=f"{', '.join(library_names())}, or one that is installed: what reads "
            "the slides.",
        ),
    ] = AUTO
    color: Annotated[
        Literal["srgb"] | None,
        typer.Option(
            metavar="NAME",
            help="srgb: convert pixels from the slide's colour profile to sRGB.",
        ),
    ] = None
    background: Annotated[
        str | None,
        typer.Option(
            metavar="COLOUR",
            help="What is outside of a slide, and in gaps: a name, '#rrggbb', or "
            "'255,255,255'.",
            show_default="white, and in gaps what the file states",
        ),
    ] = None
    print_messages: Annotated[
        bool,
        typer.Option(
            help="Print what readers have to say, on standard error.",
        ),
    ] = False

    def apply(self) -> None:
        """Turn the knobs of the package, for this process and its workers.

        Raises
        ------
        DplabError
            If one has a value that makes no sense.
        """
        from dplabtools import config
        from dplabtools.readers.resampling import check_filter
        from dplabtools.slides import GenericSlide

        if self.override_mpp is not None and self.external_mpp is not None:
            msg = "give one of --slide-mpp and --override-mpp"
            raise typer.BadParameter(msg)
        GenericSlide.set_external_mpp(
            self.external_mpp if self.override_mpp is None else self.override_mpp,
            override=self.override_mpp is not None,
        )
        GenericSlide.set_mpp_round_decimal_places(self.mpp_round_decimal_places)
        GenericSlide.set_mpp_level_margin(self.mpp_level_margin)
        GenericSlide.set_range_min_mpp(self.range_min_mpp)
        GenericSlide.set_range_max_magnification(self.range_max_magnification)
        GenericSlide.set_resampling_filter(self.resampling_filter)
        GenericSlide.set_level_zero_resampling(self.level_zero_resampling)
        check_filter(self.resampling_filter, mode="tile")
        config.slide_library = self.slide_library
        config.color = self.color
        config.background = None if self.background is None else _colour(self.background)
        if self.print_messages:
            _print_messages()


def _colour(text: str) -> tuple[int, int, int]:
    from dplabtools.masks.colors import parse_color

    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 3 and all(part.isdecimal() for part in parts):
        red, green, blue = map(int, parts)
        return red, green, blue
    return parse_color(text)


def _print_messages() -> None:
    import logging
    import sys

    logger = logging.getLogger("dplabtools")
    logger.addHandler(logging.StreamHandler(sys.stderr))
    logger.setLevel(logging.INFO)
