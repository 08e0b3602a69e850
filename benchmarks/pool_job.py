"""One run of a pool in an interpreter of its own, for `benchmarks.original`.

The documented interface is all it uses, so it runs with the original dplabtools as well.

Standard input: JSON with ``task``, ``slides`` (path to corners), ``side``, ``workers``,
``threads`` and ``output_dir``. Standard output: JSON with what came of it.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractorPool,
    PatchesMock,
)


def locations(job: dict[str, Any]) -> list[PatchesMock]:
    side = job["side"]
    return [
        PatchesMock(
            patch_data=[((x, y), (side, side), "patch") for x, y in corners],
            wsi_file=slide,
            level_or_mpp=0,
        )
        for slide, corners in job["slides"].items()
    ]


def in_memory(job: dict[str, Any]) -> Iterator[Any]:
    """Yield all images of `patch_list`."""
    pool = MemPatchExtractorPool(
        patches_pool=locations(job),
        proc_num_workers=job["workers"],
        thread_num_workers=job["threads"],
    )
    for image, _ in pool.patch_list:
        yield np.asarray(image)


def streamed(job: dict[str, Any]) -> Iterator[Any]:
    """Yield all images of a stream."""
    from dplabtools.slides.patches import StreamPatchExtractorPool

    stream = StreamPatchExtractorPool(
        patches_pool=locations(job),
        proc_num_workers=job["workers"],
        thread_num_workers=job["threads"],
    )
    for batch in stream:
        yield from batch.pixels


def on_disk(job: dict[str, Any]) -> int:
    options: dict[str, Any] = job.get("options", {})
    return DiskPatchExtractorPool(
        patches_pool=locations(job),
        proc_num_workers=job["workers"],
        thread_num_workers=job["threads"],
        output_dir=job["output_dir"],
        **options,
    ).patch_count


def main() -> None:
    job = json.load(sys.stdin)
    result: dict[str, Any] = {}
    if job["task"] == "disk":
        result["patches"] = on_disk(job)
        files = [file for file in Path(job["output_dir"]).rglob("*") if file.is_file()]
        images = [file for file in files if file.parent.name != "manifests"]
        result["bytes"] = sum(file.stat().st_size for file in images)
        result["files"] = len(images)
    else:
        images = {"memory": in_memory, "stream": streamed}[job["task"]](job)
        if job.get("check"):  # the same pixels, in whatever order
            result["pixels"] = sorted(zlib.crc32(image.tobytes()) for image in images)
            result["patches"] = len(result["pixels"])
        else:  # a look at each: one pixel of every patch has been read
            result["patches"] = sum(image[0, 0, 0] >= 0 for image in images)
    json.dump(result, sys.stdout, default=int)


if __name__ == "__main__":
    main()
