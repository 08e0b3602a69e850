"""The kinds of containers: the only place where they are entered.

Other distributions enter theirs as entry points of the group ``dplabtools.containers``.
"""

from __future__ import annotations

from typing import Final

from dplabtools.errors import ParameterError
from dplabtools.output.containers.base import ContainerFormat
from dplabtools.output.containers.hdf5 import HDF5
from dplabtools.output.containers.parquet import PARQUET
from dplabtools.output.containers.webdataset import WEBDATASET
from dplabtools.output.containers.zarr import ZARR
from dplabtools.plugins import Registry

__all__ = ["CONTAINERS", "container_format", "format_of_suffix"]

CONTAINERS: Final = Registry(
    ContainerFormat,
    WEBDATASET,
    HDF5,
    ZARR,
    PARQUET,
    group="dplabtools.containers",
    noun="container",
)


def container_format(name: str) -> ContainerFormat:
    """Return a kind of container by its name.

    Raises
    ------
    ParameterError
        If there is none.
    PluginError
        If another distribution adds it, and it cannot be loaded.
    """
    found = CONTAINERS.get(name)
    if found is None:
        allowed = " or ".join(f'"{each}"' for each in CONTAINERS.names())
        msg = f"container must be {allowed}, not {name!r}"
        raise ParameterError(msg)
    return found


def format_of_suffix(suffix: str) -> ContainerFormat | None:
    """Return the kind of container whose files end like this; None if there is none."""
    for own in CONTAINERS.own.values():
        if own.suffix == suffix.lower():
            return own
    added = (each for each in CONTAINERS.added_and_whole if each.suffix == suffix.lower())
    return next(added, None)
