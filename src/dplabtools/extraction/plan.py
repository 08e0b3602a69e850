"""What to read, in which pieces."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from dplabtools._typing import IntArray
from dplabtools.errors import RegionOutOfBoundsError
from dplabtools.geometry.boxes import region_error, regions_outside
from dplabtools.geometry.multires import concentric_origins
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.geometry.resolution import Mpp, Resolution
from dplabtools.readers.scale_warnings import warn_of_scale
from dplabtools.records.patch_table import PatchTable
from dplabtools.records.quality import QualityLimits
from dplabtools.records.slide_plan import SlidePlan
from dplabtools.settings import Settings

if TYPE_CHECKING:
    from dplabtools.extraction.transform import Transform

__all__ = [
    "CHUNK_ROWS",
    "ReadOptions",
    "blocks",
    "closer",
    "groups",
    "is_scattered",
    "pieces",
    "plan_slide",
    "rows_outside",
    "runs",
    "strips",
]

CHUNK_ROWS = 256  # a square of 16 x 16 shares few tiles with its neighbours
_CHUNK_BYTES = 64 << 20  # patches of a chunk are held together by some sinks
_CHUNKS_PER_WORKER = 4  # at least, so that none idles long at the end
_LEAST_SHARE = 64  # patches: with fewer the tiles at their border are too many
_LEAST_PIECE = 256  # patches: planning a piece takes as long as decoding five tiles
_PIECE_IN_ORDER = 128  # patches: others wait for the last of them
_FAR = 3.0  # times as long as the steps of a grid


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How patches are to be read, the same for all slides of a run.

    Attributes
    ----------
    views : tuple of Level or Mpp, or None
        Resolutions to deliver; None for that of each table.
    mode : {None, "tile", "fast", "wsi"}
        How to resample.
    settings : Settings
        The documented knobs.
    transform : Transform or None
        What patches go through when they have been read.
    quality : QualityLimits or None
        Measure the quality of patches, and leave out those that are not good enough.
    stored_chroma : bool
        Take chroma as it is stored, for who halves it again; see `Slide.keep_chroma`.
    """

    views: tuple[Resolution, ...] | None
    mode: str | None
    settings: Settings
    transform: Transform | None = None
    quality: QualityLimits | None = None
    stored_chroma: bool = False

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
    reading: ReadOptions,
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
    reading : ReadOptions
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
        slide_index=slide,
        table=table,
        pyramid=pyramid,
        views=views,
        origins=np.stack(columns, axis=1),
        icc_profile=icc_profile,
        found_columns=(("mpp_source", pyramid.mpp_source),),
    )


def rows_outside(
    plan: SlidePlan, reading: ReadOptions
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
    table: PatchTable,
    rows: IntArray,
    *,
    views: int,
    total: int,
    workers: int,
    banded: bool = False,
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
    banded : bool, default False
        Put those side by side together, across the whole slide.

    Yields
    ------
    ndarray of int
        Rows that lie together, up to 256, fewer where patches are large or the run small.
        Neighbouring chunks follow each other.
    """
    most = chunk_rows(table, rows, views=views, total=total, workers=workers)
    if banded and most > 1:
        x, y = table.origins[rows].T
        rows = rows[np.lexsort((x, y))]
        for part in strips(table.origins[rows], least=max(1, most // 2), most=most):
            yield np.sort(rows[part])
        return
    for places in _squares(table.origins[rows], most=most, exactly=False):
        yield rows[places]


def pieces(
    table: PatchTable,
    rows: IntArray,
    *,
    views: int,
    weights: Sequence[float],
    parts: float,
    in_order: bool = False,
) -> list[tuple[int, IntArray]]:
    """Cut rows of a slide into pieces of neighbours, a share for each worker.

    Parameters
    ----------
    table : PatchTable
        The patches of the slide.
    rows : ndarray of int, shape (m,)
        Rows of the table to cut up, in any order.
    views : int
        Resolutions of each patch.
    weights : sequence of float
        Share of each worker, of any sum; if there are few rows, some get equal shares.
    parts : float
        In how many parts each piece is going to be read, the last of which may be smaller.
    in_order : bool, default False
        Have the pieces of a share follow each other in the order given, not on the slide;
        the first of all shares are together the first rows, and so on.

    Returns
    -------
    list of (int, ndarray of int)
        Number of the share, and places in `rows`, ascending: the first piece of each share,
        then the second, ... Pieces of a share follow each other. Of one strip of a slide
        and of the next, the first shares are neighbours, and so are the second, ...
    """
    corners, most = table.origins[rows], int(_held(table.sizes[rows], views=views) * parts)
    if len(weights) > 1:  # nobody waits long for a share of another
        most = min(most, max(_LEAST_PIECE, len(rows) // (2 * len(weights))))
    enough = -(-len(rows) // _LEAST_SHARE)
    weights = weights if len(weights) <= enough else [1.0] * enough

    def cut(part: IntArray) -> Iterator[IntArray]:
        if not in_order:
            return _squares(corners[part], most=most, exactly=False)
        step = min(most, _PIECE_IN_ORDER) * len(weights)
        ends = np.searchsorted(part, np.arange(step, len(rows), step))
        return (each for each in np.split(np.arange(len(part)), ends) if len(each))

    found = [
        (nth, share, part[places])
        for share, part in enumerate(_shares(np.arange(len(rows)), corners, weights))
        for nth, places in enumerate(cut(part))
    ]
    return [(share, places) for _, share, places in sorted(found, key=itemgetter(0))]


def strips(corners: IntArray, *, least: int, most: int) -> Iterator[slice]:
    """Cut patches that follow each other into strips, between lines of a grid.

    So what two strips have in common lies along their whole length, and each worker finds
    what it has of the one before.

    Parameters
    ----------
    corners : ndarray of int, shape (n, 2)
        (x, y) of each, in the order in which they are asked for.
    least, most : int
        Patches of a strip.

    Yields
    ------
    slice
        As few whole lines as have `least` patches; of a line with more than `most`, equal
        parts. Where there are no lines, twice `least`.
    """
    moves = np.diff(corners, axis=0) != 0
    across = int(moves[:, 1].sum() < moves[:, 0].sum())  # the coordinate of a line
    ends = np.append(np.flatnonzero(moves[:, across]) + 1, len(corners))
    if 2 * len(ends) > len(corners):  # there are none
        ends = np.append(np.arange(2 * least, len(corners), 2 * least), len(corners))
    start = 0
    while start < len(corners):
        nth = int(np.searchsorted(ends, start + least))
        count = int(ends[min(nth, len(ends) - 1)]) - start
        parts = max(1, min(-(-count // most), count // least))
        cuts = [start + count * part // parts for part in range(parts + 1)]
        yield from map(slice, cuts[:-1], cuts[1:])
        start += count


def is_scattered(corners: IntArray) -> bool:
    """Tell whether patches that follow each other lie far apart.

    Parameters
    ----------
    corners : ndarray of int, shape (n, 2)
        (x, y) of each, in the order in which they are asked for.

    Returns
    -------
    bool
        Whether most steps are longer than those of a grid with as many points would be.
    """
    if len(corners) < 2:
        return False
    steps = np.abs(np.diff(corners, axis=0)).max(axis=1)
    extent = np.ptp(corners, axis=0).astype(np.float64)
    spacing = max(math.sqrt(extent.prod() / len(corners)), extent.max() / len(corners))
    return bool(np.median(steps) > _FAR * spacing)


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
    for run in _squares(table.origins[rows], most=count, exactly=True):
        yield rows[run][closer(table, rows[run], views=views)]


def closer(table: PatchTable, rows: IntArray, *, views: int) -> IntArray:
    """Put rows of a slide into an order in which those of each `groups` lie together.

    Parameters
    ----------
    table : PatchTable
        The patches of the slide.
    rows : ndarray of int, shape (m,)
        Rows of the table.
    views : int
        Resolutions of each patch.

    Returns
    -------
    ndarray of int, shape (m,)
        Their places in `rows`.
    """
    held = _held(table.sizes[rows], views=views)
    parts = _squares(table.origins[rows], most=held, exactly=True)
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


def _squares(corners: IntArray, *, most: int, exactly: bool) -> Iterator[IntArray]:
    """Cut points in halves, and these again, until none has more than so many points.

    With `exactly`, all but the last have as many as that. Yields their numbers, ascending.
    """
    waiting: list[IntArray] = [np.arange(len(corners))] if len(corners) else []
    while waiting:
        part = waiting.pop()
        if len(part) <= most:
            yield np.sort(part)
        else:
            waiting += reversed(_halves(part, corners[part], most=most, exactly=exactly))


def _halves(
    numbers: IntArray, corners: IntArray, *, most: int, exactly: bool
) -> tuple[IntArray, IntArray]:
    """Cut points in two; together the halves make no more chunks than need be."""
    chunks = -(-len(numbers) // most)
    first = chunks // 2
    if exactly:
        return _cut(numbers, corners, first * most, within=(1, 0))
    place = round(len(numbers) * first / chunks)
    within = len(numbers) - (chunks - first) * most, first * most
    return _cut(numbers, corners, place, within=within)


def _shares(
    numbers: IntArray, corners: IntArray, weights: Sequence[float]
) -> Iterator[IntArray]:
    """Cut points in two, and these again, until each weight has its share of them."""
    if len(weights) < 2:
        yield np.sort(numbers)
        return
    half = len(weights) // 2
    place = round(len(numbers) * sum(weights[:half]) / sum(weights))
    parts = _cut(numbers, corners[numbers], place, within=(0, len(numbers)))
    yield from _shares(parts[0], corners, weights[:half])
    yield from _shares(parts[1], corners, weights[half:])


def _cut(
    numbers: IntArray, corners: IntArray, place: int, *, within: tuple[int, int]
) -> tuple[IntArray, IntArray]:
    """Cut points in two across their longer side, between columns of a grid if it is one.

    The first part has about `place` points, and, to end with a column, not fewer and not
    more than `within`.
    """
    across = int(np.ptp(corners[:, 1]) >= np.ptp(corners[:, 0]))
    order = np.lexsort((numbers, corners[:, 1 - across], corners[:, across]))
    steps = np.flatnonzero(np.diff(corners[order, across])) + 1
    steps = steps[(within[0] <= steps) & (steps <= within[1])]
    if len(steps):
        place = int(steps[np.abs(steps - place).argmin()])
    return numbers[order[:place]], numbers[order[place:]]


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
    bytes_each = int((sizes[:, 0] * sizes[:, 1]).max(initial=1)) * 3 * views
    return max(1, min(CHUNK_ROWS, _CHUNK_BYTES // bytes_each))
