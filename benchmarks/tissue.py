"""How well tissue is found, beside the published rules of other tools.

    python -m benchmarks.tissue [SLIDES]

SLIDES is a folder with the real slides that tests use; their tissue is laid into scenes
whose truth is known (`dplabtools.testing.scenes`). Without it made tissue is. The rules of
others are written anew from memory of their papers, with the defaults remembered, at the 8
microns per pixel that all get here; they are not their code, nor held against it:

- CLAM (Lu et al. 2021): median blur (7) of the saturation, fixed threshold 8, closing (4),
  contours above 100 and holes above 16 patches of 512 pixels of 0.25 microns.
- histolab (Marcolini et al. 2022): grey, Otsu, dilation (disk 5), holes up to 3,000 pixels
  filled, objects below 3,000 dropped.
- HistoQC (Janowczyk et al. 2019): grey brighter than 0.9 is glass (LightDark), objects
  below a share of the slide dropped, holes filled.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from dplabtools import config
from dplabtools._typing import BoolArray, Pixels
from dplabtools.geometry.resolution import Level
from dplabtools.masks.automatic import find_any_tissue
from dplabtools.masks.cleaning import Cleaning
from dplabtools.masks.components import keep_large
from dplabtools.masks.strips import Strips
from dplabtools.masks.tissue import find_tissue
from dplabtools.readers.slide import Slide
from dplabtools.slides.processing import WSITissueMask
from dplabtools.testing.scenes import SCENES, Content, Scene, paint_scene

MPP = 8.0
TEXTURE = ("tcga-cr-7395-01a-01-ts1.svs", (700, 900, 1400, 1800), 0.5)
_UNIT = (512 * 0.25 / MPP) ** 2  # pixels of a patch of CLAM


def ours(image: Pixels) -> BoolArray:
    return find_any_tissue(image, mpp=MPP).tissue


def documented(image: Pixels) -> BoolArray:
    """The documented default, `mode="hsv"`."""
    mask = find_tissue(Strips.of(image), mode="hsv", color_threshold=0.1)
    cleaning = Cleaning(holes_ratio=0.1, objects_ratio=0.1, all_holes=False, close_kernel=0)
    cleaning.clean(mask, 16.0)
    return mask


def clam(image: Pixels) -> BoolArray:
    saturation = np.ascontiguousarray(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1])
    smooth = cv2.medianBlur(saturation, 7)
    mask = (smooth > 8).astype(np.uint8)
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((4, 4), np.uint8)) != 0
    return without_small(closed, objects=100 * _UNIT, holes=16 * _UNIT)


def histolab(image: Pixels) -> BoolArray:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    _, dark = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (11, 11))
    return without_small(cv2.dilate(dark, disk) != 0, objects=3000, holes=3000)


def histoqc(image: Pixels) -> BoolArray:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    mask = np.asarray(grey < 0.9 * 255)
    return without_small(mask, objects=0.0005 * mask.size, holes=0.0005 * mask.size)


def without_small(
    mask: npt.NDArray[np.bool_], *, objects: float, holes: float
) -> BoolArray:
    kept: BoolArray = ~mask
    keep_large(kept, round(holes))
    np.logical_not(kept, out=kept)
    keep_large(kept, round(objects))
    return kept


RULES: Mapping[str, Callable[[Pixels], BoolArray]] = {
    "auto": ours,
    "hsv": documented,
    "CLAM": clam,
    "histolab": histolab,
    "HistoQC": histoqc,
}


def texture(folder: Path | None) -> Pixels | None:
    """Return real tissue at 8 microns per pixel; None for made tissue."""
    if folder is None:
        return None
    name, (x, y, width, height), mpp = TEXTURE
    with Slide(folder / name, settings=config.snapshot()) as slide:
        part = slide.read((x, y), Level(0), (width, height))
    size = (round(width * mpp / MPP), round(height * mpp / MPP))
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)


def scored(scene: Scene, tissue: BoolArray) -> tuple[str, bool]:
    """Return precision, recall and IoU in percent, and whether all floors hold."""
    truth = scene.truth == Content.TISSUE
    judged = scene.truth != Content.NEITHER
    hit, found, there = (
        int(np.count_nonzero(each & judged)) for each in (tissue & truth, tissue, truth)
    )
    taken = {
        c: float(tissue[scene.truth == c].mean())
        for c in Content
        if (scene.truth == c).any()
    }
    holds = (
        taken.get(Content.TISSUE, 1) >= 0.85
        and taken.get(Content.GLASS, 0) <= 0.02
        and max(taken.get(Content.PEN, 0), taken.get(Content.PADDING, 0)) <= 0.2
    )
    if not there:
        return f"{taken[Content.GLASS]:.1%} of glass", holds
    precision = hit / found if found else 1.0
    union = found + there - hit
    return f"{precision:.0%} / {hit / there:.0%} / {hit / union:.0%}", holds


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    tissue = texture(folder)
    print("Precision / recall / IoU; * where a floor is not reached\n")
    print(f"| scene | {' | '.join(RULES)} |")
    print("|---" * (len(RULES) + 1) + "|")
    reached = dict.fromkeys(RULES, 0)
    for name in SCENES:
        scene = paint_scene(name, texture=tissue)
        cells = []
        for rule, find in RULES.items():
            words, holds = scored(scene, find(scene.image))
            reached[rule] += holds
            cells.append(words if holds else f"{words} *")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    totals = (f"{count} of {len(SCENES)}" for count in reached.values())
    print(f"| **floors reached** | {' | '.join(totals)} |")
    if folder is not None:
        show_slides(folder)


def show_slides(folder: Path) -> None:
    """Print the share of each real slide that counts as tissue: nobody knows the truth."""
    print("\n| slide | auto |\n|---|---|")
    for file in sorted(folder.rglob("*")):
        if file.suffix in {".svs", ".tif", ".ndpi", ".dcm"}:
            try:
                mask = WSITissueMask(wsi_file=file, level_or_minsize=None, mode="auto")
            except (OSError, ValueError) as error:
                print(f"| {file.name} | {type(error).__name__} |")
                continue
            print(f"| {file.name} | {mask.array.mean():.1%} {mask.reason} |", flush=True)


if __name__ == "__main__":
    main()
