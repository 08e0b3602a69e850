"""Measure how long it takes to begin: ``python -m benchmarks.startup``.

Processes that are started in turn, so that whoever else uses the machine disturbs all of
them alike; medians, and each as a ratio to what takes numpy and shapely alone.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Mapping

ROUNDS = 11
PEER = "import numpy, shapely"
STARTS: Mapping[str, tuple[str, float]] = {
    PEER: (PEER, float("inf")),
    "import dplabtools.slides.patches": ("import dplabtools.slides.patches", 0.4),
    "dplabtools --help": (
        "import sys; sys.argv[1:] = ['--help']; "
        "from dplabtools.cli.main import main; main()",
        0.5,
    ),
    "dplabtools extract --help": (
        "import sys; sys.argv[1:] = ['extract', '--help']; "
        "from dplabtools.cli.main import main; main()",
        0.5,
    ),
}


def main() -> None:
    """Print a line for each start."""
    seconds: dict[str, list[float]] = {name: [] for name in STARTS}
    for _ in range(ROUNDS):
        for name, (code, _) in STARTS.items():
            seconds[name].append(duration(code))
    peer = statistics.median(seconds[PEER])
    for name, (_, at_most) in STARTS.items():
        value = statistics.median(seconds[name])
        met = "" if name == PEER else f"<= {at_most} s"
        verdict = "" if name == PEER else ("met" if value <= at_most else "MISSED")
        print(f"{name:34} {value:6.3f} s  {value / peer:5.2f} ×  {met:>9}  {verdict}")


def duration(code: str) -> float:
    """Return the seconds that a process takes from its start to its end."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
