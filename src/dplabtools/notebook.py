"""How objects look in a notebook: small pieces of HTML, which nothing can break out of."""

from __future__ import annotations

import base64
import io
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Final, TypeVar

from PIL import Image

__all__ = ["data_uri", "facts_card", "never_raises", "rows_table"]

logger = logging.getLogger("dplabtools")

SelfT = TypeVar("SelfT")

_QUALITY: Final = 70
_SMALLEST: Final = 64  # pixels; nothing is recognised below
_PICTURE_BYTES: Final = 40_000

# Notebooks take style sheets away from those they do not trust, and may be dark.
_LINE: Final = "1px solid rgba(128,128,128,.35)"
_FAINT: Final = "opacity:.65"


def never_raises(build: Callable[[SelfT], str]) -> Callable[[SelfT], str | None]:
    """Make a method that displays an object one that cannot fail.

    Parameters
    ----------
    build : callable
        Takes the object, returns HTML.

    Returns
    -------
    callable
        The same; None, with a message in the log, where that fails. Notebooks then
        show the object as text.
    """

    @wraps(build)
    def shown(self: SelfT) -> str | None:
        try:
            return build(self)
        except Exception:
            # An object that is looked at must not be what breaks, whatever state it is in.
            logger.debug("%s cannot be displayed", type(self).__name__, exc_info=True)
            return None

    return shown


def facts_card(
    title: str,
    facts: Mapping[str, object],
    *,
    pictures: Sequence[Image.Image | None] = (),
    below: str = "",
) -> str:
    """Return a picture or a few, and beside them a title and facts.

    Parameters
    ----------
    title : str
        What it is.
    facts : mapping of str to object
        Shown as text; empty ones and None are left out.
    pictures : sequence of PIL.Image.Image or None
        Shown as they are; None is left out.
    below : str
        HTML that follows.

    Returns
    -------
    str
        HTML.
    """
    images = "".join(
        f'<img src="{data_uri(picture, _PICTURE_BYTES)}" alt="" '
        f'style="max-width:240px;max-height:240px;margin:0;border-radius:3px">'
        for picture in pictures
        if picture is not None
    )
    lines = "".join(
        f'<tr style="background:none"><td style="text-align:left;{_FAINT};'
        f'padding:1px 12px 1px 0;vertical-align:top;white-space:nowrap">{_text(name)}</td>'
        f'<td style="text-align:left;padding:1px 0">{_text(value)}</td></tr>'
        for name, value in facts.items()
        if value not in ("", None)
    )
    return (
        f'<div style="display:flex;gap:14px;align-items:flex-start;flex-wrap:wrap;'
        f'padding:8px 10px;border:{_LINE};border-radius:6px;max-width:60em">'
        f'{images}<div style="flex:1;min-width:14em"><strong>{_text(title)}</strong>'
        f'<table style="margin:4px 0 0;border:0">{lines}</table></div>'
        f'<div style="flex-basis:100%;display:{"block" if below else "none"}">{below}</div>'
        f"</div>"
    )


def rows_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table.

    Parameters
    ----------
    head : sequence of str
        Titles of the columns.
    rows : iterable of sequence of object
        Shown as text.

    Returns
    -------
    str
        HTML.
    """
    cell = f'style="text-align:left;padding:2px 14px 2px 0;border-bottom:{_LINE}"'
    titles = "".join(f"<th {cell}>{_text(title)}</th>" for title in head)
    lines = "".join(
        f"<tr>{''.join(f'<td {cell}>{_text(value)}</td>' for value in row)}</tr>"
        for row in rows
    )
    return f'<table style="margin:2px 0"><tr>{titles}</tr>{lines}</table>'


def data_uri(image: Image.Image, limit: int) -> str:
    """Return an image as text, as small as it takes to keep to a limit.

    Parameters
    ----------
    image : PIL.Image.Image
        RGB.
    limit : int
        Characters, if that is possible at all.

    Returns
    -------
    str
        ``data:image/jpeg;base64,...``; JPEG, as tissue is no smaller in newer formats at
        this quality, and takes ten times as long.
    """
    while True:
        out = io.BytesIO()
        image.save(out, format="jpeg", quality=_QUALITY)
        text = base64.b64encode(out.getvalue()).decode("ascii")
        if len(text) <= limit or max(image.size) <= _SMALLEST:
            return f"data:image/jpeg;base64,{text}"
        shrink = 0.95 * math.sqrt(limit / len(text))
        width, height = (max(1, round(side * shrink)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)


def _text(value: object) -> str:
    """Return text that is only text, numbers with separators."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    import html

    return html.escape(str(value))
