"""What maps of classes take of memory: ``python -m benchmarks.maps SLIDE``.

``[--patches N] [--classes N] [--workers N] [--dense]``

A model that hardly computes goes over patches of 256 px at level 0 of a slide, and its
maps are of the level with the downsample nearest to 16. The figure is the most that all
processes take together (proportional set size), less what they take while workers of a
`DataLoader` wait for work.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import psutil
import torch
from torch.utils.data import DataLoader

from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import PatchesMock
from dplabtools.slides.processing import WSIDataset, WSIInference

SIDE, BATCH = 256, 64


def taken() -> float:
    """Return the megabytes that this process and its children take."""
    here = psutil.Process()
    total = 0
    for process in (here, *here.children(recursive=True)):
        try:
            total += process.memory_full_info().pss
        except psutil.Error:  # it has ended meanwhile
            continue
    return total / 2**20


@contextmanager
def watched() -> Iterator[list[float]]:
    """Collect what is taken, ten times a second."""
    seen, done = [taken()], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            seen.append(taken())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slide")
    parser.add_argument("--patches", type=int, default=4000)
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--dense", action="store_true", help="a value for each pixel")
    given = parser.parse_args()
    torch.set_num_threads(1)

    def model(images: torch.Tensor) -> torch.Tensor:
        pooled = torch.nn.functional.avg_pool2d(images, 4 if given.dense else SIDE)
        values = torch.softmax(pooled[:, [0] * given.classes], dim=1)
        return values if given.dense else values.flatten(1)

    with GenericSlide(wsi_file=given.slide) as slide:
        width, height = slide.level_dimensions[0]
        level = int(np.abs(np.log(np.array(slide.level_downsamples) / 16)).argmin())
    rows = [
        ((x, y), (SIDE, SIDE), "")
        for y in range(0, height - SIDE, SIDE)
        for x in range(0, width - SIDE, SIDE)
    ]
    patches = PatchesMock(
        patch_data=rows[: given.patches], wsi_file=given.slide, level_or_mpp=0
    )
    waiting = iter(DataLoader(range(10**6), batch_size=1, num_workers=given.workers))
    next(waiting)
    idle = taken()
    del waiting
    inference = WSIInference(
        model=model,
        classifier=None,
        level_or_minsize=level,
        num_classes=given.classes,
        num_workers=given.workers,
        batch_size=BATCH,
        use_cuda=False,
    )
    with watched() as seen:
        inference.process_dataset(WSIDataset(patches=patches))
    shape = inference.classes_array.shape
    print(f"maps of {shape} from {len(patches.patch_data)} patches:")
    print(f"- {max(seen) - idle:.0f} MB more than {idle:.0f} MB idle")


if __name__ == "__main__":
    main()
