"""What there is of a kind, by name: what comes with this package, and what others add.

Other distributions enter what they bring as entry points
(https://packaging.python.org/en/latest/specifications/entry-points/). Nobody looks for
them before they are needed: that takes 10 ms, and more where a disk is slow. The help of
the command needs the names and nothing else, so that errors are imported late.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from dplabtools.errors import PluginError

__all__ = ["Entrypoint", "Registry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint:
    """How something is found and chosen by name, and what it takes.

    Attributes
    ----------
    name : str
        What it is called wherever it is chosen.
    module : str
        Where it is implemented. Importing it imports the library that it takes.
    package : str
        The distribution that brings that library.
    extra : str
        Extra of this package that installs it; empty: no extra does.
    what : str
        What it is for, as ``dplabtools doctor`` says it.
    more : callable or None
        Says what the doctor tells beside the version of the package.
    """

    name: str
    module: str
    package: str
    extra: str = ""
    what: str = ""
    more: Callable[[], str] | None = None

    @property
    def install(self) -> str:
        """The command that installs what it takes."""
        wanted = f"'dplabtools-next[{self.extra}]'" if self.extra else self.package
        return f"pip install {wanted}"

    def check(self) -> None:
        """Raise if it cannot be used here.

        Raises
        ------
        MissingLibraryError
            If the library that it takes is not installed.
        """
        from dplabtools.errors import MissingLibraryError

        try:
            import_module(self.module)
        except ImportError as error:
            msg = f"{self.name} takes {self.package}: {self.install}"
            raise MissingLibraryError(msg) from error


_T = TypeVar("_T", bound=Entrypoint)


class Registry(Generic[_T]):
    """All there is of a kind, by name.

    Nothing that others add takes the place of what comes with this package; of two of one
    name the first on the path counts.

    Parameters
    ----------
    kind : type
        Of the entries.
    *own : object of that type
        What comes with this package.
    group : str
        Name of the group of entry points; each leads to an entry of the same name.
    noun : str
        What an entry is, for messages.
    """

    def __init__(self, kind: type[_T], *own: _T, group: str, noun: str) -> None:
        self._kind = kind
        self._noun = noun
        self._group = group
        self.own: Mapping[str, _T] = {entry.name: entry for entry in own}

    @cached_property
    def added(self) -> Mapping[str, EntryPoint]:
        """What other distributions add, by name; nothing of it is imported."""
        from importlib.metadata import entry_points

        found = reversed(tuple(entry_points(group=self._group)))
        return {each.name: each for each in found if each.name not in self.own}

    @cached_property
    def added_and_whole(self) -> tuple[_T, ...]:
        """What other distributions add; the broken is warned of, and left out."""
        from dplabtools.errors import PluginError, PluginWarning

        whole: list[_T] = []
        for name in self.added:
            try:
                whole.append(self.load(name))
            except PluginError as error:
                warnings.warn(PluginWarning(str(error)), stacklevel=2)
        return tuple(whole)

    def names(self) -> tuple[str, ...]:
        """Return all names, own ones first."""
        return (*self.own, *self.added)

    def get(self, name: str) -> _T | None:
        """Return an entry; None if there is none of that name.

        Raises
        ------
        PluginError
            If another distribution adds it, and it cannot be loaded.
        """
        entry = self.own.get(name)
        if entry is None and name in self.added:
            return self.load(name)
        return entry

    def load(self, name: str) -> _T:
        """Return what another distribution adds.

        Raises
        ------
        PluginError
            If it cannot be loaded, or is something else.
        """
        point = self.added[name]
        try:
            entry = point.load()
        except Exception as error:  # importing runs anybody's code
            msg = f"cannot be loaded ({type(error).__name__}: {error})"
            raise self._broken(point, msg) from error
        if not isinstance(entry, self._kind) or entry.name != name:
            msg = f"is {entry!r}, and no {self._kind.__name__} of that name"
            raise self._broken(point, msg)
        return entry

    def _broken(self, point: EntryPoint, what: str) -> PluginError:
        from dplabtools.errors import PluginError

        package = "an unknown distribution" if point.dist is None else point.dist.name
        return PluginError(
            f"the {self._noun} {point.name!r} ({point.value}) of {package} {what}",
            remedy=(
                f"mend it: pip install --upgrade {package}; or pip uninstall {package}"
            ),
        )
