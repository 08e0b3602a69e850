"""What was extracted of a slide, written beside it: for people, and for programs."""

from __future__ import annotations

import csv
import io
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dplabtools._typing import StrPath
from dplabtools.masks.labelled import LabelledAreas
from dplabtools.records.quality import QUALITY_COLUMNS
from dplabtools.records.slide_plan import SlidePlan

__all__ = ["CSV_COLUMNS", "ManifestHead", "manifest_csv", "manifest_text", "one_line"]

_COLUMN = 24
_RULE = "-" * 50
_LONGEST = 1000  # characters of a parameter: a list of points may have millions
_FOR_ALL = (
    "file",
    "set",
    "label",
    "x",
    "y",
    "width",
    "height",
    "level_or_mpp",
    "mpp",
    "coverage",
)
CSV_COLUMNS = (*_FOR_ALL, "item")
"""Columns of tables, but for those of slides; only containers have items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestHead:
    """Where the patches of a slide came from, and what was asked for.

    Attributes
    ----------
    wsi_file : str
        Path of the slide.
    patch_class : str
        Class of the location object.
    patch_params : mapping of str to str
        Its parameters, in `one_line` each, sorted by name.
    patch_count : int
        Its patches, before labels were selected.
    patch_info : mapping of str to int
        The same by label.
    extractor_class : str
        Class of the extractor.
    extractor_params : mapping of str to object
        Its parameters.
    areas : LabelledAreas or None
        What label masks are drawn of, if there are to be any.
    """

    wsi_file: str
    patch_class: str
    patch_params: Mapping[str, str]
    patch_count: int
    patch_info: Mapping[str, int]
    extractor_class: str
    extractor_params: Mapping[str, object]
    areas: LabelledAreas | None = None


def manifest_text(
    head: ManifestHead,
    *,
    manifest_id: str,
    path: StrPath,
    files: Sequence[StrPath],
    complete: bool,
) -> str:
    """Return the manifest of a slide in its documented form.

    Parameters
    ----------
    head : ManifestHead
        Where the patches came from.
    manifest_id : str
        Eight characters, also in the name of each file.
    path : path
        Where the manifest will be, in full.
    files : sequence of path
        Saved images, in order.
    complete : bool
        Whether every patch was saved; only then the number of files is stated.

    Returns
    -------
    str
        Lines of two columns, the first 24 characters wide.
    """
    lines = [
        _row("Manifest ID:", manifest_id),
        _row("Manifest file path:", path),
        _row("Date created:", time.strftime("%Y-%b-%d %H:%M:%S")),
        _row("Hostname:", platform.node()),
        _RULE,
        _row("Patch class:", head.patch_class),
        "Patch class params:",
        *_items(head.patch_params),
        _row("Patch count:", head.patch_count),
        _row("Patch labels:", dict(head.patch_info)),
        _row("Extractor class:", head.extractor_class),
        "Extractor class params:",
        *_items(
            {key: one_line(value) for key, value in sorted(head.extractor_params.items())}
        ),
        "Saved patches:",
        *(_row("", file) for file in files),
    ]
    if complete:
        lines.append(_row("Disk file count:", len(files)))
    return "\n".join(lines) + "\n"


def _row(name: str, value: object) -> str:
    return f"{name:<{_COLUMN}}{value}"


def _items(params: Mapping[str, str]) -> Iterable[str]:
    """Yield a line for each parameter."""
    return (_row("", f"{key}: {value}") for key, value in params.items())


def one_line(value: object) -> str:
    """Return a value as one line of text; of long lists only how they begin."""
    text = str(value).replace("\r", "\\r").replace("\n", "\\n")
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]} ... ({len(text):,} characters)"


def manifest_csv(
    plan: SlidePlan,
    images: Mapping[int, tuple[tuple[str, ...], tuple[str, ...]]],
    *,
    has_items: bool,
    sets: Sequence[int] | None,
    label_mask: Callable[[str, str], str] | None = None,
) -> str:
    """Return the manifest of a slide as a table.

    Parameters
    ----------
    plan : SlidePlan
        The slide.
    images : mapping of int to (tuple of str, tuple of str)
        For each row that was saved the file of each image, relative to the output folder,
        and where in it that is.
    has_items : bool
        Whether there are such places: files hold many images.
    sets : sequence of int or None
        Number of the set of each row, if there are sets.
    label_mask : callable, optional
        Returns where the label mask of an image is, of its file and where in it that is; if
        there are such masks.

    Returns
    -------
    str
        CSV with the columns file, set, label, x, y (level 0 pixels), width, height (pixels
        of the image), level_or_mpp (as asked for), mpp and coverage (empty if unknown),
        item, if there are items, label_mask, if there are such masks, `QUALITY_COLUMNS`, if
        they were measured, and those of the slide.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    quoting = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    own = dict(plan.slide_columns)
    quality = () if plan.quality is None else QUALITY_COLUMNS
    places = (*(("item",) if has_items else ()), *(("label_mask",) if label_mask else ()))
    writer.writerow((*_FOR_ALL, *places, *quality, *own))
    views = [
        (view, resolution.number, _text(plan.mpp_of(view)))
        for view, resolution in enumerate(plan.views)
    ]
    columns = (plan.table.codes, plan.table.sizes, plan.origins)
    of_rows = zip(*(column[list(images)].tolist() for column in columns), strict=True)
    for (row, (files, items)), (code, size, corners) in zip(
        images.items(), of_rows, strict=True
    ):
        label = plan.table.labels[code]
        number = "" if sets is None else sets[row]
        share = _text(plan.table.share(row))
        good = () if plan.quality is None else plan.quality.texts(row)
        for view, resolution, mpp in views:
            file, item = files[view], items[view] if has_items else ""
            mask = (label_mask(file, item),) if label_mask else ()
            where = (*((item,) if has_items else ()), *mask)
            place = (file, number, label, *corners[view], *size)
            returns = "\r" in "".join((file, label, *where, *own.values()))
            (quoting if returns else writer).writerow(
                (*place, resolution, mpp, share, *where, *good, *own.values())
            )
    return out.getvalue()


def _text(value: float | None) -> str:
    return "" if value is None else str(value)
