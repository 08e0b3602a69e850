"""One whole run in an interpreter of its own, for `benchmarks.users`.

Standard input: JSON with ``task``, ``slides`` (path to corners), ``side``, ``workers``,
``threads``, ``level_or_mpp``, ``mode``, ``output_dir`` and ``root`` (the repository).
Standard output: JSON with ``patches``, and the ``wall`` and ``cpu`` seconds of the run. The
clock begins when everything is imported, and ends with the last patch; the processor time
is that of all processes.

It is a script, and the documented interface is all it uses: the original runs it as well.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from processes import family_seconds

Slides = dict[str, list[list[int]]]
Part = list[tuple[str, list[list[int]]]]


def parts_of(job: dict[str, Any]) -> list[Part]:
    """Cut the patches of all slides into runs of equal length, one for each worker."""
    slides: Slides = job["slides"]
    every = [(slide, corner) for slide, corners in slides.items() for corner in corners]
    count = job["workers"]
    cuts = [len(every) * number // count for number in range(count + 1)]
    parts: list[Part] = []
    for first, last in pairwise(cuts):
        by_slide: dict[str, list[list[int]]] = {}
        for slide, corner in every[first:last]:
            by_slide.setdefault(slide, []).append(corner)
        parts.append(list(by_slide.items()))
    return parts


# ------------------------------------------------------------------------ pools


def locations(job: dict[str, Any]) -> list[Any]:
    from dplabtools.slides.patches import PatchesMock

    side = job["side"]
    return [
        PatchesMock(
            patch_data=[((x, y), (side, side), "patch") for x, y in corners],
            wsi_file=slide,
            level_or_mpp=job["level_or_mpp"],
        )
        for slide, corners in job["slides"].items()
    ]


def arguments(job: dict[str, Any]) -> dict[str, Any]:
    return {
        "patches_pool": locations(job),
        "proc_num_workers": job["workers"],
        "thread_num_workers": job["threads"],
        "resampling_mode": job["mode"],
    }


def memory(job: dict[str, Any]) -> Callable[[], int]:
    from dplabtools.slides.patches import MemPatchExtractorPool

    given = arguments(job)

    def run() -> int:
        pool = MemPatchExtractorPool(**given)
        return sum(bool(np.asarray(image).any()) for image, _ in pool.patch_list)

    return run


def stream(job: dict[str, Any]) -> Callable[[], int]:
    from dplabtools.slides.patches import StreamPatchExtractorPool

    given = arguments(job)
    return lambda: sum(len(batch) for batch in StreamPatchExtractorPool(**given))


def disk(job: dict[str, Any]) -> Callable[[], int]:
    from dplabtools.slides.patches import DiskPatchExtractorPool

    given = {**arguments(job), "output_dir": job["output_dir"], "image_type": "jpg"}
    return lambda: int(DiskPatchExtractorPool(**given).patch_count)


# ----------------------------------------------------------------------- limits


def openslide_part(part: Part, job: dict[str, Any]) -> Callable[[], None]:
    """Return what reads patches with OpenSlide, one by one; with Pillow, if resampled."""
    import openslide

    side = job["side"]

    def run() -> None:
        for slide, corners in part:
            with openslide.OpenSlide(slide) as opened:
                factor = 1.0
                if job["mode"] is not None:
                    finest = float(opened.properties["openslide.mpp-x"])
                    factor = job["level_or_mpp"] / finest
                extent = round(side * factor)
                for x, y in corners:
                    image = opened.read_region((x, y), 0, (extent, extent)).convert("RGB")
                    if extent != side:
                        image = image.resize((side, side), 1)  # Lanczos
                    np.asarray(image)

    return run


def decode_part(part: Part, job: dict[str, Any]) -> Callable[[], None]:
    """Return what decodes each tile that these patches take once, and does no more."""
    sys.path.insert(0, job["root"])
    from benchmarks.reading import decoding

    side = job["side"]
    tasks = [
        decoding(slide, np.array(corners), side=round(side * job["factor"]))
        for slide, corners in part
    ]

    def run() -> None:
        for task in tasks:
            task()

    return run


def in_processes(
    make: Callable[[Part, dict[str, Any]], Callable[[], None]],
) -> Callable[[dict[str, Any]], Callable[[], int]]:
    """Return a task that shares a loop among processes, which wait for its beginning."""

    def task(job: dict[str, Any]) -> Callable[[], int]:
        context = multiprocessing.get_context("fork")
        parts = parts_of(job)
        ready = context.Barrier(len(parts) + 1)

        def child(part: Part) -> None:
            run = make(part, job)
            ready.wait()
            run()

        children = [context.Process(target=child, args=(part,)) for part in parts]
        for each in children:
            each.start()

        def run() -> int:
            for each in children:
                each.join()
                assert each.exitcode == 0
            return sum(len(corners) for corners in job["slides"].values())

        ready.wait(60)  # the clock begins behind it
        return run

    return task


TASKS: dict[str, Callable[[dict[str, Any]], Callable[[], int]]] = {
    "memory": memory,
    "stream": stream,
    "disk": disk,
    "openslide": in_processes(openslide_part),
    "decode": in_processes(decode_part),
}


def main() -> None:
    job = json.load(sys.stdin)
    run = TASKS[job["task"]](job)
    spent, begun = family_seconds(), time.perf_counter()
    patches = run()
    wall, cpu = time.perf_counter() - begun, family_seconds() - spent
    json.dump({"patches": patches, "wall": wall, "cpu": cpu}, sys.stdout)


if __name__ == "__main__":
    main()
