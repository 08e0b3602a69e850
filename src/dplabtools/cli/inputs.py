"""Which slides are meant, and which files go with each."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from glob import glob, has_magic
from pathlib import Path
from typing import Final

import typer

from dplabtools.cli.config_file import CONFIG_FILE
from dplabtools.cli.options.slides import SlideOptions

__all__ = ["SlideInput", "file_for", "slide_inputs", "with_files"]

_SLIDE_SUFFIXES: Final = frozenset(
    {
        *(".svs", ".tif", ".tiff", ".ndpi", ".scn", ".mrxs", ".bif", ".vms", ".vmu"),
        *(".svslide", ".czi", ".zvi", ".isyntax", ".btf", ".avs", ".dcm"),
    }
)
_COLUMNS: Final = ("slide", "mask", "annotation", "points", "label")
_ONE_FOLDER_ONE_SLIDE: Final = ".dcm"  # levels of a slide lie in files of one folder


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideInput:
    """A slide, and what is known about it.

    Attributes
    ----------
    wsi_file : str
        Its path.
    mask, annotation, points : Path or None
        Files that go with it.
    label : str or None
        Of all its patches.
    """

    wsi_file: str
    mask: Path | None = None
    annotation: Path | None = None
    points: Path | None = None
    label: str | None = None


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
        exist is among them: it fails when it is opened.

    Raises
    ------
    typer.BadParameter
        If there is none, or the table is none.
    """
    found: dict[str, SlideInput] = {}
    for path in options.slides:
        for file in _slides_of(path):
            found.setdefault(str(file), SlideInput(wsi_file=str(file)))
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
) -> tuple[SlideInput, ...]:
    """Give each slide its files, unless it has them already.

    Parameters
    ----------
    inputs : sequence of SlideInput
        The slides.
    masks, annotations, points : Path or None
        A folder of files named after the slides, or the file of the one slide.

    Returns
    -------
    tuple of SlideInput
        Where a folder has no file for a slide, the one that there should be.
    """
    from dplabtools.annotations.opening import ANNOTATION_SUFFIXES

    count = len(inputs)
    return tuple(
        replace(
            each,
            mask=each.mask or file_for(each.wsi_file, masks, _MASK_SUFFIXES, count=count),
            annotation=each.annotation
            or file_for(each.wsi_file, annotations, ANNOTATION_SUFFIXES, count=count),
            points=each.points or file_for(each.wsi_file, points, (".csv",), count=count),
        )
        for each in inputs
    )


_MASK_SUFFIXES: Final = (".png", ".npz", ".npy", ".tif", ".tiff", ".bmp", ".jpg")


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


def _slides_of(path: Path) -> Iterable[Path]:
    """Return the slides that a word of the command line stands for."""
    if path.is_dir():
        slides = sorted(_walk(path))
        if not slides:
            msg = f"there are no slides in the folder {path}"
            raise typer.BadParameter(msg)
        return slides
    if has_magic(str(path)) and not path.exists():
        matches = sorted(map(Path, glob(str(path), recursive=True)))  # noqa: PTH207 - as typed
        if not matches:
            msg = f"no file matches {str(path)!r}"
            raise typer.BadParameter(msg)
        return [each for match in matches for each in _slides_of(match)]
    return [path]


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the slides in a folder and those in it, but for what a run has written."""
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in sorted(folders) if name[0] != "."]
        if CONFIG_FILE in files:
            folders.clear()
            continue
        slides = sorted(
            name
            for name in files
            if name[0] != "." and Path(name).suffix.lower() in _SLIDE_SUFFIXES
        )
        series = [name for name in slides if name.lower().endswith(_ONE_FOLDER_ONE_SLIDE)]
        for name in slides:
            if name not in series[1:]:
                yield Path(root, name)


def _read_table(file: Path) -> Iterator[SlideInput]:
    """Yield the slides of a table."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            rows = list(csv.DictReader(text))
    except (OSError, ValueError, csv.Error) as error:
        msg = f"{file} cannot be read: {error}"
        raise typer.BadParameter(msg) from error
    columns = list(rows[0]) if rows else []
    unknown = [str(name) for name in columns if name not in _COLUMNS]
    if "slide" not in columns or unknown:
        what = f"not {', '.join(unknown)}" if unknown else "and needs the first"
        msg = f"{file} may have the columns {', '.join(_COLUMNS)}, {what}"
        raise typer.BadParameter(msg)
    for number, row in enumerate(rows, 2):
        if not row["slide"]:
            msg = f"{file}, line {number}: there is no slide"
            raise typer.BadParameter(msg)
        yield SlideInput(
            wsi_file=str(file.parent / row["slide"]),
            mask=_beside(file, row.get("mask")),
            annotation=_beside(file, row.get("annotation")),
            points=_beside(file, row.get("points")),
            label=row.get("label") or None,
        )


def _beside(file: Path, name: str | None) -> Path | None:
    return file.parent / name if name else None
