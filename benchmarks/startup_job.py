"""What it takes to begin, in an interpreter of its own, for `benchmarks.startup`.

Standard input: JSON with ``slides`` (path to corners), ``side``, ``workers`` and ``times``.
Standard output: JSON, for each figure its seconds: of the import, and of each pool that is
made in turn, first with nothing warm. It is a script, and the documented interface is all
it uses: earlier states and the original run it too, those without streams without them.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from processes import family_seconds


class Clock:
    """Notes the seconds since it was last asked, by name."""

    def __init__(self) -> None:
        self.noted: dict[str, list[float]] = {}
        self.again()

    def again(self) -> None:
        self._begun = time.perf_counter()

    def note(self, name: str) -> None:
        self.noted.setdefault(name, []).append(time.perf_counter() - self._begun)
        self.again()


def main() -> None:
    job = json.load(sys.stdin)
    clock = Clock()
    from dplabtools.slides import patches

    clock.note("import")
    side = job["side"]
    arguments: dict[str, Any] = {
        "patches_pool": [
            patches.PatchesMock(
                patch_data=[((x, y), (side, side), "patch") for x, y in corners],
                wsi_file=slide,
                level_or_mpp=0,
            )
            for slide, corners in job["slides"].items()
        ],
        "proc_num_workers": job["workers"],
        "thread_num_workers": 1,
    }
    streams = getattr(patches, "StreamPatchExtractorPool", None)
    spent = family_seconds()
    for number in range(job["times"]):
        when = "warm" if number else "fresh"
        clock.again()
        if streams is not None:
            batches = iter(streams(**arguments))
            next(batches)
            clock.note(f"first batch, {when}")
            batches.close()
            clock.note(f"close, {when}")
            if not number:
                clock.noted["processor time of a start"] = [family_seconds() - spent]
        clock.again()
        patches.MemPatchExtractorPool(**arguments)
        clock.note(f"small pool in memory, {when}")
    json.dump(clock.noted, sys.stdout)


if __name__ == "__main__":
    main()
