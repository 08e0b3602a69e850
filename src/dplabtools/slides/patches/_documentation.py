"""Docstrings of documented classes, put together of those of their bases.

A base says what parameters mean, also those that only some of its subclasses declare, and
what all of them raise; a class says what is special about it. Where both describe a
parameter, the class has the last word.
"""

from __future__ import annotations

import inspect
import itertools
import re
from typing import Final, TypeVar, dataclass_transform

from dplabtools.slides._declared import declared

__all__ = ["documented"]

_Kind = TypeVar("_Kind", bound=type)

# https://numpydoc.readthedocs.io/en/latest/format.html#sections
_SECTION: Final = re.compile(r"^(\w+)\n-+\n", re.MULTILINE)
_ENTRY: Final = re.compile(r"^(\S.*)\n((?:    .*\n?|\n(?=    ))*)", re.MULTILINE)


@dataclass_transform(kw_only_default=True, eq_default=False)
def documented(kind: _Kind) -> _Kind:
    """Declare a class, and complete its docstring by what its bases say.

    Parameters
    ----------
    kind : type
        A subclass of `Declared`. ``{kind}`` stands for the class that it is a pool of.

    Returns
    -------
    type
        The same class.
    """
    own = kind.__doc__
    declared(kind)
    if own is None:  # python -OO; what a dataclass says then is its signature
        return kind
    said = [_sections(each) for each in reversed(kind.__mro__)]
    described = {
        name: (head, text)
        for sections in said
        for head, text in _ENTRY.findall(sections.get("Parameters", ""))
        for name in head.partition(" : ")[0].split(", ")
    }
    given = inspect.signature(kind).parameters
    parts = [_sections(kind)[""], "Parameters\n----------"]
    for (head, text), names in itertools.groupby(given, described.__getitem__):
        named = list(names)
        what = head.partition(" : ")[2]
        parts[-1] += (
            f"\n{', '.join(named)} : {what}{_default(given[named[0]])}\n{text.rstrip()}"
        )
    for title in ("Raises", "Warns", "Notes"):
        entries = "".join(sections.get(title, "") for sections in said)
        if entries:
            parts.append(f"{title}\n{'-' * len(title)}\n{entries.rstrip()}")
    placed = getattr(kind, "kind", kind).__name__
    kind.__doc__ = "\n\n".join(parts).replace("{kind}", placed)
    return kind


def _sections(kind: type) -> dict[str, str]:
    """Return the sections of a docstring by their titles; what stands before them by ""."""
    text = inspect.cleandoc(vars(kind).get("__doc__") or "")
    begin, *rest = _SECTION.split(text)
    titles = iter(rest)
    return {"": begin.strip()} | {
        title: f"{body.rstrip()}\n" for title, body in zip(titles, titles, strict=True)
    }


def _default(parameter: inspect.Parameter) -> str:
    value = parameter.default
    if value is parameter.empty:
        return ""
    return f', default "{value}"' if isinstance(value, str) else f", default {value}"
