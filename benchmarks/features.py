"""What features cost beside reading: ``python -m benchmarks.features``.

``[--quick] [--slides FOLDER] [--rounds N] [--workers N] [--layout NAME] [--normalise]``

Patches of 256 px of four slides, at level 0, in batches of 64, on the CPU. In turn, after a
round that does not count: `StreamPatchExtractorPool`, whose batches nobody looks at, and
`extract_features` with an encoder that costs nothing (one pixel of each patch), to a new
folder; with ``--normalise`` it also takes mean and std of each colour away. Starting the
workers, writing the files and waiting for the disk count. Figures are medians, ratios are
of one round, in brackets the least and the greatest.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.feeding import BATCH, Scene, scenes, spread_of
from benchmarks.slides import four_slides
from dplabtools.slides.patches import StreamPatchExtractorPool
from dplabtools.slides.processing import extract_features

STREAM, FEATURES = "StreamPatchExtractorPool", "extract_features"
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def one_pixel(images: torch.Tensor) -> torch.Tensor:
    """Cost nothing."""
    return images[:, :, 0, 0]


def by_stream(scene: Scene, workers: int) -> None:
    batches = StreamPatchExtractorPool(
        patches_pool=scene.locations(),
        proc_num_workers=workers,
        thread_num_workers=1,
        batch_size=BATCH,
        resampling_mode=scene.mode,
    )
    assert sum(map(len, batches)) == scene.count


def by_features(scene: Scene, workers: int, *, layout: str, normalise: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        done = extract_features(
            patches_pool=scene.locations(),
            encoder=one_pixel,
            output_dir=folder,
            layout=layout,  # type: ignore[arg-type]
            device="cpu",
            batch_size=BATCH,
            proc_num_workers=workers,
            resampling_mode=scene.mode,
            **(IMAGENET if normalise else {}),
        )
        assert sum(each.patches for each in done) == scene.count


def measure(scene: Scene, sides: dict[str, Callable[[], None]], rounds: int) -> None:
    """Let both run in turn, and print what came of it."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(1 + rounds):
        for name, run in sides.items():
            begun = time.perf_counter()
            run()
            if number:
                rates[name].append(scene.count / (time.perf_counter() - begun))
            print(".", end="", flush=True, file=sys.stderr)
    print(f"\n### {scene.name}: {scene.count:,} patches\n")
    for name, values in rates.items():
        print(f"- {name}: {spread_of(values, 0)} patches/s")
    pairs = zip(rates[FEATURES], rates[STREAM], strict=True)
    print(f"- ratio: {spread_of([100 * ours / bare for ours, bare in pairs], 1)} %")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--slides", type=Path)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--layout", default="trident")
    parser.add_argument("--normalise", action="store_true")
    given = parser.parse_args()
    rounds = given.rounds or (2 if given.quick else 5)
    scene = scenes(four_slides(given.slides), 200 if given.quick else 900)[0]
    measure(
        scene,
        {
            STREAM: lambda: by_stream(scene, given.workers),
            FEATURES: lambda: by_features(
                scene, given.workers, layout=given.layout, normalise=given.normalise
            ),
        },
        rounds,
    )


if __name__ == "__main__":
    main()
