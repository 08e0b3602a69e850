"""Resolutions as they are typed: a whole number is a level, one with a point an mpp."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from dplabtools.cli.options.locating import LocatingOptions

__all__ = ["chosen_resolution", "is_given", "parse_resolution", "parse_resolutions"]

_NAMES = ("level_or_mpp", "mpp", "level", "mag")
_MPP_TIMES_MAG = 10.0  # 0.25 microns per pixel are called 40x, 0.5 are called 20x


def chosen_resolution(
    context: typer.Context, locating: LocatingOptions
) -> int | float | None:
    """Return the resolution asked for by whichever option; the command line wins.

    What a magnification means is printed: it is a name for microns per pixel, whatever the
    objective of a slide was.

    Parameters
    ----------
    context : typer.Context
        Of the command.
    locating : LocatingOptions
        Which names it once, at most.

    Returns
    -------
    int or float or None
        Level (int) or microns per pixel (float); None if there is no such option.

    Raises
    ------
    typer.BadParameter
        If it is named twice, or is no number.
    """
    given: dict[str, str | float | None] = dict(
        zip(
            _NAMES,
            (locating.level_or_mpp, locating.mpp, locating.level, locating.mag),
            strict=True,
        )
    )
    named = [name for name, value in given.items() if value is not None]
    typed = [name for name in named if _is_typed(context, name)]
    chosen = typed or named
    if len(chosen) > 1:
        options = " and ".join(f"--{name.replace('_', '-')}" for name in chosen)
        msg = f"give one of {options}"
        raise typer.BadParameter(msg)
    if not chosen:
        return None
    value = given[chosen[0]]
    if chosen == ["mag"] and locating.mag is not None:
        mpp = round(_MPP_TIMES_MAG / locating.mag, 4)
        typer.echo(f"--mag {locating.mag:g} means {mpp:g} microns per pixel", err=True)
        return mpp
    return parse_resolution(value) if isinstance(value, str) else value


def parse_resolution(text: str) -> int | float:
    """Return a level or an mpp.

    Raises
    ------
    typer.BadParameter
        If it is neither.
    """
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        msg = f"{text!r} is neither a level (0) nor microns per pixel (0.5)"
        raise typer.BadParameter(msg) from None


def parse_resolutions(texts: Sequence[str]) -> tuple[int | float, ...]:
    """Return levels and mpps, separated by commas or given singly."""
    words = (word.strip() for text in texts for word in text.split(","))
    return tuple(parse_resolution(word) for word in words if word)


def is_given(context: typer.Context, name: str) -> bool:
    """Tell whether an option is given, on the command line or in a file."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
