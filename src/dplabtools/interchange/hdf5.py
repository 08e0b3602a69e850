"""Coordinates in HDF5, as TRIDENT, CLAM and AtlasPatch write and read them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from dplabtools._typing import FloatArray
from dplabtools.atomic import write_whole
from dplabtools.errors import ResolutionError
from dplabtools.geometry.resolution import Level, Mpp, Resolution, parse_level_or_mpp
from dplabtools.interchange.base import Found, ReadRequest, WriteRequest
from dplabtools.optional import optional
from dplabtools.records.foreign_attributes import (
    OWN_RESOLUTION,
    clam_attributes,
    trident_attributes,
)
from dplabtools.records.patch_table import PatchTable

__all__ = [
    "h5py_library",
    "read_atlaspatch",
    "read_clam",
    "read_trident",
    "write_clam",
    "write_trident",
]

_COORDS: Final = "coords"
_CHUNK: Final = 1024


def read_trident(request: ReadRequest) -> PatchTable:
    """Read the coordinates of TRIDENT (https://github.com/mahmoodlab/TRIDENT).

    Raises
    ------
    InvalidLocationError
        If it is no such file, or one for another slide.
    MissingMppError
        If the resolution is that of no level, and the slide states no mpp.
    """
    coords, attributes = _read(request, columns=2)
    if "patch_size_level0" not in attributes:
        return _by_level(request, coords, attributes)
    edge = _number(request, attributes, "patch_size")
    footprint = _number(request, attributes, "patch_size_level0")
    _check_level0(request, attributes)
    resolution = _resolution(request, attributes, edge=edge, footprint=footprint)
    return _found(request, coords, edge=edge, resolution=resolution)


def read_clam(request: ReadRequest) -> PatchTable:
    """Read the coordinates of CLAM (https://github.com/mahmoodlab/CLAM).

    Raises
    ------
    InvalidLocationError
        If it is no such file, or one for another slide.
    MissingMppError
        If the resolution is that of no level, and the slide states no mpp.
    """
    coords, attributes = _read(request, columns=2)
    return _by_level(request, coords, attributes)


def read_atlaspatch(request: ReadRequest) -> PatchTable:
    """Read the coordinates of AtlasPatch.

    https://github.com/AtlasAnalyticsLab/AtlasPatch

    Raises
    ------
    InvalidLocationError
        If it is no such file, or one for another slide.
    MissingMppError
        If the resolution is that of no level, and the slide states no mpp.
    """
    coords, attributes = _read(request, columns=5)
    edge = _number(request, attributes, "patch_size")
    footprint = _number(request, attributes, "patch_size_level0")
    _check_level0(request, attributes)
    levels = coords[:, 4].astype(np.int64)
    downsamples = np.array([*request.pyramid.downsamples, np.inf])
    scale = downsamples[np.clip(levels, 0, len(downsamples) - 1)]
    # What is read at a level has to be the patch, but for rounding by a pixel of it.
    off = np.abs(coords[:, 2:4] * scale[:, None] - footprint).max(axis=1, initial=0)
    wrong = (levels < 0) | ~(off <= 2 * scale) | ~np.isfinite(scale)
    if wrong.any():
        row = int(np.argmax(wrong))
        msg = (
            f"patch {row} is read as {coords[row, 2]:g} x {coords[row, 3]:g} pixels of "
            f"level {levels[row]}, which are not the {footprint} level 0 pixels of a patch"
        )
        raise request.error(msg)
    resolution = _resolution(request, attributes, edge=edge, footprint=footprint)
    return _found(request, coords[:, :2], edge=edge, resolution=resolution)


def write_trident(request: WriteRequest) -> None:
    """Write coordinates for TRIDENT.

    Raises
    ------
    InvalidLocationError
        If the patches are no squares of one size.
    MissingLibraryError
        If h5py is not installed.
    OutputError
        If the file cannot be written.
    """
    attributes = trident_attributes(
        request.pyramid,
        edge=request.edge(),
        downsample=request.footprint(),
        origins=request.table.origins,
    )
    _write(request, {**attributes, "savetodir": str(request.file.parent)})


def write_clam(request: WriteRequest) -> None:
    """Write coordinates for CLAM, which reads levels as they are.

    Raises
    ------
    ResolutionError
        If the patches are at an mpp that no level has.
    InvalidLocationError
        If the patches are no squares of one size.
    MissingLibraryError
        If h5py is not installed.
    OutputError
        If the file cannot be written.
    """
    attributes = clam_attributes(
        request.pyramid, edge=request.edge(), level=_true_level(request)
    )
    _write(request, {**attributes, "save_path": str(request.file.parent)})


def _read(request: ReadRequest, *, columns: int) -> tuple[FloatArray, dict[str, Any]]:
    """Return the coordinates, and the attributes of dataset and file."""
    h5py = h5py_library()
    with request.opening(), h5py.File(request.file, "r") as file:
        dataset = file.get(_COORDS)
        if not isinstance(dataset, h5py.Dataset):
            msg = f"it has no dataset {_COORDS!r}"
            raise request.error(msg)
        if dataset.shape != (len(dataset), columns) or dataset.dtype.kind not in "iuf":
            msg = (
                f"its dataset {_COORDS!r} has shape {dataset.shape} of {dataset.dtype}; "
                f"this format has numbers in {columns} columns"
            )
            raise request.error(msg)
        attributes = {**file.attrs, **dataset.attrs}
        return np.asarray(dataset[()], dtype=np.float64), attributes


def _by_level(
    request: ReadRequest, coords: FloatArray, attributes: Mapping[str, Any]
) -> PatchTable:
    """Return patches that are read at a level, maybe made smaller then."""
    edge = _number(request, attributes, "patch_size")
    level = _number(request, attributes, "patch_level", least=0)
    request.check_size(request.pyramid.size)
    if level >= len(request.pyramid.sizes):
        last = len(request.pyramid.sizes) - 1
        msg = f"its patches are at level {level}; this slide has levels 0 to {last}"
        raise request.error(msg)
    if "level_dim" in attributes:
        request.check_size(_pair(request, attributes, "level_dim"), level=level)
    extra = attributes.get("custom_downsample", 1)
    footprint = edge * request.pyramid.downsamples[level] * float(extra)
    resolution: Resolution = Level(level)
    if float(extra) != 1:
        resolution = _resolution(request, attributes, edge=edge, footprint=footprint)
    if request.resolution is not None:
        resolution = request.resolution
    return _found(request, coords, edge=edge, resolution=resolution)


def _found(
    request: ReadRequest, coords: FloatArray, *, edge: int, resolution: Resolution
) -> PatchTable:
    return Found(
        corners=coords,
        sizes=np.full((len(coords), 2), edge, dtype=np.int64),
        labels=[request.label] * len(coords),
        resolution=resolution,
    ).table(request)


def _resolution(
    request: ReadRequest, attributes: Mapping[str, Any], *, edge: int, footprint: float
) -> Resolution:
    """Return the resolution: as the caller says, as we wrote it, or as the sizes tell."""
    if request.resolution is not None:
        return request.resolution
    if OWN_RESOLUTION in attributes:
        return parse_level_or_mpp(attributes[OWN_RESOLUTION])
    return request.resolution_for(edge, footprint)


def _check_level0(request: ReadRequest, attributes: Mapping[str, Any]) -> None:
    """Raise if the file is for a slide of another size."""
    width = _number(request, attributes, "level0_width")
    height = _number(request, attributes, "level0_height")
    request.check_size((width, height))


def _number(
    request: ReadRequest, attributes: Mapping[str, Any], name: str, *, least: int = 1
) -> int:
    """Return an attribute that has to be a whole number."""
    if name not in attributes:
        known = ", ".join(sorted(attributes)) or "none"
        msg = f"the attribute {name!r} is missing (there are: {known})"
        raise request.error(msg)
    try:
        value = int(attributes[name])
    except (TypeError, ValueError) as error:
        msg = f"the attribute {name!r} is no number but {attributes[name]!r}"
        raise request.error(msg) from error
    if value < least:
        msg = f"the attribute {name!r} is {value}"
        raise request.error(msg)
    return value


def _pair(
    request: ReadRequest, attributes: Mapping[str, Any], name: str
) -> tuple[int, int]:
    try:
        first, second = (int(value) for value in attributes[name])
    except (TypeError, ValueError) as error:
        msg = f"the attribute {name!r} is no pair of numbers but {attributes[name]!r}"
        raise request.error(msg) from error
    return first, second


def _true_level(request: WriteRequest) -> int:
    """Return the level that the patches are at."""
    match request.table.resolution:
        case Level(index):
            return index
        case Mpp(value):
            mpps = request.pyramid.level_mpps()
    for level, mpp in enumerate(mpps):
        if abs(mpp - value) < request.margin:
            return level
    levels = ", ".join(f"{mpp:g}" for mpp in mpps)
    msg = (
        f"CLAM reads levels as they are, and none has {value} microns per pixel "
        f"(they have {levels})"
    )
    raise ResolutionError(
        msg,
        slide=request.pyramid.slide,
        remedy="place the patches at a level, or save them for TRIDENT",
    )


def _write(request: WriteRequest, attributes: Mapping[str, Any]) -> None:
    """Write coordinates and attributes."""
    h5py = h5py_library()
    origins = request.table.origins
    name = request.pyramid.slide.rpartition(".")[0] or request.pyramid.slide
    # On a full disk HDF5 dies as it closes a file; these are small, and made in memory.
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        dataset = file.create_dataset(
            _COORDS,
            data=origins.astype(np.int64),
            chunks=(_CHUNK, 2),
            maxshape=(None, 2),
        )
        dataset.attrs.update({**attributes, "name": name})
        dataset.attrs[OWN_RESOLUTION] = request.table.resolution.number
    write_whole(request.file, out.getvalue(), slide=request.pyramid.slide)


def h5py_library() -> Any:  # noqa: ANN401 - a module without types
    """Return the library, or raise `MissingLibraryError`."""
    return optional("h5py", what="HDF5 files", extra="hdf5")
