"""Measure how long it takes to begin: ``python -m benchmarks.startup``.

Processes that are started in turn; medians of the time of the processor, which whoever else
uses the machine disturbs least, and each as a ratio to what numpy and shapely alone take.
Bytecode is there, as after any installation: a first round, which does not count, makes it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence

ROUNDS = 11
COMMAND = "from dplabtools.cli.main import main; main()"
PEER = "import numpy, shapely"
STARTS = (
    (PEER, (PEER,), None),
    ("import dplabtools.slides.patches", ("import dplabtools.slides.patches",), 0.4),
    ("dplabtools --help", (COMMAND, "--help"), 0.5),
    ("dplabtools extract --help", (COMMAND, "extract", "--help"), 0.5),
)


def main() -> None:
    """Print a line for each start."""
    seconds: dict[str, list[float]] = {name: [] for name, _, _ in STARTS}
    with tempfile.TemporaryDirectory() as bytecode:
        for _ in range(1 + ROUNDS):
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


if __name__ == "__main__":
    main()
