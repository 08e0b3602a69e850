"""Throughput and memory of the pools, as ratios measured in one run.

``python -m benchmarks.throughput [--slides FOLDER] [--quick]``
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import numpy as np
import openslide
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.constant import SIZE, FillConstant, make_array
from benchmarks.slides import four_slides, grid
from dplabtools import config
from dplabtools.engine.choose import RunOptions
from dplabtools.engine.processes import ProcessEngine
from dplabtools.extraction.plan import ReadOptions
from dplabtools.extraction.progress import ProgressClock
from dplabtools.extraction.run import Extraction
from dplabtools.extraction.run_state import RunState
from dplabtools.extraction.stream import BatchStream
from dplabtools.extraction.stream_options import StreamOptions
from dplabtools.geometry.resolution import Level
from dplabtools.records.patch_table import PatchTable
from dplabtools.settings import Settings
from dplabtools.slides.patches import (
    MemPatchExtractorPool,
    PatchesMock,
    StreamPatchExtractorPool,
)


class Report:
    """Lines of name, figure and floor."""

    def __init__(self) -> None:
        self.table = Table(title="Throughput", title_justify="left")
        for column in ("what", "measured", "wanted"):
            self.table.add_column(column)

    def add(self, what: str, measured: str, wanted: str = "") -> None:
        self.table.add_row(what, measured, wanted)
        print(f"{what}: {measured} {wanted and f'(wanted: {wanted})'}", flush=True)


def timed(task: Callable[[], int]) -> float:
    """Return items per second of wall time."""
    begun = time.perf_counter()
    count = task()
    return count / (time.perf_counter() - begun)


# ------------------------------------------------------------------ tasks


def read_loop(pool: list[PatchesMock]) -> int:
    """Read all patches with OpenSlide, one by one, to arrays."""
    count = 0
    for patches in pool:
        with openslide.OpenSlide(patches.wsi_file) as slide:
            for origin, size, _ in patches.patch_data:
                np.asarray(slide.read_region(origin, 0, size))[..., :3].copy()
                count += 1
    return count


def memory_pool(pool: list[PatchesMock], *, workers: int) -> int:
    with MemPatchExtractorPool(
        patches_pool=pool, proc_num_workers=workers, thread_num_workers=1
    ) as extracted:
        return extracted.patch_count


def stream(pool: list[PatchesMock], *, workers: int) -> int:
    return sum(
        len(batch)
        for batch in StreamPatchExtractorPool(
            patches_pool=pool, proc_num_workers=workers, thread_num_workers=1
        )
    )


def engine_alone(count: int) -> int:
    """Stream patches that cost nothing to read."""
    side = int(np.ceil(count**0.5))
    rows = np.arange(count)
    origins = np.column_stack([rows % side, rows // side]) * SIZE
    table = PatchTable(
        slide="none.svs",
        resolution=Level(0),
        origins=origins,
        sizes=np.full((count, 2), SIZE),
        codes=np.zeros(count, np.int64),
        labels=("",),
    )
    reading = ReadOptions(views=None, mode=None, settings=Settings())
    extraction = Extraction(tables=[table], reading=reading, options=RunOptions(workers=2))
    state = RunState([table], extraction.options)
    options = StreamOptions(
        batch_size=256, order="table", shuffle_buffer=0, seed=0, max_memory=1 << 30
    )
    clock = ProgressClock(None, total=count, slides=1)
    with ProcessEngine(workers=2, ahead=2) as engine:
        batches = BatchStream(
            extraction, state, options=options, engine=engine, clock=clock
        )
        engine.begin(FillConstant(side * SIZE), segments=batches.segments)
        done = sum(len(batch) for batch in batches)
        batches.close()
        return done


def pickling_pool(count: int) -> int:
    with multiprocessing.get_context("forkserver").Pool(2) as pool:
        return sum(1 for _ in pool.imap(make_array, range(count), chunksize=1))


# ----------------------------------------------------------------- memory


def family_pss() -> int:
    """Proportional set size of this process and all below it, in bytes."""
    total = 0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def stream_peak(files: list[Path], count: int) -> int:
    """Stream patches, and return the peak of all processes together, in bytes."""
    pool = [grid(file, count=count // len(files)) for file in files]
    peak = 0
    for number, _ in enumerate(
        StreamPatchExtractorPool(
            patches_pool=pool, proc_num_workers=2, thread_num_workers=1
        )
    ):
        if number % 4 == 0:
            peak = max(peak, family_pss())
    return peak


class Peak:
    """Watches the memory of all processes together."""

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self.bytes = max(self.bytes, family_pss())


def list_memory(files: list[Path], count: int) -> tuple[float, float]:
    """Extract to memory, and visit all of it.

    Returns the peak, less 150 MB for each worker, over the pixels; and seconds an access.
    """
    pool = [grid(file, count=count // len(files)) for file in files]
    with (
        Peak() as peak,
        MemPatchExtractorPool(
            patches_pool=pool, proc_num_workers=2, thread_num_workers=1
        ) as extracted,
    ):
        pixels = extracted.patch_array.nbytes
        for image, _ in extracted.patch_list:
            np.asarray(image).max()
        begun = time.perf_counter()
        for _ in extracted.patch_list:
            pass
        access = (time.perf_counter() - begun) / extracted.patch_count
    return (peak.bytes - 2 * 150e6) / pixels, access


def in_fresh_process(*arguments: str) -> str:
    """Run a part of this module by itself, so that memory is counted from nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.throughput", *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


# ------------------------------------------------------------------- runs


def interleaved(
    tasks: dict[str, Callable[[], int]], *, rounds: int
) -> dict[str, list[float]]:
    """Run all tasks in turn, so that a machine that slows down slows all of them."""
    rates: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            rates[name].append(timed(task))
    return rates


def ratio(rates: dict[str, list[float]], over: str, under: str) -> float:
    """Return the median of the ratios, round by round."""
    pairs = zip(rates[over], rates[under], strict=True)
    return statistics.median(a / b for a, b in pairs)


def measure_engine(report: Report, *, rounds: int, count: int) -> None:
    rates = interleaved(
        {
            "engine": lambda: engine_alone(count),
            "imap": lambda: pickling_pool(count // 25),
        },
        rounds=rounds,
    )
    median = statistics.median(rates["engine"])
    report.add(
        "engine alone, 256 x 256, 2 workers", f"{median:,.0f} patches/s", ">= 50,000"
    )
    report.add(
        "... over multiprocessing.Pool.imap of arrays",
        f"{ratio(rates, 'engine', 'imap'):.1f} x",
        ">= 20 x",
    )


def measure_reading(report: Report, files: list[Path], *, rounds: int, count: int) -> None:
    config.slide_library = "openslide"
    for name, chosen in (("four slides", files), ("one slide", files[:1])):
        pool = [grid(file, count=count // len(chosen)) for file in chosen]
        rates = interleaved(
            {
                "loop": lambda pool=pool: read_loop(pool),
                "one": lambda pool=pool: stream(pool, workers=1),
                "two": lambda pool=pool: stream(pool, workers=2),
                "memory": lambda pool=pool: memory_pool(pool, workers=2),
            },
            rounds=rounds,
        )
        report.add(f"{name}: OpenSlide loop", f"{statistics.median(rates['loop']):,.0f}/s")
        report.add(
            f"{name}: memory pool, 2 workers, over the loop",
            f"{ratio(rates, 'memory', 'loop'):.2f} x",
            ">= 1.6 x",
        )
        report.add(
            f"{name}: stream, 2 workers over 1",
            f"{ratio(rates, 'two', 'one'):.2f} x",
            ">= 1.8 x",
        )
        report.add(
            f"{name}: share of the reading in the stream, 2 workers",
            f"{ratio(rates, 'two', 'loop') / 2:.0%}",
            ">= 90 %",
        )
    config.slide_library = "auto"


def measure_native(report: Report, files: list[Path], *, rounds: int, count: int) -> None:
    """The reader that is used unless another is asked for, start of workers included."""
    pool = [grid(file, count=count // len(files)) for file in files]
    rates = interleaved(
        {
            "loop": lambda: read_loop(pool[:1]),
            "memory": lambda: memory_pool(pool, workers=2),
            "stream": lambda: stream(pool, workers=2),
        },
        rounds=rounds,
    )
    for name in ("memory", "stream"):
        report.add(
            f"native reader: {name} pool, 2 workers, over an OpenSlide loop",
            f"{ratio(rates, name, 'loop'):.1f} x ({statistics.median(rates[name]):,.0f}/s)",
        )


def measure_memory(report: Report, folder: list[str], *, quick: bool) -> None:
    small, large = (600, 3000) if quick else (3000, 15000)
    peaks = [
        int(in_fresh_process(*folder, "--part", "stream", "--count", str(count)))
        for count in (small, large)
    ]
    report.add(
        f"peak memory of a stream of {large:,} over {small:,}",
        f"{peaks[1] / peaks[0]:.2f} x ({peaks[1] / 1e6:,.0f} MB)",
        "<= 1.10 x",
    )
    count = 2000 if quick else 10000
    held, access = in_fresh_process(
        *folder, "--part", "list", "--count", str(count)
    ).split()
    report.add(
        f"peak of {count:,} patches in a list, less 150 MB a worker",
        f"{float(held):.2f} x pixels",
        "<= 1.15 x",
    )
    report.add("access to an element", f"{float(access) * 1e6:.1f} µs", "<= 20 µs")


def parts(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield what a run in a fresh process has to say."""
    files = four_slides(arguments.slides)
    if arguments.part == "stream":
        yield str(stream_peak(files, arguments.count))
    else:
        yield " ".join(map(str, list_memory(files, arguments.count)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=Path, help="folder with wsi1.svs to wsi4.svs")
    parser.add_argument("--quick", action="store_true", help="fewer patches, fewer rounds")
    parser.add_argument("--part", choices=["stream", "list"], help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=3000, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(*parts(arguments))
        return
    files = four_slides(arguments.slides)
    folder = ["--slides", str(arguments.slides)] if arguments.slides else []
    rounds = 1 if arguments.quick else 3
    report = Report()
    measure_engine(report, rounds=rounds, count=10000 if arguments.quick else 100000)
    measure_reading(report, files, rounds=rounds, count=800 if arguments.quick else 3200)
    measure_native(report, files, rounds=rounds, count=800 if arguments.quick else 1900)
    measure_memory(report, folder, quick=arguments.quick)
    Console().print(report.table)


if __name__ == "__main__":
    main()
