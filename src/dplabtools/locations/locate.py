"""The way from a request to a table of patches."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dplabtools._typing import FloatArray, IntArray
from dplabtools.errors import (
    DuplicatePatchesWarning,
    NotEnoughPatchesError,
    ParameterError,
)
from dplabtools.geometry.boxes import half_even
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.geometry.resolution import Resolution
from dplabtools.locations.acceptance import Acceptance
from dplabtools.locations.regions import Frame, Region, RegionSource, grow
from dplabtools.locations.samplers import Sampler
from dplabtools.masks.foreground import ForegroundMask, fit_downsample
from dplabtools.records.patch_table import PatchTable, Shares

__all__ = ["LocationRequest", "PerRegion", "Placed", "Samplers", "locate", "spread"]

PerRegion: TypeAlias = float | Sequence[float]
"""One value for all regions, or a list of one for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samplers:
    """A sampler for each region.

    Attributes
    ----------
    make : callable
        Makes a sampler of one value.
    values : float or list of float
        One value for all regions, or one for each.
    name : str
        What the values are called, for messages.
    """

    make: Callable[[float], Sampler]
    values: PerRegion
    name: str

    def spread(self, count: int, *, slide: str) -> list[Sampler]:
        """Return the samplers of so many regions."""
        values = spread(self.values, count, name=self.name, slide=slide)
        return [self.make(value) for value in values]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationRequest:
    """Everything that decides where patches lie, and nothing else.

    Attributes
    ----------
    slide : str
        Path of the slide.
    source : RegionSource
        Says where to look.
    samplers : Samplers or Sampler
        Propose candidates; a plain sampler serves all regions.
    patch_size : int
        Edge of a patch, in pixels of `resolution`.
    resolution : Level or Mpp
        Resolution of the patches.
    foreground, overlap, buffer : float or list of float
        Smallest share of a patch that is foreground, and that lies in its region; growth
        of a region in mask pixels. One value, or one for each region.
    """

    slide: str
    source: RegionSource
    samplers: Samplers | Sampler
    patch_size: int
    resolution: Resolution
    foreground: PerRegion
    overlap: PerRegion
    buffer: PerRegion

    def __post_init__(self) -> None:
        size = self.patch_size
        whole = isinstance(size, numbers.Integral) and not isinstance(size, bool)
        if not whole or size < 1:
            msg = f"patch_size must be an int >= 1, not {size!r}"
            raise ParameterError(msg)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Placed:
    """Patches of one slide, and where they were looked for.

    Attributes
    ----------
    table : PatchTable
        In level 0 pixels; in the order of the regions, then of the proposals.
    corners : ndarray of float64, shape (n, 2)
        (x, y) of the same patches in mask pixels, not rounded.
    edge : float
        Edge of a patch, in mask pixels.
    downsample : float
        Level 0 pixels per mask pixel.
    regions : tuple of Region
        Where patches were looked for, with their buffers; in mask pixels.
    outlines : tuple of Region
        The same without buffers.
    """

    table: PatchTable
    corners: FloatArray
    edge: float
    downsample: float
    regions: tuple[Region, ...]
    outlines: tuple[Region, ...]

    @property
    def coverage(self) -> Shares:
        """Share of foreground of each patch, from 0 to 1."""
        if self.table.coverage is None:
            return np.empty(0, dtype=np.float32)
        return self.table.coverage


def locate(
    request: LocationRequest,
    *,
    pyramid: Pyramid,
    mask: ForegroundMask,
    rng: np.random.Generator,
) -> Placed:
    """Place patches on one slide.

    Parameters
    ----------
    request : LocationRequest
        What is wanted.
    pyramid : Pyramid
        Levels of the slide.
    mask : ForegroundMask
        Foreground of the slide.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    Placed
        Without duplicates.

    Raises
    ------
    MaskError
        If the mask does not fit the slide.
    LevelOutOfRangeError, MissingMppError
        If the slide does not have the resolution.
    ParameterError
        If a ratio, stride, spacing or number is out of its range, or a list has another
        length than there are regions.
    InvalidPolygonError
        If nothing is left of a region with its buffer.
    NotEnoughPatchesError
        If a hundred times as many candidates as wanted did not give enough patches.

    Warns
    -----
    DuplicatePatchesWarning
        If identical patches were found; only the first of them stays.
    """
    slide = Path(request.slide).name
    downsample = fit_downsample(mask.size, pyramid)
    frame = Frame(
        downsample=downsample,
        scale=downsample / pyramid.downsample(request.resolution),
        patch_size=int(request.patch_size),
    )
    outlines = request.source.regions(mask, frame, slide=slide)
    tasks = list(_tasks(request, outlines, slide=slide))
    found = [_place(task, frame=frame, mask=mask, rng=rng) for task in tasks]

    labels = tuple(sorted({task.region.label for task in tasks}))
    corners = np.concatenate([np.empty((0, 2)), *found])
    codes = np.repeat(
        np.array([labels.index(task.region.label) for task in tasks], dtype=np.int64),
        np.array([len(part) for part in found], dtype=np.int64),
    )
    origins = half_even(corners * downsample)
    kept = _first_of_each(np.column_stack([origins, codes]), slide=slide)
    return Placed(
        table=PatchTable(
            slide=request.slide,
            resolution=request.resolution,
            origins=origins[kept],
            sizes=np.full((len(kept), 2), frame.patch_size, dtype=np.int64),
            codes=codes[kept],
            labels=labels,
            coverage=mask.share(corners[kept], frame.edge).astype(np.float32),
        ),
        corners=corners[kept],
        edge=frame.edge,
        downsample=downsample,
        regions=tuple(task.region for task in tasks),
        outlines=outlines,
    )


def spread(values: PerRegion, count: int, *, name: str, slide: str) -> list[float]:
    """Return one value for each region.

    Parameters
    ----------
    values : float or list of float
        One value for all regions, or one for each.
    count : int
        Number of regions.
    name, slide : str
        What the values are called, and the name of the slide, for messages.

    Returns
    -------
    list of float
        In the order of the regions.

    Raises
    ------
    ParameterError
        If `values` is neither a finite number nor a list of so many of them.
    """
    if isinstance(values, list):
        if len(values) != count:
            msg = f"{name}: {len(values)} values for {count} regions"
            raise ParameterError(msg, slide=slide)
        return [_number(value, name=name, slide=slide) for value in values]
    return [_number(values, name=name, slide=slide)] * count


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """One region, and all that was asked for it."""

    region: Region
    sampler: Sampler
    rule: Acceptance
    slide: str


def _tasks(
    request: LocationRequest, outlines: tuple[Region, ...], *, slide: str
) -> Iterator[_Task]:
    """Give each region its sampler, its thresholds and its buffer."""
    count = len(outlines)
    each = partial(spread, count=count, slide=slide)
    foreground = each(request.foreground, name="foreground_ratio")
    overlap = each(request.overlap, name="overlap_ratio")
    buffer = each(request.buffer, name="polygon_buffer")
    samplers = (
        request.samplers.spread(count, slide=slide)
        if isinstance(request.samplers, Samplers)
        else [request.samplers] * count
    )
    for index, outline in enumerate(outlines):
        yield _Task(
            region=grow(outline, buffer[index], slide=slide),
            sampler=samplers[index],
            rule=Acceptance(foreground=foreground[index], overlap=overlap[index]),
            slide=slide,
        )


def _place(
    task: _Task, *, frame: Frame, mask: ForegroundMask, rng: np.random.Generator
) -> FloatArray:
    """Return accepted corners, once the quota is met or proposals have run out."""
    wanted = task.sampler.quota
    parts = [np.empty((0, 2))]
    found = 0
    for candidates in task.sampler.propose(task.region.bounds, frame, rng):
        accepted = candidates[
            task.rule.accepts(candidates, edge=frame.edge, region=task.region, mask=mask)
        ]
        if wanted is not None:
            accepted = accepted[: wanted - found]
        found += len(accepted)
        parts.append(accepted)
        if found == wanted:
            break
    if wanted is not None and found < wanted:
        raise NotEnoughPatchesError(
            wanted=wanted, found=found, region=task.region.label, slide=task.slide
        )
    return np.concatenate(parts)


def _first_of_each(rows: IntArray, *, slide: str) -> npt.NDArray[np.int64]:
    """Return the indices of rows that equal none before them, in order."""
    order = np.lexsort(rows.T)  # stable: of equal rows the first comes first
    ordered = rows[order]
    new = np.ones(len(rows), dtype=bool)
    new[1:] = np.any(ordered[1:] != ordered[:-1], axis=1)
    duplicates = len(rows) - int(new.sum())
    if duplicates:
        msg = f"{slide}: {duplicates} duplicate patches were found and left out"
        warnings.warn(msg, DuplicatePatchesWarning, stacklevel=3)
    return np.sort(order[new])


def _number(value: object, *, name: str, slide: str) -> float:
    """Return a finite number as it is."""
    if (
        isinstance(value, bool)
        or not isinstance(value, numbers.Real)
        or not math.isfinite(value)
    ):
        msg = (
            f"{name} must be a finite number, or a list of one for each region, "
            f"not {value!r}"
        )
        raise ParameterError(msg, slide=slide)
    return float(value)
