"""What measuring quality and drawing label masks cost: ``python -m benchmarks.quality``.

``[--quick] [--slides FOLDER] [--rounds N] [--workers N]``

Patches of 256 px of four slides, at level 0, to JPEG files. In turn, after a round that
does not count: as they are, with ``quality=True``, and with ``label_masks`` of 500 polygons
of 40 corners on each slide. Starting the workers and looking at the slides count; folders
are kept until the end, as removing files slows a disk. Ratios are of one round; in brackets
the least and the greatest.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.slides import four_slides
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import DiskPatchExtractorPool, PatchesMock
from dplabtools.slides.utils import AnnotationPolygon

SIDE = 256
PLAIN = "JPEG files"


def polygons_of(slide: Path) -> list[AnnotationPolygon]:
    """Return stars all over a slide."""
    with GenericSlide(wsi_file=slide) as opened:
        size = np.array(opened.level_dimensions[0])
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    found = []
    for _ in range(500):
        radii = rng.uniform(100, 300) * rng.uniform(0.5, 1, 40)
        around = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]
        points = (rng.uniform(0, 1, 2) * size + around).tolist()
        found.append(AnnotationPolygon(points, f"class {rng.integers(3)}"))
    return found


def grid(slide: Path, count: int) -> PatchesMock:
    """Return patches side by side, off the tiles of the slide."""
    with GenericSlide(wsi_file=slide) as opened:
        width, height = opened.level_dimensions[0]
    corners = [
        (x, y) for y in range(9, height - SIDE, SIDE) for x in range(9, width - SIDE, SIDE)
    ]
    rows = [(corner, (SIDE, SIDE), "patch") for corner in corners[:count]]
    return PatchesMock(wsi_file=slide, level_or_mpp=0, patch_data=rows)


def seconds(folder: Path, **arguments: Any) -> float:
    """Write all patches, and return how long it took."""
    folder.mkdir()
    begun = time.perf_counter()
    DiskPatchExtractorPool(
        output_dir=folder, image_type="jpg", thread_num_workers=1, **arguments
    )
    return time.perf_counter() - begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--slides", type=Path)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    rounds = given.rounds or (2 if given.quick else 5)
    slides = four_slides(given.slides)
    locations = [grid(slide, 200 if given.quick else 900) for slide in slides]
    count = sum(len(each.patch_data) for each in locations)
    sides: dict[str, dict[str, Any]] = {
        PLAIN: {},
        "with quality": {"quality": True},
        "with label masks": {"label_masks": [polygons_of(slide) for slide in slides]},
    }
    spent: dict[str, list[float]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1 + rounds):
            for name, arguments in sides.items():
                took = seconds(
                    Path(folder) / f"{number} {name}",
                    patches_pool=locations,
                    proc_num_workers=given.workers,
                    **arguments,
                )
                if number:
                    spent[name].append(took)
                print(".", end="", flush=True, file=sys.stderr)
    print(f"\n{count:,} patches\n")
    for name, values in spent.items():
        micros = [1e6 * each / count for each in values]
        ratios = [100 * a / b - 100 for a, b in zip(values, spent[PLAIN], strict=True)]
        print(
            f"- {name}: {np.median(micros):.0f} ({min(micros):.0f}-{max(micros):.0f}) µs a "
            f"patch, {np.median(ratios):.1f} ({min(ratios):.1f}-{max(ratios):.1f}) % more"
        )


if __name__ == "__main__":
    main()
