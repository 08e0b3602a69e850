"""Side by side with the original dplabtools 0.0.5, in its own environment.

``python -m benchmarks.original --python PYTHON --slides FOLDER [--part memory|disk|large]``

PYTHON is the interpreter of an environment with ``pip install dplabtools==0.0.5
openslide-bin``. FOLDER holds wsi1.svs to wsi4.svs of 8,000 pixels, mid.svs of 20,000 and
big.svs of 40,000. All runs are fresh interpreters, so starting up counts; the same
locations, side by side, in two processes. What is compared takes turns, and ratios are of
one round.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import openslide

from benchmarks.reading import decoding
from dplabtools.slides.patches import PatchesMock, StreamPatchExtractorPool

SIDE = 256
WORKERS = 2
SCRIPT = Path(__file__).with_name("pool_job.py")


def corners(slide: Path, most: int | None = None) -> list[list[int]]:
    """Return places side by side that no tile begins at."""
    with openslide.OpenSlide(slide) as opened:
        width, height = opened.dimensions
    places = [
        [x, y]
        for y in range(100, height - SIDE, SIDE)
        for x in range(100, width - SIDE, SIDE)
    ]
    return places[:most]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """An implementation, and how it is run."""

    python: str
    task: str
    threads: int = 1
    options: dict[str, Any] = field(default_factory=dict)

    def run(self, slides: dict[str, list[list[int]]], *, check: bool = False) -> Run:
        """Run once, in a folder of its own.

        The folder is removed at the end of all runs: for minutes after many files were
        removed, ext4 takes several times as long to make new ones.
        """
        folder = tempfile.mkdtemp(prefix="dplabtools-benchmark-")
        atexit.register(shutil.rmtree, folder)
        job = {
            "task": self.task,
            "slides": slides,
            "side": SIDE,
            "workers": WORKERS,
            "threads": self.threads,
            "output_dir": folder,
            "options": self.options,
            "check": check,
        }
        begun = time.perf_counter()
        done = subprocess.run(
            [self.python, str(SCRIPT)],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env=_environment(ours=self.python == sys.executable),
        )
        seconds = time.perf_counter() - begun
        if done.returncode:
            raise SystemExit(done.stderr)
        line = done.stdout.strip().splitlines()[-1]
        return Run(seconds=seconds, result=json.loads(line))


def _environment(*, ours: bool) -> dict[str, str]:
    """Return the environment of a run.

    Nothing may lead another interpreter to this package, and modules are compiled once, as
    they are where a package is installed.
    """
    dropped = {"PYTHONDONTWRITEBYTECODE"} if ours else {"PYTHONPATH"}
    return {name: value for name, value in os.environ.items() if name not in dropped}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    seconds: float
    result: dict[str, Any]


def compare(
    sides: dict[str, Side],
    slides: dict[str, list[list[int]]],
    wanted: dict[tuple[str, str], float],
    *,
    rounds: int,
) -> None:
    """Let all sides run in turn; print rates, and the ratios that are wanted."""
    runs: dict[str, list[Run]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            runs[name].append(side.run(slides))
    for name, of_side in runs.items():
        seconds = statistics.median(run.seconds for run in of_side)
        count = of_side[0].result["patches"]
        size = of_side[0].result.get("bytes")
        hint = "" if size is None else f", {size / count:,.0f} bytes each"
        print(f"{name}: {count:,} in {seconds:.2f} s ({count / seconds:,.0f}/s{hint})")
    for (over, under), floor in wanted.items():
        pairs = zip(runs[over], runs[under], strict=True)
        ratio = statistics.median(b.seconds / a.seconds for a, b in pairs)
        print(f"    {ratio:6.2f} x  {over} over {under}   (wanted: {floor})", flush=True)


def fastest(python: str, side: Side, slides: dict[str, list[list[int]]]) -> Side:
    """Return the best of the settings that the original has."""
    choices = [
        Side(python=python, task=side.task, threads=threads, options=side.options)
        for threads in (1, 2)
    ]
    return min(choices, key=lambda each: each.run(slides).seconds)


def five_slides(folder: Path) -> dict[str, list[list[int]]]:
    """Return about 8,000 places on four small slides and a larger one."""
    places = {
        str(folder / f"wsi{n}.svs"): corners(folder / f"wsi{n}.svs") for n in range(1, 5)
    }
    left = 8000 - sum(map(len, places.values()))
    return {**places, str(folder / "mid.svs"): corners(folder / "mid.svs", left)}


def memory(python: str, folder: Path, *, rounds: int) -> None:
    slides = five_slides(folder)
    original = fastest(python, Side(python=python, task="memory"), slides)
    ours = Side(python=sys.executable, task="memory")
    pixels = [each.run(slides, check=True).result["pixels"] for each in (ours, original)]
    print(f"the same pixels: {pixels[0] == pixels[1]}")
    sides = {
        "MemPatchExtractorPool": ours,
        "StreamPatchExtractorPool": Side(python=sys.executable, task="stream"),
        f"original ({original.threads} threads)": original,
    }
    first, second, other = sides
    compare(sides, slides, {(first, other): 6.0, (second, other): 9.0}, rounds=rounds)


def disk(python: str, folder: Path, *, rounds: int) -> None:
    slides = five_slides(folder)
    jpg: dict[str, Any] = {"image_type": "jpg"}
    png: dict[str, Any] = {"image_type": "png"}
    best = fastest(python, Side(python=python, task="disk", options=jpg), slides)
    for kind, floor, options in (("JPEG", 3.5, jpg), ("PNG", 6.0, png)):
        original = replace(best, options=options)
        names = (f"{kind} files", f"original, {kind} files ({original.threads} threads)")
        ours = Side(python=sys.executable, task="disk", options=options)
        sides = {names[0]: ours, names[1]: original}
        wanted = {names: floor}
        if kind == "JPEG":
            shards = {**jpg, "container": "webdataset"}
            sides["WebDataset"] = Side(python=sys.executable, task="disk", options=shards)
            wanted["WebDataset", names[1]] = 4.0
        compare(sides, slides, wanted, rounds=rounds)
    aligned = {slide: [[x - 100, y - 100] for x, y in c] for slide, c in slides.items()}
    aligned = {slide: c for slide, c in aligned.items() if tile_side(slide) == SIDE}
    passed = {"image_type": "jpg", "save_options": {"passthrough": True}}
    sides = {
        "JPEG tiles passed through": Side(
            python=sys.executable, task="disk", options=passed
        ),
        "JPEG files": Side(python=sys.executable, task="disk", options=jpg),
    }
    compare(sides, aligned, {tuple(sides): 2.5}, rounds=rounds)


def tile_side(slide: str) -> int:
    with openslide.OpenSlide(slide) as opened:
        return int(opened.properties["openslide.level[0].tile-width"])


def _decode_part(slide: str, places: list[list[int]]) -> int:
    decoding(slide, np.array(places))()
    return len(places)


def large(folder: Path, *, rounds: int) -> None:
    """A large slide through the stream, against decoding its tiles once on both cores."""
    slide = str(folder / "big.svs")
    places = corners(Path(slide), 15000)
    pool = [
        PatchesMock(
            patch_data=[((x, y), (SIDE, SIDE), "patch") for x, y in places],
            wsi_file=slide,
            level_or_mpp=0,
        )
    ]
    halves = [places[: len(places) // 2], places[len(places) // 2 :]]
    with ProcessPoolExecutor(WORKERS) as both:
        list(both.map(_decode_part, [slide] * 2, [half[:300] for half in halves]))
        shares: list[float] = []
        steady: list[float] = []
        for _ in range(rounds):
            begun = time.perf_counter()
            list(both.map(_decode_part, [slide] * 2, halves))
            limit = time.perf_counter() - begun
            begun = time.perf_counter()
            stream = StreamPatchExtractorPool(
                patches_pool=pool, proc_num_workers=WORKERS, thread_num_workers=1
            )
            count, warm = 0, (0, begun)
            for batch in stream:
                count += len(batch)
                if not warm[0] and count >= len(places) // 3:
                    warm = (count, time.perf_counter())
            over = time.perf_counter()
            shares.append(limit / (over - begun))
            later = (count - warm[0]) / (over - warm[1])
            steady.append(later * limit / count)
            print(
                f"stream {count / (over - begun):,.0f}/s with its start, {later:,.0f}/s "
                f"after a third; limit {count / limit:,.0f}/s"
            )
    for what, found in (("with its start", shares), ("after a third", steady)):
        print(f"    {statistics.median(found):6.0%} of the limit {what}   (wanted: 80%)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", help="interpreter that has the original")
    parser.add_argument("--slides", type=Path, required=True)
    parser.add_argument("--part", choices=["memory", "disk", "large"])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if given.part in (None, "large"):
        large(given.slides, rounds=given.rounds)
    if given.python and given.part in (None, "memory"):
        memory(given.python, given.slides, rounds=given.rounds)
    if given.python and given.part in (None, "disk"):
        disk(given.python, given.slides, rounds=given.rounds)


if __name__ == "__main__":
    main()
