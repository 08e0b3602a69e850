"""What to read, in which pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dplabtools._typing import IntArray
from dplabtools.errors import RegionOutOfBoundsError
from dplabtools.extraction.transform import Transform
from dplabtools.geometry.boxes import region_error, regions_outside
from dplabtools.geometry.multires import concentric_origins
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.geometry.resolution import Mpp, Resolution
from dplabtools.readers.scale_warnings import warn_of_scale
from dplabtools.records.patch_table import PatchTable
from dplabtools.records.slide_plan import SlidePlan
from dplabtools.settings import Settings

__all__ = ["Reading", "blocks", "groups", "plan_slide", "rows_outside", "runs", "shares"]

_CHUNK_ROWS = 256  # a square of 16 x 16 shares few tiles with its neighbours
_CHUNK_BYTES = 64 << 20  # patches of a chunk are held together by some sinks
_CHUNKS_PER_WORKER = 4  # at least, so that none idles long at the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How patches are to be read, the same for all slides of a run.

    Attributes
    ----------
    views : tuple of Level or Mpp, or None
        Resolutions to deliver; None for that of each table.
    mode : {None, "tile", "wsi"}
        How to resample.
    settings : Settings
        The documented knobs.
    transform : Transform or None
        What patches go through when they have been read.
    """

    views: tuple[Resolution, ...] | None
    mode: str | None
    settings: Settings
    transform: Transform | None = None

    def views_of(self, table: PatchTable) -> tuple[Resolution, ...]:
        """Return the resolutions to deliver of one slide."""
        return (table.resolution,) if self.views is None else self.views

    def extra_mpps(self, table: PatchTable) -> tuple[float, ...]:
        """Return the mpps that whole-slide resampling has to prepare for."""
        if self.mode != "wsi":
            return ()
        return tuple(view.value for view in self.views_of(table) if isinstance(view, Mpp))


def plan_slide(
    slide: int,
    table: PatchTable,
    *,
    pyramid: Pyramid,
    reading: Reading,
    icc_profile: bytes | None = None,
) -> SlidePlan:
    """Find out where each patch begins at each resolution.

    Parameters
    ----------
    slide : int
        Place of the slide among those given.
    table : PatchTable
        Its patches.
    pyramid : Pyramid
        Its levels.
    reading : Reading
        Resolutions, and how to resample.
    icc_profile : bytes, optional
        Colour profile of the slide.

    Returns
    -------
    SlidePlan
        With a row for each of `table`.

    Raises
    ------
    SlideError
        If the slide cannot be read at one of the resolutions.

    Warns
    -----
    ImplausibleMppWarning, EnlargedPatchesWarning
        If its scale is not what it seems.
    """
    if reading.mode is not None:
        pyramid.required_mpp()
    views = reading.views_of(table)
    for view in views:
        pyramid.source(view, mode=reading.mode, settings=reading.settings)
    warn_of_scale(pyramid, views, reading.settings)
    columns = [
        concentric_origins(
            table.origins, table.sizes, base=table.resolution, target=view, pyramid=pyramid
        )
        for view in views
    ]
    return SlidePlan(
        slide=slide,
        table=table,
        pyramid=pyramid,
        views=views,
        origins=np.stack(columns, axis=1),
        icc_profile=icc_profile,
        found_columns=(("mpp_source", pyramid.mpp_source),),
    )


def rows_outside(
    plan: SlidePlan, reading: Reading
) -> list[tuple[int, RegionOutOfBoundsError]]:
    """Find the patches that do not fit the slide at one of their resolutions.

    Returns
    -------
    list of (int, RegionOutOfBoundsError)
        Row and error of each, by row.
    """
    errors: dict[int, RegionOutOfBoundsError] = {}
    for index, view in enumerate(plan.views):
        source = plan.pyramid.source(view, mode=reading.mode, settings=reading.settings)
        outside = regions_outside(
            plan.pyramid.size,
            plan.origins[:, index],
            plan.table.sizes,
            downsample=source.downsample,
        )
        for row in np.flatnonzero(outside).tolist():
            x, y = plan.origins[row, index].tolist()
            width, height = plan.table.sizes[row].tolist()
            error = region_error(
                plan.pyramid, (x, y), (width, height), downsample=source.downsample
            )
            errors.setdefault(row, error)
    return sorted(errors.items())


def blocks(
    table: PatchTable, rows: IntArray, *, views: int, total: int, workers: int
) -> Iterator[IntArray]:
    """Cut rows of a slide into chunks of neighbours.

    Parameters
    ----------
    table : PatchTable
        The patches of the slide.
    rows : ndarray of int, shape (m,)
        Rows of the table to cut up.
    views : int
        Resolutions of each patch.
    total : int
        Patches of the whole run.
    workers : int
        Workers that share it.

    Yields
    ------
    ndarray of int
        Rows that lie together, up to 256, fewer where patches are large or the run small.
        Neighbouring chunks follow each other.
    """
    most = chunk_rows(table, rows, views=views, total=total, workers=workers)
    yield from _squares(table, rows, most=most, exactly=False)


def shares(
    table: PatchTable, rows: IntArray, *, views: int, count: int
) -> Iterator[IntArray]:
    """Cut rows of a slide into as many chunks of neighbours as there are workers.

    Parameters
    ----------
    table : PatchTable
        The patches of the slide.
    rows : ndarray of int, shape (m,)
        Rows of the table to cut up.
    views : int
        Resolutions of each patch.
    count : int
        Number of workers.

    Yields
    ------
    ndarray of int
        Rows that lie together. Of one strip of a slide and of the next, the first chunks
        are neighbours, and so are the second, ...
    """
    most = -(-len(rows) // count)
    held = _held(table.sizes[rows], views=views)
    yield from _squares(table, rows, most=max(1, min(most, held)), exactly=False)


def runs(
    table: PatchTable, rows: IntArray, *, views: int, count: int
) -> Iterator[IntArray]:
    """Cut rows of a slide into chunks of neighbours of a given length.

    Parameters
    ----------
    table : PatchTable
        The patches of the slide.
    rows : ndarray of int, shape (m,)
        Rows of the table to cut up.
    views : int
        Resolutions of each patch.
    count : int
        Rows of each chunk but the last.

    Yields
    ------
    ndarray of int
        Rows that lie together, and those of each `groups` closer still.
    """
    held = _held(table.sizes[rows], views=views)
    for run in _squares(table, rows, most=count, exactly=True):
        yield np.concatenate(list(_squares(table, run, most=held, exactly=True)))


def _squares(
    table: PatchTable, rows: IntArray, *, most: int, exactly: bool
) -> Iterator[IntArray]:
    """Cut rows in halves, and these again, until none has more than so many rows.

    With `exactly`, all but the last have as many as that.
    """
    waiting = [rows] if len(rows) else []
    while waiting:
        part = waiting.pop()
        if len(part) <= most:
            yield np.sort(part)
        else:
            corners = table.origins[part]
            waiting += reversed(_halves(part, corners, most=most, exactly=exactly))


def _halves(
    rows: IntArray, corners: IntArray, *, most: int, exactly: bool
) -> tuple[IntArray, IntArray]:
    """Cut rows in two across their longer side, between columns of a grid if it is one.

    Together the halves make no more chunks of at most `most` rows than need be.
    """
    across = int(np.ptp(corners[:, 1]) >= np.ptp(corners[:, 0]))
    order = np.lexsort((rows, corners[:, 1 - across], corners[:, across]))
    chunks = -(-len(rows) // most)
    first = chunks // 2
    place = round(len(rows) * first / chunks)
    steps = np.flatnonzero(np.diff(corners[order, across])) + 1
    steps = steps[(steps <= first * most) & (len(rows) - steps <= (chunks - first) * most)]
    if exactly:
        place = first * most
    elif len(steps):
        place = int(steps[np.abs(steps - place).argmin()])
    return rows[order[:place]], rows[order[place:]]


def chunk_rows(
    table: PatchTable, rows: IntArray, *, views: int, total: int, workers: int
) -> int:
    """Return how many of these rows make a chunk."""
    fair = -(-total // (workers * _CHUNKS_PER_WORKER))
    return max(1, min(fair, _held(table.sizes[rows], views=views)))


def groups(sizes: IntArray, *, views: int) -> list[range]:
    """Cut the patches of a chunk of any length into groups that are read at once.

    Parameters
    ----------
    sizes : ndarray of int, shape (m, 2)
        (width, height) of each patch.
    views : int
        Resolutions of each.

    Returns
    -------
    list of range
        Numbers of patches: up to 256, fewer where they are large.
    """
    count = _held(sizes, views=views)
    every = range(len(sizes))
    return [every[start : start + count] for start in every[::count]]


def _held(sizes: IntArray, *, views: int) -> int:
    """Return how many patches may be held together."""
    bytes_each = int(sizes.prod(axis=1).max(initial=1)) * 3 * views
    return max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // bytes_each))
