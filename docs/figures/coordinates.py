"""One patch in its three frames, and three resolutions around one centre."""

from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from style import BLUE, GREEN, INK, ORANGE, save

from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import (
    MemPatchExtractorPool,
    MultiResMemPatchExtractorPool,
    PatchesMock,
    WholeImageGridPatches,
)
from dplabtools.slides.processing import WSITissueMask
from dplabtools.testing.make_slide import make_slide

MASK_LEVEL = 5
SEED = 4
WORKERS = {"proc_num_workers": 1, "thread_num_workers": 1}


def square(axes: Axes, corner: tuple[float, float], side: float, colour: str) -> None:
    axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=colour, linewidth=2))


def note(
    axes: Axes, text: str, point: tuple[float, float], at: tuple[float, float]
) -> None:
    axes.plot(*point, "o", color=INK, markersize=4)
    axes.annotate(
        text,
        point,
        at,
        fontsize=8.5,
        arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.8},
        bbox={"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": "none"},
    )


def draw_frames(slide: Path) -> None:
    """The mask, the slide and the patch, each counted in its own pixels."""
    mask = WSITissueMask(wsi_file=slide, level_or_minsize=MASK_LEVEL)
    placed = WholeImageGridPatches(
        wsi_file=slide,
        mask_data=mask.array,
        patch_size=256,
        level_or_mpp=1.0,
        foreground_ratio=0.8,
    )
    row = placed.patch_count // 2
    (mask_x, mask_y), (mask_side, _), _ = placed.patch_data_mask_level[row]
    (x, y), (side, _), _ = placed.patch_data[row]
    pool = MemPatchExtractorPool(patches_pool=[placed], **WORKERS)
    with GenericSlide(wsi_file=slide) as opened:
        width, height = opened.level_dimensions[0]
        picture = opened.get_region(
            location=(0, 0), level_or_mpp=2, size=opened.level_dimensions[2]
        )
    downsample = width / mask.array.shape[0]

    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(10.5, 3.3), width_ratios=[1.33, 1.33, 1], layout="constrained"
    )
    left.imshow(
        mask.array.T,
        cmap="Greys",
        vmax=2.2,
        extent=(0, width / downsample, height / downsample, 0),
    )
    square(left, (mask_x, mask_y), mask_side, ORANGE)
    note(left, f"candidate\n({mask_x:g}, {mask_y:g})", (mask_x, mask_y), (2, 8))
    left.set_title("Mask: mask pixels")
    middle.imshow(picture, extent=(0, width, height, 0))
    square(middle, (x, y), mask_side * downsample, ORANGE)
    note(middle, f"location\n({x}, {y})", (x, y), (2 * downsample, 8 * downsample))
    middle.set_title("Slide: level 0 pixels")
    right.imshow(pool.patch_array[row], extent=(0, side, side, 0))
    for edge in right.spines.values():
        edge.set(color=ORANGE, linewidth=2)
    right.set_title("Patch: its own pixels")
    right.set_xlabel(f"size ({side}, {side}) at 1.0 µm per pixel")
    left.set_xlabel(f"× {downsample:g}, rounded, is level 0")
    middle.set_xlabel(f"{mask_side * downsample:g} of its pixels are {side} of the patch")
    save(figure, "frames.png")


def draw_multires(slide: Path) -> None:
    """Squares around one centre, and the images that they become."""
    base = PatchesMock(
        patch_data=[((720, 560), (160, 160), "")], wsi_file=slide, level_or_mpp=0
    )
    pool = MultiResMemPatchExtractorPool(
        levels_or_mpps=[0, 1, 2], patches_pool=[base], **WORKERS
    )
    with GenericSlide(wsi_file=slide) as opened:
        corner, view = (320, 220), (960, 840)
        picture = opened.get_region(
            location=corner, level_or_mpp=1, size=(view[0] // 2, view[1] // 2)
        )
    figure, panels = plt.subplots(
        1, 4, figsize=(10.5, 3.0), width_ratios=[1.25, 1, 1, 1], layout="constrained"
    )
    centre = np.array([720 + 80, 560 + 80])
    panels[0].imshow(
        picture, extent=(corner[0], corner[0] + view[0], corner[1] + view[1], corner[1])
    )
    panels[0].plot(*centre, "+", color=INK, markersize=9)
    for level, colour in enumerate((ORANGE, BLUE, GREEN)):
        side = 160 * 2**level
        square(panels[0], tuple(centre - side / 2), side, colour)
        panel = panels[level + 1]
        panel.imshow(pool.patch_array[0, level], extent=(0, 160, 160, 0))
        panel.set(xticks=[0, 160], yticks=[0, 160], xlabel=f"{side} pixels of level 0")
        panel.set_title(f"level {level}", color=colour)
        for edge in panel.spines.values():
            edge.set(color=colour, linewidth=2)
    panels[0].set_title("Slide: level 0 pixels")
    save(figure, "multires.png")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        slide = make_slide(Path(folder) / "figure.svs", levels=MASK_LEVEL + 1, seed=SEED)
        draw_frames(slide)
        draw_multires(slide)


if __name__ == "__main__":
    main()
