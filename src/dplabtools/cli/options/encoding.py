"""How patches become features: the parameters of `extract_features`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import typer

from dplabtools.cli.options.writing import (
    ResamplingModeOption,
    TransformOption,
    parse_key_value,
)

__all__ = ["EncodingOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingOptions:
    """The encoder, and the files of features."""

    panel: ClassVar[str] = "Features"

    encoder: Annotated[
        str,
        typer.Option(
            metavar="MODULE:FACTORY",
            help="A function that returns the encoder: a torch.nn.Module, or a function of "
            "float tensors of shape (n, 3, height, width) to (n, features). Modules of the "
            "working folder are found, too.",
            show_default=False,
        ),
    ]
    encoder_args: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=VALUE",
            help="Given to the factory, such as weights=uni.bin, or as JSON: "
            "'{\"depth\": 24}'; may be repeated.",
        ),
    ] = field(default_factory=list)
    layout: Annotated[
        Literal["trident", "clam", "stamp", "zarr"],
        typer.Option(
            metavar="NAME",
            help="trident, clam, stamp or zarr: whose readers the files are for.",
        ),
    ] = "trident"
    patches: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            exists=True,
            help="Encode the patches that `extract` has written there, in the place of "
            "slides.",
        ),
    ] = None
    device: Annotated[
        str | None,
        typer.Option(
            help="cpu, cuda, or several, such as cuda:0,1: slides are shared out.",
            show_default="a GPU if there is one",
        ),
    ] = None
    batch_size: Annotated[
        int, typer.Option(min=1, help="Patches that are encoded at once.")
    ] = 64
    encoder_name: Annotated[
        str | None,
        typer.Option(
            help="What the encoder is called in the files.",
            show_default="as it says, like all that follows",
        ),
    ] = None
    encoder_mpp: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Microns per pixel that it is made for: others are refused.",
        ),
    ] = None
    input_size: Annotated[
        int | None,
        typer.Option(min=1, help="Edge to which patches are resized for it."),
    ] = None
    mean: Annotated[
        str | None,
        typer.Option(
            metavar="R,G,B", help="Subtracted from pixels, which are from 0 to 1."
        ),
    ] = None
    std: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="What they are divided by then.")
    ] = None
    precision: Annotated[
        Literal["float32", "float16", "bfloat16"] | None,
        typer.Option(
            metavar="NAME",
            help="float32, float16 or bfloat16: what it computes in.",
            show_default="float16 on a GPU, float32 on a CPU",
        ),
    ] = None
    pooling: Annotated[
        Literal["cls", "mean", "cls+mean"] | None,
        typer.Option(
            metavar="NAME", help="cls, mean or cls+mean: how tokens become features."
        ),
    ] = None
    resampling_mode: ResamplingModeOption = None
    transform: TransformOption = None

    @property
    def arguments(self) -> dict[str, Any]:
        """What the factory is given.

        Raises
        ------
        typer.BadParameter
            If one is neither ``KEY=VALUE`` nor a mapping in JSON.
        """
        given: dict[str, Any] = {}
        for text in self.encoder_args:
            if text.lstrip().startswith("{"):
                try:
                    given |= json.loads(text)
                except ValueError as error:
                    msg = f"--encoder-args is no JSON ({error}): {text}"
                    raise typer.BadParameter(msg) from error
            else:
                key, value = parse_key_value(text, option="--encoder-args")
                given[key] = value
        return given

    @property
    def knowledge(self) -> dict[str, Any]:
        """What is said of the encoder, as `extract_features` takes it."""
        return {
            "encoder_name": self.encoder_name,
            "encoder_mpp": self.encoder_mpp,
            "input_size": self.input_size,
            "mean": _numbers(self.mean, option="--mean"),
            "std": _numbers(self.std, option="--std"),
            "precision": self.precision,
            "pooling": self.pooling,
        }


def _numbers(text: str | None, *, option: str) -> list[float] | None:
    try:
        return None if text is None else [float(word) for word in text.split(",")]
    except ValueError:
        msg = f"{option} takes three numbers, such as 0.485,0.456,0.406, not {text!r}"
        raise typer.BadParameter(msg) from None
