"""Whole runs of the pools, as a user sees them: ``python -m benchmarks.users``.

``[--quick] [--slides FOLDER] [--original PYTHON] [--rounds N] [--out FOLDER]``

Each run is an interpreter of its own, with everything imported and the slides in the cache
of the system; the clock runs from the constructor of the pool to the last patch, so that
starting workers counts, and processor time is that of all processes. Beside the pools:

- the limit: the tiles that these patches take, each decoded once by simplejpeg in as many
  processes, which wait for the clock with everything open; nothing is copied;
- a loop of OpenSlide, in one process and in as many, which hand over nothing.

All take turns, after a round that does not count, so that a machine that slows down slows
all of them; figures are medians, and ratios are of one round. PYTHON is the interpreter of
an environment with ``pip install dplabtools==0.0.5 openslide-bin``. FOLDER holds wsi1.svs
to wsi4.svs, and may hold a larger big.svs. Writes users.md and users.json.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import openslide

from benchmarks.original import SIDE, corners
from benchmarks.slides import four_slides
from dplabtools.engine.limits import usable_cores

ROOT = Path(__file__).parents[1]
SCRIPT = Path(__file__).with_name("users_job.py")
LIMIT, ORIGINAL = "limit: decoding", "original, memory pool"
LIBRARIES = ("dplabtools-next", "simplejpeg", "openslide-python", "openslide-bin", "numpy")

Slides = dict[str, list[list[int]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Patches of slides, and how they are read."""

    name: str
    slides: Slides
    level_or_mpp: float = 0
    mode: str | None = None
    factor: float = 1.0  # level 0 pixels per pixel of a patch

    @property
    def count(self) -> int:
        return sum(map(len, self.slides.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Who reads the patches, and in how many processes."""

    name: str
    task: str
    workers: int
    threads: int = 1
    python: str = sys.executable


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run took, in seconds."""

    patches: int
    wall: float
    cpu: float


# ----------------------------------------------------------------------- scenes


def scenes(files: Sequence[Path], big: Path | None, *, quick: bool) -> Iterator[Scene]:
    """Yield what is measured."""
    most = 250 if quick else 900
    grids: Slides = {str(file): corners(file, most) for file in files}
    yield Scene(name="grid, four slides", slides=grids)
    one = big or files[0]
    slides: Slides = {str(one): corners(one, 1500 if quick else 15000)}
    yield Scene(name=f"grid, one slide ({one.name})", slides=slides)
    if quick:
        return
    yield Scene(name="random, four slides", slides={s: _random(s, most) for s in grids})
    with openslide.OpenSlide(files[0]) as opened:
        finest = float(opened.properties["openslide.mpp-x"])
    spread: Slides = {s: _spread(s, round(1.7 * SIDE)) for s in grids}
    yield Scene(
        name="grid, four slides, mpp 1.7 x the finest",
        slides=spread,
        level_or_mpp=1.7 * finest,
        mode="tile",
        factor=1.7,
    )


def _random(slide: str, count: int) -> list[list[int]]:
    with openslide.OpenSlide(slide) as opened:
        high = np.array(opened.dimensions) - SIDE
    found: list[list[int]] = np.random.default_rng(0).integers(0, high, (count, 2)).tolist()
    return found


def _spread(slide: str, step: int) -> list[list[int]]:
    with openslide.OpenSlide(slide) as opened:
        width, height = opened.dimensions
    return [
        [x, y]
        for y in range(100, height - step, step)
        for x in range(100, width - step, step)
    ]


def contenders(workers: int, original: str | None, *, quick: bool) -> list[Contender]:
    """Return who takes part, the limit first."""
    found = [
        Contender(name=LIMIT, task="decode", workers=workers),
        Contender(name="stream pool", task="stream", workers=workers),
        Contender(name="memory pool", task="memory", workers=workers),
        Contender(name="OpenSlide loop", task="openslide", workers=workers),
        Contender(name="OpenSlide loop", task="openslide", workers=1),
    ]
    if not quick:
        found.append(Contender(name="disk pool, JPEG", task="disk", workers=workers))
    if original is not None:
        found.append(
            Contender(
                name="original, memory pool",
                task="memory",
                workers=workers,
                python=original,
            )
        )
    return found


# ------------------------------------------------------------------------- runs


def measure(contender: Contender, scene: Scene) -> Run:
    """Run once, in a folder of its own, which is removed at the end of all runs.

    After many files were removed ext4 takes longer to make new ones, for minutes.
    """
    folder = tempfile.mkdtemp(prefix="dplabtools-benchmark-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    job = {
        **{name: getattr(contender, name) for name in ("task", "workers", "threads")},
        **{name: getattr(scene, name) for name in ("slides", "level_or_mpp", "mode")},
        "factor": scene.factor,
        "side": SIDE,
        "output_dir": folder,
        "root": str(ROOT),
    }
    ours = contender.python == sys.executable
    dropped = {"PYTHONDONTWRITEBYTECODE"} if ours else {"PYTHONPATH"}
    environment = {name: text for name, text in os.environ.items() if name not in dropped}
    done = subprocess.run(
        [contender.python, str(SCRIPT)],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
    )
    if done.returncode:
        msg = f"{contender.name}, {scene.name}:\n{done.stderr}"
        raise SystemExit(msg)
    run = Run(**json.loads(done.stdout.strip().splitlines()[-1]))
    if run.patches != scene.count:
        msg = f"{contender.name}: {run.patches} of {scene.count} patches"
        raise SystemExit(msg)
    return run


def compare(
    scene: Scene, taking_part: Sequence[Contender], *, rounds: int
) -> dict[Contender, list[Run]]:
    """Let all run in turn; the first round, which fills caches, does not count."""
    for slide in scene.slides:
        Path(slide).read_bytes()
    runs: dict[Contender, list[Run]] = {each: [] for each in taking_part}
    for number in range(1 + rounds):
        for each in taking_part:
            run = measure(each, scene)
            if number:
                runs[each].append(run)
            print(".", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    return runs


# ----------------------------------------------------------------------- report


def table(scene: Scene, runs: Mapping[Contender, Sequence[Run]]) -> Iterator[str]:
    """Yield the lines of a table: the share of the limit first, then what was measured."""
    by_task = {(each.task, each.workers): of for each, of in runs.items() if _ours(each)}
    most = max(each.workers for each in runs)
    limit, loop = by_task["decode", most], by_task["openslide", most]
    yield f"### {scene.name}: {scene.count:,} patches of {SIDE} px\n"
    yield (
        "| who | processes | share of the limit | patches/s | slowest to fastest "
        "| µs of processor a patch | x OpenSlide loop |"
    )
    yield "|---|---|---|---|---|---|---|"
    for each, of in runs.items():
        rates = [run.patches / run.wall for run in of]
        cpu = statistics.median(run.cpu / run.patches for run in of)
        yield (
            f"| {each.name} | {each.workers} | {_ratio(limit, of):.0%} "
            f"| {statistics.median(rates):,.0f} | {min(rates):,.0f} to {max(rates):,.0f} "
            f"| {cpu * 1e6:,.0f} | {_ratio(loop, of):.2f} |"
        )
    yield ""


def _ours(each: Contender) -> bool:
    return each.python == sys.executable


def _ratio(of: Sequence[Run], by: Sequence[Run]) -> float:
    """Return how many times as fast one is as the other: the median over the rounds."""
    return statistics.median(a.wall / b.wall for a, b in zip(of, by, strict=True))


def machine() -> dict[str, Any]:
    """Return where this is measured, and with what."""
    cpu = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    return {
        "cpu": cpu,
        "cores": usable_cores(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under three minutes")
    parser.add_argument("--slides", type=Path, help="folder with wsi1.svs to wsi4.svs")
    parser.add_argument("--original", help="interpreter that has the original")
    parser.add_argument("--rounds", type=int, help="5, or with --quick 3")
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--out", type=Path, default=ROOT / ".benchmarks")
    given = parser.parse_args()
    rounds = given.rounds or (3 if given.quick else 5)
    files = four_slides(given.slides)
    big = None if given.slides is None else given.slides / "big.svs"
    big = big if big is not None and big.exists() else None
    taking_part = contenders(given.workers, given.original, quick=given.quick)
    where = machine()
    lines = [
        "# Whole runs of the pools\n",
        f"Medians of {rounds} rounds, all in turn. "
        + ", ".join(f"{name} {value}" for name, value in where.items())
        + ".\n",
    ]
    results: list[dict[str, Any]] = []
    for scene in scenes(files, big, quick=given.quick):
        runs = compare(scene, taking_part, rounds=rounds)
        lines += table(scene, runs)
        results += [
            {"scene": scene.name, **asdict(each), "runs": list(map(asdict, of))}
            for each, of in runs.items()
        ]
        print("\n".join(table(scene, runs)), flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "users.md").write_text("\n".join(lines))
    report = {"machine": where, "rounds": rounds, "results": results}
    (given.out / "users.json").write_text(json.dumps(report, indent=1) + "\n")
    print(f"written: {given.out}/users.md and users.json")


if __name__ == "__main__":
    main()
