"""Colours by name."""

from __future__ import annotations

from typing import Final, TypeAlias

from PIL import ImageColor

from dplabtools.errors import UnknownColorError

__all__ = ["LABEL_COLOURS", "Rgb", "parse_color"]

Rgb: TypeAlias = tuple[int, int, int]

LABEL_COLOURS: Final = (
    *("#0072b2", "#d55e00", "#009e73", "#000000"),
    *("#e69f00", "#56b4e9", "#cc79a7", "#f0e442"),
)
"""Colours of labels: the palette of Okabe and Ito (https://jfly.uni-koeln.de/color/), which
the colour-blind tell apart; first those that stand out from stained tissue and glass."""

# The names of matplotlib that are not CSS names:
# https://matplotlib.org/stable/users/explain/colors/colors.html
_EXTRA: Final = {
    "b": "#0000ff",
    "g": "#008000",
    "r": "#ff0000",
    "c": "#00bfbf",
    "m": "#bf00bf",
    "y": "#bfbf00",
    "k": "#000000",
    "w": "#ffffff",
    "tab:blue": "#1f77b4",
    "tab:orange": "#ff7f0e",
    "tab:green": "#2ca02c",
    "tab:red": "#d62728",
    "tab:purple": "#9467bd",
    "tab:brown": "#8c564b",
    "tab:pink": "#e377c2",
    "tab:gray": "#7f7f7f",
    "tab:olive": "#bcbd22",
    "tab:cyan": "#17becf",
}


def parse_color(name: str) -> Rgb:
    """Return the colour of a name.

    Parameters
    ----------
    name : str
        A CSS name, a letter or ``tab:`` name of matplotlib, or ``#rrggbb``.

    Returns
    -------
    (int, int, int)
        Red, green, blue.

    Raises
    ------
    UnknownColorError
        If there is no such colour.

    Examples
    --------
    >>> parse_color("teal")
    (0, 128, 128)
    """
    try:
        return ImageColor.getrgb(_EXTRA.get(name, name))[:3]
    except (ValueError, AttributeError, TypeError) as error:
        msg = f"there is no colour {name!r}"
        raise UnknownColorError(msg, remedy="use a CSS name or #rrggbb") from error
