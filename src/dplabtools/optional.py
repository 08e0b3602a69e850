"""Libraries that not every installation has."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dplabtools.errors import MissingLibraryError

__all__ = ["optional"]


def optional(module: str, *, what: str, extra: str) -> Any:  # noqa: ANN401 - has no types
    """Import a module of an optional library.

    Parameters
    ----------
    module : str
        Its full name.
    what : str
        What it is for, in the plural.
    extra : str
        Extra of this package that brings it.

    Raises
    ------
    MissingLibraryError
        If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        msg = f"{what} take {library}: pip install 'dplabtools-next[{extra}]'"
        raise MissingLibraryError(msg) from error
