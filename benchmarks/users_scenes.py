"""Which patches `benchmarks.users` reads, and how."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import openslide

from benchmarks.original import SIDE
from dplabtools.locations.poisson import poisson_disk

__all__ = ["SCENES", "Scene", "Slides", "scenes"]

Corners = list[list[int]]
Slides = dict[str, Corners]

_LEVELS = "levels 0, 1 and 2"
_RESAMPLED = {  # times the finest mpp, and how; slides do not have what is asked for most
    "mpp 1.7 x the finest": (1.7, "tile"),
    "mpp 2 x the finest": (2.0, "tile"),
    "mpp 2 x the finest, fast": (2.0, "fast"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Patches of slides, and how they are read.

    Attributes
    ----------
    name, where : str
        How they lie, and of which slides they are.
    slides : dict of str to list of [int, int]
        Top-left corners in pixels of level 0, by path.
    level_or_mpp, mode : float, str or None
        Their resolution, and how to get it.
    factor : float
        Pixels of level 0 for each pixel of a patch.
    levels : tuple of int
        Levels of multi-resolution patches; none if they have one.
    """

    name: str
    where: str
    slides: Slides
    level_or_mpp: float = 0
    mode: str | None = None
    factor: float = 1.0
    levels: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        return sum(map(len, self.slides.values()))

    @property
    def scattered(self) -> bool:
        return self.name in ("random", "Poisson")

    def shortened(self, most: int) -> Scene:
        """Return it with the first patches of each slide alone, for those who are slow."""
        each = -(-most // len(self.slides))
        slides = {slide: corners[:each] for slide, corners in self.slides.items()}
        return replace(self, slides=slides)


def scenes(files: Sequence[Path], *, most: int, names: Collection[str]) -> Iterator[Scene]:
    """Yield what is measured, of these names, of so many patches of all slides at most."""
    where = f"{len(files)} slides" if len(files) > 1 else f"one slide ({files[0].name})"
    most //= len(files)
    for name, places in _PLACES.items():
        if name in names:
            slides = {str(file): places(file)[:most] for file in files}
            yield Scene(name=name, where=where, slides=slides)
    if _LEVELS in names:
        grids = {str(file): _grid(file)[:most] for file in files}
        yield Scene(name=_LEVELS, where=where, slides=grids, levels=(0, 1, 2))
    with openslide.OpenSlide(files[0]) as opened:
        finest = float(opened.properties["openslide.mpp-x"])
    for name, (factor, mode) in _RESAMPLED.items():
        step = round(factor * SIDE)
        if name in names:
            yield Scene(
                name=name,
                where=where,
                slides={str(file): _grid(file, step=step)[:most] for file in files},
                level_or_mpp=factor * finest,
                mode=mode,
                factor=factor,
            )


def _grid(slide: Path, *, begin: int = 100, step: int = SIDE) -> Corners:
    with openslide.OpenSlide(slide) as opened:
        width, height = opened.dimensions
    room = max(step, SIDE)
    return [
        [x, y]
        for y in range(begin, height - room, step)
        for x in range(begin, width - room, step)
    ]


def _aligned(slide: Path) -> Corners:
    """Return places that tiles begin at."""
    with openslide.OpenSlide(slide) as opened:
        tile = int(opened.properties["openslide.level[0].tile-width"])
    return _grid(slide, begin=0, step=tile)


def _half(slide: Path) -> Corners:
    return _grid(slide, step=SIDE // 2)


def _random(slide: Path) -> Corners:
    count = len(_grid(slide))
    with openslide.OpenSlide(slide) as opened:
        high = np.array(opened.dimensions) - SIDE
    found: Corners = np.random.default_rng(0).integers(0, high, (count, 2)).tolist()
    return found


def _poisson(slide: Path) -> Corners:
    with openslide.OpenSlide(slide) as opened:
        width, height = opened.dimensions
    rng = np.random.default_rng(0)
    points = poisson_disk((0, 0, width - SIDE, height - SIDE), SIDE * 0.8, rng)
    found: Corners = points.astype(np.int64).tolist()
    return found


_PLACES: dict[str, Callable[[Path], Corners]] = {
    "grid": _grid,
    "grid on tiles": _aligned,
    "half overlap": _half,
    "random": _random,
    "Poisson": _poisson,
}
SCENES = (*_PLACES, _LEVELS, *_RESAMPLED)
"""Their names."""
