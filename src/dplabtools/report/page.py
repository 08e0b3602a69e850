"""The page itself: everything in one file, and nothing that it says can run."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Any, Final

__all__ = ["render_page"]

_SCRIPTS: Final = ("base", "summary", "slides", "viewer")
"""In the order in which they run."""


def render_page(data: Mapping[str, Any], details: Sequence[Mapping[str, Any]]) -> str:
    """Return the page.

    Names, labels and errors stand in the page as JSON only, and its script sets them as
    text. No script but that of the page may run, and nothing may be loaded: its content
    security policy says so.

    Parameters
    ----------
    data : mapping
        What the page shows at once.
    details : sequence of mapping
        For each slide, what it shows when the slide is opened.

    Returns
    -------
    str
        HTML.
    """
    style = _text("page.css")
    script = "".join(_text(f"{name}.js") for name in _SCRIPTS)
    return Template(_text("page.html")).substitute(
        title=html.escape(f"{data['name']} - dplabtools"),
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        data=_json(data),
        details="\n".join(_details(details)),
    )


def _details(details: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for number, detail in enumerate(details):
        yield (
            f'<script type="application/json" id="slide-{number}">{_json(detail)}</script>'
        )


def _json(value: object) -> str:
    """Return JSON that cannot end the element it stands in, nor begin a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    """Return what the policy knows a script or style by."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _text(name: str) -> str:
    return (files("dplabtools.report") / "assets" / name).read_text(encoding="utf-8")
