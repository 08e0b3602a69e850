"""Options kept in a TOML file: read before the command line, and written beside patches."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import typer

from dplabtools.sources.urls import checked_url, is_url

__all__ = ["effective_options", "load_config", "read_config", "save_config"]

_OF_ONE_RUN: Final = (
    "config",
    "dry_run",
    "json_output",
    "resume",
    "verify",
    "report",
    "help",
)
"""Options about what to do now, not about what is made."""


def load_config(context: typer.Context, config: Path | None) -> Path | None:
    """Let a file stand in for options that the command line does not give.

    Parameters
    ----------
    context : typer.Context
        Of the command.
    config : Path or None
        The file, if there is one.

    Returns
    -------
    Path or None
        The same.

    Raises
    ------
    typer.BadParameter
        If it cannot be read, or has a key that is no option of the command.
    """
    if config is None or context.resilient_parsing:
        return config
    try:
        given = read_config(config)
    except (OSError, ValueError) as error:
        msg = f"{config} cannot be read: {error}"
        raise typer.BadParameter(msg) from error
    names = _names(context)
    context.default_map = {
        _option_for(key, names, file=config): _as_typed(key, value, file=config)
        for key, value in given.items()
    }
    return config


def read_config(file: Path) -> dict[str, Any]:
    """Return the content of a file, as it is.

    Raises
    ------
    OSError, ValueError
        If it cannot be read.
    """
    return tomllib.loads(file.read_text(encoding="utf-8"))


def effective_options(context: typer.Context, settled: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options in effect, with hyphens, in the order of the help.

    Parameters
    ----------
    context : typer.Context
        Of the command.
    settled : mapping of str to object
        Values to use in the place of some options; None to leave one out.

    Returns
    -------
    dict of str to object
        Only what TOML and JSON have. Paths are absolute.
    """
    options: dict[str, Any] = {}
    for parameter in context.command.params:
        name = parameter.name or ""
        plain = _plain(settled.get(name, context.params.get(name)))
        if name not in _OF_ONE_RUN and plain not in (None, []):
            options[name.replace("_", "-")] = plain
    return options


def save_config(file: Path, options: Mapping[str, Any], *, heading: str) -> None:
    """Write options as a file that `load_config` reads.

    Parameters
    ----------
    file : Path
        Where to.
    options : mapping of str to object
        As `effective_options` returns them.
    heading : str
        A comment for the first line.
    """
    import tomli_w

    text = tomli_w.dumps(dict(options))
    file.write_text(f"# {heading}\n{text}", encoding="utf-8")


def _names(context: typer.Context) -> dict[str, str]:
    """Return the name of the parameter for each key that the file may have."""
    names: dict[str, str] = {}
    for parameter in context.command.params:
        if parameter.name in _OF_ONE_RUN:
            continue
        names[parameter.name] = parameter.name
        for option in parameter.opts:
            names[option.lstrip("-").replace("-", "_")] = parameter.name
    return names


def _option_for(key: str, names: Mapping[str, str], *, file: Path) -> str:
    name = names.get(key.replace("-", "_"))
    if name is not None:
        return name
    near = difflib.get_close_matches(key.replace("-", "_"), names, n=1, cutoff=0.0)
    msg = (
        f"{file}: there is no option {key!r}; the nearest is {near[0].replace('_', '-')!r}"
    )
    raise typer.BadParameter(msg)


def _as_typed(key: str, value: object, *, file: Path) -> str | bool | list[str]:
    """Return a value as somebody would type it, so that both are checked alike."""
    match value:
        case bool():
            return value
        case str() | int() | float():
            return str(value)
        case list():
            return [str(each) for each in value]
        case dict():
            return [f"{name}={each}" for name, each in value.items()]
        case _:
            msg = f"{file}: {key} cannot be {value!r}"
            raise typer.BadParameter(msg)


def _plain(value: object) -> Any:  # noqa: ANN401 - whatever TOML has
    match value:
        case Path():
            return checked_url(value) if is_url(value) else str(value.absolute())
        case str() | bytes() | bool() | int() | float() | None:
            return value
        case Iterable():
            return [_plain(each) for each in value]
        case _:
            return str(value)
