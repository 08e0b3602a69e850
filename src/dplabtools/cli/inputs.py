"""Which slides are meant, and which files go with each."""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import typer

from dplabtools.cli.options.slides import ForeignOptions, SlideOptions
from dplabtools.errors import ParameterError
from dplabtools.readers.finding import find_slides
from dplabtools.records.slide_columns import slide_columns
from dplabtools.records.slide_input import SlideInput
from dplabtools.sources.urls import is_url

__all__ = ["file_for", "slide_inputs", "with_files"]

_COLUMNS: Final = ("slide", "mask", "annotation", "points", "label", "mpp")
_NEAR: Final = 0.8  # likeness of names from which on one is taken for a slip
_SHOWN: Final = 20  # lines in a message


def slide_inputs(options: SlideOptions) -> tuple[SlideInput, ...]:
    """Return the slides that are meant, each once.

    Parameters
    ----------
    options : SlideOptions
        Files, folders and patterns; a table.

    Returns
    -------
    tuple of SlideInput
        In the order given; those of folders and patterns sorted. A file that does not
        exist is among them: it fails when it is opened. Of the files of a DICOM series in
        a folder, which are levels of one slide, it is the first.

    Raises
    ------
    typer.BadParameter
        If there is none, or the table is none.
    """
    try:
        found = {each: SlideInput(wsi_file=each) for each in find_slides(options.slides)}
    except ParameterError as error:
        raise typer.BadParameter(str(error)) from error
    if options.slides_csv is not None:
        for each in _read_table(options.slides_csv):
            found[each.wsi_file] = each
    if not found:
        msg = "no slides are given: name files, folders or patterns, or --slides-csv"
        raise typer.BadParameter(msg)
    return tuple(found.values())


def with_files(
    inputs: Sequence[SlideInput],
    *,
    masks: Path | None,
    annotations: Path | None,
    points: Path | None,
    foreign: ForeignOptions | None = None,
) -> tuple[SlideInput, ...]:
    """Give each slide its files, unless it has them already.

    Parameters
    ----------
    inputs : sequence of SlideInput
        The slides.
    masks, annotations, points : Path or None
        A folder of files named after the slides, or the file of the one slide.
    foreign : ForeignOptions, default None
        The same of patches that were placed by another tool.

    Returns
    -------
    tuple of SlideInput
        Where a folder has no file for a slide, the one that there should be.
    """
    from dplabtools.annotations.opening import ANNOTATION_SUFFIXES

    count = len(inputs)
    places = None if foreign is None else foreign.locations
    suffixes = () if foreign is None else foreign.suffixes
    return tuple(
        replace(
            each,
            mask=each.mask or _mask_for(each.wsi_file, masks, count=count),
            annotation=each.annotation
            or file_for(each.wsi_file, annotations, ANNOTATION_SUFFIXES, count=count),
            points=each.points or file_for(each.wsi_file, points, (".csv",), count=count),
            locations=file_for(each.wsi_file, places, suffixes, count=count),
        )
        for each in inputs
    )


_MASK_SUFFIXES: Final = (".png", ".npz", ".npy", ".tif", ".tiff", ".bmp", ".jpg")


def _mask_for(slide: str, masks: Path | None, *, count: int) -> Path | None:
    """Return the mask of a slide; outlines, which may have been mended, before images."""
    outlines = file_for(slide, masks, (".geojson",), count=count)
    if outlines is not None and outlines.exists():
        return outlines
    return file_for(slide, masks, _MASK_SUFFIXES, count=count)


def file_for(
    slide: str, path: Path | None, suffixes: Sequence[str], *, count: int
) -> Path | None:
    """Return the file that goes with a slide.

    Parameters
    ----------
    slide : str
        Path of the slide.
    path : Path or None
        A folder of files named after slides, or one file.
    suffixes : sequence of str
        Ends of their names, the likeliest first.
    count : int
        Number of slides: one file can only go with one of them.

    Returns
    -------
    Path or None
        None if there is no path. In a folder that lacks it, the likeliest one.

    Raises
    ------
    typer.BadParameter
        If there is one file for several slides.
    """
    if path is None:
        return None
    if not path.is_dir():
        if count > 1:
            msg = f"{path} is one file, but there are {count} slides; name a folder"
            raise typer.BadParameter(msg)
        return path
    candidates = [path / f"{Path(slide).stem}{suffix}" for suffix in suffixes]
    return next((file for file in candidates if file.exists()), candidates[0])


def _read_table(file: Path) -> Iterator[SlideInput]:
    """Yield the slides of a table.

    Raises
    ------
    typer.BadParameter
        If it cannot be read, with everything that is wrong in it.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            reader = csv.DictReader(text)
            rows = [(reader.line_num, row) for row in reader]
            names = reader.fieldnames or ()
    except (OSError, ValueError, csv.Error) as error:
        msg = f"{file} cannot be read: {error}"
        raise typer.BadParameter(msg) from error
    _check_columns(file, names)
    wrong: list[str] = []
    lines: dict[str, int] = {}
    for number, row in rows:
        wrong += [f"line {number}: {what}" for what in _wrong_in(row)]
        first = lines.setdefault(row["slide"], number)
        if row["slide"] and first != number:
            wrong.append(f"line {number}: {row['slide']} stands in line {first}, too")
    if wrong:
        more = len(wrong) - _SHOWN
        rest = [f"and {more:,} more"] if more > 0 else []
        msg = f"{file}, {'; '.join([*wrong[:_SHOWN], *rest])}"
        raise typer.BadParameter(msg)
    for _, row in rows:
        yield _slide_of(file, row)


def _check_columns(file: Path, names: Sequence[str]) -> None:
    """Raise if a table has not the columns that it needs, or one by a slip."""
    if "slide" not in names:
        msg = f"{file} needs the column slide, and may have {', '.join(_COLUMNS[1:])}"
        raise typer.BadParameter(msg)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"{file} has the column {', '.join(twice)} twice"
        raise typer.BadParameter(msg)
    missing = [name for name in _COLUMNS if name not in names]
    for name in names:
        near = difflib.get_close_matches(name.strip().lower(), missing, 1, _NEAR)
        if name not in _COLUMNS and near:
            msg = f"{file} has a column {name!r}: rename it to {near[0]!r}, or to another"
            raise typer.BadParameter(msg)
    try:
        slide_columns({name: "" for name in names if name not in _COLUMNS})
    except ParameterError as error:
        msg = f"{file}: {error}"
        raise typer.BadParameter(msg) from error


def _wrong_in(row: Mapping[str | None, object]) -> Iterator[str]:
    """Yield what is wrong in a row."""
    if not row["slide"]:
        yield "there is no slide"
    if None in row:
        yield "there are more cells than columns"
    mpp = row.get("mpp")
    try:
        if mpp and not 0 < float(str(mpp)) < math.inf:
            raise ValueError  # noqa: TRY301 - told as the others are
    except ValueError:
        yield f"its mpp is {mpp!r}, and no number of microns per pixel"


def _slide_of(file: Path, row: Mapping[str, str | None]) -> SlideInput:
    others = {name: text or "" for name, text in row.items() if name not in _COLUMNS}
    mpp, slide = row.get("mpp"), row["slide"] or ""
    return SlideInput(
        wsi_file=slide if is_url(slide) else str(file.parent / slide),
        mask=_beside(file, row.get("mask")),
        annotation=_beside(file, row.get("annotation")),
        points=_beside(file, row.get("points")),
        label=row.get("label") or None,
        mpp=float(mpp) if mpp else None,
        columns=slide_columns(others),
    )


def _beside(file: Path, name: str | None) -> Path | None:
    return file.parent / name if name else None
