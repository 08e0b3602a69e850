"""Patches per second against the number of patches; start of the workers included.

``python -m benchmarks.growth --slides FOLDER [--python PYTHON]``

FOLDER holds big.svs of 40,000 pixels. PYTHON, if given, is the interpreter of an
environment with the original dplabtools 0.0.5, which is measured too, up to 10,000. Writes
``docs/figures/growth.json``, which ``docs/figures/growth.py`` draws.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

from benchmarks.original import Side, corners

COUNTS = (1_000, 3_000, 10_000, 30_000, 100_000)
HELD = 30_000  # patches of 196,608 bytes that may lie in memory all at once
ORIGINAL = 10_000
DATA = Path(__file__).parents[1] / "docs" / "figures" / "growth.json"


def part(slide: Path, count: int, folder: Path) -> dict[str, list[list[int]]]:
    """Return so many places side by side; where one slide is full, on a link to it."""
    places = corners(slide)
    slides: dict[str, list[list[int]]] = {}
    for number in range(-(-count // len(places))):
        link = folder / f"growth{number}.svs"
        if not link.exists():
            link.symlink_to(slide)
        slides[str(link)] = places[: count - number * len(places)]
    return slides


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=Path, required=True)
    parser.add_argument("--python")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    sides = {
        "StreamPatchExtractorPool": (
            Side(python=sys.executable, task="stream"),
            COUNTS[-1],
        ),
        "MemPatchExtractorPool": (Side(python=sys.executable, task="memory"), HELD),
    }
    if given.python:
        original = Side(python=given.python, task="memory", threads=2)
        sides["original 0.0.5, MemPatchExtractorPool"] = (original, ORIGINAL)
    rates: dict[str, dict[int, float]] = {name: {} for name in sides}
    for count in COUNTS:
        slides = part((given.slides / "big.svs").resolve(), count, given.slides)
        for name, (side, most) in sides.items():
            if count <= most:
                rounds = given.rounds if count <= ORIGINAL else 1
                seconds = [side.run(slides).seconds for _ in range(rounds)]
                rates[name][count] = count / statistics.median(seconds)
                print(f"{name}, {count:,}: {rates[name][count]:,.0f}/s", flush=True)
    DATA.write_text(json.dumps(rates, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
