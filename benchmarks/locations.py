"""Measure how fast patches are placed: ``python -m benchmarks.locations``.

One process, nothing decoded. Medians of five runs, as others may use the machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import shapely

from dplabtools._typing import FloatArray
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.geometry.resolution import Level
from dplabtools.locations.acceptance import Acceptance
from dplabtools.locations.locate import LocationRequest, Samplers, locate
from dplabtools.locations.poisson import poisson_disk
from dplabtools.locations.regions import Region, WholeImage
from dplabtools.locations.samplers import Grid
from dplabtools.masks.foreground import ForegroundMask

RUNS = 5
BOUNDS = (0.0, 0.0, 3000.0, 3000.0)
RULE = Acceptance(foreground=0.95, overlap=0.95)


def main() -> None:
    """Print a line for each figure."""
    mask = blobs()
    show("whole image, candidates/s", *rate(lambda: whole_image(mask)), at_least=2e6)
    for edge in (4.0, 8.0, 16.0):
        name = f"200 polygons of 200 points, edge {edge:g} px, candidates/s"
        polygons = stars()
        count, seconds = rate(partial(in_polygons, mask, polygons, edge))
        show(name, count, seconds, at_least=3e5)
    count, seconds = rate(lambda: len(poisson_disk(BOUNDS, 7.4, rng())))
    show(f"Poisson disk, {count:,} points, seconds", 1, 1 / seconds, at_most=2)
    count, seconds = rate(lambda: large_slide(mask))
    show(f"slide of 100,000 px, {count:,} patches, seconds", 1, 1 / seconds, at_most=3)


def rate(work: Callable[[], int]) -> tuple[int, float]:
    """Return how much was done, and the median of the seconds it took."""
    seconds: list[float] = []
    done = 0
    for _ in range(RUNS):
        begun = time.perf_counter()
        done = work()
        seconds.append(time.perf_counter() - begun)
    return done, statistics.median(seconds)


def show(
    name: str,
    done: int,
    seconds: float,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> None:
    """Print a figure beside its goal."""
    value = done / seconds
    if at_least is not None:
        goal, met = f">= {at_least:,.0f}", value >= at_least
    else:
        goal, met = f"<= {at_most}", at_most is not None and value <= at_most
    print(f"{name:62} {value:14,.2f}  {goal:>14}  {'met' if met else 'MISSED'}")


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def blobs() -> ForegroundMask:
    """Make a mask of 3,000 x 3,000 pixels, most of it foreground."""
    y, x = np.mgrid[:3000, :3000]
    return ForegroundMask(np.sin(x / 400) * np.sin(y / 300) > -0.5)


def stars() -> list[shapely.Polygon]:
    """Make ragged outlines of 200 points, about 120 to 500 pixels across."""
    chance = rng()
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    made: list[shapely.Polygon] = []
    for _ in range(200):
        radius = chance.uniform(60, 250) * (1 + 0.2 * np.sin(5 * angle))
        radius *= 1 + 0.03 * chance.standard_normal(200)
        x, y = chance.uniform(300, 2700, 2)
        points = np.column_stack([x + radius * np.cos(angle), y + radius * np.sin(angle)])
        made.append(shapely.Polygon(points))
    return made


def candidates(bounds: tuple[float, ...], count: int) -> FloatArray:
    return rng().uniform(bounds[:2], bounds[2:], size=(count, 2))


def whole_image(mask: ForegroundMask) -> int:
    region = Region(shapely.box(*BOUNDS), "", loose=True)
    for _ in range(8):
        corners = candidates(BOUNDS, 2**18)
        RULE.accepts(corners, edge=8.0, region=region, mask=mask)
    return 8 * 2**18


def in_polygons(mask: ForegroundMask, polygons: list[shapely.Polygon], edge: float) -> int:
    for polygon in polygons:
        region = Region(polygon, "")
        corners = candidates(region.bounds, 2000)
        RULE.accepts(corners, edge=edge, region=region, mask=mask)
    return 2000 * len(polygons)


def large_slide(mask: ForegroundMask) -> int:
    pyramid = Pyramid(
        slide="large.svs",
        sizes=((100_000, 100_000), (3000, 3000)),
        downsamples=(1.0, 100_000 / 3000),
        mpp=0.25,
    )
    request = LocationRequest(
        slide="large.svs",
        source=WholeImage(""),
        samplers=Samplers(make=Grid, values=1, name="patch_stride"),
        patch_size=256,
        resolution=Level(0),
        foreground=0.95,
        overlap=0.95,
        buffer=0,
    )
    mask = ForegroundMask(mask.pixels)  # its sums belong to the work
    return len(locate(request, pyramid=pyramid, mask=mask, rng=rng()).table)


if __name__ == "__main__":
    main()
