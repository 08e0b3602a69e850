"""How masks and patches are drawn on pictures of slides."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

__all__ = ["OverlayOptions", "PreviewOptions"]

_COLOUR = "NAME|none"


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayOptions:
    """Masks drawn on slides."""

    panel: ClassVar[str] = "Masks drawn on slides"

    overlay: Annotated[
        bool,
        typer.Option(help="Save these, too: <slide>_overlay.png."),
    ] = False
    mask_color: Annotated[
        str, typer.Option(metavar=_COLOUR, help="Colour of the mask.")
    ] = "green"
    mask_alpha: Annotated[
        float, typer.Option(min=0, max=1, help="How much of it covers the slide.")
    ] = 0.5
    outline_color: Annotated[
        str, typer.Option(metavar=_COLOUR, help="Colour of the outlines.")
    ] = "blue"
    outline_thickness: Annotated[
        int, typer.Option(min=1, help="Of the outlines, in pixels.")
    ] = 2

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `save_overlay_png`."""
        return {
            "mask_color": _colour(self.mask_color),
            "mask_alpha": self.mask_alpha,
            "outline_color": _colour(self.outline_color),
            "outline_thickness": self.outline_thickness,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewOptions:
    """Patches drawn on slides."""

    panel: ClassVar[str] = "Patches drawn on slides"

    preview: Annotated[
        bool,
        typer.Option(help="Save these, too, in OUT/previews."),
    ] = False
    patch_color: Annotated[
        str, typer.Option(metavar=_COLOUR, help="Colour of the patches.")
    ] = "red"
    bbox_color: Annotated[
        str, typer.Option(metavar=_COLOUR, help="Colour of the boxes around regions.")
    ] = "lime"
    polygon_color: Annotated[
        str, typer.Option(metavar=_COLOUR, help="Colour of the outlines of regions.")
    ] = "blue"
    holes_color: Annotated[
        str, typer.Option(metavar=_COLOUR, help="Colour of their holes.")
    ] = "teal"
    buffer_color: Annotated[
        str, typer.Option(metavar=_COLOUR, help="Colour of their buffers.")
    ] = "black"
    thickness: Annotated[int, typer.Option(min=1, help="Of the lines, in pixels.")] = 2
    patch_markers: Annotated[
        bool,
        typer.Option(help="Mark the middle of each patch."),
    ] = False
    preview_level_or_minsize: Annotated[
        int, typer.Option(min=0, help="Level or least size of the pictures.")
    ] = 1000
    drawn_labels: Annotated[
        list[str],
        typer.Option(metavar="LABEL", help="Draw only these labels; may be repeated."),
    ] = field(default_factory=list)
    drawn_patches_labels: Annotated[
        list[str],
        typer.Option(metavar="LABEL", help="The same for patches alone."),
    ] = field(default_factory=list)

    def arguments(self, folder: Path) -> dict[str, Any]:
        """Return the arguments of `save_preview_image`; none if there are to be none."""
        if not self.preview:
            return {}
        return {
            "image_file": folder / "_patches.png",
            "patch_color": _colour(self.patch_color),
            "bbox_color": _colour(self.bbox_color),
            "polygon_color": _colour(self.polygon_color),
            "holes_color": _colour(self.holes_color),
            "buffer_color": _colour(self.buffer_color),
            "thickness": self.thickness,
            "patch_markers": self.patch_markers,
            "level_or_minsize": self.preview_level_or_minsize,
            "drawn_labels": self.drawn_labels,
            "drawn_patches_labels": self.drawn_patches_labels,
        }


def _colour(name: str) -> str | None:
    return None if name.lower() == "none" else name
