"""Patches in the files of other tools: read, and saved."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dplabtools import config
from dplabtools._typing import StrPath
from dplabtools.arguments import check_choice, parse_count
from dplabtools.errors import OutputError, ParameterError
from dplabtools.extraction.selection import LocationLike, Selection
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.geometry.resolution import Number, Resolution, parse_level_or_mpp
from dplabtools.readers.slide import Slide
from dplabtools.records.labels import LabelFilter
from dplabtools.slides.patches._mock import PatchesMock, check_locations

if TYPE_CHECKING:  # who only extracts needs no formats of other tools
    from dplabtools.interchange.formats import Format

__all__ = ["read_locations", "save_locations"]


def read_locations(
    *,
    file: StrPath,
    file_format: str,
    wsi_file: StrPath,
    level_or_mpp: Number | None = None,
    patch_size: int | None = None,
    frame: Number | None = None,
    label: str = "",
    check_location: bool = True,
) -> PatchesMock:
    """Read the patches of one slide that another tool has placed.

    The slide is opened, to see whether the file fits it.

    Parameters
    ----------
    file : path
        What the other tool wrote.
    file_format : {"trident", "clam", "atlaspatch", "geojson", "csv", "parquet"}
        Coordinates in HDF5 of TRIDENT, CLAM or AtlasPatch; squares or points (centres of
        patches) of QuPath; or a table with the columns ``x`` and ``y`` (top-left corners)
        and, if there are any, ``width`` and ``height``, ``label``, ``coverage``.
    wsi_file : path
        The slide.
    level_or_mpp : int or float, default None
        Pyramid level (int) or microns per pixel (float) of the patches. GeoJSON and tables
        need it. The others say it themselves: the level whose pixels fit, else mpp.
    patch_size : int, default None
        Edge of a patch, in its own pixels. Points, and tables without widths and heights,
        need it. HDF5 files say it themselves.
    frame : int or float, default None
        Pyramid level (int) or microns per pixel (float) whose pixels ``x`` and ``y`` of a
        table count: 0 for level 0. Tables need it; all other formats are in level 0
        pixels.
    label : str, default ""
        Label of patches for which the file has none.
    check_location : bool, default True
        Refuse two patches at the same location, whatever their labels.

    Returns
    -------
    PatchesMock
        In the order of the file.

    Raises
    ------
    ParameterError
        If there is no such format, or it needs, or does not take, an argument.
    MissingLocationsError
        If there is no such file.
    InvalidLocationError
        If the file is damaged, lacks an attribute or column, is for another slide or
        frame, or a row is no patch.
    DuplicatePatchesError
        If two patches are at the same location.
    MissingMppError
        If the patches are at no level, and the slide states no mpp.
    MissingLibraryError
        If h5py or pyarrow is not installed.
    SlideError
        If the slide cannot be opened, or has no such resolution.
    """
    from dplabtools.interchange.base import ReadRequest
    from dplabtools.interchange.formats import FORMATS

    check_choice(file_format, FORMATS, name="file_format")
    given = {"level_or_mpp": level_or_mpp, "patch_size": patch_size, "frame": frame}
    _check_arguments(file_format, FORMATS[file_format], given)
    request = ReadRequest(
        file=Path(file),
        slide=os.fspath(wsi_file),
        pyramid=_pyramid(wsi_file),
        resolution=_parsed(level_or_mpp),
        frame=_parsed(frame),
        patch_size=(
            None if patch_size is None else parse_count(patch_size, name="patch_size")
        ),
        label=label,
    )
    table = FORMATS[file_format].read(request)
    params = {"file": os.fspath(file), "file_format": file_format, **given, "label": label}
    mock = PatchesMock.from_table(table, class_name="PatchesMock", class_params=params)
    if check_location:
        check_locations(table)
    return mock


def save_locations(
    *,
    patches: LocationLike | Iterable[LocationLike],
    path: StrPath,
    file_format: str,
) -> tuple[Path, ...]:
    """Save where patches are, for another tool.

    Coordinates are level 0 pixels of top-left corners. Files of the same name are
    replaced, once the new one is complete.

    Parameters
    ----------
    patches : location object, or iterable of such
        The patches of one slide, or a location pool.
    path : path
        For one slide the file. For a pool a folder that exists: each slide has a file
        there, named after it (``<name>_patches.h5`` for TRIDENT).
    file_format : {"trident", "clam", "geojson", "csv", "parquet"}
        Coordinates in HDF5 for TRIDENT or CLAM; tiles of QuPath, with a class and a colour
        for each label; or a table with the columns ``wsi_file``, ``x``, ``y``, ``width``,
        ``height``, ``level_or_mpp``, ``label`` and, if it is known, ``coverage``. HDF5
        files hold no labels.

    Returns
    -------
    tuple of Path
        The files, in the order of the slides.

    Raises
    ------
    ParameterError
        If there is no such format to save.
    ParameterTypeError
        If `patches` are no location objects.
    ResolutionError
        If CLAM cannot read the resolution of the patches: it reads levels only.
    InvalidLocationError
        If HDF5 cannot hold the patches, as they are no squares of one size.
    OutputError
        If a file cannot be written, or two slides have the same name.
    MissingLibraryError
        If h5py or pyarrow is not installed.
    SlideError
        If a slide cannot be opened.
    """
    from dplabtools.interchange.formats import FORMATS

    writable = [name for name, each in FORMATS.items() if each.write]
    check_choice(file_format, writable, name="file_format")
    chosen = FORMATS[file_format]
    everything = LabelFilter((), ())
    if isinstance(patches, Iterable) and not hasattr(patches, "patch_data"):
        selections = Selection.all_of(patches, everything)
        pairs = [(each, _file_of(each, Path(path), chosen)) for each in selections]
    else:
        single = cast("LocationLike", patches)
        pairs = [(Selection.of(single, everything), Path(path))]
    files = [file for _, file in pairs]
    twice = sorted({file.name for file in files if files.count(file) > 1})
    if twice:
        msg = f"two slides would be saved as {twice[0]}"
        raise OutputError(msg, remedy="save them to different folders")
    for selection, file in pairs:
        _save(selection, file, chosen)
    return tuple(files)


def _save(selection: Selection, file: Path, chosen: Format) -> None:
    from dplabtools.interchange.base import WriteRequest

    table = selection.table
    if chosen.write is not None:
        chosen.write(
            WriteRequest(
                table=table,
                file=file,
                pyramid=_pyramid(table.slide),
                margin=config.snapshot().mpp_level_margin,
            )
        )


def _file_of(selection: Selection, folder: Path, chosen: Format) -> Path:
    """Return the file of a slide."""
    return folder / f"{Path(selection.table.slide).stem}{chosen.suffix}"


def _check_arguments(name: str, chosen: Format, given: Mapping[str, Any]) -> None:
    """Raise if something is missing, or said twice."""
    for argument, value in given.items():
        if value is None and argument in chosen.needs:
            msg = f"{name} files do not say it: give {argument}"
            raise ParameterError(msg)
        if value is not None and argument not in (*chosen.needs, *chosen.takes):
            msg = f"{name} files say it themselves: do not give {argument}"
            raise ParameterError(msg)


def _parsed(value: Number | None) -> Resolution | None:
    return None if value is None else parse_level_or_mpp(value)


def _pyramid(wsi_file: StrPath) -> Pyramid:
    with Slide(wsi_file, settings=config.snapshot()) as slide:
        return slide.pyramid
