"""Measure how long it takes to begin: ``python -m benchmarks.startup``.

``[--slides FOLDER] [--before FOLDER] [--original PYTHON] [--rounds N] [--workers N]``

First imports and the command: the time of the processor, which whoever else uses the
machine disturbs least, each as a ratio to what numpy and shapely alone take. Then pools
over four slides, 64 patches of each: the time on the wall to the first batch of a stream,
to close it, and of a small pool in memory, fresh and warm (again in the same interpreter);
the time of the processor is that of all processes.

Interpreters are started in turn, so that a machine that slows down slows all; figures are
medians. Bytecode is there, as after any installation: a first round, which does not count,
makes it. FOLDER of ``--before`` is a checkout of an earlier state, and PYTHON the
interpreter of an environment with ``pip install dplabtools==0.0.5 openslide-bin``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.original import SIDE, corners
from benchmarks.slides import four_slides

ROUNDS = 11
COMMAND = "from dplabtools.cli.main import main; main()"
PEER = "import numpy, shapely"
STARTS = (
    (PEER, (PEER,), None),
    ("import dplabtools.slides.patches", ("import dplabtools.slides.patches",), 0.4),
    ("dplabtools --help", (COMMAND, "--help"), 0.5),
    ("dplabtools extract --help", (COMMAND, "extract", "--help"), 0.5),
)
SCRIPT = Path(__file__).with_name("startup_job.py")
TIMES = 4  # pools of an interpreter: one fresh, the others warm
EACH = 64  # patches of each slide
WANTED = {"first batch, warm": 0.10, "close, warm": 0.10}


def imports(rounds: int, bytecode: str) -> None:
    """Print a line for each import and command."""
    seconds: dict[str, list[float]] = {name: [] for name, _, _ in STARTS}
    for _ in range(1 + rounds):
        for name, arguments, _ in STARTS:
            seconds[name].append(processor_time(arguments, bytecode))
    peer = statistics.median(seconds[PEER][1:])
    for name, _, at_most in STARTS:
        value = statistics.median(seconds[name][1:])
        line = f"{name:34} {value:6.3f} s {value / peer:6.2f} x"
        if at_most is not None:
            line += f"  <= {at_most} s  {'met' if value <= at_most else 'MISSED'}"
        print(line)


def processor_time(arguments: Sequence[str], bytecode: str) -> float:
    """Return the seconds of processor time that Python takes for this code."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with subprocess.Popen(
        [sys.executable, "-c", *arguments], stdout=subprocess.DEVNULL, env=environment
    ) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return used.ru_utime + used.ru_stime


def pools(
    sides: Mapping[str, tuple[str, str | None]], job: Mapping[str, object], *, rounds: int
) -> None:
    """Print a line for each figure, with that of each side."""
    found: dict[str, dict[str, list[float]]] = {side: {} for side in sides}
    for number in range(1 + rounds):
        for side, (python, path) in sides.items():
            for name, seconds in run(python, path, job).items():
                if number:
                    found[side].setdefault(name, []).extend(seconds)
    names = dict.fromkeys(name for figures in found.values() for name in figures)
    print(f"\n{'seconds, median (least to most)':34}" + "".join(f"{s:>26}" for s in sides))
    for name in names:
        line = f"{name:34}" + "".join(
            f"{_figure(of.get(name)):>26}" for of in found.values()
        )
        if name in WANTED:
            met = statistics.median(found[next(iter(sides))][name]) <= WANTED[name]
            line += f"  <= {WANTED[name]:.2f} s  {'met' if met else 'MISSED'}"
        print(line)


def _figure(seconds: Sequence[float] | None) -> str:
    if not seconds:
        return "-"
    middle = statistics.median(seconds)
    return f"{middle:.3f} ({min(seconds):.3f} to {max(seconds):.3f})"


def run(python: str, path: str | None, job: Mapping[str, object]) -> dict[str, list[float]]:
    """Run the job once, with the package that the interpreter has, or of a folder."""
    dropped = {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
    environment = {name: text for name, text in os.environ.items() if name not in dropped}
    if path is not None:
        environment["PYTHONPATH"] = path
    done = subprocess.run(
        [python, str(SCRIPT)],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    figures: dict[str, list[float]] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=Path, help="folder with wsi1.svs to wsi4.svs")
    parser.add_argument("--before", type=Path, help="checkout of an earlier state")
    parser.add_argument("--original", help="interpreter that has the original")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as bytecode:
        imports(given.rounds, bytecode)
    sides: dict[str, tuple[str, str | None]] = {"now": (sys.executable, None)}
    if given.before is not None:
        sides["before"] = (sys.executable, str(given.before / "src"))
    if given.original is not None:
        sides["original"] = (given.original, None)
    job = {
        "slides": {str(file): corners(file, EACH) for file in four_slides(given.slides)},
        "side": SIDE,
        "workers": given.workers,
        "times": TIMES,
    }
    pools(sides, job, rounds=given.rounds)


if __name__ == "__main__":
    main()
