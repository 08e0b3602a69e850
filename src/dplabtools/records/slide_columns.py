"""What is known of a slide beside its patches, written to every row of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeAlias

from dplabtools.errors import ParameterError
from dplabtools.records.quality import QUALITY_COLUMNS

__all__ = ["SlideColumns", "slide_columns"]

SlideColumns: TypeAlias = tuple[tuple[str, str], ...]
"""Name and text of each column."""

_OURS: Final = frozenset(
    [
        *("file", "set", "set_number", "label", "x", "y", "width", "height"),
        *("level_or_mpp", "mpp", "coverage", "item", "slide", "wsi_file", "image"),
        *("__key__", "__url__"),
        *("label_mask", *QUALITY_COLUMNS),
    ]
)
_OF_VIEWS: Final = re.compile(r"(image|x|y|level_or_mpp|mpp)_\d+")


def slide_columns(values: Mapping[str, str]) -> SlideColumns:
    """Return columns of a slide's own: a cohort's ``site``, say, or ``batch``.

    They go with the patches of the slide, as `PatchTable.slide_columns`, into manifests,
    behind the documented columns, and into containers; `open_patches` gives them back.

    Parameters
    ----------
    values : mapping of str to str
        By name, in the order of the columns.

    Raises
    ------
    ParameterError
        If a name is empty, or that of a column that patches have anyway.

    Examples
    --------
    >>> slide_columns({"site": "A", "batch": "7"})
    (('site', 'A'), ('batch', '7'))
    """
    for name in values:
        if not name.strip() or name in _OURS or _OF_VIEWS.fullmatch(name):
            msg = (
                f"a column of slides cannot be called {name!r}: patches have one of that "
                "name"
            )
            raise ParameterError(msg, remedy="rename it")
    return tuple((str(name), str(value)) for name, value in values.items())
