"""The kinds of containers: the only place where they are entered."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Final

from dplabtools.errors import ParameterError
from dplabtools.output.containers.base import ContainerFormat

__all__ = ["ENTRY_POINTS", "container_format", "container_names", "format_of_suffix"]

ENTRY_POINTS: Final = "dplabtools.containers"
"""Group of entry points by which packages offer kinds of containers."""

_HOME: Final = "dplabtools.output.containers"
_OURS: Final = {
    "webdataset": f"{_HOME}.webdataset:WEBDATASET",
    "hdf5": f"{_HOME}.hdf5:HDF5",
    "zarr": f"{_HOME}.zarr:ZARR",
    "parquet": f"{_HOME}.parquet:PARQUET",
}


def container_names() -> tuple[str, ...]:
    """Return the names of all kinds: ours, and those of installed packages."""
    return tuple(_places())


def container_format(name: str) -> ContainerFormat:
    """Return a kind of container by its name.

    Raises
    ------
    ParameterError
        If there is none, or it cannot be loaded.
    """
    place = _OURS.get(name) or _places().get(name)
    if place is None:
        allowed = " or ".join(f'"{each}"' for each in container_names())
        msg = f"container must be {allowed}, not {name!r}"
        raise ParameterError(msg)
    module, _, attribute = place.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:  # whatever happens in code of others
        msg = f"container {name!r}, {place}, cannot be loaded: {error!r}"
        raise ParameterError(msg) from error
    if not isinstance(found, ContainerFormat):
        msg = f"container {name!r}, {place}, is no ContainerFormat, but {found!r}"
        raise ParameterError(msg)
    return found


def format_of_suffix(suffix: str) -> ContainerFormat | None:
    """Return the kind of container whose files end like this; None if there is none."""
    return next((each for each in _formats() if each.suffix == suffix.lower()), None)


def _formats() -> Iterator[ContainerFormat]:
    """Yield all kinds, ours first: packages are looked for when none of ours will do."""
    yield from map(container_format, _OURS)
    yield from map(container_format, _places().keys() - _OURS)


def _places() -> dict[str, str]:
    """Return the module and the attribute of each kind; ours cannot be replaced."""
    from importlib.metadata import entry_points  # slow to import

    offered = sorted((each.name, each.value) for each in entry_points(group=ENTRY_POINTS))
    return _OURS | {name: place for name, place in offered if name not in _OURS}
