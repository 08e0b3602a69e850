"""Whole runs of the pools, as a user sees them: ``python -m benchmarks.users``.

``[--quick] [--slides FOLDER] [--original PYTHON] [--peers PYTHON …] [--workers N …]
[--scenes NAME …] [--who NAME …] [--of several|one] [--most N] [--times N] [--rounds N]
[--budget-s SECONDS] [--out FOLDER]``

Each run is an interpreter of its own, with everything imported and the slides in the cache
of the system; the clock runs from the constructor of the pool to the last patch, so that
starting workers counts, and processor time is that of all processes. Beside the pools:

- the limit: the tiles that these patches take at level 0, each decoded once by simplejpeg
  in as many processes, which wait for the clock with everything open; nothing is copied;
- what writes JPEG, on grids: files and tar files, with chroma as it is stored, and with
  tiles passed on; of the first 8,000 patches. Their limit also encodes as many tiles as
  there are patches, each as soon as it is decoded;
- loops of other libraries, one patch after the other, in as many processes, and of
  OpenSlide in one too; they wait with their slides open, hand over nothing, keep
  memory that they free, and have the first 3,000 patches alone to do;
- a `DataLoader` of PyTorch over OpenSlide, if PyTorch is installed.

All take turns, after a round that does not count, so that a machine that slows down slows
all of them; figures are medians, and ratios are of one round. Memory is that of the round
that does not count: the largest proportional set size of all processes together. PYTHON is
the interpreter of an environment with ``pip install dplabtools==0.0.5 openslide-bin``, or
with other libraries (numpy, Pillow and some of cucim-cu12, pyvips[binary], tiffslide,
tiatoolbox, wsistream); what is not installed in any is left out. FOLDER holds wsi1.svs to
wsi4.svs or more, and may hold a larger big.svs; N patches of all of them together are read
at most. Of so few a tenth of the time is the start; ``--times 4`` gives each of the
several slides four times, by links, as in a long run; ``--times 25`` without FOLDER is a
hundred small ones. What would take longer than SECONDS, going by what was longest so far,
is left out, and named. Writes users.md, users.json and users.png after each table.
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
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, Final

from benchmarks.original import SIDE
from benchmarks.processes import ChildrenMemory
from benchmarks.slides import several_slides
from benchmarks.users_plot import draw
from benchmarks.users_scenes import SCENES, Scene, scenes
from dplabtools.engine.limits import usable_cores

ROOT = Path(__file__).parents[1]
SCRIPT = Path(__file__).with_name("users_job.py")
LIMIT, LIMIT_JPEG = "limit: decoding", "limit: decoding and encoding"
LIMITS = (LIMIT, LIMIT_JPEG)
STREAM, LOOP = "stream pool", "OpenSlide loop"
JPEG_POOLS: Final = {
    "disk pool, JPEG": "disk",
    "disk pool, JPEG, stored chroma": "disk stored_chroma",
    "disk pool, JPEG, tiles passed on": "disk passthrough",
    "disk pool, WebDataset": "webdataset",
    "disk pool, WebDataset, stored chroma": "webdataset stored_chroma",
}
ORIGINAL: Final = {"original, memory pool": "memory", "original, JPEG files": "disk"}
LIBRARIES = ("dplabtools-next", "simplejpeg", "openslide-python", "openslide-bin", "numpy")
PEERS: Final = {  # by what is imported, names of the distributions
    "cucim": ("cucim-cu12", "cucim-cu13"),
    "pyvips": ("pyvips",),
    "tiffslide": ("tiffslide",),
    "tiatoolbox": ("tiatoolbox",),
    "wsistream": ("wsistream",),
}
SLIDES = ("several", "one")
KINDS = ("stream", "memory", "files", "loops")  # of who takes part beside the limit
MOST = 30_000  # patches of all slides together
LOOPED = 3000  # patches that loops read: the slowest take a minute for all of them
WRITTEN = 8000  # patches that become files, which are kept: 120 MB each time
_NOT_INSTALLED = 3  # exit code
# Memory that loops free is theirs again, as with our workers: pyvips then takes two thirds.
_KEEPING = dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(1 << 30))


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Who reads the patches, and in how many processes."""

    name: str
    task: str
    workers: int
    python: str = sys.executable

    @property
    def kind(self) -> str:
        """One of `KINDS`, or the limit."""
        if self.task.startswith(("disk", "webdataset", "decode encode")):
            return "files"
        if self.task in ("stream", "stream near"):
            return "stream"
        return {"decode": "limit", "memory": "memory"}.get(self.task, "loops")

    @property
    def of_original(self) -> str:
        """Task of the original to compare with; empty for who is no pool."""
        return {"stream": "memory", "memory": "memory", "files": "disk"}.get(self.kind, "")

    def takes_part(self, scene: Scene) -> bool:
        """Return whether there is something to compare."""
        if self.task == "stream near":
            return scene.scattered
        if self.task.endswith("passthrough"):
            return scene.name == "grid on tiles"
        if self.kind == "files":
            return scene.name.startswith("grid")
        if scene.mode == "fast" and self.task == "memory":
            return self.python == sys.executable  # the original cannot do that
        return not (scene.levels and self.kind == "loops")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run took, in seconds, and at most at once of memory, in bytes."""

    patches: int
    wall: float
    cpu: float
    peak: int = 0


def contenders(
    workers: int, original: str | None, peers: Mapping[str, tuple[str, str]], *, quick: bool
) -> list[Contender]:
    """Return who takes part, the limit first."""
    tasks = {LIMIT: "decode", STREAM: "stream", "memory pool": "memory"}
    if not quick:
        tasks["stream pool, order near"] = "stream near"
        tasks |= {LIMIT_JPEG: "decode encode"} | JPEG_POOLS
    tasks[LOOP] = "openslide"
    if not quick and find_spec("torch") is not None:
        tasks["DataLoader over OpenSlide"] = "loader"
    found = [Contender(name=n, task=task, workers=workers) for n, task in tasks.items()]
    if workers > 1:
        found.append(Contender(name=LOOP, task="openslide", workers=1))
    for library, (python, release) in peers.items():
        name = f"{library} {release} loop"
        found.append(Contender(name=name, task=library, workers=workers, python=python))
    if original is not None:
        found += [
            Contender(name=name, task=task, workers=workers, python=original)
            for name, task in ORIGINAL.items()
        ]
    return found


def installed(pythons: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return interpreter and version of each library that one of these has."""
    code = (
        "import json, sys\n"
        "from importlib.metadata import PackageNotFoundError, version\n"
        "found = {}\n"
        "for library, names in json.loads(sys.argv[1]).items():\n"
        "    for name in names:\n"
        "        try:\n"
        "            found[library] = version(name)\n"
        "        except PackageNotFoundError:\n"
        "            pass\n"
        "print(json.dumps(found))\n"
    )
    libraries: dict[str, tuple[str, str]] = {}
    for python in pythons:
        asked = [python, "-c", code, json.dumps(PEERS)]
        done = subprocess.run(asked, capture_output=True, text=True, check=True)
        for library, release in json.loads(done.stdout).items():
            libraries.setdefault(library, (python, release))
    return libraries


# ------------------------------------------------------------------------- runs


def measure(contender: Contender, scene: Scene) -> Run | None:
    """Run once, in a folder of its own; return None if the library is not installed.

    Image files are removed at the end of all runs: after many files were removed ext4 takes
    longer to make new ones, for minutes.
    """
    folder = tempfile.mkdtemp(prefix="dplabtools-benchmark-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if most := {"loops": LOOPED, "files": WRITTEN}.get(contender.kind):
        scene = scene.shortened(most)
    job = {
        **asdict(scene),
        "task": contender.task,
        "workers": contender.workers,
        "side": SIDE,
        "output_dir": folder,
        "root": str(ROOT),
    }
    ours = contender.python == sys.executable
    dropped = {"PYTHONDONTWRITEBYTECODE"} if ours else {"PYTHONPATH"}
    environment = {name: text for name, text in os.environ.items() if name not in dropped}
    if contender.kind == "loops":
        environment |= _KEEPING
    done = subprocess.run(
        [contender.python, str(SCRIPT)],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
    )
    if contender.task.startswith("webdataset"):
        shutil.rmtree(folder)
    if done.returncode == _NOT_INSTALLED:
        return None
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
    peaks: dict[Contender, int] = {}
    for each in taking_part:
        with ChildrenMemory() as memory:
            run = measure(each, scene)
        if run is None:
            print(f"{each.name} cannot be imported", file=sys.stderr)
            del runs[each]
        peaks[each] = memory.peak
        print(".", end="", flush=True, file=sys.stderr)
    for _ in range(rounds):
        for each, of in runs.items():
            run = measure(each, scene)
            assert run is not None
            of.append(replace(run, peak=peaks[each]))
            print(".", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    return runs


# ----------------------------------------------------------------------- report


def table(scene: Scene, runs: Mapping[Contender, Sequence[Run]]) -> Iterator[str]:
    """Yield the lines of a table: the share of the limit first, then what was measured."""
    shares = shares_of(runs)
    loop = next((of for each, of in runs.items() if each.name == LOOP), None)
    others = {each.task: of for each, of in runs.items() if each.name in ORIGINAL}
    yield f"### {scene.name}, {scene.where}: {scene.count:,} patches of {SIDE} px\n"
    yield (
        "| who | processes | share of the limit | patches/s | slowest to fastest "
        "| µs of processor a patch | peak, MB | x OpenSlide loop | x original |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for each, of in runs.items():
        rates = [run.patches / run.wall for run in of]
        cpu = statistics.median(run.cpu / run.patches for run in of)
        ratio = "" if loop is None else f"{_ratio(loop, of):.2f}"
        other = others.get(each.of_original)
        beside = "" if other is None else f"{_ratio(other, of):.2f}"
        yield (
            f"| {each.name} | {each.workers} | {shares[each]:.0%} "
            f"| {statistics.median(rates):,.0f} | {min(rates):,.0f} to {max(rates):,.0f} "
            f"| {cpu * 1e6:,.0f} | {of[0].peak / 1e6:,.0f} | {ratio} | {beside} |"
        )
    yield ""


def shares_of(runs: Mapping[Contender, Sequence[Run]]) -> dict[Contender, float]:
    """Return how fast each is, as a share of what decodes alone, or also encodes."""
    limits = {each.kind: of for each, of in runs.items() if each.name in LIMITS}
    return {
        each: _ratio(limits.get(each.kind, limits["limit"]), of)
        for each, of in runs.items()
    }


def _ratio(of: Sequence[Run], by: Sequence[Run]) -> float:
    """Return how many times as fast one is as the other: the median over the rounds."""
    pairs = zip(of, by, strict=True)
    return statistics.median((a.wall / a.patches) / (b.wall / b.patches) for a, b in pairs)


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


class Report:
    """What was measured, and the files that say so."""

    def __init__(self, folder: Path, *, rounds: int) -> None:
        self._folder = folder
        self._machine, self._rounds = machine(), rounds
        self._lines: list[str] = []
        self._results: list[dict[str, Any]] = []
        self.left_out: list[str] = []

    def add(self, scene: Scene, runs: Mapping[Contender, Sequence[Run]]) -> None:
        """Take the runs of a scene, and show them."""
        lines, name = list(table(scene, runs)), f"{scene.name}, {scene.where}"
        print("\n".join(lines), flush=True)
        self._lines += lines
        for each, share in shares_of(runs).items():
            of = list(map(asdict, runs[each]))
            self._results.append(
                {"scene": name, **asdict(each), "share": share, "runs": of}
            )

    def write(self) -> None:
        """Write the files of what there is so far."""
        where = ", ".join(f"{name} {value}" for name, value in self._machine.items())
        rounds = f"Medians of {self._rounds} rounds, all in turn. {where}.\n"
        lines = ["# Whole runs of the pools\n", rounds, *self._lines]
        if self.left_out:
            lines.append(f"Left out, as there was no time: {'; '.join(self.left_out)}.\n")
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "users.md").write_text("\n".join(lines))
        report = {
            "machine": self._machine,
            "rounds": self._rounds,
            "left_out": self.left_out,
            "results": self._results,
        }
        (self._folder / "users.json").write_text(json.dumps(report, indent=1) + "\n")
        draw(self._results, self._folder / "users.png")


def as_more_slides(files: Sequence[Path], times: int) -> list[Path]:
    """Return links to slides, each of them so many times."""
    folder = Path(tempfile.mkdtemp(prefix="dplabtools-benchmark-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    links = []
    for nth in range(times):
        for file in files:
            links.append(folder / f"{file.stem}-{nth}{file.suffix}")
            links[-1].symlink_to(file.resolve())
    return links


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under three minutes")
    parser.add_argument("--slides", type=Path, help="folder with wsi*.svs, and big.svs")
    parser.add_argument("--original", help="interpreter that has the original")
    parser.add_argument("--peers", nargs="*", default=[], help="that have other libraries")
    parser.add_argument("--rounds", type=int, help="5, or with --quick 3")
    parser.add_argument("--workers", type=int, nargs="+", help="1, 2 and all cores")
    parser.add_argument(
        "--scenes", nargs="+", choices=SCENES, help="all, or with --quick grid"
    )
    parser.add_argument(
        "--who", nargs="+", choices=KINDS, default=KINDS, help="beside the limit: all"
    )
    parser.add_argument("--of", nargs="+", choices=SLIDES, default=SLIDES, help="both")
    parser.add_argument("--most", type=int, help="30,000 patches; with --quick few")
    parser.add_argument("--times", type=int, default=1, help="1: of the several slides")
    parser.add_argument("--budget-s", type=float, default=float("inf"), help="at most")
    parser.add_argument("--out", type=Path, default=ROOT / ".benchmarks")
    return parser.parse_args()


def main() -> None:
    given, cores = arguments(), usable_cores()
    rounds = given.rounds or (3 if given.quick else 5)
    counts = given.workers or (
        [cores] if given.quick else sorted({1, min(2, cores), cores})
    )
    files = several_slides(given.slides)
    big = None if given.slides is None else given.slides / "big.svs"
    big = big if big is not None and big.exists() else None
    several = as_more_slides(files, given.times) if given.times > 1 else files
    peers = installed([sys.executable, *given.peers])
    report = Report(given.out, rounds=rounds)
    begun, longest = time.monotonic(), 0.0
    names = given.scenes or (("grid",) if given.quick else SCENES)
    most = {"several": MOST * given.times, "one": MOST}
    if given.quick:
        most = {"several": 250 * len(several), "one": 1500}
    wanted = {
        of: scenes(slides, most=given.most or most[of], names=names)
        for of, slides in {"several": several, "one": [big or files[0]]}.items()
    }
    for scene in chain.from_iterable(wanted[place] for place in given.of):
        for workers in counts:
            since = time.monotonic()
            if since - begun + longest > given.budget_s:
                report.left_out.append(f"{scene.name}, {scene.where}, {workers}")
                continue
            everybody = contenders(workers, given.original, peers, quick=given.quick)
            kinds = {"limit", *given.who}
            taking_part = [
                each for each in everybody if each.kind in kinds and each.takes_part(scene)
            ]
            report.add(scene, compare(scene, taking_part, rounds=rounds))
            report.write()
            longest = max(longest, time.monotonic() - since)
    report.write()
    print(f"written: {given.out}/users.md, users.json and users.png")


if __name__ == "__main__":
    main()
