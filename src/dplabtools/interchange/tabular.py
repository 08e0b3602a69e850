"""Patches as rows of CSV and Parquet."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from dplabtools._typing import FloatArray, IntArray
from dplabtools.atomic import written_aside
from dplabtools.interchange.base import Found, ReadRequest, WriteRequest
from dplabtools.optional import optional
from dplabtools.records.patch_table import PatchTable

__all__ = ["pyarrow_library", "read_csv", "read_parquet", "write_csv", "write_parquet"]

_OPTIONAL: Final = ("width", "height", "label", "coverage")


def read_csv(request: ReadRequest) -> PatchTable:
    """Read the columns x, y and, if there are any, width, height, label and coverage.

    Raises
    ------
    InvalidLocationError
        If it is no such file.
    """
    with request.opening():
        try:
            with request.file.open(encoding="utf-8-sig", newline="") as stream:
                rows = list(csv.reader(stream))
        except (UnicodeDecodeError, csv.Error) as error:
            msg = f"it is no CSV: {error}"
            raise request.error(msg) from error
    header, *rows = rows or [[]]
    for number, row in enumerate(rows):
        if len(row) != len(header):
            msg = f"patch {number} has {len(row)} values for {len(header)} columns"
            raise request.error(msg)
    columns = dict(zip(header, zip(*rows, strict=True), strict=False))
    return _table(request, {name: columns.get(name, ()) for name in header})


def read_parquet(request: ReadRequest) -> PatchTable:
    """Read the columns x, y and, if there are any, width, height, label and coverage.

    Raises
    ------
    InvalidLocationError
        If it is no such file.
    MissingLibraryError
        If pyarrow is not installed.
    """
    arrow, parquet = pyarrow_library()
    with request.opening():
        try:
            stored = parquet.read_table(request.file)
        except arrow.ArrowException as error:
            msg = f"it is no Parquet: {error}"
            raise request.error(msg) from error
    wanted = [name for name in ("x", "y", *_OPTIONAL) if name in stored.column_names]
    return _table(request, {name: stored[name].to_pylist() for name in wanted})


def write_csv(request: WriteRequest) -> None:
    """Write a row for each patch.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    columns = _columns(request.table)
    with (
        written_aside(request.file, slide=request.pyramid.slide) as aside,
        aside.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def write_parquet(request: WriteRequest) -> None:
    """Write a row for each patch.

    Raises
    ------
    MissingLibraryError
        If pyarrow is not installed.
    OutputError
        If the file cannot be written.
    """
    arrow, parquet = pyarrow_library()
    with written_aside(request.file) as aside:
        parquet.write_table(arrow.table(_columns(request.table)), aside)


def _columns(table: PatchTable) -> dict[str, list[Any]]:
    """Return the columns by name; x and y are in level 0 pixels."""
    count = len(table)
    columns: dict[str, list[Any]] = {
        "wsi_file": [table.slide] * count,
        "x": table.origins[:, 0].tolist(),
        "y": table.origins[:, 1].tolist(),
        "width": table.sizes[:, 0].tolist(),
        "height": table.sizes[:, 1].tolist(),
        "level_or_mpp": [table.resolution.number] * count,
        "label": list(table.row_labels()),
    }
    if table.coverage is not None:
        columns["coverage"] = table.coverage.tolist()
    return columns


def _table(request: ReadRequest, columns: Mapping[str, Sequence[Any]]) -> PatchTable:
    """Return the patches of named columns."""
    if request.resolution is None or request.frame is None:
        msg = "a table says neither its resolution nor its frame"
        raise request.error(msg)
    missing = [name for name in ("x", "y") if name not in columns]
    if missing:
        known = ", ".join(columns) or "none"
        msg = f"the column {missing[0]!r} is missing (there are: {known})"
        raise request.error(msg)
    corners = np.column_stack([_numbers(request, columns, name) for name in ("x", "y")])
    coverage = None
    if "coverage" in columns:
        coverage = _numbers(request, columns, "coverage").astype(np.float32)
    labels = columns.get("label", [request.label] * len(corners))
    return Found(
        corners=corners * request.pyramid.downsample(request.frame),
        sizes=_sizes(request, columns, len(corners)),
        labels=["" if label is None else str(label) for label in labels],
        resolution=request.resolution,
        coverage=coverage,
    ).table(request)


def _sizes(
    request: ReadRequest, columns: Mapping[str, Sequence[Any]], count: int
) -> IntArray:
    """Return (width, height) of each patch."""
    if request.patch_size is not None:
        return np.full((count, 2), request.patch_size, dtype=np.int64)
    if "width" not in columns or "height" not in columns:
        msg = "there are no columns 'width' and 'height'; give patch_size"
        raise request.error(msg)
    sizes = np.column_stack([_numbers(request, columns, n) for n in ("width", "height")])
    whole = (sizes == np.floor(sizes)).all(axis=1)
    if not whole.all():
        msg = f"patch {int(np.argmin(whole))} has a size that is no whole number"
        raise request.error(msg)
    return sizes.astype(np.int64)


def _numbers(
    request: ReadRequest, columns: Mapping[str, Sequence[Any]], name: str
) -> FloatArray:
    """Return a column of finite numbers."""
    values = columns[name]
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.array([_number(value) for value in values])
    finite = np.isfinite(numbers)
    if not finite.all():
        row = int(np.argmin(finite))
        msg = f"patch {row}: {name} is no finite number but {values[row]!r}"
        raise request.error(msg)
    return numbers


def _number(value: object) -> float:
    """Return a number, or NaN if it is none."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return np.nan


def pyarrow_library() -> tuple[Any, Any]:
    """Return two modules of it, or raise `MissingLibraryError`."""
    what, extra = "Parquet files", "parquet"
    return (
        optional("pyarrow", what=what, extra=extra),
        optional("pyarrow.parquet", what=what, extra=extra),
    )
