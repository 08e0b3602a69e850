"""The formats by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from dplabtools.interchange.base import ReadRequest, WriteRequest
from dplabtools.interchange.hdf5 import (
    h5py_library,
    read_atlaspatch,
    read_clam,
    read_trident,
    write_clam,
    write_trident,
)
from dplabtools.interchange.qupath import read_qupath, write_qupath
from dplabtools.interchange.tabular import (
    pyarrow_library,
    read_csv,
    read_parquet,
    write_csv,
    write_parquet,
)
from dplabtools.records.patch_table import PatchTable

__all__ = ["FORMATS", "Format"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A kind of file that patches can be in.

    Attributes
    ----------
    read : callable
        Returns the patches of a file.
    write : callable or None
        Writes patches to a file; None if this is left to others.
    suffix : str
        End of the name of a file, after the name of the slide.
    needs : tuple of str
        What the caller has to say, as the file does not.
    takes : tuple of str
        What the caller may say.
    library : callable or None
        Imports the library that it takes, or raises `MissingLibraryError`; None if every
        installation has it.
    """

    read: Callable[[ReadRequest], PatchTable]
    write: Callable[[WriteRequest], None] | None
    suffix: str
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    library: Callable[[], object] | None = None


_TABLE: Final[Mapping[str, Any]] = {
    "needs": ("level_or_mpp", "frame"),
    "takes": ("patch_size",),
}

FORMATS: Final[Mapping[str, Format]] = {
    "trident": Format(
        read=read_trident,
        write=write_trident,
        suffix="_patches.h5",
        takes=("level_or_mpp",),
        library=h5py_library,
    ),
    "clam": Format(
        read=read_clam,
        write=write_clam,
        suffix=".h5",
        takes=("level_or_mpp",),
        library=h5py_library,
    ),
    "atlaspatch": Format(
        read=read_atlaspatch,
        write=None,
        suffix=".h5",
        takes=("level_or_mpp",),
        library=h5py_library,
    ),
    "geojson": Format(
        read=read_qupath,
        write=write_qupath,
        suffix=".geojson",
        needs=("level_or_mpp",),
        takes=("patch_size",),
    ),
    "csv": Format(read=read_csv, write=write_csv, suffix=".csv", **_TABLE),
    "parquet": Format(
        read=read_parquet,
        write=write_parquet,
        suffix=".parquet",
        library=pyarrow_library,
        **_TABLE,
    ),
}
