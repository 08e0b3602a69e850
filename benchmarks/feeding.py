"""How fast PyTorch is fed, without a model: ``python -m benchmarks.feeding``.

``[--quick] [--slides FOLDER] [--rounds N] [--workers N] [--out FILE]``

Patches of 256 px of four slides, at level 0 and at an mpp between two levels, go to batches
of 64 in the main process, as uint8. Those who take part:

- a `DataLoader` over a dataset whose ``__getitem__`` reads one patch by OpenSlide, which is
  what tutorials show; each worker keeps its slides open;
- `WSIDataset`, whose ``__getitems__`` reads a batch in one go, in order and with a sampler
  that shuffles, in as many workers; the `DataLoader` over OpenSlide with the same sampler;
- `PatchStreamDataset`, with as many processes of its own.

All take turns, after a round that does not count; starting workers counts. Figures are
medians, ratios are of one round, in brackets the least and the greatest. At the end a model
that sleeps for each batch, so long that it takes 75 % of the stream's median rate: the
share of the time that it waits for the stream, from the first batch on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.original import SIDE, corners
from benchmarks.slides import four_slides
from dplabtools.slides.patches import PatchesMock
from dplabtools.slides.processing import PatchStreamDataset, WSIDataset

BATCH = 64
LOOP, LOOP_SHUFFLED = "OpenSlide, in order", "OpenSlide, shuffled"
MAP, MAP_SHUFFLED = "WSIDataset, in order", "WSIDataset, shuffled"
STREAM = "PatchStreamDataset"
RATIOS = ((STREAM, LOOP), (MAP, LOOP), (MAP_SHUFFLED, LOOP_SHUFFLED))

Feeder = Callable[[], Iterable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Patches of slides, and how they are read."""

    name: str
    slides: Mapping[str, Sequence[Sequence[int]]]
    level_or_mpp: float = 0
    factor: float = 1.0  # level 0 pixels per pixel of a patch

    @property
    def count(self) -> int:
        return sum(map(len, self.slides.values()))

    def locations(self) -> list[PatchesMock]:
        return [
            PatchesMock(
                patch_data=[((x, y), (SIDE, SIDE), "patch") for x, y in places],
                wsi_file=slide,
                level_or_mpp=self.level_or_mpp,
            )
            for slide, places in self.slides.items()
        ]

    @property
    def mode(self) -> str | None:
        return None if self.factor == 1 else "tile"


@dataclass(slots=True)
class OpenSlidePatches(Dataset[torch.Tensor]):
    """A patch by its number, read by OpenSlide, resampled by Pillow."""

    places: list[tuple[str, int, int]]
    factor: float
    _open: dict[str, openslide.OpenSlide] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> torch.Tensor:
        slide, x, y = self.places[index]
        if slide not in self._open:
            self._open[slide] = openslide.OpenSlide(slide)
        extent = round(SIDE * self.factor)
        image = self._open[slide].read_region((x, y), 0, (extent, extent)).convert("RGB")
        if extent != SIDE:
            image = image.resize((SIDE, SIDE), 1)  # Lanczos
        return torch.from_numpy(np.array(image))


def feeders(scene: Scene, workers: int) -> dict[str, Feeder]:
    """Return who feeds, by name."""
    places = [
        (slide, x, y) for slide, corners_of in scene.slides.items() for x, y in corners_of
    ]

    def by_openslide(*, shuffle: bool) -> Iterable[Any]:
        dataset = OpenSlidePatches(places, scene.factor)
        return DataLoader(dataset, batch_size=BATCH, num_workers=workers, shuffle=shuffle)

    def by_number(*, shuffle: bool) -> Iterable[Any]:
        dataset = WSIDataset(
            patches=scene.locations(), dtype=torch.uint8, resampling_mode=scene.mode
        )
        return DataLoader(dataset, batch_size=BATCH, num_workers=workers, shuffle=shuffle)

    return {
        LOOP: partial(by_openslide, shuffle=False),
        LOOP_SHUFFLED: partial(by_openslide, shuffle=True),
        MAP: partial(by_number, shuffle=False),
        MAP_SHUFFLED: partial(by_number, shuffle=True),
        STREAM: lambda: stream(scene, workers),
    }


def stream(scene: Scene, workers: int) -> PatchStreamDataset:
    """Return the stream."""
    return PatchStreamDataset(
        patches_pool=scene.locations(),
        batch_size=BATCH,
        resampling_mode=scene.mode,
        proc_num_workers=workers,
    )


def seconds(make: Feeder, count: int) -> float:
    """Return how long all patches take, from the making of the feeder on."""
    begun, seen = time.perf_counter(), 0
    for batch in make():
        pixels = batch["pixels"] if isinstance(batch, dict) else batch
        pixels = pixels[0] if isinstance(pixels, list | tuple) else pixels
        assert pixels.dtype == torch.uint8
        seen += len(pixels)
    assert seen == count, (seen, count)
    return time.perf_counter() - begun


def waiting(scene: Scene, workers: int, rate: float) -> float:
    """Return the share of the time that a model waits which takes 75 % of the rate."""
    pause = BATCH / (0.75 * rate)
    begun = waited = 0.0
    since = time.perf_counter()
    for number, _ in enumerate(stream(scene, workers)):
        now = time.perf_counter()
        if number:
            waited += now - since
        else:
            begun = now
        time.sleep(pause)
        since = time.perf_counter()
    return waited / (since - begun)


def scenes(files: Sequence[Path], most: int) -> list[Scene]:
    """Return what is measured."""
    with openslide.OpenSlide(files[0]) as opened:
        finest = float(opened.properties["openslide.mpp-x"])
    spread = {}
    for file in files:
        with openslide.OpenSlide(file) as opened:
            width, height = opened.dimensions
        step = round(1.7 * SIDE)
        places = [
            [x, y]
            for y in range(100, height - step, step)
            for x in range(100, width - step, step)
        ]
        spread[str(file)] = places[:most]
    return [
        Scene(name="level 0", slides={str(file): corners(file, most) for file in files}),
        Scene(
            name="1.7 x the finest mpp",
            slides=spread,
            level_or_mpp=1.7 * finest,
            factor=1.7,
        ),
    ]


def spread_of(values: Sequence[float], digits: int) -> str:
    """Return the median, the least and the greatest."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def measure(scene: Scene, workers: int, rounds: int) -> dict[str, Any]:
    """Let all run in turn, print a table, and return the figures."""
    rates: dict[str, list[float]] = {}
    for number in range(1 + rounds):
        for name, make in feeders(scene, workers).items():
            took = seconds(make, scene.count)
            if number:
                rates.setdefault(name, []).append(scene.count / took)
            print(".", end="", flush=True, file=sys.stderr)
    print(f"\n### {scene.name}: {scene.count:,} patches of {SIDE} px\n")
    for name, values in rates.items():
        print(f"- {name}: {spread_of(values, 0)} patches/s")
    ratios = {}
    for ours, theirs in RATIOS:
        pairs = zip(rates[ours], rates[theirs], strict=True)
        ratios[f"{ours} / {theirs}"] = [one / other for one, other in pairs]
    for name, values in ratios.items():
        print(f"- {name}: {spread_of(values, 1)} x")
    rate = statistics.median(rates[STREAM])
    waits = [waiting(scene, workers, rate) for _ in range(rounds)]
    print(
        f"- a model at 75 % of the stream waits {spread_of([100 * w for w in waits], 1)} %"
    )
    return {"scene": scene.name, "rates": rates, "ratios": ratios, "waits": waits}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--slides", type=Path)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rounds = given.rounds or (2 if given.quick else 5)
    most = 200 if given.quick else 900
    found = [
        measure(scene, given.workers, rounds)
        for scene in scenes(four_slides(given.slides), most)
    ]
    if given.out is not None:
        given.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
