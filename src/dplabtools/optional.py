"""Libraries that not every installation has."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from dplabtools.errors import MissingLibraryError

__all__ = ["Library", "optional"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A library that some files take.

    Attributes
    ----------
    module : str
        Its name.
    what : str
        What it is for, in the plural.
    extra : str
        Extra of this package that brings it.
    """

    module: str
    what: str
    extra: str

    def load(self, module: str = "") -> Any:  # noqa: ANN401 - has no types
        """Import it, or a module of it.

        Raises
        ------
        MissingLibraryError
            If it is not installed.
        """
        return optional(module or self.module, what=self.what, extra=self.extra)
