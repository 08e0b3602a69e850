"""Ray's workers against processes of this machine, as many of them, on the same patches.

``python -m benchmarks.cluster SLIDE [SLIDE ...] [--patches N] [--workers N] [--rounds N]``

Both have been started before, and have done a small run; they take turns. What is printed
is how many times as long Ray takes, and how many times the CPU time of all processes that
are at work, in the median of the rounds: neighbours in time are compared with each other,
so that what else the machine does weighs on both.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

from benchmarks.processes import family_seconds
from dplabtools.engine.base import Engine
from dplabtools.engine.processes import ProcessEngine
from dplabtools.engine.ray import RayEngine
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractorPool,
    PatchesMock,
    StreamPatchExtractorPool,
)

SIZE = 256
DISK: dict[str, dict[str, Any]] = {
    "JPEG files": {"image_type": "jpg"},
    "WebDataset of JPEG": {"image_type": "jpg", "container": "webdataset"},
    "Zarr": {"container": "zarr"},
}


def placed(slides: list[Path], count: int) -> list[PatchesMock]:
    """Return patches side by side, as many of each slide."""
    pool: list[PatchesMock] = []
    for path in slides:
        width, height = GenericSlide(wsi_file=path).level_dimensions[0]
        rows = [
            ((x, y), (SIZE, SIZE), "")
            for y in range(0, height - SIZE, SIZE)
            for x in range(0, width - SIZE, SIZE)
        ][: count // len(slides)]
        pool.append(PatchesMock(patch_data=rows, wsi_file=path, level_or_mpp=0))
    return pool


def ways(pool: list[PatchesMock], workers: int) -> dict[str, Callable[[Engine], object]]:
    """Return what is measured, by name."""
    common: dict[str, Any] = {
        "patches_pool": pool,
        "proc_num_workers": workers,
        "thread_num_workers": 1,
    }

    def stream(engine: Engine) -> None:
        for batch in StreamPatchExtractorPool(engine=engine, **common):
            del batch

    def memory(engine: Engine) -> None:
        MemPatchExtractorPool(engine=engine, **common).close()

    def disk(options: dict[str, Any]) -> Callable[[Engine], None]:
        def run(engine: Engine) -> None:
            folder = tempfile.mkdtemp()
            DiskPatchExtractorPool(output_dir=folder, engine=engine, **common, **options)
            shutil.rmtree(folder)

        return run

    named = {name: disk(options) for name, options in DISK.items()}
    return {**named, "memory pool": memory, "stream": stream}


def costs(run: Callable[[Engine], object], engine: Engine) -> tuple[float, float]:
    """Run, and return the seconds, and those of CPU, that it took."""
    busy, begun = family_seconds(), time.perf_counter()
    run(engine)
    return time.perf_counter() - begun, family_seconds() - busy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slides", type=Path, nargs="+")
    parser.add_argument("--patches", type=int, default=6_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    ray.init(
        address="local",
        num_cpus=given.workers,
        log_to_driver=False,
        logging_level="ERROR",
    )
    pool = placed(given.slides, given.patches)
    few = placed(given.slides, 300 * len(given.slides))
    count = sum(each.patch_count for each in pool)
    print(f"{count:,} patches of {SIZE} pixels, {given.workers} workers")
    with (
        ProcessEngine(workers=given.workers) as here,
        RayEngine(workers=given.workers) as far,
    ):
        for name, run in ways(pool, given.workers).items():
            for engine in (here, far):
                ways(few, given.workers)[name](engine)
            rounds = [(costs(run, here), costs(run, far)) for _ in range(given.rounds)]
            time_ratio, cpu_ratio = (
                statistics.median(theirs[what] / ours[what] for ours, theirs in rounds)
                for what in (0, 1)
            )
            best = min(ours[0] for ours, _ in rounds)
            print(
                f"{name:20} {count / best:7,.0f}/s by processes; Ray takes "
                f"{time_ratio:.2f} times as long, {cpu_ratio:.2f} times the CPU time",
                flush=True,
            )
    ray.shutdown()


if __name__ == "__main__":
    main()
