"""Write the reference of the command from its options: python docs/command_reference.py."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from dplabtools.cli.app import app

PAGE = Path(__file__).parent / "reference" / "command-line.md"
HEADING = """# The command

What `dplabtools COMMAND --help` says, made from the same options. A file of options
(`--config run.toml`) has the same names, with hyphens or underscores, and lists where an
option may be repeated. How to use all this: [by task](../how-to/command-line.md).

`dplabtools --install-completion` lets the shell complete commands and options.

| | |
|---|---|
"""


def page() -> str:
    """Return the page."""
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    lines = [
        f"| [`{name}`](#dplabtools-{name}) | {_paragraphs(each)[0].rstrip('.')} |"
        for name, each in commands.items()
    ]
    parts = [HEADING + "\n".join(lines)]
    for name, each in commands.items():
        parts += [f"## `dplabtools {name}`", *_paragraphs(each), *_panels(each)]
    return "\n\n".join(parts) + "\n"


def _paragraphs(command: Any) -> list[str]:
    text = re.sub(r"(\S*<slide>[\w.]*)", r"`\1`", inspect.cleandoc(command.help))
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def _panels(command: Any) -> Iterator[str]:
    """Yield a table for each panel of the help."""
    panels: dict[str, list[str]] = {}
    for each in command.params:
        if each.name != "help":
            panels.setdefault(each.rich_help_panel or "Options", []).append(_row(each))
    for title, rows in panels.items():
        yield f"**{title}**"
        yield "\n".join(["| option | default | |", "|---|---|---|", *rows])


def _row(option: Any) -> str:
    names = [*option.opts, *option.secondary_opts]
    if not option.opts[0].startswith("-"):
        names = [option.metavar or option.name]
    elif option.metavar:
        names[-1] += f" {option.metavar}"
    cells = (", ".join(f"`{name}`" for name in names), _default(option), option.help)
    return "| " + " | ".join(re.sub(r"([|*<])", r"\\\1", cell) for cell in cells) + " |"


def _default(option: Any) -> str:
    if option.required:
        return "required"
    if isinstance(option.show_default, str):
        return option.show_default.replace("check-polygons", "yes")
    default = getattr(option.default, "value", option.default)
    match default:
        case None | [] | "":
            return ""
        case bool():
            return "yes" if default else "no"
        case _:
            return f"`{default}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
