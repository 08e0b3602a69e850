"""Many small images on one large one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFont

__all__ = ["Section", "draw_contact_sheet"]

_EDGE: Final = 160
_GAP: Final = 8
_TITLE: Final = 26
_PAPER: Final = (198, 203, 212)
_INK: Final = (30, 30, 40)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A row of images with a title.

    Attributes
    ----------
    title : str
        Written above.
    images : sequence of PIL.Image.Image
        At least one.
    """

    title: str
    images: Sequence[Image.Image]


def draw_contact_sheet(sections: Sequence[Section]) -> Image.Image:
    """Return an image with all sections, one below the other.

    Parameters
    ----------
    sections : sequence of Section
        What to show.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    pitch = _EDGE + _GAP
    columns = max(len(section.images) for section in sections)
    height = len(sections) * (_TITLE + pitch) + _GAP
    sheet = Image.new("RGB", (columns * pitch + _GAP, height), _PAPER)
    canvas = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=15)
    for row, section in enumerate(sections):
        top = row * (_TITLE + pitch) + _GAP
        canvas.text((_GAP, top), section.title, fill=_INK, font=font)
        for column, image in enumerate(section.images):
            small = image.resize((_EDGE, _EDGE), Image.Resampling.LANCZOS)
            sheet.paste(small, (_GAP + column * pitch, top + _TITLE))
    return sheet
