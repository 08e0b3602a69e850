"""One whole run in an interpreter of its own, for `benchmarks.users`.

Standard input: JSON with ``task``, ``slides`` (path to corners), ``side``, ``workers``,
``level_or_mpp``, ``mode``, ``factor``, ``levels``, ``output_dir`` and ``root`` (the
repository). Standard output: JSON with ``patches``, and the ``wall`` and ``cpu`` seconds of
the run. The clock begins when everything is imported, and ends with the last patch; the
processor time is that of all processes. Exit code 3: a library is not installed.

It is a script, and the documented interface is all it uses of this package: the original
runs it as well, and environments that have only another library run its loop.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from peers import READERS
from PIL import Image
from processes import family_seconds

Slides = dict[str, list[list[int]]]
Part = list[tuple[str, list[list[int]]]]
_NOT_INSTALLED = 3
_STORED_CHROMA = {"stored_chroma": True}


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
    levels = {"levels_or_mpps": job["levels"]} if job["levels"] else {}
    return {
        "patches_pool": locations(job),
        "proc_num_workers": job["workers"],
        "thread_num_workers": 1,
        "resampling_mode": job["mode"],
        **levels,
    }


def pool_class(name: str, job: dict[str, Any]) -> Callable[..., Any]:
    """Return a class of pools, or its like for several resolutions."""
    pools = import_module("dplabtools.slides.patches")
    made: Callable[..., Any] = getattr(pools, f"MultiRes{name}" if job["levels"] else name)
    return made


def memory(job: dict[str, Any]) -> Callable[[], int]:
    given, make = arguments(job), pool_class("MemPatchExtractorPool", job)

    def run() -> int:
        pool = make(**given)
        finest = (each[0] for each in pool.patch_list) if job["levels"] else pool.patch_list
        return sum(bool(np.asarray(image).any()) for image, _ in finest)

    return run


def stream(
    job: dict[str, Any], *, order: Literal["table", "near"] = "table"
) -> Callable[[], int]:
    from dplabtools.slides.patches import StreamPatchExtractorPool

    given = arguments(job)
    return lambda: sum(
        len(batch) for batch in StreamPatchExtractorPool(**given, order=order)
    )


def disk(job: dict[str, Any], **own: Any) -> Callable[[], int]:
    """Return what writes JPEG; `own` are arguments that the original does not have."""
    make = pool_class("DiskPatchExtractorPool", job)
    given = {**arguments(job), "output_dir": job["output_dir"], "image_type": "jpg", **own}
    return lambda: int(make(**given).patch_count) // max(1, len(job["levels"]))


# ----------------------------------------------------------------------- limits


def loop_part(part: Part, job: dict[str, Any], *, library: str) -> Callable[[], None]:
    """Return what reads patches one by one; with Pillow, if they are resampled."""
    side, extent = job["side"], round(job["side"] * job["factor"])
    readers = [(READERS[library](slide, extent), corners) for slide, corners in part]

    def run() -> None:
        for read, corners in readers:
            for x, y in corners:
                pixels = np.asarray(read(x, y))
                if extent != side:
                    Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS)

    return run


def decode_part(
    part: Part, job: dict[str, Any], *, encodes: bool = False
) -> Callable[[], None]:
    """Return what decodes each tile that these patches take once, and does no more.

    Or it makes a JPEG file in memory of as many tiles as there are patches.
    """
    sys.path.insert(0, job["root"])
    from benchmarks.reading import decoding
    from dplabtools.output.codecs.encoder import ImageEncoder

    side = round(job["side"] * job["factor"])
    then = ImageEncoder(image_type="jpg", options={}).encode if encodes else None
    tasks = [
        decoding(slide, np.array(corners), side=side, then=then) for slide, corners in part
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
            try:
                run = make(part, job)
            except ImportError as error:
                print(error, file=sys.stderr)
                ready.abort()
                sys.exit(_NOT_INSTALLED)
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

        try:
            ready.wait(60)  # the clock begins behind it
        except threading.BrokenBarrierError:
            sys.exit(_NOT_INSTALLED)
        return run

    return task


def decode(job: dict[str, Any], *, encodes: bool = False) -> Callable[[], int]:
    """Return what decodes tiles, in rows: no two processes share many of them."""
    slides: Slides = job["slides"]
    rows = {slide: sorted(each, key=lambda at: at[::-1]) for slide, each in slides.items()}
    return in_processes(partial(decode_part, encodes=encodes))({**job, "slides": rows})


def loader(job: dict[str, Any]) -> Callable[[], int]:
    """Return what tutorials show: a `DataLoader` over a dataset that reads by OpenSlide."""
    sys.path.insert(0, job["root"])
    from torch.utils.data import DataLoader

    from benchmarks.feeding import BATCH, OpenSlidePatches

    places = [(slide, x, y) for slide, corners in job["slides"].items() for x, y in corners]
    patches = OpenSlidePatches(places, job["factor"])
    batches = DataLoader(patches, batch_size=BATCH, num_workers=job["workers"])
    return lambda: sum(len(batch) for batch in batches)


TASKS: dict[str, Callable[[dict[str, Any]], Callable[[], int]]] = {
    "memory": memory,
    "stream": stream,
    "stream near": partial(stream, order="near"),
    "disk": disk,
    "disk stored_chroma": partial(disk, save_options=_STORED_CHROMA),
    "disk passthrough": partial(disk, save_options={"passthrough": True}),
    "webdataset": partial(disk, container="webdataset"),
    "webdataset stored_chroma": partial(
        disk, container="webdataset", save_options=_STORED_CHROMA
    ),
    "decode": decode,
    "decode encode": partial(decode, encodes=True),
    "loader": loader,
    **{name: in_processes(partial(loop_part, library=name)) for name in READERS},
}


def main() -> None:
    job = json.load(sys.stdin)
    try:
        run = TASKS[job["task"]](job)
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(_NOT_INSTALLED)
    spent, begun = family_seconds(), time.perf_counter()
    patches = run()
    wall, cpu = time.perf_counter() - begun, family_seconds() - spent
    json.dump({"patches": patches, "wall": wall, "cpu": cpu}, sys.stdout)


if __name__ == "__main__":
    main()
