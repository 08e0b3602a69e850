"""How locations, pools and results look in a notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from dplabtools import config
from dplabtools.errors import DplabError
from dplabtools.geometry.resolution import Level
from dplabtools.locations.thumbnail import draw_thumbnail
from dplabtools.notebook import facts_card, rows_table
from dplabtools.readers.slide import Slide
from dplabtools.records.failure import Failure
from dplabtools.records.patch_table import PatchTable
from dplabtools.slides._slide_html import MOST_READ

__all__ = [
    "STRIP_EDGE",
    "counts_text",
    "errors_html",
    "location_html",
    "pool_html",
    "result_html",
    "strip",
]

_EDGE: Final = 240  # pixels
_SMALL_EDGE: Final = 120
_PICTURES: Final = 4  # slides of a pool that are shown
_ROWS: Final = 12  # slides of a pool, and errors, that are listed
_STRIP: Final = 8  # patches shown of a result
STRIP_EDGE: Final = 80  # pixels
_LABELS: Final = 12


def location_html(name: str, table: PatchTable) -> str:
    """Return a slide with its patches.

    Parameters
    ----------
    name : str
        What placed them.
    table : PatchTable
        The patches.
    """
    picture, trouble = _picture(table, edge=_EDGE)
    facts = {
        "slide": table.slide,
        "patches": len(table),
        "labels": counts_text(table.counts()),
        "size": _size(table),
        "foreground": _foreground(table),
        "picture": trouble,
    }
    return facts_card(name, facts, pictures=[picture])


def pool_html(name: str, tables: Sequence[PatchTable], errors: Sequence[Failure]) -> str:
    """Return the slides of a pool, the first of them with their patches."""
    counts = _total(table.counts() for table in tables)
    facts = {
        "slides": len(tables),
        "patches": sum(map(len, tables)),
        "labels": counts_text(counts),
        "size": _size(tables[0]) if tables else "",
    }
    rows: list[tuple[object, ...]] = [
        (table.slide_name, len(table), _foreground(table)) for table in tables[:_ROWS]
    ]
    if len(tables) > _ROWS:
        rows.append((f"and {len(tables) - _ROWS:,} more", "", ""))
    pictures = [_picture(table, edge=_SMALL_EDGE)[0] for table in tables[:_PICTURES]]
    below = rows_table(("slide", "patches", "foreground"), rows) if rows else ""
    return facts_card(name, facts, pictures=pictures, below=below + errors_html(errors))


def result_html(
    name: str,
    facts: Mapping[str, object],
    *,
    pictures: Sequence[Image.Image] = (),
    errors: Sequence[Failure] = (),
) -> str:
    """Return what became of a run, and some of its patches."""
    return facts_card(name, facts, pictures=pictures, below=errors_html(errors))


def errors_html(errors: Sequence[Failure]) -> str:
    """Return errors as a table; nothing if there are none."""
    if not errors:
        return ""
    rows: list[tuple[object, ...]] = [
        (
            Path(each.wsi_file).name,
            "all" if each.row is None else each.row,
            each.message,
        )
        for each in errors[:_ROWS]
    ]
    if len(errors) > _ROWS:
        rows.append((f"and {len(errors) - _ROWS:,} more", "", ""))
    return rows_table(("errors", "patch", ""), rows)


def counts_text(counts: Mapping[str, int]) -> str:
    """Return numbers by label as text; nothing, if there is no label but the empty one."""
    named = [f"{label or 'unlabelled'} {number:,}" for label, number in counts.items()]
    if len(named) > _LABELS:
        named[_LABELS:] = [f"and {len(named) - _LABELS} more"]
    return "" if set(counts) <= {""} else ", ".join(named)


def strip(count: int) -> list[int]:
    """Return which of so many patches are shown: a few, evenly spread."""
    return sorted(
        {(2 * i + 1) * count // (2 * _STRIP) for i in range(_STRIP)} if count else ()
    )


def _picture(table: PatchTable, *, edge: int) -> tuple[Image.Image | None, str]:
    """Return a slide with its patches; or why there is no picture."""
    try:
        with Slide(table.slide, settings=config.snapshot()) as slide:
            overview = slide.overview(edge, most_read=MOST_READ)
            downsample = slide.pyramid.downsample(table.resolution)
            size = slide.pyramid.size
    except (DplabError, OSError) as error:
        return None, str(error)
    if overview is None:
        return None, "none: it would take reading a whole level"
    ends = table.origins + table.sizes * downsample
    boxes = np.hstack([table.origins, ends]) / (*size, *size)
    return draw_thumbnail(overview, edge=edge, boxes=boxes, colours=table.codes), ""


def _size(table: PatchTable) -> str:
    """Return how large patches are, in words."""
    resolution = table.resolution
    where = (
        f"level {resolution.index}"
        if isinstance(resolution, Level)
        else f"{resolution.value:g} µm/px"
    )
    if not len(table) or (table.sizes != table.sizes[0]).any():
        return where
    width, height = table.sizes[0].tolist()
    return f"{width} x {height} px at {where}"


def _foreground(table: PatchTable) -> str:
    if table.coverage is None or not len(table):
        return ""
    return f"{float(table.coverage.mean()):.0%} on average"


def _total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(sorted(total.items()))
