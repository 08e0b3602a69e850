"""How a slide looks in a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from dplabtools.notebook import facts_card
from dplabtools.readers.slide import Slide

__all__ = ["MOST_READ", "slide_html"]

MOST_READ: Final = 4_000_000  # pixels, for a picture: some hundredths of a second
_EDGE: Final = 240  # pixels


def slide_html(file: str, slide: Slide | None) -> str:
    """Return a slide small, with what it says of itself; None if it has been closed."""
    name = Path(file).name
    if slide is None:
        return facts_card(name, {"file": file, "state": "closed"})
    pyramid = slide.pyramid
    facts = {
        "file": file,
        "levels": ", ".join(f"{width:,} x {height:,}" for width, height in pyramid.sizes),
        "µm/px": "unknown" if pyramid.mpp is None else pyramid.mpp,
        "stated by": pyramid.mpp_source,
        "objective power": "" if pyramid.power is None else f"{pyramid.power:g}",
        "read by": slide.reader.library,
    }
    overview = slide.overview(_EDGE, most_read=MOST_READ)
    return facts_card(name, facts, pictures=[overview])
