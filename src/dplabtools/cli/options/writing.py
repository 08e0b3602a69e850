"""What becomes of patches: the parameters of the disk pools."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

import typer

if TYPE_CHECKING:
    from dplabtools.records.quality import QualityLimits

__all__ = [
    "ExchangeOptions",
    "FileOptions",
    "OutputOptions",
    "ResamplingModeOption",
    "RunOutputOptions",
    "TransformOption",
    "parse_key_value",
]


_JPEG = ("jpg", "jpeg", "jpe", "jfif")
_QUALITY = 90


def _container_names() -> tuple[str, ...]:
    from dplabtools.output.containers.formats import CONTAINERS

    return CONTAINERS.names()


def _known_container(name: str | None) -> str | None:
    """Return the name of a kind of container, if there is such a thing."""
    from dplabtools.errors import ParameterError
    from dplabtools.output.containers.formats import container_format

    try:
        return name and container_format(name).name
    except ParameterError as error:
        raise typer.BadParameter(str(error)) from None


def _no_address(folder: Path) -> Path:
    """Return a folder, if it is one of this machine."""
    from dplabtools.sources.urls import is_url

    if is_url(folder):
        msg = "only extract and features write to addresses"
        raise typer.BadParameter(msg)
    return folder


ResamplingModeOption: TypeAlias = Annotated[
    Literal["tile", "fast", "wsi"] | None,
    typer.Option(
        metavar="NAME",
        help="tile: resample each patch; fast: so, of tiles decoded at a half, a quarter "
        "or an eighth of their size, with slightly other pixels; wsi: as if the whole "
        "slide were resampled.",
        show_default="tile where an mpp is asked for",
    ),
]
TransformOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:FUNCTION",
        help="What each patch goes through before it is written, such as stain "
        "normalisation: a function from an array of uint8, shape (height, width, 3), "
        "to another. Modules of the working folder are found, too.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """Where to write."""

    panel: ClassVar[str] = "Output"

    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "--output-dir",
            metavar="FOLDER",
            file_okay=False,
            callback=_no_address,
            help="Folder to write to; made if missing.",
            show_default=False,
        ),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutputOptions:
    """Where to write, also in an object store."""

    panel: ClassVar[str] = "Output"

    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "--output-dir",
            metavar="FOLDER",
            file_okay=False,
            help="Folder to write to; made if missing. Or an address: s3://bucket/run.",
            show_default=False,
        ),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """What the files of patches look like."""

    panel: ClassVar[str] = "Files of patches"

    container: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            callback=_known_container,
            autocompletion=_container_names,
            help="webdataset, hdf5, zarr, parquet, or one that is installed: what holds "
            "the patches.",
            show_default="an image file for each",
        ),
    ] = None
    image_type: Annotated[
        str | None,
        typer.Option(
            metavar="EXTENSION",
            help="Kind of the images: png, jpg, ...; hdf5 and zarr hold pixels instead.",
            show_default="png",
        ),
    ] = None
    jpeg_quality: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Quality of jpg.", show_default="90"),
    ] = None
    save_option: Annotated[
        list[str],
        typer.Option(
            "--save-option",
            "--save-options",
            metavar="KEY=VALUE",
            help="Given to the encoder, such as subsampling=0; may be repeated.",
        ),
    ] = field(default_factory=list)
    levels_or_mpps: Annotated[
        list[str],
        typer.Option(
            metavar="LEVEL|MPP,...",
            help="Sets of patches at several resolutions around one centre: 0.5,1.0,2.0.",
        ),
    ] = field(default_factory=list)
    global_counter: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|none",
            help="Number of the first set; none counts the sets of each slide.",
            show_default="1",
        ),
    ] = None
    resampling_mode: ResamplingModeOption = None
    transform: TransformOption = None
    quality: Annotated[
        bool,
        typer.Option(
            help="Measure how sharp, bright and saturated each patch is, and how much of "
            "it is background or pen: columns beside it.",
        ),
    ] = False
    min_sharpness: Annotated[
        float | None,
        typer.Option(min=0, help="Leave out patches that are less sharp."),
    ] = None
    max_background_share: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Leave out patches with more background."),
    ] = None
    max_pen_share: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Leave out patches with more pen."),
    ] = None
    label_masks: Annotated[
        bool | None,
        typer.Option(
            help="Draw the class of each pixel beside each patch, from --annotations: PNG "
            "files in label_masks, or in containers another image or array.",
        ),
    ] = None
    label_value: Annotated[
        list[str],
        typer.Option(
            "--label-value",
            metavar="LABEL=N",
            help="Value of a label in them, 1 to 255; may be repeated.",
            show_default="1, 2, ... as labels sort",
        ),
    ] = field(default_factory=list)
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with what an earlier run, with the same options, has left.",
        ),
    ] = False
    verify: Annotated[
        Literal["count", "pixels"],
        typer.Option(
            metavar="NAME",
            help="How closely --resume looks at what is there: count, or pixels.",
        ),
    ] = "count"
    create_subdirs: Annotated[
        bool,
        typer.Option(help="A folder for each label."),
    ] = False
    filename_comment: Annotated[str, typer.Option(help="Put into each name.")] = ""
    filename_separator: Annotated[
        str, typer.Option(help="Put between the parts of a name.")
    ] = "_"

    @property
    def label_values(self) -> dict[str, Any] | None:
        """Value of each label in label masks; None for those that they get by themselves.

        Raises
        ------
        typer.BadParameter
            If one is no ``LABEL=N``.
        """
        given = (parse_key_value(each, option="--label-value") for each in self.label_value)
        return dict(given) or None

    @property
    def quality_limits(self) -> bool | QualityLimits:
        """What the pool is told of quality: a limit asks for it to be measured."""
        from dplabtools.records.quality import QualityLimits

        limits = QualityLimits(
            min_sharpness=self.min_sharpness,
            max_background_share=self.max_background_share,
            max_pen_share=self.max_pen_share,
        )
        return limits if limits.given() else self.quality

    @property
    def encoding(self) -> str | None:
        """Extension of the images; None where pixels are held."""
        from dplabtools.output.containers.formats import container_format

        pixels = self.container and not container_format(self.container).holds_images
        return self.image_type or (None if pixels else "png")

    @property
    def encoder_options(self) -> dict[str, Any]:
        """What the encoder is given.

        Raises
        ------
        typer.BadParameter
            If an option is no ``KEY=VALUE``.
        """
        given = dict(
            parse_key_value(each, option="--save-option") for each in self.save_option
        )
        jpeg = (self.encoding or "").lower() in _JPEG
        quality = self.jpeg_quality or (_QUALITY if jpeg else None)
        return given if quality is None else {"quality": quality, **given}

    @property
    def first_set(self) -> int | None:
        """Number of the first set; None to count the sets of each slide.

        Raises
        ------
        typer.BadParameter
            If it is something else.
        """
        text = self.global_counter
        if text is None:
            return 1
        if text.lower() == "none":
            return None
        if not text.isdecimal():
            msg = f"--global-counter takes a whole number or none, not {text!r}"
            raise typer.BadParameter(msg)
        return int(text)


def parse_key_value(text: str, *, option: str) -> tuple[str, Any]:
    """Return a name, and the number, truth value, None or text that it is given.

    Parameters
    ----------
    text : str
        Like ``KEY=VALUE``.
    option : str
        For messages.

    Raises
    ------
    typer.BadParameter
        If it is not.
    """
    key, equals, value = text.partition("=")
    if not equals:
        msg = f"{option} takes KEY=VALUE, not {text!r}"
        raise typer.BadParameter(msg)
    words: dict[str, Any] = {"true": True, "false": False, "none": None}
    if value.lower() in words:
        return key, words[value.lower()]
    for kind in (int, float):
        try:
            return key, kind(value)
        except ValueError:
            continue
    return key, value


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeOptions:
    """In which files to say where patches lie."""

    panel: ClassVar[str] = "Output"

    to: Annotated[
        Literal["csv", "parquet", "geojson", "trident", "clam"],
        typer.Option(
            "--to",
            metavar="NAME",
            help="csv or parquet: a table; geojson: tiles of QuPath; trident, clam: "
            "coordinates in HDF5.",
        ),
    ] = "csv"
