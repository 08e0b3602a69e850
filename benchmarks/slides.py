"""Slides to measure on: given, or made once and kept."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from dplabtools.slides.patches import PatchesMock
from dplabtools.testing.make_slide import make_slide

KEPT = Path(__file__).parent / ".slides"


def several_slides(folder: Path | None) -> list[Path]:
    """Return all wsi*.svs of a folder, at least four, or four made slides of 6,000 px."""
    if folder is not None:
        found = sorted(folder.glob("wsi*.svs"))
        if len(found) < 4:
            message = f"{folder} does not hold wsi1.svs to wsi4.svs"
            raise SystemExit(message)
        return found
    KEPT.mkdir(exist_ok=True)
    files = [KEPT / f"made{seed}.svs" for seed in range(4)]
    missing = [file for file in files if not file.exists()]
    with ProcessPoolExecutor() as pool:
        list(pool.map(partial(_make, size=6000), missing))
    return files


def four_slides(folder: Path | None) -> list[Path]:
    """Return the first four of them."""
    return several_slides(folder)[:4]


def _make(file: Path, *, size: int) -> None:
    seed = int(file.stem.removeprefix("made"))
    aside = file.with_suffix(".part.svs")
    make_slide(aside, size=(size, size), seed=seed)
    aside.rename(file)


def grid(file: Path, *, count: int, size: int = 256, extent: int = 6000) -> PatchesMock:
    """Return a location object of patches side by side, row by row, up to a count."""
    begin = 100  # no tile begins here
    side = (extent - 2 * begin) // size
    step = size
    while side * side < count:  # more than fit side by side: let them overlap
        step //= 2
        side = (extent - 2 * begin - size) // step
    rows = [
        ((begin + x * step, begin + y * step), (size, size), "patch")
        for y in range(side)
        for x in range(side)
    ]
    return PatchesMock(patch_data=rows[:count], wsi_file=str(file), level_or_mpp=0)
